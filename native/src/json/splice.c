/* A part of a string replaced: counted in characters, done in the bytes of its canonical text. Several splices of one
 * string in a row are done in one copy of it. */
#include "patch.h"

bool clo_splice_number(const struct clo_edit_value *value, uint64_t *number) {
    *number = 0;
    if (!value->text || !value->size) return false;
    for (size_t i = 0; i < value->size; i++) {
        uint8_t digit = (uint8_t)(value->text[i] - '0');
        if (digit > 9 || *number > UINT64_MAX / 10 || 10 * *number > UINT64_MAX - digit) return false;
        *number = 10 * *number + digit;
    }
    return true;
}

bool clo_splice_hash(const struct clo_edit_value *value, uint64_t *hash) {
    *hash = 0;
    if (value->size != 18 || *value->text != '"') return false;
    for (size_t i = 1; i < 17; i++) {
        const char *digits = "0123456789abcdef", *digit = memchr(digits, value->text[i], 16);
        if (!digit) return false;
        *hash = *hash << 4 | (uint64_t)(digit - digits);
    }
    return true;
}

/* Past eight bytes at a time that have no escape, as long as they can't have more characters than are wanted. It may
 * end inside a character, which is counted. */
static size_t stride(const uint8_t *text, size_t at, size_t size, uint64_t characters, uint64_t *found) {
    const uint64_t ones = 0x0101010101010101, highs = ones << 7;
    while (size - at >= 8 && *found + 8 <= characters) {
        uint64_t word;
        memcpy(&word, text + at, 8);
        uint64_t other = word ^ (ones * '\\');
        if ((other - ones) & ~other & highs) break;
        uint64_t following = word >> 7 & ~(word >> 6) & ones; /* the bytes 10xxxxxx of UTF-8 */
        *found += 8 - (uint64_t)__builtin_popcountll(following);
        at += 8;
    }
    return at;
}

/* How many bytes the next `characters` have, or all there are; `*characters` is how many were found. */
static size_t stretch(const uint8_t *text, size_t size, uint64_t *characters) {
    uint64_t found = 0;
    size_t at = 0;
    for (;;) {
        at = stride(text, at, size, *characters, &found);
        while (at < size && (text[at] & 0xc0) == 0x80) at++;
        if (at == size || found == *characters) break;
        at += text[at] != '\\' ? 1 : text[at + 1] == 'u' ? 6 : 2;
        found++;
    }
    *characters = found;
    return at;
}

/* Room for the new string, which has `made` bytes: the old one's, or with some more for what follows. What is in front
 * of `begin` is there then. */
static int room(struct clo_edit *edit, const struct clo_edit_value *value, size_t begin, size_t made,
                uint8_t **string) {
    if (value->text == edit->spliced && made <= edit->spliced_room) {
        *string = (uint8_t *)edit->spliced;
        return CLO_PATCH_FINE;
    }
    size_t more = made + made / 4 + 64;
    int kind = clo_edit_charge(edit, made);
    if (kind) return kind;
    *string = clo_edit_room(edit, more);
    if (!*string) return CLO_PATCH_MEMORY;
    memcpy(*string, value->text, begin);
    edit->spliced = *string;
    edit->spliced_room = more;
    return CLO_PATCH_FINE;
}

int clo_splice(struct clo_edit *edit, const struct clo_splice *splice, struct clo_edit_value *value) {
    if (clo_edit_kind(value) != '"') return CLO_PATCH_SPLICE;
    const uint8_t *text = value->text + 1;
    size_t size = value->size - 2, inserted = splice->insert.size - 2;
    if (splice->has_hash && clo_json_hash_bytes(text, size) != splice->hash) return CLO_PATCH_SPLICE;
    uint64_t before = splice->at, removed = splice->remove, after = UINT64_MAX;
    size_t begin = stretch(text, size, &before);
    size_t end = begin + stretch(text + begin, size - begin, &removed);
    if (before != splice->at || removed != splice->remove) return CLO_PATCH_SPLICE;
    if (splice->has_length) {
        stretch(text + end, size - end, &after);
        if (before + removed + after != splice->length) return CLO_PATCH_SPLICE;
    }
    size_t made = 1 + begin + inserted + (size - end) + 1;
    uint8_t *string;
    int kind = clo_edit_charge(edit, inserted);
    if (!kind) kind = room(edit, value, 1 + begin, made, &string);
    if (kind) return kind;
    memmove(string + 1 + begin + inserted, text + end, size - end + 1);
    memcpy(string + 1 + begin, splice->insert.text + 1, inserted);
    *value = (struct clo_edit_value){.text = string, .size = made};
    return CLO_PATCH_FINE;
}
