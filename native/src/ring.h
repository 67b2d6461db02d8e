/* A ring of whole records between one thread that puts and one that takes: clo_event, clo_match of cdef.h, or what else
 * begins with its size (uint32_t, a multiple of 8) and an act (uint16_t, not UINT16_MAX). */
#ifndef CLOCHE_RING_H
#define CLOCHE_RING_H

#include <stdatomic.h>
#include <stdbool.h>

#include "cloche_native.h"

enum { CLO_RING_MIN = 65536, CLO_RING_MAX = 1 << 30, CLO_CACHE_LINE = 64 };

struct clo_ring {
    char *bytes;
    uint64_t size;                                 /* a power of two */
    _Alignas(CLO_CACHE_LINE) _Atomic uint64_t put; /* bytes ever put; the putter's to write */
    _Alignas(CLO_CACHE_LINE) _Atomic uint64_t taken;
};

int clo_ring_new(struct clo_ring *ring, uint64_t size);
void clo_ring_free(struct clo_ring *ring);
uint64_t clo_ring_room(const struct clo_ring *ring);
bool clo_ring_put(struct clo_ring *ring, const void *record);
int64_t clo_ring_take(struct clo_ring *ring, void *out, size_t room);

#endif
