/* Which of the parser's bodies runs; those for every machine are here. */
#include "parse.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

static inline const uint8_t *plain_end(const uint8_t *p, const uint8_t *end) {
    while (p < end && *p != '"' && *p != '\\' && *p >= 0x20) p++;
    return p;
}

#define WITH
#define INLINE static inline __attribute__((always_inline))
#define NAME(x) x##_plain
INLINE const uint8_t *NAME(plain)(const uint8_t *p, const uint8_t *end) { return plain_end(p, end); }
#include "parse_with.h"
#undef NAME

#define NAME(x) x##_vector
#if defined(__SSE2__)
INLINE const uint8_t *NAME(plain)(const uint8_t *p, const uint8_t *end) {
    for (; end - p >= 16; p += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i found = _mm_or_si128(
            _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'))),
            _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes));
        unsigned mask = (unsigned)_mm_movemask_epi8(found);
        if (mask) return p + __builtin_ctz(mask);
    }
    return plain_end(p, end);
}
#elif defined(__aarch64__)
INLINE const uint8_t *NAME(plain)(const uint8_t *p, const uint8_t *end) {
    for (; end - p >= 16; p += 16) {
        uint8x16_t bytes = vld1q_u8(p);
        uint8x16_t found = vorrq_u8(vorrq_u8(vceqq_u8(bytes, vdupq_n_u8('"')), vceqq_u8(bytes, vdupq_n_u8('\\'))),
                                    vcltq_u8(bytes, vdupq_n_u8(0x20)));
        /* Four bits for each byte. */
        uint64_t mask = vget_lane_u64(vreinterpret_u64_u8(vshrn_n_u16(vreinterpretq_u16_u8(found), 4)), 0);
        if (mask) return p + __builtin_ctzll(mask) / 4;
    }
    return plain_end(p, end);
}
#else
INLINE const uint8_t *NAME(plain)(const uint8_t *p, const uint8_t *end) { return plain_end(p, end); }
#endif
#include "parse_with.h"

enum clo_json_cpu clo_json_best(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) return CLO_JSON_AVX2;
#endif
    return CLO_JSON_VECTOR;
}

int clo_json_parse(struct clo_json_builder *builder, const uint8_t *text, size_t size, size_t *at) {
#if defined(__x86_64__)
    if (builder->cpu == CLO_JSON_AVX2) return clo_json_parse_avx2(builder, text, size, at);
#endif
    if (builder->cpu == CLO_JSON_PLAIN) return clo_json_parse_plain(builder, text, size, at);
    return clo_json_parse_vector(builder, text, size, at);
}

static int hex(uint8_t byte) {
    unsigned digit = (unsigned)byte - '0', letter = (unsigned)(byte | 0x20) - 'a';
    return digit < 10 ? (int)digit : letter < 6 ? (int)letter + 10 : -1;
}

/* Four digits at p. */
static int read_unit(const uint8_t *p, const uint8_t *end, uint32_t *unit) {
    int a, b, c, d;
    if (end - p >= 4) {
        a = hex(p[0]), b = hex(p[1]), c = hex(p[2]), d = hex(p[3]);
        *unit = (uint32_t)a << 12 | (uint32_t)b << 8 | (uint32_t)c << 4 | (uint32_t)d;
        return (a | b | c | d) < 0 ? CLO_JSON_ESCAPE : CLO_JSON_FINE;
    }
    while (p < end && hex(*p) >= 0) p++;
    return p < end ? CLO_JSON_ESCAPE : CLO_JSON_TRUNCATED;
}

static int read_low(const uint8_t *p, const uint8_t *end, uint32_t *point) {
    uint32_t low;
    for (int i = 0; i < 2; i++) {
        if (p + i == end) return CLO_JSON_TRUNCATED;
        if (p[i] != (i == 0 ? '\\' : 'u')) return CLO_JSON_SURROGATE;
    }
    int kind = read_unit(p + 2, end, &low);
    if (kind) return kind;
    if (low < 0xdc00 || low >= 0xe000) return CLO_JSON_SURROGATE;
    *point = 0x10000 + ((*point - 0xd800) << 10) + (low - 0xdc00);
    return CLO_JSON_FOREIGN;
}

int clo_json_read_escape(const uint8_t *p, const uint8_t *end, size_t *size, uint32_t *point) {
    *size = 2;
    *point = '/';
    if (end - p < 2) return CLO_JSON_TRUNCATED;
    if (p[1] != 'u') {
        if (clo_json_is_letter(p[1])) return CLO_JSON_FINE;
        return p[1] == '/' ? CLO_JSON_FOREIGN : CLO_JSON_ESCAPE;
    }
    int kind = read_unit(p + 2, end, point);
    if (kind) return kind;
    *size = 6;
    if (*point >= 0xd800 && *point < 0xe000) {
        *size = 12;
        return *point < 0xdc00 ? read_low(p + 6, end, point) : CLO_JSON_SURROGATE;
    }
    bool letter = *point >= '\b' && *point <= '\r' && *point != '\v';
    return *point >= 0x20 || letter || (p[5] >= 'A' && p[5] <= 'F') ? CLO_JSON_FOREIGN : CLO_JSON_FINE;
}

const uint8_t *clo_json_parse_escape(const uint8_t *p, const uint8_t *end, struct clo_json_fault *fault) {
    size_t size;
    uint32_t point;
    int kind = clo_json_read_escape(p, end, &size, &point);
    return kind ? clo_json_fail(fault, p, kind) : p + size;
}
