/* Going over canonical text. */
#ifndef CLOCHE_JSON_SCAN_H
#define CLOCHE_JSON_SCAN_H

#include "parse.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__SSE2__) || defined(__aarch64__)
/* The first quote or backslash of 16 bytes; 16: there is none. */
static inline size_t clo_json_first_mark(const uint8_t *p) {
#if defined(__SSE2__)
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i found = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')));
    unsigned mask = (unsigned)_mm_movemask_epi8(found);
    return mask ? (size_t)__builtin_ctz(mask) : 16;
#else
    uint8x16_t bytes = vld1q_u8(p);
    uint8x16_t found = vorrq_u8(vceqq_u8(bytes, vdupq_n_u8('"')), vceqq_u8(bytes, vdupq_n_u8('\\')));
    uint64_t mask = vget_lane_u64(vreinterpret_u64_u8(vshrn_n_u16(vreinterpretq_u16_u8(found), 4)), 0);
    return mask ? (size_t)__builtin_ctzll(mask) / 4 : 16; /* four bits for each byte */
#endif
}
#endif

/* Behind the string that begins at `at`. */
static inline size_t clo_json_string_end(const uint8_t *text, size_t at, size_t size) {
    for (at++;;) {
#if defined(__SSE2__) || defined(__aarch64__)
        for (size_t plain = 16; plain == 16 && size - at >= 16; at += plain) plain = clo_json_first_mark(text + at);
#else
        (void)size;
#endif
        while (text[at] != '"' && text[at] != '\\') at++;
        if (text[at] == '"') return at + 1;
        at += 2;
    }
}

/* Behind the number or word that begins at `at`. */
static inline size_t clo_json_word_end(const uint8_t *text, size_t at, size_t size) {
    while (at < size && text[at] != ',' && text[at] != ']' && text[at] != '}') at++;
    return at;
}

#endif
