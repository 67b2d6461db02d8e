/* Changed values as they are in the end: their size and levels, and their text with its index. */
#include <stdlib.h>

#include "edit.h"
#include "scan.h"

static size_t size_of_object(const struct clo_edit_open *object) {
    size_t size = 2 + (object->children ? object->children - 1 : 0);
    for (size_t i = 0; i < object->used; i++) {
        const struct clo_edit_member *member = &object->of.members[i];
        if (member->value.text || member->value.open) size += member->key_size + 1 + clo_edit_size(&member->value);
    }
    return size;
}

static size_t size_of_array(const struct clo_edit_open *array) {
    size_t size = 2, pieces = 0;
    for (size_t i = 0; i < array->used; i++) {
        const struct clo_edit_block *block = &array->of.blocks[i];
        pieces += block->used;
        for (size_t j = 0; j < block->used; j++) size += clo_edit_size(&block->pieces[j].value);
    }
    return size + (pieces ? pieces - 1 : 0);
}

size_t clo_edit_size(const struct clo_edit_value *value) {
    if (!value->open) return value->size;
    return value->open->object ? size_of_object(value->open) : size_of_array(value->open);
}

static uint32_t levels_of_text(const uint8_t *text, size_t size) {
    uint32_t level = 0, most = 0;
    for (size_t at = 0; at < size;) {
        if (text[at] == '"') {
            at = clo_json_string_end(text, at, size);
            continue;
        }
        if (text[at] == '{' || text[at] == '[') level++;
        else if (text[at] == '}' || text[at] == ']') level--;
        if (level > most) most = level;
        at++;
    }
    return most;
}

/* How many levels there are at most, by the index: between two containers that have an entry there may be as many as
 * have no room for bytes of their own. */
static uint32_t levels_by_index(const struct clo_edit_value *value) {
    enum { DEEPEST = 32, BETWEEN = CLO_JSON_OWN / 2 - 1 };
    size_t ends[DEEPEST];
    uint32_t level = 0, most = 0;
    for (size_t i = 0; i < value->count; i++) {
        while (level && ends[level - 1] <= i) level--;
        if (level == DEEPEST) return UINT32_MAX;
        ends[level++] = i + 1 + value->entries[i].inside;
        if (level > most) most = level;
    }
    return most + BETWEEN * (most + 1);
}

static void lift(struct clo_edit_value *child, uint32_t enough, uint32_t *most) {
    uint32_t levels = child->text || child->open ? clo_edit_levels(child, enough ? enough - 1 : 0) : 0;
    if (levels > *most) *most = levels;
}

static uint32_t levels_of_open(struct clo_edit_open *open, uint32_t enough) {
    uint32_t most = 0;
    if (open->object) {
        for (size_t i = 0; i < open->used; i++) lift(&open->of.members[i].value, enough, &most);
        return most + 1;
    }
    for (size_t i = 0; i < open->used; i++) {
        struct clo_edit_block *block = &open->of.blocks[i];
        for (size_t j = 0; j < block->used; j++) lift(&block->pieces[j].value, enough, &most);
    }
    return most + 1;
}

/* Counted once, a value's levels are known. That n bytes have n / 2 at most is all that small values need. */
uint32_t clo_edit_levels(struct clo_edit_value *value, uint32_t enough) {
    uint32_t *levels = value->open ? &value->open->levels : &value->levels, by_index;
    if (*levels <= enough) return *levels;
    if (value->open) *levels = levels_of_open(value->open, enough);
    else if (value->size / 2 <= enough) *levels = (uint32_t)(value->size / 2);
    else if ((by_index = levels_by_index(value)) <= enough) *levels = by_index;
    else *levels = levels_of_text(value->text, value->size);
    return *levels;
}

static int put_text(const uint8_t *text, size_t size, const struct clo_json_entry *entries, size_t count,
                    size_t first, struct clo_json_out *out, struct clo_json_builder *builder) {
    if (builder && count && clo_json_copy(builder, out->size + first, entries, count)) return CLO_PATCH_MEMORY;
    return clo_json_put(out, text, size) ? CLO_PATCH_MEMORY : CLO_PATCH_FINE;
}

/* Members in a row that are as they were; gives the number of the one behind them. */
static int put_run(const struct clo_edit_open *object, size_t *at, struct clo_json_out *out,
                   struct clo_json_builder *builder) {
    const struct clo_edit_member *members = object->of.members, *begin = &members[*at];
    const struct clo_json_entry *entries = NULL;
    const uint8_t *end = NULL;
    size_t i = *at, count = 0, first = 0;
    do {
        const struct clo_edit_value *value = &members[i].value;
        if (!count && value->count) {
            entries = value->entries;
            first = (size_t)(value->text - begin->key) + value->first;
        }
        count += value->count;
        end = value->text + value->size;
    } while (++i < object->used && members[i].original && !members[i].value.open);
    *at = i;
    return put_text(begin->key, (size_t)(end - begin->key), entries, count, first, out, builder);
}

static int put_member(const struct clo_edit_member *member, struct clo_json_out *out,
                      struct clo_json_builder *builder) {
    if (clo_json_put(out, member->key, member->key_size) || clo_json_put(out, ":", 1)) return CLO_PATCH_MEMORY;
    return clo_edit_write_value(&member->value, out, builder);
}

static int put_members(const struct clo_edit_open *object, struct clo_json_out *out,
                       struct clo_json_builder *builder) {
    size_t begin = out->size;
    for (size_t i = 0; i < object->used;) {
        const struct clo_edit_member *member = &object->of.members[i];
        if (!member->value.text && !member->value.open) {
            i++;
            continue;
        }
        if (out->size > begin && clo_json_put(out, ",", 1)) return CLO_PATCH_MEMORY;
        bool run = member->original && !member->value.open;
        int kind = run ? put_run(object, &i, out, builder) : put_member(member, out, builder);
        if (kind) return kind;
        i += !run;
    }
    return CLO_PATCH_FINE;
}

static int put_elements(const struct clo_edit_open *array, struct clo_json_out *out,
                        struct clo_json_builder *builder) {
    size_t begin = out->size;
    for (size_t i = 0; i < array->used; i++) {
        const struct clo_edit_block *block = &array->of.blocks[i];
        for (size_t j = 0; j < block->used; j++) {
            if (out->size > begin && clo_json_put(out, ",", 1)) return CLO_PATCH_MEMORY;
            int kind = clo_edit_write_value(&block->pieces[j].value, out, builder);
            if (kind) return kind;
        }
    }
    return CLO_PATCH_FINE;
}

int clo_edit_write_value(const struct clo_edit_value *value, struct clo_json_out *out,
                         struct clo_json_builder *builder) {
    const struct clo_edit_open *open = value->open;
    if (!open) return put_text(value->text, value->size, value->entries, value->count, value->first, out, builder);
    int kind = builder ? clo_json_open(builder, out->size) : CLO_JSON_FINE;
    if (kind) return kind == CLO_JSON_DEEP ? CLO_PATCH_DEEP : CLO_PATCH_MEMORY;
    if (clo_json_put(out, open->object ? "{" : "[", 1)) return CLO_PATCH_MEMORY;
    kind = open->object ? put_members(open, out, builder) : put_elements(open, out, builder);
    if (kind) return kind;
    if (clo_json_put(out, open->object ? "}" : "]", 1)) return CLO_PATCH_MEMORY;
    if (builder) clo_json_close(builder, out->size, open->children);
    return CLO_PATCH_FINE;
}

/* Room for that much and no more: it may be a document's for long. */
static int room(struct clo_json_out *out, size_t size) {
    *out = (struct clo_json_out){.data = malloc(size), .room = size};
    return out->data ? CLO_PATCH_FINE : CLO_PATCH_MEMORY;
}

int clo_edit_write(struct clo_edit *edit, struct clo_json_out *out, struct clo_json_builder *builder) {
    size_t size = clo_edit_size(&edit->root);
    if (size > edit->most) return CLO_PATCH_LARGE;
    if (room(out, size)) return CLO_PATCH_MEMORY;
    int kind = clo_edit_write_value(&edit->root, out, builder);
    if (!kind && builder) clo_json_finish(builder);
    return kind;
}

/* An opened value written out by itself. Free it in any case. */
struct settled {
    struct clo_json_out text;
    struct clo_json_builder builder;
};

static int settle(struct clo_edit *edit, const struct clo_edit_value *value, struct settled *settled) {
    size_t size = clo_edit_size(value);
    int kind = clo_edit_charge(edit, size);
    if (kind) return kind;
    if (clo_json_builder_init(&settled->builder, edit->depth) || room(&settled->text, size))
        return CLO_PATCH_MEMORY;
    kind = clo_edit_write_value(value, &settled->text, &settled->builder);
    if (!kind) clo_json_finish(&settled->builder);
    return kind;
}

static void settled_free(struct settled *settled) {
    clo_json_builder_free(&settled->builder);
    clo_json_out_free(&settled->text);
}

static struct clo_json_view settled_view(const struct settled *settled) {
    return (struct clo_json_view){settled->text.data, settled->text.size, settled->builder.index.data,
                                  settled->builder.index.used};
}

static int keep(struct clo_edit *edit, const struct clo_json_view *view, uint32_t levels,
                struct clo_edit_value *copy) {
    size_t size = view->used * sizeof *view->entries;
    uint8_t *text = clo_edit_room(edit, view->size), *entries = clo_edit_room(edit, size);
    if (!text || !entries) return CLO_PATCH_MEMORY;
    memcpy(text, view->text, view->size);
    if (size) memcpy(entries, view->entries, size);
    struct clo_json_view kept = {text, view->size, (const void *)entries, view->used};
    struct clo_json_value root = clo_json_root(&kept);
    *copy = clo_edit_take(&kept, &root, levels);
    return CLO_PATCH_FINE;
}

int clo_edit_copy(struct clo_edit *edit, const struct clo_edit_value *value, struct clo_edit_value *copy) {
    *copy = *value;
    if (!value->open) return clo_edit_charge(edit, value->size);
    struct settled settled = {0};
    int kind = settle(edit, value, &settled);
    if (!kind) {
        struct clo_json_view view = settled_view(&settled);
        kind = keep(edit, &view, value->open->levels, copy);
    }
    settled_free(&settled);
    return kind;
}

int clo_edit_equal(struct clo_edit *edit, const struct clo_edit_value *one, const struct clo_edit_value *other) {
    struct settled settled = {0};
    struct clo_json_view view = clo_edit_view(one), with = clo_edit_view(other);
    struct clo_json_value value = clo_edit_whole(one), with_value = clo_edit_whole(other);
    int kind = one->open ? settle(edit, one, &settled) : CLO_PATCH_FINE, equal = 0;
    if (one->open && !kind) {
        view = settled_view(&settled);
        value = clo_json_root(&view);
    }
    if (!kind) equal = clo_json_equal_values(&view, &value, &with, &with_value);
    settled_free(&settled);
    if (kind) return kind;
    if (equal < 0) return CLO_PATCH_MEMORY;
    return equal ? CLO_PATCH_FINE : CLO_PATCH_TEST;
}
