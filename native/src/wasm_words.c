/* States made small. What a state has many of is words of 32 bits, alike in one object and the next; so this looks for
 * repetitions of whole words only, which takes a quarter of the time that bytes would.
 *
 * Pieces of at most 65535 words: u32 size in words, u32 bytes that follow, and these: sequences of a byte (words as
 * they are in its upper half, words repeated in its lower; 15: bytes follow that add to it, up to one below 255), the
 * words as they are, and if any are repeated, u16 how many words before they begin. A piece whose bytes are as many as
 * its words have is as it was. What comes from outside may be anything: each size is checked as it is used. */
#include "wasm.h"

#include <string.h>

enum { WORD = 4, MOST = 65535, HEAD_SIZE = 8, LONG = 15, STEP = 255, HASH_BITS = 12, LEAST = 2, PATIENCE = 5, FEW = 8 };

static uint64_t pair_at(const uint8_t *words, size_t at) {
    uint64_t pair;
    memcpy(&pair, words + at * WORD, sizeof pair);
    return pair;
}

static size_t place_of(uint64_t pair) { return (size_t)((pair * 0x9E3779B97F4A7C15u) >> (64 - HASH_BITS)); }

static uint8_t *put_rest(uint8_t *out, size_t number) {
    if (number < LONG) return out;
    for (number -= LONG; number >= STEP; number -= STEP) *out++ = STEP;
    *out++ = (uint8_t)number;
    return out;
}

static uint8_t *put_sequence(uint8_t *out, const uint8_t *from, size_t plain, size_t repeated, size_t back) {
    size_t upper = plain < LONG ? plain : LONG, lower = repeated < LONG ? repeated : LONG;
    *out++ = (uint8_t)(upper << 4 | lower);
    out = put_rest(out, plain);
    memcpy(out, from, plain * WORD);
    out += plain * WORD;
    if (!repeated) return out;
    out = put_rest(out, repeated);
    *out++ = (uint8_t)back;
    *out++ = (uint8_t)(back >> 8);
    return out;
}

static size_t alike(const uint8_t *words, size_t before, size_t at, size_t count) {
    size_t length = LEAST;
    while (at + length + 1 < count && pair_at(words, before + length) == pair_at(words, at + length)) length += 2;
    while (at + length < count && !memcmp(words + (before + length) * WORD, words + (at + length) * WORD, WORD)) length++;
    return length;
}

/* One piece; out has room for CLO_WORDS_ROOM of it. */
static size_t shrink_piece(const uint8_t *words, size_t count, uint8_t *out) {
    uint16_t seen[1 << HASH_BITS];
    uint8_t *start = out;
    size_t at = 1, plain = 0, missed = 0; /* the first word is never looked up: 0 says that there is none */
    memset(seen, 0, sizeof seen);
    while (at + 1 < count) {
        uint64_t pair = pair_at(words, at);
        size_t place = place_of(pair), before = seen[place];
        seen[place] = (uint16_t)at;
        if (!before || pair_at(words, before) != pair) {
            at += 1 + (missed++ >> PATIENCE);
            continue;
        }
        size_t length = alike(words, before, at, count);
        out = put_sequence(out, words + plain * WORD, at - plain, length, at - before);
        at += length;
        plain = at;
        missed = 0;
    }
    if (plain < count) out = put_sequence(out, words + plain * WORD, count - plain, 0, 0);
    return (size_t)(out - start);
}

/* out has CLO_WORDS_ROOM(size) bytes; size is a multiple of 4. The bytes that were written. */
size_t clo_words_shrink(const void *data, size_t size, void *out) {
    const uint8_t *from = data;
    uint8_t *to = out;
    while (size) {
        size_t count = size / WORD < MOST ? size / WORD : MOST, bytes = shrink_piece(from, count, to + HEAD_SIZE);
        if (bytes >= count * WORD) memcpy(to + HEAD_SIZE, from, bytes = count * WORD);
        uint32_t head[2] = {(uint32_t)count, (uint32_t)bytes};
        memcpy(to, head, sizeof head);
        to += HEAD_SIZE + bytes;
        from += count * WORD;
        size -= count * WORD;
    }
    return (size_t)(to - (uint8_t *)out);
}

/* ---- And large again. ---- */

struct reader {
    const uint8_t *at, *end;
};

/* A number of which 15 says that there is more. False: it is cut. */
static bool read_rest(struct reader *reader, size_t *number) {
    if (*number < LONG) return true;
    uint8_t more;
    do {
        if (reader->at == reader->end) return false;
        *number += more = *reader->at++;
    } while (more == STEP);
    return true;
}

/* Copies some words, or a few more where there is room for them on both sides: most are few, and a call costs more. */
static void copy(uint8_t *to, const uint8_t *from, size_t words, bool roomy) {
    if (!roomy || words > FEW) {
        memcpy(to, from, words * WORD);
        return;
    }
    memcpy(to, from, FEW / 2 * WORD);
    if (words > FEW / 2) memcpy(to + FEW / 2 * WORD, from + FEW / 2 * WORD, FEW / 2 * WORD);
}

static void repeat(uint8_t *to, size_t back, size_t words, bool roomy) {
    const uint8_t *from = to - back * WORD;
    if (back >= words || (roomy && words <= FEW && back >= FEW / 2)) copy(to, from, words, roomy && back >= FEW / 2);
    else
        for (size_t i = 0; i < words * WORD; i += WORD) memcpy(to + i, from + i, WORD);
}

static bool expand_piece(struct reader reader, uint8_t *out, size_t count) {
    size_t made = 0;
    while (reader.at < reader.end) {
        size_t plain = *reader.at >> 4, repeated = *reader.at & LONG;
        reader.at++;
        if (!read_rest(&reader, &plain)) return false;
        if (plain > (size_t)(reader.end - reader.at) / WORD || plain > count - made) return false;
        copy(out + made * WORD, reader.at, plain, count - made >= FEW && reader.end - reader.at >= FEW * WORD);
        reader.at += plain * WORD;
        made += plain;
        if (!repeated) continue;
        if (!read_rest(&reader, &repeated) || reader.end - reader.at < 2) return false;
        size_t back = reader.at[0] | (size_t)reader.at[1] << 8;
        reader.at += 2;
        if (!back || back > made || repeated > count - made) return false;
        repeat(out + made * WORD, back, repeated, count - made >= FEW);
        made += repeated;
    }
    return made == count;
}

/* The bytes that it comes to, which are written if there is room for that many; -1: it was not made by shrinking. */
int64_t clo_words_expand(const void *data, size_t size, void *out, size_t room) {
    const uint8_t *at = data, *end = at + size;
    size_t total = 0;
    while (at < end) {
        uint32_t head[2];
        if (end - at < HEAD_SIZE) return -1;
        memcpy(head, at, sizeof head);
        at += HEAD_SIZE;
        if (!head[0] || head[0] > MOST || head[1] > (size_t)(end - at)) return -1;
        size_t bytes = (size_t)head[0] * WORD;
        if (bytes <= room - total && total <= room) {
            uint8_t *to = (uint8_t *)out + total;
            if (head[1] == bytes) memcpy(to, at, bytes);
            else if (!expand_piece((struct reader){at, at + head[1]}, to, head[0])) return -1;
        }
        total += bytes;
        at += head[1];
    }
    return (int64_t)total;
}
