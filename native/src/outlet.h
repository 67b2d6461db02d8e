/* Where one thread puts records and matches, and others take them: two rings, a bell, and what was lost. */
#ifndef CLOCHE_OUTLET_H
#define CLOCHE_OUTLET_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "events.h"
#include "ring.h"

struct clo_outlet {
    int bell; /* a timer, so that the kernel rings it without waking the thread for that */
    /* the putting thread's */
    uint64_t belled_at, matched_at;
    /* everybody's */
    pthread_mutex_t taking;
    struct clo_ring ring, matches;
    _Atomic uint64_t records, lost, lost_matches;
    _Atomic uint32_t telling; /* odd between an answer and its record */
    _Atomic uint32_t rung;
};

/* Adds to a counter that one thread alone writes. */
static inline void clo_add_to(_Atomic uint64_t *counter, uint64_t count) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + count, memory_order_relaxed);
}

int clo_outlet_open(struct clo_outlet *outlet, uint64_t ring);
void clo_outlet_close(struct clo_outlet *outlet);
void clo_outlet_signal(struct clo_outlet *outlet);
void clo_outlet_tell(struct clo_outlet *outlet);
void clo_outlet_told(struct clo_outlet *outlet);
uint64_t clo_outlet_put(struct clo_outlet *outlet, struct clo_event *record, uint64_t now);
void clo_outlet_put_match(struct clo_outlet *outlet, const struct clo_match *match, uint64_t now);
int64_t clo_outlet_take(struct clo_outlet *outlet, struct clo_ring *ring, bool threaded, void *out, size_t room);

#endif
