/* The index of a new text from that of an old one, with only what differs parsed.
 *
 * Bytes that are those of whole children of the old container are valid, for they were: their entries are copied. Where
 * they differ, the old children that follow are searched for the one that comes next; else the new child is gone through
 * by the old one that stands there, or parsed. Whatever is taken for whatever, the index is right: that an old child fits
 * ill only costs time. Keys that the old object did not have there are held against those that it keeps. */
#include "follow.h"
#include "pass.h"

#include <stdlib.h>
#include <string.h>

enum {
    REACH = 128, /* how many old children are searched at most */
    SMALL = 256, /* bytes of containers that are parsed in less time than compared */
    MISSED = 32, /* so many elements that are not found, and several are parsed at once */
};

struct fresh {
    size_t begin, size; /* of the key, with its quotes */
};

/* Old children that are not kept: from `at` on, as far as to where the walk goes on. */
struct gap {
    size_t at;
    struct clo_json_walk to;
};

struct follow {
    const struct clo_json_view *old;
    const uint8_t *text;
    size_t size;
    struct clo_json_builder *builder;
    struct fresh *fresh; /* of all objects that are open, one after the other */
    size_t fresh_used, fresh_room;
    struct gap *gaps;
    size_t gaps_used, gaps_room;
};

/* Where it is in one container. */
struct place {
    struct clo_json_walk walk; /* of the old one */
    struct clo_json_walk back; /* behind the last child that was the same */
    size_t at;                 /* in the new text */
    size_t same;               /* bytes from both on that are known to be equal */
    struct clo_json_ahead ahead; /* of the walk */
    size_t reach, missed; /* elements in a row that were not found */
    uint64_t count;
    bool object;
};

static size_t follow_value(struct follow *follow, const struct clo_json_value *old, size_t at, size_t known);

/* Gives the end; 0: it is not valid or not canonical. */
static size_t parse_value(struct follow *follow, size_t at) {
    size_t begin = at;
    if (at >= follow->size || clo_json_parse(follow->builder, follow->text, follow->size, &at)) return 0;
    return clo_json_utf8(follow->text + begin, at - begin) == at - begin ? at : 0;
}

static bool ends_at(const struct follow *follow, size_t end) {
    if (end >= follow->size) return end == follow->size;
    uint8_t next = follow->text[end];
    return next == ',' || next == ']' || next == '}';
}

static size_t begin_of(const struct clo_json_child *child) {
    return child->key_end > child->key_begin ? child->key_begin : child->value.begin;
}

static void go_to(struct clo_json_walk *walk, const struct clo_json_child *child) {
    walk->at = begin_of(child);
    walk->entry = child->value.first;
    walk->origin = child->value.origin;
}

/* `origin`: where in the new text the first of their gaps counts from. */
static bool copy_entries(struct follow *follow, size_t first, size_t last, size_t origin) {
    if (first == last) return true;
    const struct clo_json_entry *entries = follow->old->entries + first;
    return !clo_json_copy(follow->builder, origin + entries->gap, entries, last - first);
}

/* Copy the children that lie within the equal bytes. 1: some; 0: none; -1: no memory. */
static int pass_same(struct follow *follow, struct place *place) {
    struct clo_json_walk last = place->walk;
    struct clo_json_ahead *ahead = &place->ahead;
    size_t limit = last.at + place->same, end = 0;
    size_t shift = place->at - last.at; /* wraps around where the new one is before the old one */
    size_t passed = clo_json_pass_within(&last, limit, &end, ahead);
    if (ahead->there && ahead->child.value.end <= limit && ends_at(follow, ahead->child.value.end + shift)) {
        end = ahead->child.value.end;
        last = ahead->after;
        clo_json_look_ahead(&last, ahead);
        passed++;
    }
    if (!passed) return 0;
    place->count += passed;
    if (!copy_entries(follow, place->walk.entry, last.entry, place->walk.origin + shift)) return -1;
    place->walk = place->back = last;
    place->at = end + shift;
    place->missed = 0;
    place->same = limit > end + 1 ? limit - end - 1 : 0;
    return 1;
}

static void compare_on(const struct follow *follow, struct place *place) {
    size_t left = place->walk.end - place->walk.at, right = follow->size - place->at;
    place->same = clo_json_same(follow->old->text + place->walk.at, follow->text + place->at, left < right ? left : right);
}

static void reach_less(struct place *place, size_t least) {
    place->reach = place->reach / 2 > least ? place->reach / 2 : least;
}

/* Whether those bytes of the old text come next. */
static bool comes(const struct follow *follow, size_t at, size_t begin, size_t end) {
    return end - begin <= follow->size - at && !memcmp(follow->old->text + begin, follow->text + at, end - begin);
}

static bool comes_whole(const struct follow *follow, size_t at, const struct clo_json_child *child) {
    return comes(follow, at, child->value.begin, child->value.end) &&
           ends_at(follow, at + child->value.end - child->value.begin);
}

/* Whether one of the next old elements comes next, or the one before which new ones may have been put; then the walk goes
 * on from there. */
static bool find_element(const struct follow *follow, struct place *place) {
    struct clo_json_walk ahead = place->back;
    struct clo_json_child child;
    if (ahead.at != place->walk.at && clo_json_next(&ahead, &child) && comes_whole(follow, place->at, &child)) {
        go_to(&place->walk, &child);
        return true;
    }
    ahead = place->ahead.after;
    child = place->ahead.child;
    if (!place->ahead.there) return false;
    for (size_t i = 0; i < place->reach && (!i || clo_json_next(&ahead, &child)); i++) {
        if (!comes_whole(follow, place->at, &child)) continue;
        go_to(&place->walk, &child);
        place->reach = REACH;
        return true;
    }
    reach_less(place, 2);
    return false;
}

/* Small elements, of which few will be found. */
static bool parse_several(struct follow *follow, struct place *place) {
    size_t begin = place->at;
    for (int i = 0; i < MISSED; i++) {
        struct clo_json_child child;
        if (i && (place->at >= follow->size || follow->text[place->at] != ',')) break;
        place->at += i > 0;
        if (place->at >= follow->size || clo_json_parse(follow->builder, follow->text, follow->size, &place->at)) return false;
        clo_json_next(&place->walk, &child);
        place->count++;
    }
    return clo_json_utf8(follow->text + begin, place->at - begin) == place->at - begin;
}

static bool element(struct follow *follow, struct place *place) {
    if (find_element(follow, place)) {
        place->missed = 0;
        return true;
    }
    if (++place->missed > MISSED && place->walk.entry == place->walk.last) return parse_several(follow, place);
    if (place->ahead.there) {
        place->walk = place->ahead.after;
        place->at = follow_value(follow, &place->ahead.child.value, place->at, place->same);
    } else {
        place->at = parse_value(follow, place->at);
    }
    place->count++;
    return place->at != 0;
}

static bool note_gap(struct follow *follow, size_t at, const struct clo_json_walk *to) {
    if (follow->gaps_used == follow->gaps_room) {
        size_t room = follow->gaps_room ? follow->gaps_room * 2 : 16;
        struct gap *gaps = realloc(follow->gaps, room * sizeof *gaps);
        if (!gaps) return false;
        follow->gaps = gaps;
        follow->gaps_room = room;
    }
    follow->gaps[follow->gaps_used++] = (struct gap){at, *to};
    return true;
}

static bool note_fresh(struct follow *follow, size_t begin, size_t size) {
    if (follow->fresh_used == follow->fresh_room) {
        size_t room = follow->fresh_room ? follow->fresh_room * 2 : 16;
        struct fresh *fresh = realloc(follow->fresh, room * sizeof *fresh);
        if (!fresh) return false;
        follow->fresh = fresh;
        follow->fresh_room = room;
    }
    follow->fresh[follow->fresh_used++] = (struct fresh){begin, size};
    return true;
}

/* Whether one of the next old keys comes next; then the walk goes on from there. */
static bool find_key(struct follow *follow, struct place *place) {
    struct clo_json_walk ahead = place->ahead.after;
    struct clo_json_child child;
    for (size_t i = 0; i < place->reach && clo_json_next(&ahead, &child); i++) {
        if (!comes(follow, place->at, child.key_begin, child.value.begin)) continue;
        size_t from = place->walk.at;
        go_to(&place->walk, &child);
        place->reach = REACH;
        return note_gap(follow, from, &place->walk);
    }
    reach_less(place, 8);
    return false;
}

static bool fresh_member(struct follow *follow, struct place *place) {
    size_t key = place->at;
    if (key >= follow->size || follow->text[key] != '"') return false;
    size_t end = parse_value(follow, key);
    if (!end || end >= follow->size || follow->text[end] != ':' || !note_fresh(follow, key, end - key)) return false;
    place->at = parse_value(follow, end + 1);
    place->count++;
    return place->at != 0;
}

static bool member(struct follow *follow, struct place *place) {
    const struct clo_json_child *child = &place->ahead.child;
    if (!place->ahead.there) return fresh_member(follow, place);
    size_t lead = child->value.begin - child->key_begin;
    if (place->same < lead && !comes(follow, place->at, child->key_begin, child->value.begin))
        return find_key(follow, place) || fresh_member(follow, place);
    place->walk = place->ahead.after;
    place->at = follow_value(follow, &child->value, place->at + lead, place->same > lead ? place->same - lead : 0);
    place->count++;
    return place->at != 0;
}

static int compare_keys(const uint8_t *text, const struct fresh *fresh, const uint8_t *key, size_t size) {
    if (fresh->size != size) return fresh->size < size ? -1 : 1;
    return memcmp(text + fresh->begin, key, size);
}

static int compare_fresh(const void *one, const void *other, void *text) {
    const struct fresh *right = other;
    return compare_keys(text, one, (const uint8_t *)text + right->begin, right->size);
}

static bool has_key(const struct follow *follow, size_t first, const uint8_t *key, size_t size) {
    size_t low = first, high = follow->fresh_used;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_keys(follow->text, &follow->fresh[middle], key, size);
        if (!order) return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

static uint64_t bit_of(const uint8_t *key, size_t size) { return UINT64_C(1) << ((size * 5 + key[size - 2] + key[size / 2]) & 63); }

/* Whether no key of the new object is there twice. */
static bool are_unique(struct follow *follow, const struct clo_json_value *old, size_t first, size_t gap) {
    size_t count = follow->fresh_used - first;
    uint64_t bits = 0;
    qsort_r(follow->fresh + first, count, sizeof *follow->fresh, compare_fresh, (void *)(uintptr_t)follow->text);
    for (size_t i = first; i < follow->fresh_used; i++) {
        const struct fresh *fresh = &follow->fresh[i];
        const uint8_t *key = follow->text + fresh->begin;
        if (i > first && !compare_keys(follow->text, &follow->fresh[i - 1], key, fresh->size)) return false;
        bits |= bit_of(key, fresh->size);
    }
    struct clo_json_walk walk = clo_json_walk(follow->old, old);
    struct clo_json_child child;
    for (;;) {
        for (; gap < follow->gaps_used && walk.at == follow->gaps[gap].at; gap++) walk = follow->gaps[gap].to;
        if (!clo_json_next(&walk, &child)) return true;
        const uint8_t *key = follow->old->text + child.key_begin;
        size_t size = child.key_end - child.key_begin;
        if (bits & bit_of(key, size) && has_key(follow, first, key, size)) return false;
    }
}

/* From one child's begin to the next one's or to the closing bracket. */
static bool next_child(struct follow *follow, struct place *place) {
    if (place->at >= follow->size || follow->text[place->at] != ',') return false;
    place->at++;
    return true;
}

static bool follow_children(struct follow *follow, struct place *place) {
    uint8_t close = place->object ? '}' : ']';
    for (;;) {
        int passed = pass_same(follow, place);
        if (passed < 0) return false;
        if (passed && !next_child(follow, place)) break;
        uint64_t count = place->count;
        if (!(place->object ? member(follow, place) : element(follow, place))) return false;
        if (place->count > count && !next_child(follow, place)) break;
        compare_on(follow, place);
    }
    return place->at < follow->size && follow->text[place->at] == close;
}

/* Both begin with the same bracket. */
static size_t follow_container(struct follow *follow, const struct clo_json_value *old, size_t at, size_t known) {
    size_t gaps = follow->gaps_used, fresh = follow->fresh_used;
    struct place place = {.walk = clo_json_walk(follow->old, old), .at = at + 1, .same = known - 1, .reach = REACH};
    place.back = place.walk;
    place.object = follow->text[at] == '{';
    if (clo_json_open(follow->builder, at) || place.at >= follow->size) return 0;
    if (follow->text[place.at] != (place.object ? '}' : ']')) {
        if (!follow_children(follow, &place)) return 0;
        struct clo_json_walk end = place.walk;
        end.at = end.end;
        if (follow->fresh_used > fresh &&
            (!note_gap(follow, place.walk.at, &end) || !are_unique(follow, old, fresh, gaps)))
            return 0;
    }
    follow->gaps_used = gaps;
    follow->fresh_used = fresh;
    clo_json_close(follow->builder, place.at + 1, place.count);
    return place.at + 1;
}

/* The first `known` bytes of both are the same. */
static size_t follow_value(struct follow *follow, const struct clo_json_value *old, size_t at, size_t known) {
    if (at >= follow->size) return 0;
    uint8_t byte = follow->text[at];
    if (old->first == old->last && old->end - old->begin < SMALL) return parse_value(follow, at);
    if ((byte != '{' && byte != '[') || follow->old->text[old->begin] != byte) return parse_value(follow, at);
    size_t size = old->end - old->begin, left = follow->size - at, most = size < left ? size : left;
    if (known < most) known += clo_json_same(follow->old->text + old->begin + known, follow->text + at + known, most - known);
    if (known < size) return follow_container(follow, old, at, known);
    return copy_entries(follow, old->first, old->last, old->origin + at - old->begin) ? at + size : 0;
}

bool clo_json_follow(const struct clo_json_view *old, const uint8_t *text, size_t size, size_t same,
                     struct clo_json_builder *builder) {
    struct follow follow = {.old = old, .text = text, .size = size, .builder = builder};
    struct clo_json_value root = clo_json_root(old);
    bool done = follow_value(&follow, &root, 0, same) == size && size;
    free(follow.fresh);
    free(follow.gaps);
    if (done) clo_json_finish(builder);
    return done;
}
