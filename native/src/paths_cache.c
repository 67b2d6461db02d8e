/* Paths that were matched before. A guest chooses which paths come: it can make the cache useless, for a time per path of
 * one look and one match, but never wrong, since the whole text is compared. */
#include <stdlib.h>
#include <string.h>

#include "paths.h"

enum { KEYS = 2048, TEXT_MAX = 122, LINE = 64 };

/* Two lines of the processor's cache. */
struct key {
    uint32_t hash;
    uint16_t size; /* 0: nothing is here */
    char text[TEXT_MAX];
};

_Static_assert(sizeof(struct key) == 2 * LINE, "a key is two lines");

struct clo_path_cache {
    const struct clo_paths *paths;
    char *room; /* what the keys lie in, each at the beginning of a line */
    struct key *keys;
    uint64_t *bits; /* [key][words] */
    size_t words;
};

static uint64_t mix(uint64_t one, uint64_t other) {
    unsigned __int128 product = (unsigned __int128)(one ^ 0x9e3779b97f4a7c15ULL) * (other ^ 0xd1b54a32d192ed03ULL);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t read_eight(const char *text) {
    uint64_t eight;
    memcpy(&eight, text, sizeof eight);
    return eight;
}

static uint64_t hash_of(const char *text, size_t size) {
    uint64_t hash = size, last = 0;
    if (size < 8) {
        memcpy(&last, text, size);
        return mix(hash, last);
    }
    for (size_t at = 0; size - at > 16; at += 16) hash = mix(read_eight(text + at) ^ hash, read_eight(text + at + 8));
    if (size > 8) last = read_eight(text + (size < 16 ? 0 : size - 16));
    return mix(last ^ hash, read_eight(text + size - 8)); /* the last bytes may count twice */
}

/* A cache of 256 KiB and, for each 64 sets, 16 KiB more; never more later, and until paths come almost none of it is in
 * memory: the keys begin as the zeros that the kernel gives. NULL: no memory. The patterns must outlive it. */
struct clo_path_cache *clo_path_cache_new(const struct clo_paths *paths) {
    struct clo_paths_info info;
    clo_paths_info(paths, &info);
    struct clo_path_cache *cache = calloc(1, sizeof *cache);
    if (!cache) return NULL;
    cache->paths = paths;
    cache->words = (info.sets + 63) / 64;
    cache->room = calloc(KEYS + 1, sizeof *cache->keys);
    cache->bits = calloc(KEYS * cache->words, sizeof *cache->bits);
    if (!cache->room || !cache->bits) {
        clo_path_cache_free(cache);
        return NULL;
    }
    cache->keys = (struct key *)(void *)(cache->room + (LINE - (uintptr_t)cache->room % LINE) % LINE);
    return cache;
}

/* NULL is fine. */
void clo_path_cache_free(struct clo_path_cache *cache) {
    if (!cache) return;
    free(cache->room);
    free(cache->bits);
    free(cache);
}

void clo_path_cache_clear(struct clo_path_cache *cache) {
    for (size_t i = 0; i < KEYS; i++) cache->keys[i].size = 0;
}

static bool is_kept(const struct key *key, uint64_t hash, const char *path, size_t size) {
    return key->size == size && key->hash == hash >> 32 && !memcmp(key->text, path, size);
}

static void copy(uint64_t *bits, const uint64_t *kept, size_t words) {
    for (size_t n = 0; n < words; n++) bits[n] = kept[n];
}

/* Whether these very bytes were matched before, and what was found then. */
bool clo_path_cache_find(const struct clo_path_cache *cache, const char *path, size_t size, uint64_t *bits) {
    if (!size || size > TEXT_MAX) return false;
    uint64_t hash = hash_of(path, size);
    if (!is_kept(&cache->keys[hash % KEYS], hash, path, size)) return false;
    copy(bits, cache->bits + hash % KEYS * cache->words, cache->words);
    return true;
}

/* As clo_paths_match; what was found is kept in the place of another path. */
void clo_path_cache_match(struct clo_path_cache *cache, const char *path, size_t size, uint64_t *bits) {
    if (!size || size > TEXT_MAX) {
        clo_paths_match(cache->paths, path, size, bits);
        return;
    }
    uint64_t hash = hash_of(path, size);
    struct key *key = &cache->keys[hash % KEYS];
    uint64_t *kept = cache->bits + hash % KEYS * cache->words;
    if (!is_kept(key, hash, path, size)) {
        clo_paths_match(cache->paths, path, size, kept);
        key->hash = (uint32_t)(hash >> 32);
        key->size = (uint16_t)size;
        memcpy(key->text, path, size);
    }
    copy(bits, kept, cache->words);
}
