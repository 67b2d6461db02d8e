/* A pattern by itself: the set of all positions in it that the path so far leads to, one bit each, byte after byte. The
 * time is that of the path's size times the pattern's in words of 64 bits, whatever either is. */
#include <stdlib.h>
#include <string.h>

#include "paths.h"

enum { WORDS_MAX = (CLO_TOKENS_MAX + 2) / 64 + 1 };

static struct clo_byte_set set_of(const struct clo_byte_sets *sets, unsigned token) {
    struct clo_byte_set set = {0};
    if (token >= CLO_TOKEN_SETS) return sets->set[token - CLO_TOKEN_SETS];
    if (token < 256) set.bits[token / 64] = 1ULL << token % 64;
    return set; /* STAR and DEEP take none by themselves */
}

/* Bytes that go the same ways are one class: their columns are equal. */
static void fill(struct clo_direct *direct, const struct clo_tokens *tokens, const struct clo_byte_sets *sets,
                 size_t classes) {
    size_t words = direct->words;
    uint64_t *star = direct->take + classes * words, *deep = star + words;
    for (size_t at = 0; at < tokens->count; at++) {
        struct clo_byte_set set = set_of(sets, tokens->token[at]);
        for (unsigned byte = 0; byte < 256; byte++)
            if (clo_set_has(&set, byte)) direct->take[direct->class_of[byte] * words + (at + 1) / 64] |= 1ULL << (at + 1) % 64;
        if (tokens->token[at] == CLO_TOKEN_STAR) star[at / 64] |= 1ULL << at % 64;
        if (tokens->token[at] == CLO_TOKEN_DEEP) deep[at / 64] |= 1ULL << at % 64;
    }
}

static size_t find_classes(uint8_t class_of[256], const struct clo_tokens *tokens, const struct clo_byte_sets *sets) {
    size_t count = 1;
    memset(class_of, 0, 256);
    for (size_t at = 0; at < tokens->count; at++) {
        struct clo_byte_set set = set_of(sets, tokens->token[at]);
        clo_split_classes(class_of, &count, &set);
    }
    return count;
}

/* Makes the matcher of a pattern as it was parsed, to be freed with free(). 0 or -ENOMEM. */
int clo_direct_make(const struct clo_tokens *tokens, const struct clo_byte_sets *sets, uint32_t set, struct clo_direct **out) {
    uint8_t class_of[256];
    size_t words = tokens->count / 64 + 1, classes = find_classes(class_of, tokens, sets);
    size_t bytes = sizeof **out + (classes + 2) * words * sizeof(uint64_t);
    struct clo_direct *direct = calloc(1, bytes);
    if (!direct) return -ENOMEM;
    direct->bytes = bytes;
    direct->set = set;
    direct->words = (uint32_t)words;
    direct->n_tokens = (uint32_t)tokens->count;
    direct->below = tokens->below;
    direct->star = direct->take + classes * words;
    direct->deep = direct->star + words;
    memcpy(direct->class_of, class_of, sizeof class_of);
    fill(direct, tokens, sets, classes);
    *out = direct;
    return 0;
}

/* Positions after a byte; 0 if there is none. A position at DEEP is entered by a '/' and then stays: what follows it
 * begins there at once, and again after each '/'. One at STAR stays until a '/', and what follows begins at any byte. */
static uint64_t step(const struct clo_direct *direct, uint64_t *at, unsigned byte) {
    const uint64_t *take = direct->take + direct->class_of[byte] * direct->words;
    uint64_t taken = 0, fresh = 0, stayed = 0, any = 0; /* what the word before hands on to this one */
    bool slash = byte == '/';
    for (size_t i = 0; i < direct->words; i++) {
        uint64_t star = direct->star[i], deep = direct->deep[i], here = at[i];
        uint64_t now = (here << 1 | taken) & take[i];
        taken = here >> 63;
        uint64_t after = slash ? here & deep : 0; /* DEEP stays, what follows begins after the '/' */
        uint64_t entered = (now & deep) | after;
        now |= entered << 1 | fresh;
        fresh = entered >> 63;
        now |= (here & deep) | (slash ? 0 : here & star);
        uint64_t starred = now & star;
        now |= starred << 1 | stayed;
        stayed = starred >> 63;
        at[i] = now;
        any |= now;
    }
    return any;
}

static bool is_at(const uint64_t *at, uint32_t position) { return at[position / 64] >> position % 64 & 1; }

/* Whether an absolute path matches. */
bool clo_direct_match(const struct clo_direct *direct, const char *path, size_t size) {
    uint64_t at[WORDS_MAX] = {1};
    for (size_t i = 0; i < size; i++) {
        if (direct->below && path[i] == '/' && is_at(at, direct->n_tokens)) return true;
        if (!step(direct, at, (unsigned char)path[i])) return false;
    }
    return is_at(at, direct->n_tokens);
}
