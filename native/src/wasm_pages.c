/* Which pages of an instance's memory were written to, as the kernel knows it (ioctl_pagemap_scan(2), Linux 6.7): those
 * that are its own, for what is mapped copy-on-write becomes that by the first write.
 *
 * That first write is a page fault of the thread which runs the instance, and the kernel counts these. So where a thread
 * had no fault at all since it last asked for this instance, the answer is what it was, at a tenth of the time. */
#include "wasm.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

enum { NOT_YET = -1, NEVER = -2 };
enum { IS_FILE = 4, IS_PRESENT = 8, IS_SWAPPED = 16 };

struct region {
    uint64_t begin, end, categories;
};

/* As the kernel has it; the headers of many machines do not. */
struct scan {
    uint64_t size, flags, begin, end, walk_end, regions, count, most, inverted, mask, any, returned;
};
_Static_assert(sizeof(struct scan) == 96, "as the kernel has it");

/* What the page there was when the instance was made. */
const uint8_t *clo_wasm_image_page(const struct clo_wasm_how *how, size_t at) {
    static const uint8_t zero[CLO_WASM_PAGE];
    return at < how->image_size ? (const uint8_t *)how->image + at : zero;
}

bool clo_wasm_is_clean(const struct clo_wasm_how *how, const uint8_t *memory, size_t at) {
    return !memcmp(memory + at, clo_wasm_image_page(how, at), CLO_WASM_PAGE);
}

static int pagemap(struct clo_wasm_engine *engine) {
    pthread_mutex_lock(&engine->lock);
    if (engine->pagemap == NOT_YET) {
        int opened = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
        engine->pagemap = opened < 0 ? NEVER : opened;
    }
    int fd = engine->pagemap;
    pthread_mutex_unlock(&engine->lock);
    return fd;
}

/* Fills in the spans, ascending; beyond as many as fit, the last one is all of the rest. False: it can't be told. */
static bool find_touched(struct clo_wasm_engine *engine, const uint8_t *memory, size_t begin, size_t end,
                         struct clo_wasm_changed *changed) {
    enum { MOST = sizeof changed->spans / sizeof changed->spans[0] };
    struct region regions[MOST];
    int fd = pagemap(engine);
    if (fd < 0) return false;
    struct scan scan = {
        .size = sizeof scan, .begin = (uintptr_t)memory + begin, .end = (uintptr_t)memory + end,
        .regions = (uintptr_t)regions, .count = MOST,
        .inverted = IS_FILE, .mask = IS_FILE, .any = IS_PRESENT | IS_SWAPPED, .returned = IS_PRESENT | IS_SWAPPED};
    int found = ioctl(fd, _IOWR('f', 16, struct scan), &scan);
    if (found < 0 || (!found && scan.walk_end != scan.end)) return false;
    for (int i = 0; i < found; i++) {
        changed->spans[i].begin = regions[i].begin - (uintptr_t)memory;
        changed->spans[i].end = regions[i].end - (uintptr_t)memory;
    }
    if (scan.walk_end != scan.end) changed->spans[found - 1].end = end;
    changed->count = (size_t)found;
    return true;
}

static uint64_t this_thread(void) {
    static atomic_uint_fast64_t threads;
    static _Thread_local uint64_t number;
    if (!number) number = ++threads;
    return number;
}

/* To be called wherever the memory may be written to from now on: another thread's faults are not counted. */
void clo_wasm_used_here(struct clo_wasm_instance *instance) {
    if (instance->touched.at.thread != this_thread()) instance->touched.at.thread = 0;
}

static struct clo_wasm_asked_at now_of(const struct clo_wasm_instance *instance, const uint8_t *memory) {
    struct rusage used;
    struct clo_wasm_asked_at at = {.thread = this_thread(), .memory = memory, .forks = instance->mold->engine->forks};
    if (getrusage(RUSAGE_THREAD, &used)) at.thread = 0;
    else at.faults = (uint64_t)used.ru_minflt + (uint64_t)used.ru_majflt;
    return at;
}

static bool is_same(const struct clo_wasm_asked_at *a, const struct clo_wasm_asked_at *b) {
    return a->thread && a->thread == b->thread && a->faults == b->faults && a->memory == b->memory && a->forks == b->forks;
}

static void recall(const struct clo_wasm_touched *touched, struct clo_wasm_changed *changed) {
    changed->count = touched->count;
    for (size_t i = 0; i < touched->count; i++) {
        changed->spans[i].begin = (size_t)touched->pages[i][0] * CLO_WASM_PAGE;
        changed->spans[i].end = (size_t)touched->pages[i][1] * CLO_WASM_PAGE;
    }
}

static void remember(struct clo_wasm_touched *touched, struct clo_wasm_asked_at at,
                     const struct clo_wasm_changed *changed) {
    if (changed->count > touched->room) {
        uint32_t(*pages)[2] = realloc(touched->pages, changed->count * sizeof *pages);
        if (pages) {
            touched->pages = pages;
            touched->room = (uint32_t)changed->count;
        } else at.thread = 0;
    }
    touched->at = at;
    if (!at.thread) return;
    touched->count = (uint32_t)changed->count;
    for (size_t i = 0; i < changed->count; i++) {
        touched->pages[i][0] = (uint32_t)(changed->spans[i].begin / CLO_WASM_PAGE);
        touched->pages[i][1] = (uint32_t)(changed->spans[i].end / CLO_WASM_PAGE);
    }
}

/* Gives the memory, and its size; NULL: there is none, or no image. All pages that are not dead where it can't be told. */
const uint8_t *clo_wasm_find_changed(struct clo_wasm_instance *instance, struct clo_wasm_changed *changed, size_t *size) {
    const struct clo_wasm_how *how = &instance->mold->how;
    const uint8_t *memory = clo_wasm_memory(instance, size);
    if (!memory || !how->image) return NULL;
    struct clo_wasm_touched *touched = &instance->touched;
    struct clo_wasm_asked_at now = now_of(instance, memory);
    if (is_same(&now, &touched->at)) {
        recall(touched, changed);
        return memory;
    }
    size_t begin = how->dead / CLO_WASM_PAGE * CLO_WASM_PAGE;
    if (find_touched(instance->mold->engine, memory, begin, *size, changed)) {
        remember(touched, now, changed);
        return memory;
    }
    changed->spans[0].begin = begin;
    changed->spans[0].end = *size;
    changed->count = 1;
    return memory;
}
