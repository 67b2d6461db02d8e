/* Keys that an object has twice. */
#include "parse.h"

#include <stdlib.h>
#include <sys/random.h>

enum { FEW = 16 };

int clo_json_more_keys(struct clo_json_builder *builder) {
    if (builder->keys_room > SIZE_MAX / 4 / sizeof *builder->keys) return CLO_JSON_MEMORY;
    size_t room = builder->keys_room ? builder->keys_room * 2 : 64;
    struct clo_json_key *keys = realloc(builder->keys, room * sizeof *keys);
    if (!keys) return CLO_JSON_MEMORY;
    builder->keys = keys;
    builder->keys_room = room;
    return CLO_JSON_FINE;
}

static bool are_same(const uint8_t *text, const struct clo_json_key *one, const struct clo_json_key *other) {
    return one->hash == other->hash && one->size == other->size &&
           !memcmp(text + one->begin, text + other->begin, one->size);
}

static int check_few(const uint8_t *text, const struct clo_json_key *keys, size_t count, size_t *where) {
    uint64_t seen = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t bit = UINT64_C(1) << (keys[i].hash & 63);
        if (seen & bit) {
            for (size_t j = 0; j < i; j++)
                if (are_same(text, &keys[j], &keys[i])) return *where = keys[i].begin - 1, CLO_JSON_DUPLICATE;
        }
        seen |= bit;
    }
    return CLO_JSON_FINE;
}

/* In a table by a hash of all their bytes with a seed that nobody who writes a text can know: it can't be made slow. */
static int check_many(struct clo_json_builder *builder, const uint8_t *text, size_t first, size_t *where) {
    struct clo_json_key *keys = builder->keys + first;
    size_t count = builder->keys_used - first, room = 64;
    uint64_t seed = 0;
    while (room < count * 2) room *= 2;
    if (room > builder->table_room) {
        free(builder->table);
        builder->table_room = 0;
        builder->table = malloc(room * sizeof *builder->table);
        if (!builder->table) return CLO_JSON_MEMORY;
        builder->table_room = room;
    }
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed) seed ^= (uint64_t)(uintptr_t)builder->table;
    memset(builder->table, 0, room * sizeof *builder->table);
    for (size_t i = 0; i < count; i++) {
        keys[i].hash = clo_json_hash_seeded(text + keys[i].begin, keys[i].size, seed);
        size_t at = keys[i].hash & (room - 1);
        for (; builder->table[at]; at = (at + 1) & (room - 1)) {
            if (are_same(text, &keys[builder->table[at] - 1], &keys[i]))
                return *where = keys[i].begin - 1, CLO_JSON_DUPLICATE;
        }
        builder->table[at] = i + 1;
    }
    return CLO_JSON_FINE;
}

int clo_json_check_keys(struct clo_json_builder *builder, const uint8_t *text, size_t first, size_t *where) {
    size_t count = builder->keys_used - first;
    if (count <= FEW) return check_few(text, builder->keys + first, count, where);
    return check_many(builder, text, first, where);
}
