/* What the parser's bodies (parse_with.h) call. */
#ifndef CLOCHE_JSON_PARSE_H
#define CLOCHE_JSON_PARSE_H

#include <string.h>

#include "json.h"

static inline bool clo_json_is_space(uint8_t byte) {
    return byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r';
}

/* Why parsing ended, and where. Cold: what goes well passes pointers by value, which stay in registers. */
struct clo_json_fault {
    const uint8_t *at;
    int kind;
};

static inline const uint8_t *clo_json_fail(struct clo_json_fault *fault, const uint8_t *at, int kind) {
    *fault = (struct clo_json_fault){at, kind};
    return NULL;
}

/* At `at` stands a byte that can't, or the end. */
static inline const uint8_t *clo_json_stray(struct clo_json_fault *fault, const uint8_t *at, const uint8_t *end) {
    if (at == end) return clo_json_fail(fault, at, CLO_JSON_TRUNCATED);
    return clo_json_fail(fault, at, clo_json_is_space(*at) ? CLO_JSON_FOREIGN : CLO_JSON_SYNTAX);
}

/* Behind the digits that begin at p; eight at a time, for a loop that ends anywhere is guessed wrong each time. */
static inline const uint8_t *clo_json_digits(const uint8_t *p, const uint8_t *end) {
    for (uint64_t word; end - p >= 8; p += 8) {
        memcpy(&word, p, 8);
        word ^= UINT64_C(0x3030303030303030);
        uint64_t others = (((word & UINT64_C(0x7f7f7f7f7f7f7f7f)) + UINT64_C(0x7676767676767676)) | word) &
                          UINT64_C(0x8080808080808080);
        if (others) return p + __builtin_ctzll(others) / 8;
    }
    while (p < end && (uint8_t)(*p - '0') < 10) p++;
    return p;
}

/* The letter of an escape that has no more. */
static inline bool clo_json_is_letter(uint8_t byte) {
    return byte == '"' || byte == '\\' || byte == 'n' || byte == 't' || byte == 'r' || byte == 'b' || byte == 'f';
}

int clo_json_parse_plain(struct clo_json_builder *builder, const uint8_t *text, size_t size, size_t *at);
int clo_json_parse_vector(struct clo_json_builder *builder, const uint8_t *text, size_t size, size_t *at);
int clo_json_parse_avx2(struct clo_json_builder *builder, const uint8_t *text, size_t size, size_t *at);

/* An escape whose backslash is at p: CLO_JSON_FOREIGN: right, but not the shortest, and the character it is. */
int clo_json_read_escape(const uint8_t *p, const uint8_t *end, size_t *size, uint32_t *point);
/* Behind an escape whose backslash is at p. */
const uint8_t *clo_json_parse_escape(const uint8_t *p, const uint8_t *end, struct clo_json_fault *fault);
/* Whether a number that the grammar allows is one for a double, too. */
bool clo_json_is_finite(const uint8_t *number, size_t size);

/* Where that byte of a canonical text comes from; `room` is written over. */
size_t clo_json_canonical_from(const uint8_t *text, size_t size, uint8_t *room, size_t position);

int clo_json_more_keys(struct clo_json_builder *builder);
/* Keys from that one on, which are of one object: CLO_JSON_DUPLICATE and where the second stands. They are dropped. */
int clo_json_check_keys(struct clo_json_builder *builder, const uint8_t *text, size_t first, size_t *where);

/* The first 8 bytes, the last 8 and the size: enough to tell most keys apart. */
static inline int clo_json_add_key(struct clo_json_builder *builder, const uint8_t *text, size_t begin, size_t size,
                                   const uint8_t *end) {
    if (builder->keys_used == builder->keys_room) {
        int kind = clo_json_more_keys(builder);
        if (kind) return kind;
    }
    const uint8_t *key = text + begin;
    uint64_t head = 0, tail = 0;
    if (size >= 8) {
        memcpy(&head, key, 8);
        memcpy(&tail, key + size - 8, 8);
    } else if (end - key >= 8) {
        memcpy(&head, key, 8);
        head &= (UINT64_C(1) << 8 * size) - 1;
    } else {
        memcpy(&head, key, size);
    }
    uint64_t hash = (head ^ tail * UINT64_C(0x9e3779b97f4a7c15) ^ size) * UINT64_C(0xd6e8feb86659fd93);
    builder->keys[builder->keys_used++] = (struct clo_json_key){begin, size, hash ^ hash >> 32};
    return CLO_JSON_FINE;
}

#endif
