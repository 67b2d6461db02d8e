/* Bytes compared and hashed. Nothing is kept. */
#include "parse.h"

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx2"))) static size_t same_avx2(const uint8_t *one, const uint8_t *other, size_t size) {
    size_t at = 0;
    for (; size - at >= 128; at += 128) {
        __m256i all = _mm256_set1_epi8(-1);
        for (size_t i = 0; i < 128; i += 32) {
            __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)(one + at + i));
            __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(other + at + i));
            all = _mm256_and_si256(all, _mm256_cmpeq_epi8(a, b));
        }
        if (_mm256_movemask_epi8(all) != -1) break;
    }
    for (; size - at >= 32; at += 32) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)(one + at));
        __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(other + at));
        unsigned differ = ~(unsigned)_mm256_movemask_epi8(_mm256_cmpeq_epi8(a, b));
        if (differ) return at + (size_t)__builtin_ctz(differ);
    }
    return at;
}

__attribute__((target("avx2"))) static size_t same_back_avx2(const uint8_t *one, const uint8_t *other, size_t size) {
    size_t at = 0;
    for (; size - at >= 32; at += 32) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)(one - at - 32));
        __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(other - at - 32));
        unsigned differ = ~(unsigned)_mm256_movemask_epi8(_mm256_cmpeq_epi8(a, b));
        if (differ) return at + (size_t)__builtin_clz(differ);
    }
    return at;
}
#endif

static uint64_t word(const uint8_t *p) {
    uint64_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

size_t clo_json_same_in(const uint8_t *one, const uint8_t *other, size_t size, enum clo_json_cpu cpu) {
    size_t at = 0;
#if defined(__x86_64__)
    if (cpu == CLO_JSON_AVX2 && size >= 32) at = same_avx2(one, other, size);
#endif
    if (cpu != CLO_JSON_PLAIN) {
        for (; size - at >= 8; at += 8) {
            uint64_t differ = word(one + at) ^ word(other + at);
            if (differ) return at + (size_t)__builtin_ctzll(differ) / 8;
        }
    }
    while (at < size && one[at] == other[at]) at++;
    return at;
}

size_t clo_json_same_back_in(const uint8_t *one, const uint8_t *other, size_t size, enum clo_json_cpu cpu) {
    size_t at = 0;
#if defined(__x86_64__)
    if (cpu == CLO_JSON_AVX2 && size >= 32) at = same_back_avx2(one, other, size);
#endif
    if (cpu != CLO_JSON_PLAIN) {
        for (; size - at >= 8; at += 8) {
            uint64_t differ = word(one - at - 8) ^ word(other - at - 8);
            if (differ) return at + (size_t)__builtin_clzll(differ) / 8;
        }
    }
    while (at < size && *(one - at - 1) == *(other - at - 1)) at++;
    return at;
}

size_t clo_json_same(const uint8_t *one, const uint8_t *other, size_t size) {
    return clo_json_same_in(one, other, size, clo_json_best());
}

size_t clo_json_same_back(const uint8_t *one_end, const uint8_t *other_end, size_t size) {
    return clo_json_same_back_in(one_end, other_end, size, clo_json_best());
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are compared and hashed in the order of the machine");

/* Products of 64 by 64 bits, folded; the last stretch overlaps what came before it. */
uint64_t clo_json_hash_seeded(const uint8_t *bytes, size_t size, uint64_t seed) {
    const uint64_t a = UINT64_C(0xa0761d6478bd642f), b = UINT64_C(0xe7037ed1a0b428db), c = UINT64_C(0x8ebc6af09c88c6e3);
    uint64_t hash = seed ^ clo_json_mix(size ^ c, a), other = hash, low = 0, high = 0;
    size_t left = size;
    for (; left > 32; left -= 32, bytes += 32) {
        hash = clo_json_mix(word(bytes) ^ a, word(bytes + 8) ^ hash);
        other = clo_json_mix(word(bytes + 16) ^ b, word(bytes + 24) ^ other);
    }
    hash ^= other * c;
    if (left > 16) {
        hash = clo_json_mix(word(bytes) ^ a, word(bytes + 8) ^ hash);
        bytes += 16;
        left -= 16;
    }
    if (left >= 8) {
        low = word(bytes);
        high = word(bytes + left - 8);
    } else if (left) {
        memcpy(&low, bytes, left);
    }
    return clo_json_mix(low ^ b ^ hash, high ^ c ^ clo_json_mix(hash ^ b, a));
}

uint64_t clo_json_hash_bytes(const uint8_t *bytes, size_t size) { return clo_json_hash_seeded(bytes, size, 0); }

/* Looks at each place of a block, which compilers do many at a time; memmem(3) takes five times as long. */
int clo_json_holds_null(const void *text, size_t size) {
    enum { BLOCK = 256 };
    const uint8_t *at = text, *end = at + size;
    for (; end - at >= BLOCK + 3; at += BLOCK) {
        uint8_t found = 0;
        for (size_t i = 0; i < BLOCK; i++)
            found |= (uint8_t)((at[i] == 'n') & (at[i + 1] == 'u') & (at[i + 2] == 'l') & (at[i + 3] == 'l'));
        if (found) return 1;
    }
    return memmem(at, (size_t)(end - at), "null", 4) != NULL;
}
