/* Records and matches on their way from a native thread to who takes them. The bell is rung at once for a match, if there
 * was none just before; else a while after the first record of an empty ring (supervisor.c says why). */
#include "outlet.h"

#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { BELL_NS = 300000, BUSY_BELL_NS = 600000, BUSY_NS = 1500000 };

enum bell { BELL_STILL, BELL_WILL, BELL_RINGS };

/* Prepares one that has only zeros: 0, or a negative errno, and then clo_outlet_close is still to be called. */
int clo_outlet_open(struct clo_outlet *outlet, uint64_t ring) {
    pthread_mutex_init(&outlet->taking, NULL);
    outlet->bell = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (outlet->bell < 0) return -errno;
    int status = clo_ring_new(&outlet->ring, ring);
    return status ? status : clo_ring_new(&outlet->matches, CLO_RING_MIN);
}

void clo_outlet_close(struct clo_outlet *outlet) {
    if (outlet->bell >= 0) close(outlet->bell);
    clo_ring_free(&outlet->ring);
    clo_ring_free(&outlet->matches);
    pthread_mutex_destroy(&outlet->taking);
}

/* Has the bell ring in `ns`, instead of when it was to before. */
static void ring_in(const struct clo_outlet *outlet, long ns) {
    const struct itimerspec when = {.it_value = {.tv_nsec = ns}};
    if (timerfd_settime(outlet->bell, 0, &when, NULL)) abort(); /* a timer of ours can't refuse */
}

void clo_outlet_signal(struct clo_outlet *outlet) {
    if (atomic_exchange(&outlet->rung, BELL_RINGS) != BELL_RINGS) ring_in(outlet, 1);
}

static void signal_later(struct clo_outlet *outlet, uint64_t now) {
    uint32_t still = BELL_STILL;
    if (!atomic_compare_exchange_strong(&outlet->rung, &still, BELL_WILL)) return;
    ring_in(outlet, now - outlet->belled_at < BUSY_NS ? BUSY_BELL_NS : BELL_NS);
    outlet->belled_at = now;
}

/* From here to clo_outlet_told a guest may have been answered whose record is still to be put: who takes records waits for
 * that. Nothing that may take long belongs in between. */
void clo_outlet_tell(struct clo_outlet *outlet) { atomic_fetch_or(&outlet->telling, 1); }

void clo_outlet_told(struct clo_outlet *outlet) {
    if (atomic_load_explicit(&outlet->telling, memory_order_relaxed) & 1) atomic_fetch_add(&outlet->telling, 1);
}

/* Numbers a record and puts it into the ring, if it has room. Gives the number. */
uint64_t clo_outlet_put(struct clo_outlet *outlet, struct clo_event *record, uint64_t now) {
    clo_add_to(&outlet->records, 1);
    record->number = atomic_load_explicit(&outlet->records, memory_order_relaxed);
    if (!clo_ring_put(&outlet->ring, record)) clo_add_to(&outlet->lost, 1);
    signal_later(outlet, now);
    return record->number;
}

/* After its record. */
void clo_outlet_put_match(struct clo_outlet *outlet, const struct clo_match *match, uint64_t now) {
    if (!clo_ring_put(&outlet->matches, match)) clo_add_to(&outlet->lost_matches, 1);
    if (now - outlet->matched_at < BELL_NS) {
        signal_later(outlet, now);
        return;
    }
    outlet->matched_at = now;
    clo_outlet_signal(outlet);
}

/* See clo_outlet_tell. */
static void let_tell(const struct clo_outlet *outlet) {
    const struct timespec moment = {.tv_nsec = 20000};
    uint32_t telling = atomic_load(&outlet->telling);
    if (!(telling & 1)) return;
    while (atomic_load(&outlet->telling) == telling) nanosleep(&moment, NULL);
}

/* Takes whole records of one of its rings: their bytes, 0, or -ENOSPC if `room` is too small for the first. `threaded`: the
 * thread that puts is there, and not in a process that this one was forked from. Any thread. */
int64_t clo_outlet_take(struct clo_outlet *outlet, struct clo_ring *ring, bool threaded, void *out, size_t room) {
    uint64_t count;
    pthread_mutex_lock(&outlet->taking);
    if (read(outlet->bell, &count, sizeof count) > 0) atomic_store(&outlet->rung, BELL_STILL); /* before looking: what comes later rings */
    if (threaded) let_tell(outlet);
    int64_t taken = clo_ring_take(ring, out, room);
    if (clo_ring_room(ring) != ring->size) clo_outlet_signal(outlet);
    pthread_mutex_unlock(&outlet->taking);
    return taken;
}
