/* Deltas: the pages of an instance's memory that differ from the image of its mold.
 *
 * u32 stack pointer, u32 memory in pages of 64 KiB, u32 count, count times the u32 number of a page of 4 KiB, ascending,
 * then these pages; little endian. A delta that comes from outside is checked as a whole before anything is done. */
#include "wasm.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE = CLO_WASM_PAGE, HEAD = CLO_WASM_DELTA_HEAD, WASM_PAGE = 65536 };
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a delta is in the order of the machine");

static size_t size_of(size_t pages) { return HEAD + pages * (sizeof(uint32_t) + PAGE); }

static void write_delta(const struct clo_wasm_how *how, const struct clo_wasm_changed *changed, const uint8_t *memory,
                        size_t size, size_t pages, uint8_t *out) {
    uint32_t head[3] = {(uint32_t)how->stack_pointer, (uint32_t)(size / WASM_PAGE), (uint32_t)pages};
    uint8_t *numbers = out + HEAD, *data = numbers + pages * sizeof(uint32_t);
    memcpy(out, head, sizeof head);
    for (size_t i = 0; i < changed->count; i++) {
        for (size_t at = changed->spans[i].begin; at < changed->spans[i].end; at += PAGE) {
            if (clo_wasm_is_clean(how, memory, at)) continue;
            uint32_t number = (uint32_t)(at / PAGE);
            memcpy(numbers, &number, sizeof number);
            memcpy(data, memory + at, PAGE);
            numbers += sizeof number;
            data += PAGE;
        }
    }
}

static size_t count_dirty(const struct clo_wasm_how *how, const struct clo_wasm_changed *changed, const uint8_t *memory) {
    size_t count = 0;
    for (size_t i = 0; i < changed->count; i++)
        for (size_t at = changed->spans[i].begin; at < changed->spans[i].end; at += PAGE)
            count += !clo_wasm_is_clean(how, memory, at);
    return count;
}

/* The bytes of the delta, which is written if there is room for that many; -1: there is no image. Not while it runs. */
int64_t clo_wasm_delta(struct clo_wasm_instance *instance, void *out, size_t room) {
    const struct clo_wasm_how *how = &instance->mold->how;
    struct clo_wasm_changed changed;
    size_t size;
    const uint8_t *memory = clo_wasm_find_changed(instance, &changed, &size);
    if (!memory) return -1;
    size_t pages = count_dirty(how, &changed, memory), needed = size_of(pages);
    if (needed <= room) write_delta(how, &changed, memory, size, pages, out);
    return (int64_t)needed;
}

struct head {
    uint32_t stack_pointer, memory, count;
};

int clo_wasm_delta_check(const struct clo_wasm_mold *mold, const void *delta, size_t size) {
    struct head head;
    if (size < HEAD) return CLO_WASM_DELTA_SHORT;
    memcpy(&head, delta, sizeof head);
    if ((size - HEAD) / (sizeof(uint32_t) + PAGE) != head.count || (size - HEAD) % (sizeof(uint32_t) + PAGE))
        return CLO_WASM_DELTA_SHORT;
    if (head.stack_pointer != (uint32_t)mold->how.stack_pointer) return CLO_WASM_DELTA_POINTER;
    uint64_t memory = (uint64_t)head.memory * WASM_PAGE;
    if (memory < mold->how.image_size || memory > (uint64_t)mold->how.memory) return CLO_WASM_DELTA_MEMORY;
    const uint8_t *numbers = (const uint8_t *)delta + HEAD;
    for (uint32_t i = 0, before = 0; i < head.count; i++) {
        uint32_t number;
        memcpy(&number, numbers + i * sizeof number, sizeof number);
        if ((i && number <= before) || number >= memory / PAGE) return CLO_WASM_DELTA_PAGES;
        before = number;
    }
    return CLO_WASM_DELTA_OK;
}

/* To a fresh instance. Unless it gives CLO_WASM_DELTA_OK the instance is as it was. */
int clo_wasm_delta_apply(struct clo_wasm_instance *instance, const void *delta, size_t size) {
    struct head head;
    size_t now;
    int status = clo_wasm_delta_check(instance->mold, delta, size);
    if (status) return status;
    memcpy(&head, delta, sizeof head);
    if (!clo_wasm_memory(instance, &now) || now > (size_t)head.memory * WASM_PAGE) return CLO_WASM_DELTA_MEMORY;
    if (clo_wasm_grow(instance, head.memory - now / WASM_PAGE)) return CLO_WASM_DELTA_GROW;
    uint8_t *memory = clo_wasm_memory(instance, &now);
    const uint8_t *numbers = (const uint8_t *)delta + HEAD, *pages = numbers + head.count * sizeof(uint32_t);
    for (uint32_t i = 0; i < head.count; i++) {
        uint32_t number;
        memcpy(&number, numbers + i * sizeof number, sizeof number);
        memcpy(memory + (size_t)number * PAGE, pages + (size_t)i * PAGE, PAGE);
    }
    return CLO_WASM_DELTA_OK;
}
