/* sources: native/src/bpf.c */
/* Any bytes as a filter, the first 64 as what it is asked: it is refused or answers, within its own length. */
#include <string.h>

#include "cloche_native.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint64_t code[512], asked[8] = {0};
    uint32_t value;
    if (size < sizeof asked) return 0;
    memcpy(asked, data, sizeof asked);
    size -= sizeof asked;
    if (size > sizeof code) size = sizeof code;
    memcpy(code, data + sizeof asked, size);
    clo_filter_answer(code, size / sizeof *code, asked, &value);
    return 0;
}
