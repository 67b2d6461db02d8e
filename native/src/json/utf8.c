/* Whether bytes are UTF-8: no overlong forms, no surrogates, nothing beyond U+10FFFF. */
#include "parse.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static size_t ascii(const uint8_t *text, size_t at, size_t size) {
    for (; size - at >= 32; at += 32) {
        uint64_t words[4];
        memcpy(words, text + at, sizeof words);
        if ((words[0] | words[1] | words[2] | words[3]) & UINT64_C(0x8080808080808080)) break;
    }
    while (at < size && text[at] < 0x80) at++;
    return at;
}

static bool follows(uint8_t byte) { return (byte & 0xc0) == 0x80; }

/* Bytes of the character that begins there with a byte of at least 0x80; 0: it is none. */
static size_t character(const uint8_t *p, size_t left) {
    uint8_t first = *p;
    if (first < 0xc2 || first > 0xf4 || left < 2 || !follows(p[1])) return 0;
    if (first < 0xe0) return 2;
    if (left < 3 || !follows(p[2])) return 0;
    if (first < 0xf0) {
        bool overlong = first == 0xe0 && p[1] < 0xa0, surrogate = first == 0xed && p[1] >= 0xa0;
        return overlong || surrogate ? 0 : 3;
    }
    bool overlong = first == 0xf0 && p[1] < 0x90, beyond = first == 0xf4 && p[1] >= 0x90;
    return left < 4 || !follows(p[3]) || overlong || beyond ? 0 : 4;
}

#if defined(__x86_64__)
/* What two bytes in a row can have against them. Each of three tables, by the first byte's upper half, its lower half and
 * the second byte's upper half, says what is possible; what all three say is so. */
enum {
    SHORT = 1,        /* a first byte, and no byte that follows */
    LONG = 2,         /* a byte that follows after ASCII */
    OVERLONG_3 = 4,
    LARGE = 8,        /* beyond U+10FFFF */
    SURROGATE = 16,
    OVERLONG_2 = 32,
    OVERLONG_4 = 64,  /* or F5 and more before 80..8F */
    PAIR = 128,       /* two that follow: right where a longer character is */
    ANY = SHORT | LONG | PAIR,
    MORE = ANY | LARGE | OVERLONG_4
};

#define TABLE(...) _mm256_broadcastsi128_si256(_mm_setr_epi8(__VA_ARGS__))
#define EIGHT(x) x, x, x, x, x, x, x, x

__attribute__((target("avx2"))) static inline __m256i faults(__m256i bytes, __m256i before) {
    const __m256i low = _mm256_set1_epi8(15), joint = _mm256_permute2x128_si256(before, bytes, 0x21);
    const __m256i first_high = TABLE(EIGHT(LONG), (char)PAIR, (char)PAIR, (char)PAIR, (char)PAIR, SHORT | OVERLONG_2, SHORT,
                                     SHORT | OVERLONG_3 | SURROGATE, SHORT | LARGE | OVERLONG_4);
    const __m256i first_low =
        TABLE((char)(ANY | OVERLONG_2 | OVERLONG_3 | OVERLONG_4), (char)(ANY | OVERLONG_2), (char)ANY, (char)ANY,
              (char)(ANY | LARGE), (char)MORE, (char)MORE, (char)MORE, (char)MORE, (char)MORE, (char)MORE, (char)MORE,
              (char)MORE, (char)(MORE | SURROGATE), (char)MORE, (char)MORE);
    const __m256i second_high =
        TABLE(EIGHT(SHORT), (char)(LONG | OVERLONG_2 | PAIR | OVERLONG_3 | OVERLONG_4),
              (char)(LONG | OVERLONG_2 | PAIR | OVERLONG_3 | LARGE), (char)(LONG | OVERLONG_2 | PAIR | SURROGATE | LARGE),
              (char)(LONG | OVERLONG_2 | PAIR | SURROGATE | LARGE), SHORT, SHORT, SHORT, SHORT);
    __m256i one = _mm256_alignr_epi8(bytes, joint, 15), two = _mm256_alignr_epi8(bytes, joint, 14);
    __m256i three = _mm256_alignr_epi8(bytes, joint, 13);
    __m256i found = _mm256_and_si256(
        _mm256_shuffle_epi8(first_high, _mm256_and_si256(_mm256_srli_epi16(one, 4), low)),
        _mm256_shuffle_epi8(first_low, _mm256_and_si256(one, low)));
    found = _mm256_and_si256(found,
                             _mm256_shuffle_epi8(second_high, _mm256_and_si256(_mm256_srli_epi16(bytes, 4), low)));
    __m256i longer = _mm256_or_si256(_mm256_subs_epu8(two, _mm256_set1_epi8(0xe0 - 0x80)),
                                     _mm256_subs_epu8(three, _mm256_set1_epi8(0xf0 - 0x80)));
    return _mm256_xor_si256(found, _mm256_and_si256(longer, _mm256_set1_epi8((char)0x80)));
}

/* Where the character begins that the byte before `at` is of, if it goes on at `at`; else `at`. */
static size_t boundary(const uint8_t *text, size_t from, size_t at) {
    for (size_t back = 1; back <= 3 && at - from >= back; back++) {
        uint8_t byte = text[at - back];
        if (follows(byte)) continue;
        size_t bytes = byte < 0xc0 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
        return bytes > back ? at - back : at;
    }
    return at;
}

/* On from a character's begin while blocks are right and not all ASCII; gives the begin of one. */
__attribute__((target("avx2"))) static size_t go_on_avx2(const uint8_t *text, size_t from, size_t size) {
    __m256i before = _mm256_setzero_si256();
    size_t at = from;
    for (bool plain = true; size - at >= 32; at += 32) {
        __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)(text + at));
        bool ascii_only = !_mm256_movemask_epi8(bytes);
        if (plain && ascii_only && at > from) break;
        __m256i wrong = faults(bytes, before);
        if (!_mm256_testz_si256(wrong, wrong)) break;
        before = bytes;
        plain = ascii_only;
    }
    return boundary(text, from, at);
}
#endif

size_t clo_json_utf8_in(const uint8_t *text, size_t size, enum clo_json_cpu cpu) {
    for (size_t at = ascii(text, 0, size), stop; at < size; at = ascii(text, at, size)) {
#if defined(__x86_64__)
        if (cpu == CLO_JSON_AVX2 && size - at >= 64) at = go_on_avx2(text, at, size);
#endif
        stop = cpu == CLO_JSON_AVX2 && size - at >= 64 ? at + 64 : size;
        while (at < stop && text[at] >= 0x80) {
            size_t bytes = character(text + at, size - at);
            if (!bytes) return at;
            at += bytes;
        }
    }
    return size;
}

size_t clo_json_utf8(const uint8_t *text, size_t size) { return clo_json_utf8_in(text, size, clo_json_best()); }
