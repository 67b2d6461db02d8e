/* Values compared and hashed by what they are worth. They recurse as deep as the text is, at most CLO_JSON_DEPTH_MAX. */
#include "parse.h"

#include <stdlib.h>
#include <sys/random.h>

static bool is_number(uint8_t first) { return first == '-' || (first >= '0' && first <= '9'); }

uint64_t clo_json_hash_value(const struct clo_json_view *view, const struct clo_json_value *value) {
    const uint64_t array = UINT64_C(0x3c6ef372fe94f82b), object = UINT64_C(0xa54ff53a5f1d36f1);
    const uint8_t *text = view->text + value->begin;
    size_t size = value->end - value->begin;
    if (is_number(*text)) return clo_json_hash_number(text, size);
    if (*text != '{' && *text != '[') return clo_json_hash_bytes(text, size);
    struct clo_json_walk walk = clo_json_walk(view, value);
    struct clo_json_child child;
    uint64_t hash = 0, count = 0;
    for (; clo_json_next(&walk, &child); count++) {
        uint64_t inner = clo_json_hash_value(view, &child.value);
        if (walk.object) {
            uint64_t key = clo_json_hash_bytes(view->text + child.key_begin, child.key_end - child.key_begin);
            hash += clo_json_mix(inner ^ object, key ^ array);
        } else {
            hash = clo_json_mix(hash ^ array, inner ^ object);
        }
    }
    return clo_json_mix(hash ^ (walk.object ? object : array), count ^ UINT64_C(0x510e527fade682d1));
}

/* Bytes known to be the same: those of `one` from `begin` to `end`, and as many of the other, `shift` further on. */
struct comparing {
    const struct clo_json_view *one, *other;
    size_t begin, end, shift;
};

static int compare(struct comparing *c, const struct clo_json_value *value, const struct clo_json_value *with);

/* The members of an object in a table by their keys. */
struct members {
    struct clo_json_child *children;
    size_t *table; /* number + 1 */
    size_t room;
    uint64_t seed;
};

static void free_members(struct members *members) {
    free(members->children);
    free(members->table);
}

static size_t place(const struct members *members, const uint8_t *key, size_t size) {
    return clo_json_hash_seeded(key, size, members->seed) & (members->room - 1);
}

static int list_members(struct members *members, const struct clo_json_view *view, struct clo_json_walk walk,
                        size_t count) {
    members->room = 64;
    while (members->room < count * 2) members->room *= 2;
    members->children = malloc(count * sizeof *members->children);
    members->table = calloc(members->room, sizeof *members->table);
    if (!members->children || !members->table) return -CLO_JSON_MEMORY;
    members->seed = (uint64_t)(uintptr_t)members->table;
    if (getrandom(&members->seed, sizeof members->seed, GRND_NONBLOCK) < 0) members->seed ^= count;
    for (size_t i = 0; i < count && clo_json_next(&walk, &members->children[i]); i++) {
        const struct clo_json_child *child = &members->children[i];
        size_t at = place(members, view->text + child->key_begin, child->key_end - child->key_begin);
        while (members->table[at]) at = (at + 1) & (members->room - 1);
        members->table[at] = i + 1;
    }
    return 0;
}

static const struct clo_json_child *find_member(const struct members *members, const struct clo_json_view *view,
                                                const uint8_t *key, size_t size) {
    for (size_t at = place(members, key, size); members->table[at]; at = (at + 1) & (members->room - 1)) {
        const struct clo_json_child *child = &members->children[members->table[at] - 1];
        if (child->key_end - child->key_begin == size && !memcmp(view->text + child->key_begin, key, size)) return child;
    }
    return NULL;
}

static bool have_same_key(const struct comparing *c, const struct clo_json_child *one,
                          const struct clo_json_child *other) {
    size_t size = one->key_end - one->key_begin;
    return size == other->key_end - other->key_begin &&
           !memcmp(c->one->text + one->key_begin, c->other->text + other->key_begin, size);
}

/* The members left, from `child` of the one and `begin` of the other, of which both have `left`, in any order. */
static int compare_unordered(struct comparing *c, struct clo_json_walk walk, struct clo_json_child child,
                             struct clo_json_walk begin, size_t left) {
    struct members members;
    int equal = list_members(&members, c->other, begin, left);
    if (!equal) {
        do {
            const uint8_t *key = c->one->text + child.key_begin;
            const struct clo_json_child *with = find_member(&members, c->other, key, child.key_end - child.key_begin);
            equal = with ? compare(c, &child.value, &with->value) : 0;
        } while (equal == 1 && clo_json_next(&walk, &child));
    }
    free_members(&members);
    return equal;
}

static int compare_children(struct comparing *c, const struct clo_json_value *value,
                            const struct clo_json_value *with) {
    size_t left = clo_json_count(c->one, value);
    if (left != clo_json_count(c->other, with)) return 0;
    struct clo_json_walk walk = clo_json_walk(c->one, value), other = clo_json_walk(c->other, with);
    struct clo_json_child child, beside;
    for (; clo_json_next(&walk, &child); left--) {
        struct clo_json_walk before = other;
        clo_json_next(&other, &beside);
        if (walk.object && !have_same_key(c, &child, &beside)) return compare_unordered(c, walk, child, before, left);
        int equal = compare(c, &child.value, &beside.value);
        if (equal != 1) return equal;
    }
    return 1;
}

/* Bytes are compared once: what is the same is remembered, and inside of it nothing is looked at. */
static int compare(struct comparing *c, const struct clo_json_value *value, const struct clo_json_value *with) {
    const uint8_t *one = c->one->text + value->begin, *other = c->other->text + with->begin;
    size_t size = value->end - value->begin, other_size = with->end - with->begin;
    if (is_number(*one) && is_number(*other)) return clo_json_equal_numbers(one, size, other, other_size);
    if (*one != *other) return 0;
    if (*one != '{' && *one != '[') return size == other_size && !memcmp(one, other, size);
    if (c->shift != with->begin - value->begin || value->begin < c->begin || value->begin >= c->end) {
        size_t same = clo_json_same(one, other, size < other_size ? size : other_size);
        *c = (struct comparing){c->one, c->other, value->begin, value->begin + same, with->begin - value->begin};
    }
    if (size == other_size && value->end <= c->end) return 1;
    return compare_children(c, value, with);
}

int clo_json_equal_values(const struct clo_json_view *one, const struct clo_json_value *value,
                          const struct clo_json_view *other, const struct clo_json_value *with) {
    struct comparing c = {.one = one, .other = other};
    return compare(&c, value, with);
}
