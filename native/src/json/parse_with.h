/* The parser's body, compiled once for each way of scanning. Before it is included: WITH and INLINE, the attributes of
 * its functions; NAME(x), their names; a function NAME(plain)(p, end) that gives the first byte that is a quote, a
 * backslash or a control character, or the end. Functions give where they came to, or NULL and a fault. */

/* p is behind the opening quote. */
INLINE const uint8_t *NAME(string)(const uint8_t *p, const uint8_t *end, struct clo_json_fault *fault) {
    for (;;) {
        p = NAME(plain)(p, end);
        if (p == end) return clo_json_fail(fault, p, CLO_JSON_TRUNCATED);
        if (*p == '"') return p + 1;
        if (*p < 0x20) return clo_json_fail(fault, p, CLO_JSON_CONTROL);
        if (end - p >= 2 && clo_json_is_letter(p[1]))
            p += 2;
        else if (!(p = clo_json_parse_escape(p, end, fault)))
            return NULL;
    }
}

INLINE const uint8_t *NAME(number)(const uint8_t *p, const uint8_t *end, struct clo_json_fault *fault) {
    const uint8_t *begin = p, *digits = p + (*p == '-');
    p = clo_json_digits(digits, end);
    if (p == digits) return clo_json_fail(fault, p, p == end ? CLO_JSON_TRUNCATED : CLO_JSON_NUMBER);
    if (*digits == '0' && p - digits > 1) return clo_json_fail(fault, digits + 1, CLO_JSON_NUMBER);
    bool large = p - digits > 300;
    if (p < end && *p == '.') {
        digits = ++p;
        p = clo_json_digits(digits, end);
        if (p == digits) return clo_json_fail(fault, p, p == end ? CLO_JSON_TRUNCATED : CLO_JSON_NUMBER);
    }
    if (p < end && (*p | 0x20) == 'e') {
        p++;
        if (p < end && (*p == '+' || *p == '-')) p++;
        digits = p;
        p = clo_json_digits(digits, end);
        if (p == digits) return clo_json_fail(fault, p, p == end ? CLO_JSON_TRUNCATED : CLO_JSON_NUMBER);
        large |= p - digits > 2 || digits - begin > 100;
    }
    if (large && !clo_json_is_finite(begin, (size_t)(p - begin))) return clo_json_fail(fault, begin, CLO_JSON_RANGE);
    return p;
}

INLINE const uint8_t *NAME(word)(const uint8_t *p, const uint8_t *end, struct clo_json_fault *fault, const char *word,
                                 ptrdiff_t size) {
    if (end - p >= size && !memcmp(p, word, (size_t)size)) return p + size;
    while (p < end && *p == (uint8_t)*word) p++, word++;
    return clo_json_fail(fault, p, p == end ? CLO_JSON_TRUNCATED : CLO_JSON_SYNTAX);
}

INLINE const uint8_t *NAME(scalar)(const uint8_t *p, const uint8_t *end, struct clo_json_fault *fault) {
    if (p == end) return clo_json_stray(fault, p, end);
    if (*p == '"') return NAME(string)(p + 1, end, fault);
    if (*p == '-' || (uint8_t)(*p - '0') < 10) return NAME(number)(p, end, fault);
    if (*p == 't') return NAME(word)(p, end, fault, "true", 4);
    if (*p == 'f') return NAME(word)(p, end, fault, "false", 5);
    if (*p == 'n') return NAME(word)(p, end, fault, "null", 4);
    return clo_json_stray(fault, p, end);
}

/* A key and its colon. */
INLINE const uint8_t *NAME(key)(struct clo_json_builder *builder, const uint8_t *text, const uint8_t *p,
                                const uint8_t *end, struct clo_json_fault *fault) {
    const uint8_t *begin = p + 1;
    if (p == end || *p != '"') return clo_json_stray(fault, p, end);
    p = NAME(string)(begin, end, fault);
    if (!p) return NULL;
    int kind = clo_json_add_key(builder, text, (size_t)(begin - text), (size_t)(p - 1 - begin), end);
    if (kind) return clo_json_fail(fault, begin, kind);
    return p < end && *p == ':' ? p + 1 : clo_json_stray(fault, p, end);
}

INLINE const uint8_t *NAME(close)(struct clo_json_builder *builder, const uint8_t *text, const uint8_t *p,
                                  struct clo_json_fault *fault) {
    struct clo_json_frame *frame = &builder->frames[builder->level];
    if (builder->keys_used > frame->keys) {
        size_t where = 0;
        int kind = clo_json_check_keys(builder, text, frame->keys, &where);
        if (kind) return clo_json_fail(fault, text + where, kind);
    }
    clo_json_close(builder, (size_t)(p + 1 - text), frame->count);
    return p + 1;
}

/* A value and all that is within it. */
WITH static const uint8_t *NAME(value)(struct clo_json_builder *builder, const uint8_t *text, const uint8_t *p,
                                       const uint8_t *end, struct clo_json_fault *fault) {
    const uint32_t floor = builder->level;
    bool object = false;
    for (;;) {
        if (p < end && (*p == '{' || *p == '[')) {
            object = *p == '{';
            int kind = clo_json_open(builder, (size_t)(p - text));
            if (kind) return clo_json_fail(fault, p, kind);
            p++;
            if (p == end || *p != (object ? '}' : ']')) {
                if (object && !(p = NAME(key)(builder, text, p, end, fault))) return NULL;
                continue;
            }
            clo_json_close(builder, (size_t)(++p - text), 0);
        } else if (!(p = NAME(scalar)(p, end, fault))) {
            return NULL;
        }
        for (;;) { /* the value has ended: out of containers that end with it */
            if (builder->level == floor) return p;
            struct clo_json_frame *frame = &builder->frames[builder->level];
            frame->count++;
            object = text[frame->begin] == '{';
            if (p < end && *p == ',') break;
            if (p == end || *p != (object ? '}' : ']')) return clo_json_stray(fault, p, end);
            if (!(p = NAME(close)(builder, text, p, fault))) return NULL;
        }
        p++;
        if (object && !(p = NAME(key)(builder, text, p, end, fault))) return NULL;
    }
}

int NAME(clo_json_parse)(struct clo_json_builder *builder, const uint8_t *text, size_t size, size_t *at) {
    struct clo_json_fault fault = {0};
    const uint8_t *p = NAME(value)(builder, text, text + *at, text + size, &fault);
    *at = (size_t)((p ? p : fault.at) - text);
    return fault.kind;
}
