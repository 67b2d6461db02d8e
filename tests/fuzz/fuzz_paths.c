/* sources: native/src/paths.c native/src/paths_automaton.c native/src/paths_cache.c native/src/paths_direct.c native/src/paths_lists.c native/src/paths_normal.c native/src/paths_parse.c native/src/paths_run.c native/src/paths_table.c native/src/paths_tree.c
 *
 * Any patterns are refused with a reason that holds, or are built; then automata of any size and the patterns by
 * themselves put every path, in its normal form and not, into the same sets, and a cache keeps that. A normal form stays
 * what it is. */
#include <stdlib.h>
#include <string.h>

#include "paths.h"

enum { PATTERNS_MAX = 64, SETS = 70, WORDS = 2, PATH_MAX_HERE = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int held) {
    if (!held) abort();
}

static struct clo_paths *build(const struct clo_pattern_asked *asked, size_t count, size_t states_max) {
    struct clo_paths *paths;
    uint32_t bad = 0;
    int status = clo_paths_build_within(asked, count, SETS, states_max, &paths, &bad);
    if (status) {
        check(!paths && bad < count);
        check(status == -EINVAL ? clo_pattern_fault(asked[bad].text, asked[bad].size) != CLO_PATTERN_FINE : status == -E2BIG);
        return NULL;
    }
    struct clo_paths_info info;
    clo_paths_info(paths, &info);
    check(info.patterns == count && info.sets == SETS && info.direct <= count);
    return paths;
}

/* A path of exactly its size, so that a byte read beyond is found. */
static void compare(struct clo_paths *const *paths, struct clo_path_cache *cache, const char *text, size_t size) {
    char *path = malloc(size ? size : 1);
    uint64_t expected[WORDS], found[WORDS];
    if (size) memcpy(path, text, size);
    clo_paths_match(paths[0], path, size, expected);
    for (size_t i = 1; i < 3; i++) {
        clo_paths_match(paths[i], path, size, found);
        check(!memcmp(expected, found, sizeof found));
    }
    for (size_t i = 0; i < 2; i++) {
        clo_path_cache_match(cache, path, size, found);
        check(!memcmp(expected, found, sizeof found));
    }
    free(path);
}

static void compare_normal(struct clo_paths *const *paths, struct clo_path_cache *cache, const char *text, size_t size) {
    char out[PATH_MAX_HERE + 2], again[PATH_MAX_HERE + 2];
    bool climbs;
    if (size > PATH_MAX_HERE) return;
    size_t used = clo_path_normalise(NULL, 0, text, size, out, sizeof out, &climbs);
    check(used && out[0] == '/');
    check(clo_path_normalise("/x", 2, out, used, again, used, &climbs) == used && !memcmp(out, again, used) && !climbs);
    if (used > 1) check(!clo_path_normalise("", 0, out, used, again, used - 1, &climbs));
    compare(paths, cache, out, used);
}

/* The input: a bound of states, then texts with a NUL after each; those before an empty one are patterns, the others
 * paths. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct clo_pattern_asked asked[PATTERNS_MAX];
    size_t count = 0, at = 1;
    const char *text = (const char *)data;
    while (at < size && text[at] && count < PATTERNS_MAX) {
        const char *end = memchr(text + at, 0, size - at);
        size_t length = end ? (size_t)(end - text) - at : size - at;
        asked[count] = (struct clo_pattern_asked){.text = text + at, .size = (uint32_t)length, .set = (uint32_t)count};
        count++;
        at += length + 1;
    }
    if (at >= size) return 0;
    struct clo_paths *paths[3] = {build(asked, count, 0), build(asked, count, 1), build(asked, count, data[0] + 2U)};
    check(!paths[0] == !paths[1] && !paths[0] == !paths[2]);
    struct clo_path_cache *cache = paths[0] ? clo_path_cache_new(paths[0]) : NULL;
    while (cache && at < size) {
        const char *end = memchr(text + at, 0, size - at);
        size_t length = end ? (size_t)(end - text) - at : size - at;
        compare(paths, cache, text + at, length);
        compare_normal(paths, cache, text + at, length);
        at += length + 1;
    }
    clo_path_cache_free(cache);
    for (size_t i = 0; i < 3; i++) clo_paths_free(paths[i]);
    return 0;
}
