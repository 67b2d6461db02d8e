/* The thread of an engine that ends what runs too long.
 *
 * Softly nobody ends it but the guest's own poll, which looks at the clock, or, in a guest that has no poll but a
 * function that asks it to stop, that function. This and hard ends come by the engine's epoch: the thread sleeps until
 * the earliest of them and raises it, upon which each store that runs asks whether its time is over.
 * It is woken for an end only if that is earlier than when it wakes anyhow, so that arming costs no system call. */
#include "wasm.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "thread.h"

enum { SECOND = 1000000000, AGAIN = 2000000, TICKS = 1 << 30 };

uint64_t clo_wasm_now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

/* ---- The heap: each instance knows its place, from 1. ---- */

static void put(struct clo_wasm_engine *engine, size_t at, struct clo_wasm_instance *instance) {
    engine->heap[at] = instance;
    instance->place = at + 1;
}

static void raise_up(struct clo_wasm_engine *engine, size_t at) {
    struct clo_wasm_instance *moved = engine->heap[at];
    for (; at && engine->heap[(at - 1) / 2]->hard > moved->hard; at = (at - 1) / 2)
        put(engine, at, engine->heap[(at - 1) / 2]);
    put(engine, at, moved);
}

static void sink(struct clo_wasm_engine *engine, size_t at) {
    struct clo_wasm_instance *moved = engine->heap[at];
    for (size_t child; (child = 2 * at + 1) < engine->count; at = child) {
        if (child + 1 < engine->count && engine->heap[child + 1]->hard < engine->heap[child]->hard) child++;
        if (engine->heap[child]->hard >= moved->hard) break;
        put(engine, at, engine->heap[child]);
    }
    put(engine, at, moved);
}

static bool add(struct clo_wasm_engine *engine, struct clo_wasm_instance *instance) {
    if (engine->count == engine->room) {
        size_t room = engine->room ? 2 * engine->room : 16;
        struct clo_wasm_instance **heap = realloc(engine->heap, room * sizeof *heap);
        if (!heap) return false;
        engine->heap = heap;
        engine->room = room;
    }
    put(engine, engine->count++, instance);
    raise_up(engine, engine->count - 1);
    return true;
}

static void take_out(struct clo_wasm_engine *engine, struct clo_wasm_instance *instance) {
    if (!instance->place) return;
    size_t at = instance->place - 1;
    instance->place = 0;
    struct clo_wasm_instance *last = engine->heap[--engine->count];
    if (last == instance) return;
    put(engine, at, last);
    raise_up(engine, at);
    sink(engine, last->place - 1);
}

/* ---- The thread. ---- */

/* An end that the guest missed, as it was just looking, is raised again soon. */
static void *watch(void *argument) {
    struct clo_wasm_engine *engine = argument;
    pthread_mutex_lock(&engine->lock);
    while (!engine->ending) {
        uint64_t now = clo_wasm_now(), next = engine->count ? engine->heap[0]->hard : UINT64_MAX;
        if (next <= now) {
            engine->library->wasmtime_engine_increment_epoch(engine->engine);
            next = now + AGAIN;
        }
        engine->wakes = next;
        if (next == UINT64_MAX) {
            pthread_cond_wait(&engine->woken, &engine->lock);
            continue;
        }
        struct timespec until = {.tv_sec = (time_t)(next / SECOND), .tv_nsec = (long)(next % SECOND)};
        pthread_cond_timedwait(&engine->woken, &engine->lock, &until);
    }
    pthread_mutex_unlock(&engine->lock);
    return NULL;
}

static void prepare_lock(struct clo_wasm_engine *engine) {
    pthread_condattr_t attributes;
    pthread_mutex_init(&engine->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&engine->woken, &attributes);
    pthread_condattr_destroy(&attributes);
    engine->wakes = UINT64_MAX;
    engine->started = false;
}

/* wasmtime's engine is the caller's, and must live longer. NULL: no memory. */
struct clo_wasm_engine *clo_wasm_engine_new(struct clo_wasm_library *library, void *wasmtime, size_t stack) {
    struct clo_wasm_engine *engine = calloc(1, sizeof *engine);
    if (!engine) return NULL;
    engine->library = library;
    engine->engine = wasmtime;
    engine->stack = stack;
    engine->pagemap = -1;
    prepare_lock(engine);
    return engine;
}

/* In a child of fork: its thread is not there, and the lock is as it was at that moment. What ran in other threads has
 * gone with them. */
void clo_wasm_engine_forked(struct clo_wasm_engine *engine) {
    for (size_t i = 0; i < engine->count; i++) engine->heap[i]->place = 0;
    engine->count = 0;
    engine->forks++;
    if (engine->pagemap >= 0) close(engine->pagemap); /* it is of the parent's memory */
    engine->pagemap = -1;
    prepare_lock(engine);
}

/* After all of its molds. */
void clo_wasm_engine_free(struct clo_wasm_engine *engine) {
    if (!engine) return;
    pthread_mutex_lock(&engine->lock);
    engine->ending = true;
    pthread_cond_signal(&engine->woken);
    pthread_mutex_unlock(&engine->lock);
    if (engine->started) pthread_join(engine->thread, NULL);
    pthread_cond_destroy(&engine->woken);
    pthread_mutex_destroy(&engine->lock);
    if (engine->pagemap >= 0) close(engine->pagemap);
    free(engine->heap);
    free(engine);
}

/* With the lock: has the thread look at an end that is earlier than when it wakes. */
static bool see(struct clo_wasm_engine *engine, uint64_t hard) {
    if (!engine->started && clo_thread_start(&engine->thread, watch, engine)) return false;
    engine->started = true;
    if (hard < engine->wakes) {
        engine->wakes = hard;
        pthread_cond_signal(&engine->woken);
    }
    return true;
}

/* With the lock. */
static void again_at(struct clo_wasm_instance *instance, uint64_t hard) {
    struct clo_wasm_engine *engine = instance->mold->engine;
    take_out(engine, instance);
    instance->hard = hard;
    if (add(engine, instance)) see(engine, hard);
}

/* wall 0: it has no end. */
int clo_wasm_arm(struct clo_wasm_instance *instance, uint64_t wall, uint64_t grace) {
    struct clo_wasm_engine *engine = instance->mold->engine;
    uint64_t now = clo_wasm_now();
    bool seen = true;
    pthread_mutex_lock(&engine->lock);
    instance->stop = false;
    instance->told = false;
    instance->late = false;
    instance->soft = wall ? now + wall : 0;
    instance->last = wall ? now + wall + grace : 0;
    instance->hard = instance->mold->how.stops ? instance->soft : (uint64_t)instance->last;
    instance->armed = true;
    if (wall) seen = add(engine, instance) && see(engine, instance->hard);
    pthread_mutex_unlock(&engine->lock);
    return seen ? CLO_WASM_DONE : CLO_WASM_NO_HOST_MEMORY;
}

void clo_wasm_disarm(struct clo_wasm_instance *instance) {
    struct clo_wasm_engine *engine = instance->mold->engine;
    pthread_mutex_lock(&engine->lock);
    take_out(engine, instance);
    instance->armed = false;
    pthread_mutex_unlock(&engine->lock);
}

/* From any thread, as long as the instance is there: what runs now is to end softly, and hard after the grace. */
void clo_wasm_stop(struct clo_wasm_instance *instance, uint64_t grace) {
    struct clo_wasm_engine *engine = instance->mold->engine;
    pthread_mutex_lock(&engine->lock);
    if (instance->armed) {
        uint64_t now = clo_wasm_now();
        instance->stop = true;
        if (!instance->last || now + grace < instance->last) instance->last = now + grace;
        uint64_t hard = instance->mold->how.stops && !instance->told ? now : (uint64_t)instance->last;
        if (!instance->place || hard < instance->hard) again_at(instance, hard);
    }
    pthread_mutex_unlock(&engine->lock);
}

/* Has the guest ask itself to stop: its function is called between two of its instructions. From now on only the hard
 * end is waited for. The call has ticks of its own, for those that come while it lasts. */
static void *tell(struct clo_wasm_instance *instance) {
    struct clo_wasm_engine *engine = instance->mold->engine;
    union wt_raw none[1] = {{0}};
    instance->told = true;
    pthread_mutex_lock(&engine->lock);
    if (instance->armed) again_at(instance, instance->last);
    pthread_mutex_unlock(&engine->lock);
    instance->run->interrupted = 1;
    instance->library->wasmtime_context_set_epoch_deadline(instance->context, TICKS);
    return clo_wasm_enter(instance, WASM_STOP, none, 1) ? instance->library->wasmtime_error_new("it could not be stopped")
                                                         : NULL;
}

/* Asked by wasmtime when the epoch went on. */
void *clo_wasm_look_at_clock(void *context, void *data, uint64_t *delta, uint8_t *kind) {
    (void)context;
    struct clo_wasm_instance *instance = data;
    uint64_t now = clo_wasm_now(), last = instance->last, hard = instance->hard;
    *delta = 1;
    *kind = 0;
    if (last && now >= last) {
        instance->late = true;
        return instance->library->wasmtime_error_new("its time is over");
    }
    bool asks = instance->mold->how.stops && instance->run && !instance->told;
    return asks && hard && now >= hard ? tell(instance) : NULL;
}
