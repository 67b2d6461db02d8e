/* The parser for machines with AVX2. */
#if defined(__x86_64__)
#include "parse.h"

#include <immintrin.h>

#define WITH __attribute__((target("avx2,bmi")))
#define INLINE static inline __attribute__((always_inline, target("avx2,bmi")))
#define NAME(x) x##_avx2

INLINE const uint8_t *NAME(plain)(const uint8_t *p, const uint8_t *end) {
    for (; end - p >= 32; p += 32) {
        __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)p);
        __m256i found = _mm256_or_si256(_mm256_or_si256(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('"')),
                                                        _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\\'))),
                                        _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x1f)), bytes));
        unsigned mask = (unsigned)_mm256_movemask_epi8(found);
        if (mask) return p + __builtin_ctz(mask);
    }
    while (p < end && *p != '"' && *p != '\\' && *p >= 0x20) p++;
    return p;
}

#include "parse_with.h"
#else
typedef int clo_json_no_avx2; /* ISO C forbids an empty file */
#endif
