/* Blocks passed over, compiled once for each way of comparing. Before it is included: WITH: the attributes of its functions;
 * NAME(x): their names; a function NAME(bits_of)(text). */

WITH static inline uint64_t NAME(odd_before)(uint64_t bits) {
    for (int i = 1; i < 64; i *= 2) bits ^= bits << i;
    return bits;
}

/* A block's commas and brackets outside of strings; false: the container ends. */
WITH static inline bool NAME(take_all)(struct pass *pass, const uint8_t *text, size_t at, struct bits bits) {
    uint64_t brackets = bits.opened | bits.closed;
    if (!brackets && pass->level) return true;
    if (!brackets) {
        pass->count += (size_t)__builtin_popcountll(bits.commas);
        if (bits.commas) pass->begin = at + BLOCK - (size_t)__builtin_clzll(bits.commas);
        return true;
    }
    for (uint64_t left = brackets | bits.commas; left; left &= left - 1) {
        size_t place = at + (size_t)__builtin_ctzll(left);
        if (!take(pass, text[place], place)) return false;
    }
    return true;
}

/* Whole blocks from `at` on; gives where it has come to. */
WITH static size_t NAME(pass)(struct pass *pass, const uint8_t *text, size_t at, size_t limit, bool *inside, bool *stopped) {
    for (; !*stopped && at < limit && limit - at >= BLOCK; at += BLOCK) {
        struct bits bits = NAME(bits_of)(text + at);
        uint64_t strings = NAME(odd_before)(bits.quotes) ^ (*inside ? ~UINT64_C(0) : 0), outside = ~strings;
        if (bits.escapes) outside &= (bits.escapes & -bits.escapes) - 1;
        bits.commas &= outside;
        bits.opened &= outside;
        bits.closed &= outside;
        *stopped = !NAME(take_all)(pass, text, at, bits) || bits.escapes;
        *inside = strings >> 63;
    }
    return at;
}
