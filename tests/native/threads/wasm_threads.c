/* The watch over WebAssembly guests under ThreadSanitizer: guests spin in several threads and are ended at their times,
 * softly, or by another thread's word. wasmtime is played by what is here. Run by .ci/run tsan. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wasm.h"

enum { RUNNERS = 4, ROUNDS = 150, MILLISECOND = 1000000 };

struct store {
    void *data;
    wt_deadline *deadline;
    uint64_t until;
};

static atomic_uint_fast64_t epoch;
static atomic_bool done;

static void must(bool good, const char *what) {
    if (good) return;
    fprintf(stderr, "wasm_threads: %s\n", what);
    exit(1);
}

static void *store_new(void *engine, void *data, void (*finalizer)(void *)) {
    (void)engine, (void)finalizer;
    struct store *store = calloc(1, sizeof *store);
    must(store, "memory");
    store->data = data;
    return store;
}

static void *store_context(void *store) { return store; }
static void store_delete(void *store) { free(store); }

static void store_limiter(void *store, int64_t a, int64_t b, int64_t c, int64_t d, int64_t e) {
    (void)store, (void)a, (void)b, (void)c, (void)d, (void)e;
}

static void deadline_callback(void *store, wt_deadline *deadline, void *data, void (*finalizer)(void *)) {
    (void)data, (void)finalizer;
    ((struct store *)store)->deadline = deadline;
}

static void set_deadline(void *context, uint64_t ticks) { ((struct store *)context)->until = epoch + ticks; }
static void increment_epoch(void *engine) {
    (void)engine;
    epoch++;
}

static void *instantiate(const void *pre, void *context, struct wt_instance *instance, void **trap) {
    (void)pre, (void)context, (void)instance, (void)trap;
    return NULL;
}

static bool export_get(void *context, const struct wt_instance *instance, const char *name, size_t size,
                       struct wt_extern *found) {
    (void)context, (void)instance, (void)size;
    found->kind = WT_FUNC;
    found->of.func.store = 1;
    return strcmp(name, "memory") != 0;
}

/* Spins until its time is over; the guest looks at its own poll too, if it is asked to (the first value). */
static void *spin(void *context, const struct wt_func *function, union wt_raw *values, size_t count, void **trap) {
    (void)function, (void)count, (void)trap;
    struct store *store = context;
    struct clo_wasm_instance *instance = store->data;
    for (;;) {
        if (values[0].i64 && (instance->stop || clo_wasm_now() >= instance->soft)) return NULL;
        if (epoch < store->until) continue;
        uint64_t delta;
        uint8_t kind;
        if (store->deadline(context, store->data, &delta, &kind)) return store;
        store->until = epoch + delta;
    }
}

static void *error_new(const char *message) { return (void *)(uintptr_t)message; }
static void error_delete(void *error) { (void)error; }
static void error_message(const void *error, struct wt_bytes *bytes) {
    (void)error;
    *bytes = (struct wt_bytes){0, NULL};
}
static void bytes_delete(struct wt_bytes *bytes) { (void)bytes; }

static struct clo_wasm_mold *mold;
static struct clo_wasm_instance *shared;

static void run_one(struct clo_wasm_instance *instance, bool polls, uint64_t wall, uint64_t grace) {
    struct clo_wasm_run run = {.wall = wall, .grace = grace};
    int64_t numbers[1] = {polls};
    uint64_t before = clo_wasm_now();
    int status = clo_wasm_call(instance, 0, numbers, 1, &run);
    must(status == (polls ? CLO_WASM_DONE : CLO_WASM_STOPPED), "it ends as it should");
    must(clo_wasm_now() - before >= (polls ? wall : wall + grace), "it is not ended early");
}

static void *runner(void *argument) {
    unsigned seed = (unsigned)(uintptr_t)argument;
    char message[CLO_WASM_MESSAGE];
    for (int round = 0; round < ROUNDS; round++) {
        struct clo_wasm_instance *instance;
        must(!clo_wasm_open(mold, &instance, message), "open");
        for (int n = 0; n < 5; n++) run_one(instance, true, (uint64_t)(rand_r(&seed) % 50) * 1000 + 1, 50 * MILLISECOND);
        run_one(instance, false, (uint64_t)(rand_r(&seed) % 500) * 1000 + 1, (uint64_t)(rand_r(&seed) % 2000) * 1000);
        must(!clo_wasm_alive(instance), "a hard end is one");
        must(clo_wasm_close(instance) == CLO_WASM_DONE, "close");
    }
    return NULL;
}

/* Its runs have no end of their own; the stopper gives them one. */
static void *endless(void *argument) {
    (void)argument;
    for (int round = 0; round < ROUNDS; round++) {
        struct clo_wasm_run run = {0};
        int64_t numbers[1] = {1};
        int status = clo_wasm_call(shared, 0, numbers, 1, &run);
        must(status == CLO_WASM_DONE || status == CLO_WASM_BUSY, "it is stopped softly");
    }
    done = true;
    return NULL;
}

static void *stopper(void *argument) {
    (void)argument;
    while (!done) {
        struct clo_wasm_run run = {.wall = 1, .grace = 5000ull * MILLISECOND};
        int64_t numbers[1] = {1};
        clo_wasm_stop(shared, 5000ull * MILLISECOND);
        int status = clo_wasm_call(shared, 0, numbers, 1, &run);
        must(status == CLO_WASM_BUSY || status == CLO_WASM_DONE, "it is in use");
    }
    return NULL;
}

int main(void) {
    static struct clo_wasm_library library;
    library.wasmtime_store_new = store_new;
    library.wasmtime_store_context = store_context;
    library.wasmtime_store_delete = store_delete;
    library.wasmtime_store_limiter = store_limiter;
    library.wasmtime_store_epoch_deadline_callback = deadline_callback;
    library.wasmtime_context_set_epoch_deadline = set_deadline;
    library.wasmtime_engine_increment_epoch = increment_epoch;
    library.wasmtime_instance_pre_instantiate = instantiate;
    library.wasmtime_instance_export_get = export_get;
    library.wasmtime_func_call_unchecked = spin;
    library.wasmtime_error_new = error_new;
    library.wasmtime_error_delete = error_delete;
    library.wasmtime_error_message = error_message;
    library.wasm_byte_vec_delete = bytes_delete;
    struct clo_wasm_engine *engine = clo_wasm_engine_new(&library, &epoch, 65536);
    struct clo_wasm_how how = {.memory = 65536, .text = 65536};
    char message[CLO_WASM_MESSAGE];
    must(engine && (mold = clo_wasm_mold_new(engine, &how)), "memory");
    must(!clo_wasm_open(mold, &shared, message), "open");
    pthread_t runners[RUNNERS], others[2];
    for (uintptr_t i = 0; i < RUNNERS; i++) must(!pthread_create(&runners[i], NULL, runner, (void *)(i + 1)), "thread");
    must(!pthread_create(&others[0], NULL, endless, NULL) && !pthread_create(&others[1], NULL, stopper, NULL), "thread");
    for (int i = 0; i < RUNNERS; i++) pthread_join(runners[i], NULL);
    for (int i = 0; i < 2; i++) pthread_join(others[i], NULL);
    clo_wasm_close(shared);
    clo_wasm_mold_free(mold);
    clo_wasm_engine_free(engine);
    return 0;
}
