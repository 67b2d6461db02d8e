/* Values while they are changed: the arena, opening, and the members of objects. */
#include <stdlib.h>

#include "edit.h"

enum { CHUNK = 16 << 10, LARGE = 16, PATIENCE = 8, ALIGNED = 15 };

struct clo_edit_chunk {
    struct clo_edit_chunk *before;
    _Alignas(16) uint8_t bytes[];
};

void clo_edit_init(struct clo_edit *edit, const struct clo_json_view *view, uint32_t depth, uint64_t most) {
    struct clo_json_value root = clo_json_root(view);
    *edit = (struct clo_edit){
        .root = clo_edit_take(view, &root, depth), .depth = depth, .most = most, .given = view->size};
}

void clo_edit_free(struct clo_edit *edit) {
    for (struct clo_edit_chunk *chunk = edit->chunks, *before; chunk; chunk = before) {
        before = chunk->before;
        free(chunk);
    }
}

void *clo_edit_room(struct clo_edit *edit, size_t size) {
    if (size > SIZE_MAX / 2) return NULL;
    size = (size + ALIGNED) & ~(size_t)ALIGNED;
    if (size > (size_t)(edit->end - edit->at)) {
        size_t more = size > CHUNK / 4 ? size : CHUNK;
        struct clo_edit_chunk *chunk = malloc(sizeof *chunk + more);
        if (!chunk) return NULL;
        chunk->before = edit->chunks;
        edit->chunks = chunk;
        if (more == size) return chunk->bytes; /* what is left of the newest stays in use */
        edit->at = chunk->bytes;
        edit->end = chunk->bytes + more;
    }
    void *room = edit->at;
    edit->at += size;
    return room;
}

int clo_edit_charge(struct clo_edit *edit, uint64_t more) {
    if (more > edit->most - edit->copied) return CLO_PATCH_LARGE;
    edit->copied += more;
    return CLO_PATCH_FINE;
}

struct clo_edit_value clo_edit_take(const struct clo_json_view *view, const struct clo_json_value *value,
                                    uint32_t levels) {
    uint8_t kind = view->text[value->begin];
    struct clo_edit_value taken = {.text = view->text + value->begin,
                                   .size = value->end - value->begin,
                                   .count = value->last - value->first,
                                   .levels = kind == '{' || kind == '[' ? levels : 0};
    if (taken.count) {
        taken.entries = view->entries + value->first;
        taken.first = value->origin + taken.entries->gap - value->begin;
    }
    return taken;
}

struct clo_json_view clo_edit_view(const struct clo_edit_value *value) {
    return (struct clo_json_view){value->text, value->size, value->entries, value->count};
}

/* The first gap may count from before the view: then the origin wraps around. */
struct clo_json_value clo_edit_whole(const struct clo_edit_value *value) {
    size_t origin = value->count ? value->first - value->entries->gap : 0;
    return (struct clo_json_value){0, value->size, 0, value->count, origin};
}

uint8_t clo_edit_kind(const struct clo_edit_value *value) {
    if (!value->open) return *value->text;
    return value->open->object ? '{' : '[';
}

struct clo_edit_open *clo_edit_empty(struct clo_edit *edit, bool object, uint32_t levels) {
    struct clo_edit_open *open = clo_edit_room(edit, sizeof *open);
    if (open) *open = (struct clo_edit_open){.object = object, .levels = levels};
    return open;
}

static int open_object(struct clo_edit *edit, struct clo_edit_open *open, const struct clo_edit_value *object) {
    struct clo_json_view view = clo_edit_view(object);
    struct clo_json_value value = clo_edit_whole(object);
    size_t count = clo_json_count(&view, &value);
    if (count > SIZE_MAX / 2 / sizeof *open->of.members) return CLO_PATCH_MEMORY;
    open->of.members = clo_edit_room(edit, (count + 1) * sizeof *open->of.members);
    if (!open->of.members) return CLO_PATCH_MEMORY;
    open->room = count + 1;
    struct clo_json_walk walk = clo_json_walk(&view, &value);
    for (struct clo_json_child child; open->used < count && clo_json_next(&walk, &child); open->used++) {
        struct clo_edit_value taken = clo_edit_take(&view, &child.value, object->levels - 1);
        open->of.members[open->used] = (struct clo_edit_member){.key = object->text + child.key_begin,
                                                                .key_size = child.key_end - child.key_begin,
                                                                .original = true,
                                                                .value = taken};
    }
    open->children = open->used;
    return CLO_PATCH_FINE;
}

int clo_edit_open(struct clo_edit *edit, struct clo_edit_value *value) {
    if (value->open) return CLO_PATCH_FINE;
    struct clo_edit_open *open = clo_edit_empty(edit, *value->text == '{', value->levels);
    if (!open) return CLO_PATCH_MEMORY;
    int kind = open->object ? open_object(edit, open, value) : clo_edit_list(edit, open, value);
    if (kind) return kind;
    *value = (struct clo_edit_value){.open = open};
    return CLO_PATCH_FINE;
}

/* Where a key is looked for first. Who writes a document does not know where the table is. */
static size_t slot_of(const struct clo_edit_open *object, const uint8_t *key, size_t size) {
    return clo_json_hash_seeded(key, size, (uint64_t)(uintptr_t)object->table) & object->mask;
}

static void enter(struct clo_edit_open *object, size_t number) {
    const struct clo_edit_member *member = &object->of.members[number];
    size_t slot = slot_of(object, member->key, member->key_size);
    while (object->table[slot]) slot = (slot + 1) & object->mask;
    object->table[slot] = (uint32_t)number + 1;
}

/* Where there is no memory for it, look-ups stay slow. */
static void tabulate(struct clo_edit *edit, struct clo_edit_open *object) {
    size_t size = 64;
    while (size < 4 * object->used) size *= 2;
    if (object->used >= UINT32_MAX / 4) return;
    object->table = clo_edit_room(edit, size * sizeof *object->table);
    if (!object->table) return;
    memset(object->table, 0, size * sizeof *object->table);
    object->mask = size - 1;
    for (size_t i = 0; i < object->used; i++) enter(object, i);
}

static bool is(const struct clo_edit_member *member, const uint8_t *key, size_t size) {
    return member->key_size == size && !memcmp(member->key, key, size);
}

static struct clo_edit_member *found(struct clo_edit_open *object, size_t number) {
    object->hint = number + 1;
    return &object->of.members[number];
}

/* Finds also one that was removed. */
static struct clo_edit_member *find(struct clo_edit *edit, struct clo_edit_open *object, const uint8_t *key,
                                    size_t size) {
    struct clo_edit_member *members = object->of.members;
    if (object->hint < object->used && is(&members[object->hint], key, size)) return &members[object->hint++];
    if (!object->table && object->used > LARGE && object->looked++ >= PATIENCE) tabulate(edit, object);
    if (!object->table) {
        for (size_t i = 0; i < object->used; i++)
            if (is(&members[i], key, size)) return found(object, i);
        return NULL;
    }
    size_t slot = slot_of(object, key, size);
    for (uint32_t number; (number = object->table[slot]); slot = (slot + 1) & object->mask)
        if (is(&members[number - 1], key, size)) return found(object, number - 1);
    return NULL;
}

static bool there(const struct clo_edit_member *member) { return member->value.text || member->value.open; }

struct clo_edit_member *clo_edit_member(struct clo_edit *edit, struct clo_edit_open *object, const uint8_t *key,
                                        size_t size) {
    struct clo_edit_member *member = find(edit, object, key, size);
    return member && there(member) ? member : NULL;
}

static int append(struct clo_edit *edit, struct clo_edit_open *object, const struct clo_edit_member *member) {
    if (object->used == object->room) {
        size_t room = object->room ? 2 * object->room : 4;
        struct clo_edit_member *members = clo_edit_room(edit, room * sizeof *members);
        if (!members) return CLO_PATCH_MEMORY;
        if (object->used) memcpy(members, object->of.members, object->used * sizeof *members);
        object->of.members = members;
        object->room = room;
    }
    object->of.members[object->used++] = *member;
    if (object->table && 2 * object->used > object->mask) tabulate(edit, object);
    else if (object->table) enter(object, object->used - 1);
    return CLO_PATCH_FINE;
}

int clo_edit_put(struct clo_edit *edit, struct clo_edit_open *object, const uint8_t *key, size_t size,
                 const struct clo_edit_value *value) {
    struct clo_edit_member *member = find(edit, object, key, size);
    if (!member) {
        int kind = append(edit, object, &(struct clo_edit_member){.key = key, .key_size = size, .value = *value});
        if (kind) return kind;
        object->children++;
        return CLO_PATCH_FINE;
    }
    object->children += !there(member);
    member->original = false;
    member->value = *value;
    return CLO_PATCH_FINE;
}

void clo_edit_drop(struct clo_edit_open *object, struct clo_edit_member *member) {
    member->original = false;
    member->value = (struct clo_edit_value){0};
    object->children--;
}
