/* Children passed over quickly.
 *
 * What stands between commas outside of strings and of inner brackets is a child. Commas and brackets are found 64 bytes at a
 * time: a byte is in a string if an odd number of quotes stands before it. That does not go as far as the next container
 * with an entry, which is hopped over, nor over escapes, for which the string is gone through. */
#include "pass.h"

#include "cdef_json_diff.h"
#include "scan.h"

enum { BLOCK = 64, NEARBY = 48 /* bytes to the next entry that are not worth it */ };

/* A bit for each byte of a block. */
struct bits {
    uint64_t quotes, commas, opened, closed, escapes;
};

/* Where it is, and what it has found. */
struct pass {
    size_t begin, count, level;
};

/* A comma or bracket outside of strings; false: the container ends. */
static bool take(struct pass *pass, uint8_t byte, size_t at) {
    if (byte == ',') {
        if (pass->level) return true;
        pass->begin = at + 1;
        pass->count++;
        return true;
    }
    if (byte == '[' || byte == '{') return ++pass->level;
    return pass->level--;
}

#if defined(__SSE2__)
#include <immintrin.h>

static inline uint64_t equal_16(__m128i bytes, char byte) {
    return (uint64_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte)));
}

static inline struct bits bits_of_vector(const uint8_t *text) {
    struct bits bits = {0};
    for (int i = 0; i < BLOCK; i += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(text + i));
        __m128i curly = _mm_or_si128(bytes, _mm_set1_epi8(0x20)); /* [ becomes {, and ] becomes } */
        bits.quotes |= equal_16(bytes, '"') << i;
        bits.commas |= equal_16(bytes, ',') << i;
        bits.escapes |= equal_16(bytes, '\\') << i;
        bits.opened |= equal_16(curly, '{') << i;
        bits.closed |= equal_16(curly, '}') << i;
    }
    return bits;
}

#define WITH
#define NAME(x) x##_vector
#include "pass_with.h"
#undef WITH
#undef NAME
#endif

#if defined(__x86_64__)
#define WITH __attribute__((target("avx2,popcnt,bmi")))
#define NAME(x) x##_avx2
WITH static inline uint64_t equal_32(__m256i bytes, char byte) {
    return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte)));
}

WITH static inline struct bits bits_of_avx2(const uint8_t *text) {
    struct bits bits = {0};
    for (int i = 0; i < BLOCK; i += 32) {
        __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)(text + i));
        __m256i curly = _mm256_or_si256(bytes, _mm256_set1_epi8(0x20));
        bits.quotes |= equal_32(bytes, '"') << i;
        bits.commas |= equal_32(bytes, ',') << i;
        bits.escapes |= equal_32(bytes, '\\') << i;
        bits.opened |= equal_32(curly, '{') << i;
        bits.closed |= equal_32(curly, '}') << i;
    }
    return bits;
}
#include "pass_with.h"
#endif

static enum clo_json_cpu best(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("popcnt") && __builtin_cpu_supports("bmi")) return clo_json_best();
#endif
    return CLO_JSON_VECTOR;
}

/* From a child's begin to the begin of the first that ends at `limit` or later, or has an escape. */
size_t clo_json_pass(const uint8_t *text, size_t at, size_t limit, size_t *count, enum clo_json_cpu cpu) {
    struct pass pass = {.begin = at};
    bool inside = false, stopped = false;
#if defined(__x86_64__)
    if (cpu == CLO_JSON_AVX2 && best() == CLO_JSON_AVX2)
        at = pass_avx2(&pass, text, at, limit, &inside, &stopped);
    else
#endif
#if defined(__SSE2__)
    if (cpu != CLO_JSON_PLAIN)
        at = pass_vector(&pass, text, at, limit, &inside, &stopped);
#else
    (void)cpu;
#endif
    for (; !stopped && at < limit && text[at] != '\\'; at++) {
        uint8_t byte = text[at];
        if (byte == '"') inside = !inside;
        if (inside || (byte != ',' && byte != '[' && byte != '{' && byte != ']' && byte != '}')) continue;
        stopped = !take(&pass, byte, at);
    }
    *count += pass.count;
    return pass.begin;
}

static size_t next_entry(const struct clo_json_walk *walk) {
    return walk->entry < walk->last ? walk->origin + walk->view->entries[walk->entry].gap : SIZE_MAX;
}

/* Over children that have an entry each. */
static size_t hop(struct clo_json_walk *walk, size_t limit, size_t *end) {
    const struct clo_json_view *view = walk->view;
    size_t count = 0, at = walk->at;
    for (; walk->entry < walk->last; count++) {
        const struct clo_json_entry *entry = &view->entries[walk->entry];
        size_t begin = walk->origin + entry->gap, behind = begin + entry->size;
        if (behind >= limit) break;
        if (walk->object ? clo_json_string_end(view->text, at, view->size) + 1 != begin : begin != at) break;
        walk->entry += 1 + entry->inside;
        walk->origin = *end = behind;
        at = behind + (behind < walk->end);
    }
    walk->at = at;
    return count;
}

void clo_json_look_ahead(const struct clo_json_walk *walk, struct clo_json_ahead *ahead) {
    ahead->after = *walk;
    ahead->there = clo_json_next(&ahead->after, &ahead->child);
}

size_t clo_json_pass_within(struct clo_json_walk *walk, size_t limit, size_t *end, struct clo_json_ahead *ahead) {
    const uint8_t *text = walk->view->text;
    size_t count = 0;
    for (;;) {
        count += hop(walk, limit, end);
        size_t entry = next_entry(walk), stop = entry < limit ? entry : limit;
        if (walk->at < stop && stop - walk->at > NEARBY) {
            size_t next = clo_json_pass(text, walk->at, stop, &count, CLO_JSON_AVX2);
            if (next != walk->at) *end = next - 1;
            walk->at = next;
        }
        clo_json_look_ahead(walk, ahead);
        if (!ahead->there || ahead->child.value.end >= limit) return count;
        *end = ahead->child.value.end;
        *walk = ahead->after;
        count++;
    }
}
