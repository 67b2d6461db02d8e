/* sources: native/src/wasm_words.c
 *
 * Any bytes as words made small are refused, or give as many as they say; and any words made small are had back. */
#include <stdlib.h>
#include <string.h>

#include "wasm.h"

enum { MOST = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *given = malloc(size ? size : 1);
    if (size) memcpy(given, data, size);
    int64_t total = clo_words_expand(given, size, NULL, 0);
    if (total >= 0 && total <= MOST) {
        uint8_t *out = malloc(total ? (size_t)total : 1);
        int64_t made = clo_words_expand(given, size, out, (size_t)total);
        if (made != total && made != -1) abort();
        free(out);
    }
    size_t whole = size / 4 * 4, room = whole + whole / 128 + 64;
    uint8_t *small = malloc(room), *back = malloc(whole ? whole : 1);
    size_t used = clo_words_shrink(given, whole, small);
    if (used > room) abort();
    if (clo_words_expand(small, used, back, whole) != (int64_t)whole || memcmp(back, given, whole)) abort();
    free(given);
    free(small);
    free(back);
    return 0;
}
