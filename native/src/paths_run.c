/* Automata on a path. */
#include <string.h>

#include "paths.h"

static void set_bits(const struct clo_automaton *automaton, size_t words, uint32_t which, uint64_t *bits) {
    const uint64_t *from = automaton->bits + which * words;
    for (size_t i = 0; i < words; i++) bits[i] |= from[i];
}

/* The automaton came to its end in `state` when it had read the byte at `at`: dead, or a rest decides. */
static void end_early(const struct clo_automaton *automaton, uint32_t state, size_t words, const unsigned char *path,
                      size_t size, size_t at, uint64_t *bits) {
    if (state < automaton->first_rest) return;
    const struct clo_rest *rest = &automaton->rests[state - automaton->first_rest];
    size_t left = automaton->backwards ? at : size - at - 1;
    if (rest->size > left) return;
    const unsigned char *text = automaton->backwards ? path + at - rest->size : path + at + 1;
    if (memcmp(text, automaton->text + rest->first, rest->size)) return;
    if (rest->at_once) set_bits(automaton, words, rest->at_once, bits);
    if (rest->size == left)
        set_bits(automaton, words, rest->at_end, bits);
    else if (rest->at_slash && (automaton->backwards ? text[-1] : text[rest->size]) == '/')
        set_bits(automaton, words, rest->at_slash, bits);
}

/* Where the next '/' is from `at` on, or the size. */
static size_t next_slash(const unsigned char *path, size_t size, size_t at) {
    for (uint64_t eight; size - at >= sizeof eight; at += sizeof eight) {
        memcpy(&eight, path + at, sizeof eight);
        eight ^= 0x2f2f2f2f2f2f2f2fULL;
        uint64_t zero = (eight - 0x0101010101010101ULL) & ~eight & 0x8080808080808080ULL;
        if (zero) return at + (size_t)__builtin_ctzll(zero) / 8;
    }
    while (at < size && path[at] != '/') at++;
    return at;
}

static void run_forwards(const struct clo_automaton *automaton, size_t words, const unsigned char *path, size_t size,
                         uint64_t *bits) {
    const uint32_t *next = automaton->next;
    const uint8_t *class_of = automaton->class_of;
    uint32_t state = automaton->start;
    for (size_t at = 0; at < size; at++) {
        state = next[state + class_of[path[at]]];
        if (state < automaton->idle) continue;
        if (state < automaton->telling) {
            at = next_slash(path, size, at + 1) - 1;
            continue;
        }
        if (state >= automaton->dead) {
            end_early(automaton, state, words, path, size, at, bits);
            return;
        }
        set_bits(automaton, words, next[state + automaton->classes + 1], bits);
    }
    set_bits(automaton, words, next[state + automaton->classes], bits);
}

static void run_backwards(const struct clo_automaton *automaton, size_t words, const unsigned char *path, size_t size,
                          uint64_t *bits) {
    const uint32_t *next = automaton->next;
    const uint8_t *class_of = automaton->class_of;
    uint32_t state = automaton->start;
    for (size_t at = size; at-- > 0;) {
        state = next[state + class_of[path[at]]];
        if (state < automaton->telling) continue;
        if (state >= automaton->dead) {
            end_early(automaton, state, words, path, size, at, bits);
            return;
        }
        set_bits(automaton, words, next[state + automaton->classes + 1], bits);
    }
    set_bits(automaton, words, next[state + automaton->classes], bits);
}

/* Sets the bits of all automata on a path of at least one byte. */
void clo_automata_run(struct clo_automaton *const *automata, size_t count, size_t words, const char *path, size_t size,
                      uint64_t *bits) {
    const unsigned char *text = (const unsigned char *)path;
    for (size_t i = 0; i < count; i++) {
        if (automata[i]->backwards)
            run_backwards(automata[i], words, text, size, bits);
        else
            run_forwards(automata[i], words, text, size, bits);
    }
}
