/* The grammar of patterns: text to tokens. Every byte of a pattern means something, or the pattern is refused. */
#include <string.h>

#include "paths.h"

static const struct clo_byte_set NOT_SLASH = {.bits = {~(1ULL << '/'), ~0ULL, ~0ULL, ~0ULL}};

static void put(struct clo_tokens *tokens, unsigned token) { tokens->token[tokens->count++] = (uint16_t)token; }

/* The token of a set, the same for the same one; 0 if there are too many. */
static unsigned token_of(struct clo_byte_sets *sets, const struct clo_byte_set *set) {
    if (!sets->count) sets->set[sets->count++] = NOT_SLASH;
    for (size_t i = 0; i < sets->count; i++)
        if (!memcmp(&sets->set[i], set, sizeof *set)) return CLO_TOKEN_SETS + (unsigned)i;
    if (sets->count == CLO_SETS_MAX) return 0;
    sets->set[sets->count] = *set;
    return CLO_TOKEN_SETS + (unsigned)sets->count++;
}

/* One byte of a class, an escaped one too; -1: there is none that may stand bare. */
static int class_byte(const char *text, size_t size, size_t *at) {
    if (*at == size) return -1;
    char byte = text[(*at)++];
    if (byte == '[' || byte == ']') return -1;
    if (byte != '\\') return (unsigned char)byte;
    return *at == size ? -1 : (unsigned char)text[(*at)++];
}

/* From after the '[' to after the ']'. */
static enum clo_pattern_fault parse_class(const char *text, size_t size, size_t *at, struct clo_byte_sets *sets,
                                          struct clo_tokens *tokens) {
    struct clo_byte_set set = {0};
    bool others = *at < size && text[*at] == '!';
    if (*at < size && text[*at] == '^') return CLO_PATTERN_CLASS;
    *at += others;
    do {
        int first = class_byte(text, size, at), last = first;
        if (size - *at >= 2 && text[*at] == '-' && text[*at + 1] != ']') {
            ++*at;
            last = class_byte(text, size, at);
        }
        if (first < 0 || last < first || *at == size) return CLO_PATTERN_CLASS;
        for (int byte = first; byte <= last; byte++) set.bits[byte / 64] |= 1ULL << byte % 64;
    } while (text[*at] != ']');
    ++*at;
    for (size_t i = 0; i < 4; i++) set.bits[i] = (others ? ~set.bits[i] : set.bits[i]) & NOT_SLASH.bits[i];
    unsigned token = token_of(sets, &set);
    if (!token) return CLO_PATTERN_MANY;
    put(tokens, token);
    return CLO_PATTERN_FINE;
}

static enum clo_pattern_fault parse_component(const char *text, size_t size, struct clo_byte_sets *sets,
                                              struct clo_tokens *tokens) {
    size_t before = tokens->count;
    for (size_t at = 0; at < size;) {
        char byte = text[at++];
        if (byte == '*') {
            if (at < size && text[at] == '*') return CLO_PATTERN_STARS;
            if (size == 1) put(tokens, CLO_TOKEN_ONE); /* a component is not empty */
            put(tokens, CLO_TOKEN_STAR);
        } else if (byte == '?') {
            put(tokens, CLO_TOKEN_ONE);
        } else if (byte == '[') {
            enum clo_pattern_fault fault = parse_class(text, size, &at, sets, tokens);
            if (fault) return fault;
        } else {
            if (byte == '\\' && at == size) return CLO_PATTERN_ESCAPE;
            put(tokens, (unsigned char)(byte == '\\' ? text[at++] : byte));
        }
    }
    const uint16_t *last = tokens->token + before;
    size_t length = tokens->count - before;
    if (length && length <= 2 && last[0] == '.' && last[length - 1] == '.') return CLO_PATTERN_DOTS;
    return length ? CLO_PATTERN_FINE : CLO_PATTERN_NOTHING;
}

static bool is_deep(const char *text, size_t size) { return size == 2 && text[0] == '*' && text[1] == '*'; }

/* "*" and "?" next to each other may change places: first all bytes that there must be, then one star. */
static void gather_stars(struct clo_tokens *tokens) {
    size_t used = 0;
    bool star = false;
    for (size_t i = 0; i < tokens->count; i++) {
        uint16_t token = tokens->token[i];
        if (star && token != CLO_TOKEN_STAR && token != CLO_TOKEN_ONE) {
            tokens->token[used++] = CLO_TOKEN_STAR;
            star = false;
        }
        if (token == CLO_TOKEN_STAR)
            star = true;
        else
            tokens->token[used++] = token;
    }
    if (star) tokens->token[used++] = CLO_TOKEN_STAR;
    tokens->count = used;
}

static enum clo_kind kind_of(const struct clo_tokens *tokens) {
    size_t deep = 0, first = 0;
    for (size_t i = tokens->count; i-- > 0;) {
        if (tokens->token[i] != CLO_TOKEN_DEEP) continue;
        deep++;
        first = i;
    }
    if (!deep) return CLO_KIND_ANCHORED;
    if (deep > 1 || first != 1) return CLO_KIND_MIXED;
    return tokens->below ? CLO_KIND_INSIDE : CLO_KIND_TAIL;
}

/* Reads a pattern; a clo_pattern_fault. Sets that it has are added to those there are. */
int clo_pattern_parse(const char *text, size_t size, struct clo_byte_sets *sets, struct clo_tokens *tokens) {
    tokens->count = 0;
    tokens->below = false;
    if (!size) return CLO_PATTERN_EMPTY;
    if (size > CLO_PATTERN_MAX) return CLO_PATTERN_LONG;
    if (memchr(text, 0, size)) return CLO_PATTERN_NUL;
    if (!sets->count) token_of(sets, &NOT_SLASH);
    bool deep_first = size >= 2 && is_deep(text, 2) && (size == 2 || text[2] == '/');
    if (text[0] != '/' && !deep_first) return CLO_PATTERN_RELATIVE;
    if (size == 1) put(tokens, '/'); /* the root */
    for (size_t at = deep_first ? 0 : 1; size > 1 && at <= size;) {
        const char *slash = at < size ? memchr(text + at, '/', size - at) : NULL;
        size_t length = slash ? (size_t)(slash - text) - at : size - at;
        if (is_deep(text + at, length)) {
            if (slash && !tokens->below) {
                put(tokens, '/');
                put(tokens, CLO_TOKEN_DEEP);
            }
            tokens->below = true;
        } else {
            if (!tokens->below) put(tokens, '/');
            tokens->below = false;
            enum clo_pattern_fault fault = parse_component(text + at, length, sets, tokens);
            if (fault) return fault;
        }
        at += length + 1;
    }
    if (tokens->below && tokens->count && tokens->token[tokens->count - 1] == CLO_TOKEN_DEEP) tokens->count -= 2;
    tokens->kind = kind_of(tokens);
    gather_stars(tokens);
    return CLO_PATTERN_FINE;
}

/* Turns the tokens of a pattern of kind TAIL around: what a path read from its end begins with, from its last byte to the
 * '/' before the first component. A path begins with '/', so one of these is found after a star. */
void clo_tokens_reverse(struct clo_tokens *tokens) {
    tokens->count -= 2; /* the '/' and DEEP */
    memmove(tokens->token, tokens->token + 2, tokens->count * sizeof *tokens->token);
    for (size_t i = 0; i < tokens->count / 2; i++) {
        uint16_t *one = &tokens->token[i], *other = &tokens->token[tokens->count - 1 - i], kept = *one;
        *one = *other;
        *other = kept;
    }
    gather_stars(tokens);
    if (tokens->token[tokens->count - 1] == CLO_TOKEN_STAR)
        tokens->count--;
    else
        put(tokens, '/');
}
