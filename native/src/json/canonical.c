/* Texts of any form made canonical, and strings escaped and unescaped. */
#include "scan.h"

/* Where a text is read and where it is written: never beyond what was read. */
struct rewriting {
    const uint8_t *text;
    size_t size, at;
    uint8_t *out;
    size_t written;
};

static size_t put_utf8(uint8_t *out, uint32_t point) {
    if (point < 0x80) {
        out[0] = (uint8_t)point;
        return 1;
    }
    size_t bytes = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const uint8_t first[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = bytes - 1; i; i--, point >>= 6) out[i] = (uint8_t)(0x80 | (point & 0x3f));
    out[0] = (uint8_t)(first[bytes] | point);
    return bytes;
}

/* A character as it stands in a canonical string; at most 6 bytes. */
static size_t put_character(uint8_t *out, uint32_t point) {
    static const char digits[] = "0123456789abcdef", letters[] = "btn?fr";
    if (point >= 0x20 && point != '"' && point != '\\') return put_utf8(out, point);
    out[0] = '\\';
    if (point >= 0x20) {
        out[1] = (uint8_t)point;
        return 2;
    }
    if (point >= '\b' && point <= '\r' && point != '\v') {
        out[1] = (uint8_t)letters[point - '\b'];
        return 2;
    }
    memcpy(out + 1, "u00", 3);
    out[4] = (uint8_t)digits[point >> 4];
    out[5] = (uint8_t)digits[point & 15];
    return 6;
}

static uint32_t read_unit(const uint8_t *p) {
    uint32_t unit = 0;
    for (int i = 0; i < 4; i++) unit = unit << 4 | (uint32_t)(p[i] <= '9' ? p[i] - '0' : (p[i] | 0x20) - 'a' + 10);
    return unit;
}

/* What is wrong stays as it is, for the parser to find. */
static void rewrite_escape(struct rewriting *r) {
    const uint8_t *p = r->text + r->at;
    size_t size;
    uint32_t point;
    if (clo_json_read_escape(p, r->text + r->size, &size, &point) == CLO_JSON_FOREIGN) {
        r->written += put_character(r->out + r->written, point);
        r->at += size;
        return;
    }
    for (int i = 0; i < 2 && r->at < r->size; i++) r->out[r->written++] = r->text[r->at++];
}

/* What stands before the next quote or backslash, or most of it. There is room: no more is written than was read. */
static void copy_plain(struct rewriting *r, size_t limit) {
#if defined(__SSE2__) || defined(__aarch64__)
    for (size_t plain = 16; plain == 16 && r->size - r->at >= 16 && limit - r->written >= 16;) {
        plain = clo_json_first_mark(r->text + r->at);
        memmove(r->out + r->written, r->text + r->at, 16);
        r->at += plain;
        r->written += plain;
    }
#else
    (void)r, (void)limit;
#endif
}

static void rewrite_string(struct rewriting *r, size_t limit) {
    r->out[r->written++] = r->text[r->at++];
    while (r->at < r->size && r->written < limit) {
        copy_plain(r, limit);
        if (r->at == r->size || r->written == limit) return;
        uint8_t byte = r->text[r->at];
        if (byte == '\\') {
            rewrite_escape(r);
            continue;
        }
        r->out[r->written++] = byte;
        r->at++;
        if (byte == '"') return;
    }
}

/* A space between two tokens that are neither brackets, commas, colons nor strings stays: `1 2` is not 12. */
static bool is_edge(uint8_t byte) {
    return byte == '{' || byte == '}' || byte == '[' || byte == ']' || byte == ',' || byte == ':' || byte == '"';
}

static void skip_spaces(struct rewriting *r) {
    static const char indent[8] = "        ";
    do {
        r->at++;
        while (r->size - r->at >= 8 && !memcmp(r->text + r->at, indent, 8)) r->at += 8;
    } while (r->at < r->size && clo_json_is_space(r->text[r->at]));
}

static void rewrite(struct rewriting *r, size_t limit) {
    while (r->at < r->size && r->written < limit) {
        uint8_t byte = r->text[r->at];
        if (byte == '"') {
            rewrite_string(r, limit);
        } else if (clo_json_is_space(byte)) {
            skip_spaces(r);
            bool inside = r->written && r->at < r->size;
            if (inside && !is_edge(r->out[r->written - 1]) && !is_edge(r->text[r->at])) r->out[r->written++] = ' ';
        } else {
            r->out[r->written++] = byte;
            r->at++;
        }
    }
}

size_t clo_json_canonical(const uint8_t *text, size_t size, uint8_t *room) {
    struct rewriting r = {.text = text, .size = size, .out = room};
    rewrite(&r, SIZE_MAX);
    return r.written;
}

/* Where that byte of the canonical text comes from; `room` is written over. */
size_t clo_json_canonical_from(const uint8_t *text, size_t size, uint8_t *room, size_t position) {
    struct rewriting r = {.text = text, .size = size, .out = room};
    rewrite(&r, position);
    while (r.at < size && clo_json_is_space(text[r.at])) r.at++;
    return r.at;
}

int clo_json_escape(const uint8_t *bytes, size_t size, struct clo_json_out *out) {
    int kind = clo_json_put(out, "\"", 1);
    for (size_t at = 0, plain; !kind; at++) {
        for (plain = at; at < size && bytes[at] >= 0x20 && bytes[at] != '"' && bytes[at] != '\\';) at++;
        if (at > plain) kind = clo_json_put(out, bytes + plain, at - plain);
        if (at == size) break;
        uint8_t escaped[6];
        if (!kind) kind = clo_json_put(out, escaped, put_character(escaped, bytes[at]));
    }
    return kind ? kind : clo_json_put(out, "\"", 1);
}

int clo_json_unescape(const uint8_t *string, size_t size, struct clo_json_out *out) {
    static const char letters[] = "b\bf\fn\nr\rt\t";
    int kind = CLO_JSON_FINE;
    for (size_t at = 1; at < size - 1 && !kind;) {
        const uint8_t *escape = memchr(string + at, '\\', size - 1 - at);
        size_t plain = (escape ? (size_t)(escape - string) : size - 1) - at;
        kind = clo_json_put(out, string + at, plain);
        at += plain;
        if (kind || !escape) break;
        uint8_t character = string[at + 1];
        if (character == 'u') {
            character = (uint8_t)read_unit(string + at + 2);
            at += 6;
        } else {
            const char *letter = character == '"' || character == '\\' ? NULL : strchr(letters, character);
            if (letter) character = (uint8_t)letter[1];
            at += 2;
        }
        kind = clo_json_put(out, &character, 1);
    }
    return kind;
}
