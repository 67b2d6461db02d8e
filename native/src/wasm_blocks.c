/* Packed deltas: of each page that differs from the image, only the blocks of 64 bytes that do. A run touches thirty
 * pages to change two kilobytes, so this is what is kept before each run, and what goes into a snapshot.
 *
 * u32 stack pointer, u32 memory in pages of 64 KiB, u32 count, as in a delta; then for each page, ascending: u32
 * number, u64 with a bit for each block that differs, and these blocks; little endian. What comes from outside is
 * checked as a whole before anything is done. */
#include "wasm.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = CLO_WASM_PAGE, HEAD = CLO_WASM_DELTA_HEAD, WASM_PAGE = 65536, BLOCK = 64, BLOCKS = PAGE / BLOCK };
enum { ENTRY = sizeof(uint32_t) + sizeof(uint64_t), ENTRY_MOST = ENTRY + PAGE };
#ifndef MADV_POPULATE_WRITE
enum { MADV_POPULATE_WRITE = 23 }; /* Linux 5.14; headers may be older */
#endif
_Static_assert(BLOCKS == 64, "a page's blocks are the bits of one number");

/* A vector of the compiler's: every 64-bit processor has registers of this size. */
typedef uint64_t part_t __attribute__((vector_size(16)));

/* A bit for each block that differs. */
static uint64_t compare(const uint8_t *page, const uint8_t *base) {
    uint64_t bits = 0;
    for (unsigned block = 0; block < BLOCKS; block++, page += BLOCK, base += BLOCK) {
        part_t x[4], y[4];
        memcpy(x, page, BLOCK);
        memcpy(y, base, BLOCK);
        part_t difference = (x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]);
        bits |= (uint64_t)((difference[0] | difference[1]) != 0) << block;
    }
    return bits;
}

/* Appends a page of which some blocks differ; there is room for ENTRY_MOST bytes. */
static size_t pack_page(uint8_t *out, uint32_t number, uint64_t bits, const uint8_t *page) {
    size_t size = ENTRY;
    for (uint64_t left = bits; left; left &= left - 1, size += BLOCK)
        memcpy(out + size, page + (size_t)__builtin_ctzll(left) * BLOCK, BLOCK);
    memcpy(out, &number, sizeof number);
    memcpy(out + sizeof number, &bits, sizeof bits);
    return size;
}

/* Makes room for so many more bytes than are used. */
static bool has_room(struct clo_wasm_instance *instance, size_t used, size_t more) {
    if (more <= instance->kept_room - used) return true;
    size_t wanted = instance->kept_room + instance->kept_room / 2 + more;
    uint8_t *room = realloc(instance->kept, wanted);
    if (!room) return false;
    instance->kept = room;
    instance->kept_room = wanted;
    return true;
}

/* Remembers the state as it is now, packed, for the instance to free. 0, or -1: no image, or no memory for it. */
int clo_wasm_keep(struct clo_wasm_instance *instance) {
    const struct clo_wasm_how *how = &instance->mold->how;
    struct clo_wasm_changed changed;
    size_t size, used = HEAD;
    const uint8_t *memory = clo_wasm_find_changed(instance, &changed, &size);
    instance->kept_size = 0;
    if (!memory || !has_room(instance, 0, HEAD)) return -1;
    uint32_t head[3] = {(uint32_t)how->stack_pointer, (uint32_t)(size / WASM_PAGE), 0};
    for (size_t i = 0; i < changed.count; i++) {
        for (size_t at = changed.spans[i].begin; at < changed.spans[i].end; at += PAGE) {
            const uint8_t *base = clo_wasm_image_page(how, at);
            if (!memcmp(memory + at, base, PAGE)) continue;
            uint64_t bits = compare(memory + at, base);
            if (!has_room(instance, used, ENTRY_MOST)) return -1;
            used += pack_page(instance->kept + used, (uint32_t)(at / PAGE), bits, memory + at);
            head[2]++;
        }
    }
    memcpy(instance->kept, head, sizeof head);
    instance->kept_size = used;
    return 0;
}

const uint8_t *clo_wasm_kept(const struct clo_wasm_instance *instance, size_t *size) {
    *size = instance->kept_size;
    return instance->kept;
}

/* What it says of itself, and whether each entry is whole, in order and in its memory. */
static int check(const struct clo_wasm_how *how, const uint8_t *packed, size_t size, uint32_t head[3]) {
    uint32_t number, before = 0;
    uint64_t bits;
    if (size < HEAD) return CLO_WASM_DELTA_SHORT;
    memcpy(head, packed, HEAD);
    if (head[0] != (uint32_t)how->stack_pointer) return CLO_WASM_DELTA_POINTER;
    uint64_t memory = (uint64_t)head[1] * WASM_PAGE;
    if (memory < how->image_size || memory > (uint64_t)how->memory) return CLO_WASM_DELTA_MEMORY;
    size_t at = HEAD;
    for (uint32_t i = 0; i < head[2]; i++) {
        if (size - at < ENTRY) return CLO_WASM_DELTA_SHORT;
        memcpy(&number, packed + at, sizeof number);
        memcpy(&bits, packed + at + sizeof number, sizeof bits);
        at += ENTRY;
        size_t blocks = (size_t)__builtin_popcountll(bits) * BLOCK;
        if (blocks > size - at) return CLO_WASM_DELTA_SHORT;
        if ((i && number <= before) || number >= memory / PAGE) return CLO_WASM_DELTA_PAGES;
        at += blocks;
        before = number;
    }
    return at == size ? CLO_WASM_DELTA_OK : CLO_WASM_DELTA_SHORT;
}

/* Has the kernel make many pages at once, which takes it a fraction of as many faults. Where it can't, they come by
 * themselves. */
static void populate(uint8_t *memory, size_t begin, size_t end) {
    enum { FEW = 8, HUGE_PAGE = 2 << 20 };
    if (end - begin < FEW) return;
    uintptr_t from = (uintptr_t)memory + begin * PAGE, to = (uintptr_t)memory + end * PAGE;
    uintptr_t huge = (from + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE, last = to / HUGE_PAGE * HUGE_PAGE;
    if (huge < last) (void)madvise((void *)huge, last - huge, MADV_HUGEPAGE);
    (void)madvise((void *)from, to - from, MADV_POPULATE_WRITE);
}

static void write_blocks(uint8_t *memory, const uint8_t *from, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t number;
        uint64_t bits;
        memcpy(&number, from, sizeof number);
        memcpy(&bits, from + sizeof number, sizeof bits);
        from += ENTRY;
        uint8_t *page = memory + (size_t)number * PAGE;
        for (; bits; bits &= bits - 1, from += BLOCK) memcpy(page + (size_t)__builtin_ctzll(bits) * BLOCK, from, BLOCK);
    }
}

static void make_room(uint8_t *memory, const uint8_t *from, uint32_t count) {
    size_t begin = 0, end = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t number;
        uint64_t bits;
        memcpy(&number, from, sizeof number);
        memcpy(&bits, from + sizeof number, sizeof bits);
        from += ENTRY + (size_t)__builtin_popcountll(bits) * BLOCK;
        if (number != end) {
            populate(memory, begin, end);
            begin = number;
        }
        end = (size_t)number + 1;
    }
    populate(memory, begin, end);
}

/* To a fresh instance. Unless it gives CLO_WASM_DELTA_OK the instance is as it was. */
int clo_wasm_revive(struct clo_wasm_instance *instance, const void *packed, size_t size) {
    uint32_t head[3];
    size_t now;
    int status = check(&instance->mold->how, packed, size, head);
    if (status) return status;
    if (!clo_wasm_memory(instance, &now) || now > (size_t)head[1] * WASM_PAGE) return CLO_WASM_DELTA_MEMORY;
    if (clo_wasm_grow(instance, head[1] - now / WASM_PAGE)) return CLO_WASM_DELTA_GROW;
    uint8_t *memory = clo_wasm_memory(instance, &now);
    make_room(memory, (const uint8_t *)packed + HEAD, head[2]);
    write_blocks(memory, (const uint8_t *)packed + HEAD, head[2]);
    return CLO_WASM_DELTA_OK;
}
