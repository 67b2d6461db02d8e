/* A ring of bytes for one thread that puts and one that takes, without a lock.
 *
 * `put` and `taken` count bytes from the beginning of time; each is written by one side only and read by the other with
 * acquire, after a release: what was copied is seen before the count that says so. Records are multiples of 8 bytes and
 * may go round the end in two pieces.
 *
 * Memory that was never touched costs nothing, so an empty ring goes back to its beginning after its first quarter,
 * over a stretch that holds nothing (SKIP). What is behind can't be used until the taker has passed the stretch: of a
 * smaller part a burst would fill the rest before anybody takes anything. */
#include "ring.h"

#include <string.h>
#include <sys/mman.h>

enum { SKIP = UINT16_MAX /* an act that is none */, PARTS = 4 };

struct stretch { uint32_t size; uint16_t act, zero; }; /* begins as a record does */

_Static_assert(offsetof(struct clo_event, act) == offsetof(struct stretch, act) &&
                   offsetof(struct clo_match, act) == offsetof(struct stretch, act),
               "a stretch is told from a record");
_Static_assert((int)CLO_RING_MIN >= 2 * CLO_EVENT_MAX, "a record fits a ring that is half full");

/* 0; -EINVAL for a size that is no power of two between the bounds; -ENOMEM. */
int clo_ring_new(struct clo_ring *ring, uint64_t size) {
    if (size < CLO_RING_MIN || size > CLO_RING_MAX || size & (size - 1)) return -EINVAL;
    void *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (bytes == MAP_FAILED) return -ENOMEM;
    ring->bytes = bytes;
    ring->size = size;
    atomic_init(&ring->put, 0);
    atomic_init(&ring->taken, 0);
    return 0;
}

void clo_ring_free(struct clo_ring *ring) {
    if (ring->bytes) munmap(ring->bytes, ring->size);
    ring->bytes = NULL;
}

static void copy_in(struct clo_ring *ring, uint64_t at, const void *from, size_t size) {
    size_t offset = (size_t)(at & (ring->size - 1)), first = (size_t)ring->size - offset;
    if (first > size) first = size;
    memcpy(ring->bytes + offset, from, first);
    memcpy(ring->bytes, (const char *)from + first, size - first);
}

static void copy_out(const struct clo_ring *ring, uint64_t at, void *to, size_t size) {
    size_t offset = (size_t)(at & (ring->size - 1)), first = (size_t)ring->size - offset;
    if (first > size) first = size;
    memcpy(to, ring->bytes + offset, first);
    memcpy((char *)to + first, ring->bytes, size - first);
}

/* Bytes that can be put for sure. Either side. */
uint64_t clo_ring_room(const struct clo_ring *ring) {
    return ring->size - (atomic_load(&ring->put) - atomic_load(&ring->taken));
}

/* False if it does not fit: nothing is put. The putter's. */
bool clo_ring_put(struct clo_ring *ring, const void *record) {
    struct stretch head;
    memcpy(&head, record, sizeof head);
    uint64_t put = atomic_load_explicit(&ring->put, memory_order_relaxed);
    uint64_t used = put - atomic_load_explicit(&ring->taken, memory_order_acquire);
    uint64_t offset = put & (ring->size - 1);
    if (!used && offset >= ring->size / PARTS && ring->size - offset + head.size <= ring->size) {
        struct stretch skip = {(uint32_t)(ring->size - offset), SKIP, 0};
        copy_in(ring, put, &skip, sizeof skip);
        put += skip.size;
    } else if (head.size > ring->size - used) {
        return false;
    }
    copy_in(ring, put, record, head.size);
    atomic_store(&ring->put, put + head.size);
    return true;
}

/* Takes as many whole records as fit: their bytes, 0 if there is none; -ENOSPC when the first does not fit. The
 * taker's. */
int64_t clo_ring_take(struct clo_ring *ring, void *out, size_t room) {
    uint64_t taken = atomic_load_explicit(&ring->taken, memory_order_relaxed), put = atomic_load(&ring->put);
    size_t used = 0;
    while (taken != put) {
        struct stretch head;
        copy_out(ring, taken, &head, sizeof head);
        if (head.act == SKIP) {
            taken += head.size;
            continue;
        }
        if (head.size > room - used) break;
        copy_out(ring, taken, (char *)out + used, head.size);
        used += head.size;
        taken += head.size;
    }
    bool stuck = !used && taken != put;
    atomic_store(&ring->taken, taken);
    return stuck ? -ENOSPC : (int64_t)used;
}
