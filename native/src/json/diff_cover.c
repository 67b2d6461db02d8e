/* Whether two stretches of text have so little in common that a replace is the shortest patch.
 *
 * The old one is cut into windows, and these are looked for at every place of the new one. A window that is nowhere has a
 * change in it, and each change takes an operation that is longer than a window. */
#include <stdlib.h>

#include "diff.h"

enum { WINDOW = 32, LEAST = 2048 /* bytes; less is not worth the question */ };

static const uint64_t FACTOR = 0x9e3779b97f4a7c15u;

static uint64_t hash_of(const uint8_t *window) {
    uint64_t hash = 0;
    for (int i = 0; i < WINDOW; i++) hash = hash * FACTOR + window[i];
    return hash;
}

static uint64_t leaving(void) {
    uint64_t factor = 1;
    for (int i = 0; i < WINDOW; i++) factor *= FACTOR;
    return factor;
}

/* Tags of hashes, each at its own place or not at all. */
struct tags {
    uint32_t *tags;
    unsigned shift;
};

static uint32_t *tag_of(const struct tags *tags, uint64_t hash) { return &tags->tags[hash * FACTOR >> tags->shift]; }

static bool make_tags(struct tags *tags, const uint8_t *text, size_t size) {
    size_t room = 64;
    tags->shift = 58;
    for (; room < size / WINDOW * 4; room *= 2) tags->shift--;
    tags->tags = calloc(room, sizeof *tags->tags);
    if (!tags->tags) return false;
    for (size_t at = 0; size - at >= WINDOW; at += WINDOW) {
        uint64_t hash = hash_of(text + at);
        *tag_of(tags, hash) = (uint32_t)hash | 1;
    }
    return true;
}

/* How many bytes of the text are in windows that have a tag. */
static size_t count_covered(const struct tags *tags, const uint8_t *text, size_t size) {
    size_t covered = 0;
    uint64_t hash = hash_of(text), last = leaving();
    for (size_t at = 0, next = 0;; at++) {
        if (at >= next && *tag_of(tags, hash) == ((uint32_t)hash | 1)) {
            covered += WINDOW;
            next = at + WINDOW;
        }
        if (size - at <= WINDOW) return covered;
        hash = hash * FACTOR + text[at + WINDOW] - text[at] * last;
    }
}

/* `whole`: bytes of the new container that the stretch is in. No memory counts as no. */
bool clo_json_diff_is_replaced(const struct clo_json_diff *diff, const uint8_t *old, size_t size, const uint8_t *new,
                               size_t new_size, size_t whole) {
    struct tags tags;
    if (size < LEAST || new_size < LEAST || new_size < whole / 2 || !make_tags(&tags, old, size)) return false;
    size_t other = new_size - count_covered(&tags, new, new_size);
    free(tags.tags);
    size_t operation = sizeof "{\"op\":\"replace\",\"path\":\"/000\",\"value\":0}," - 1 + diff->path.size;
    return other / WINDOW * operation > whole;
}
