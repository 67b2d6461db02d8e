/* An instance that waits gives back what it can have again: pages that are once more as in the image, those of its stack,
 * and the state that was kept before its last run. Half of the pages that a run writes to are as before in the end.
 *
 * A page that is given back is the image's when it is read again, for memories are mapped copy-on-write from that. Where
 * one is not, as no image was mapped, it is written again. */
#include "wasm.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = CLO_WASM_PAGE };

static size_t give_back(const struct clo_wasm_how *how, uint8_t *memory, size_t begin, size_t end) {
    if (begin == end || madvise(memory + begin, end - begin, MADV_DONTNEED)) return 0;
    for (size_t at = begin; at < end; at += PAGE) {
        if (!clo_wasm_is_clean(how, memory, at)) memcpy(memory + at, clo_wasm_image_page(how, at), PAGE);
    }
    return end - begin;
}

static size_t give_back_clean(const struct clo_wasm_how *how, uint8_t *memory, size_t begin, size_t end) {
    size_t given = 0, from = begin;
    for (size_t at = begin; at < end; at += PAGE) {
        if (clo_wasm_is_clean(how, memory, at)) continue;
        given += give_back(how, memory, from, at);
        from = at + PAGE;
    }
    return given + give_back(how, memory, from, end);
}

/* The bytes given back; -1: it runs, or there is no image. It may be used by nobody else meanwhile. */
int64_t clo_wasm_rest(struct clo_wasm_instance *instance) {
    const struct clo_wasm_how *how = &instance->mold->how;
    struct clo_wasm_changed changed;
    size_t size, dead = how->dead / PAGE * PAGE;
    if (atomic_exchange(&instance->busy, true)) return -1;
    const uint8_t *found = instance->ended ? NULL : clo_wasm_find_changed(instance, &changed, &size);
    if (!found) {
        instance->busy = false;
        return -1;
    }
    uint8_t *memory = clo_wasm_memory(instance, &size);
    size_t given = give_back(how, memory, 0, dead < size ? dead : 0) + instance->kept_room;
    for (size_t i = 0; i < changed.count; i++)
        given += give_back_clean(how, memory, changed.spans[i].begin, changed.spans[i].end);
    instance->touched.at.thread = 0;
    free(instance->kept);
    instance->kept = NULL;
    instance->kept_size = instance->kept_room = 0;
    instance->busy = false;
    return (int64_t)given;
}
