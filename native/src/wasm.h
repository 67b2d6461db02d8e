/* What the files of the bridge to wasmtime share: its interface as far as it is used, and our instances.
 *
 * Theory of operation. wasmtime-py compiles, validates and links; what it made is given to us as pointers. From there on
 * nothing of it is used: a store, its instance, its calls and its memory are ours, and what the guest imports is answered
 * in C, so that a call from Python costs one crossing. The store's data is the instance, by which an import finds it.
 *
 * A guest is hostile: each pointer and size that it gives is checked against its memory as it is then, which a call of
 * the guest may have moved. An instance is used by one thread at a time (``busy`` refuses a second); only clo_wasm_stop
 * and the engine's thread touch it besides, under the engine's lock. */
#ifndef CLOCHE_WASM_H
#define CLOCHE_WASM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "cloche_native.h"

/* As in wasmtime's C headers of version 50. */
struct wt_func {
    uint64_t store;
    void *private_;
};
struct wt_item {
    uint64_t store;
    uint32_t private_[3];
};
struct wt_instance {
    uint64_t store;
    size_t private_;
};
union wt_raw {
    int32_t i32;
    int64_t i64;
    uint8_t v128[16];
};
struct wt_extern {
    uint8_t kind;
    union {
        struct wt_func func;
        struct wt_item item;
        uint64_t room[3];
    } of;
};
struct wt_value {
    uint8_t kind;
    union {
        int32_t i32;
        int64_t i64;
        uint64_t room[3];
    } of;
};
struct wt_bytes {
    size_t size;
    char *data;
};
struct wt_types {
    size_t size;
    void **data;
};
struct wt_linear {
    void *env;
    uint8_t *(*get)(void *env, size_t *size, size_t *room);
    void *(*grow)(void *env, size_t size);
    void (*finalizer)(void *env);
};
struct wt_creator {
    void *env;
    void *(*make)(void *env, const void *type, size_t minimum, size_t maximum, size_t reserved, size_t guard,
                  struct wt_linear *made);
    void (*finalizer)(void *env);
};
_Static_assert(sizeof(struct wt_func) == 16 && sizeof(struct wt_item) == 24, "as wasmtime has them");
_Static_assert(sizeof(union wt_raw) == 16 && sizeof(struct wt_extern) == 32, "as wasmtime has them");
_Static_assert(sizeof(struct wt_value) == 32, "as wasmtime has it");
enum { WT_FUNC = 0, WT_GLOBAL = 1, WT_MEMORY = 3 };

typedef void *wt_callback(void *env, void *caller, union wt_raw *values, size_t count);
typedef void *wt_deadline(void *context, void *data, uint64_t *delta, uint8_t *kind);

/* result, name, parameters: one for each symbol that is looked up. */
#define CLO_WASM_SYMBOLS(X) \
    X(void *, wasmtime_store_new, (void *engine, void *data, void (*finalizer)(void *))) \
    X(void *, wasmtime_store_context, (void *store)) \
    X(void, wasmtime_store_delete, (void *store)) \
    X(void, wasmtime_store_limiter, (void *store, int64_t, int64_t, int64_t, int64_t, int64_t)) \
    X(void, wasmtime_store_epoch_deadline_callback, (void *store, wt_deadline *, void *data, void (*finalizer)(void *))) \
    X(void, wasmtime_context_set_epoch_deadline, (void *context, uint64_t ticks)) \
    X(void *, wasmtime_context_get_data, (const void *context)) \
    X(void, wasmtime_engine_increment_epoch, (void *engine)) \
    X(void *, wasmtime_instance_pre_instantiate, (const void *pre, void *context, struct wt_instance *, void **trap)) \
    X(bool, wasmtime_instance_export_get, (void *context, const struct wt_instance *, const char *, size_t, struct wt_extern *)) \
    X(void *, wasmtime_func_call_unchecked, (void *context, const struct wt_func *, union wt_raw *, size_t, void **trap)) \
    X(void *, wasmtime_func_type, (const void *context, const struct wt_func *)) \
    X(const struct wt_types *, wasm_functype_params, (const void *type)) \
    X(const struct wt_types *, wasm_functype_results, (const void *type)) \
    X(void, wasm_functype_delete, (void *type)) \
    X(uint8_t, wasm_valtype_kind, (const void *type)) \
    X(uint8_t *, wasmtime_memory_data, (const void *context, const struct wt_item *)) \
    X(size_t, wasmtime_memory_data_size, (const void *context, const struct wt_item *)) \
    X(void *, wasmtime_memory_grow, (void *context, const struct wt_item *, uint64_t delta, uint64_t *before)) \
    X(void, wasmtime_global_get, (void *context, const struct wt_item *, struct wt_value *)) \
    X(void *, wasmtime_global_set, (void *context, const struct wt_item *, const struct wt_value *)) \
    X(void *, wasmtime_linker_define_func_unchecked, \
      (void *linker, const char *, size_t, const char *, size_t, const void *type, wt_callback *, void *env, void (*)(void *))) \
    X(void *, wasmtime_caller_context, (void *caller)) \
    X(void *, wasmtime_trap_new, (const char *, size_t)) \
    X(bool, wasmtime_trap_code, (const void *trap, uint8_t *code)) \
    X(void, wasm_trap_message, (const void *trap, struct wt_bytes *)) \
    X(void, wasm_trap_delete, (void *trap)) \
    X(void, wasmtime_config_memory_init_cow_set, (void *config, bool wanted)) \
    X(void, wasmtime_config_host_memory_creator_set, (void *config, const struct wt_creator *)) \
    X(void *, wasmtime_error_new, (const char *)) \
    X(void, wasmtime_error_message, (const void *error, struct wt_bytes *)) \
    X(void, wasmtime_error_delete, (void *error)) \
    X(void, wasm_byte_vec_delete, (struct wt_bytes *))

struct clo_wasm_library {
#define CLO_WASM_MEMBER(result, name, parameters) result(*name) parameters;
    CLO_WASM_SYMBOLS(CLO_WASM_MEMBER)
#undef CLO_WASM_MEMBER
    clo_wasm_asker *asker;
};

struct clo_wasm_engine {
    struct clo_wasm_library *library;
    void *engine;
    size_t stack;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    pthread_t thread;
    bool started, ending;
    uint64_t wakes; /* when the thread wakes by itself */
    struct clo_wasm_instance **heap; /* by hard, the earliest first */
    size_t count, room;
    uint64_t forks; /* how often this process is a child, counted from where the engine was made */
    int pagemap; /* of this process, opened when first asked; -1: not yet, -2: this kernel tells nothing */
};

/* Exports that the protocols of guests need, in the order of clo_wasm_exports. */
enum wasm_export {
    WASM_ALLOC, WASM_FREE, WASM_EVAL, WASM_EVAL_ASYNC, WASM_GET_STRING, WASM_LAST_POINTER, WASM_LAST_SIZE,
    WASM_RESULT_FREE, WASM_FREE_VALUE, WASM_LAST_EXCEPTION, WASM_CALL_FUNCTION, WASM_NEW_STRING, WASM_NEW_BOOL,
    WASM_NEW_UNDEFINED, WASM_JOBS, WASM_NEW_FUNCTION, WASM_GLOBAL_OBJECT, WASM_SET_PROPERTY, WASM_GET_PROPERTY,
    /* Of a component that was linked: see wasm_component.c. */
    WASM_ROOM, WASM_ANSWER, WASM_AFTER, WASM_STOP, WASM_EXPORTS
};
extern const char *const clo_wasm_exports[WASM_EXPORTS];

struct clo_wasm_mold {
    struct clo_wasm_engine *engine;
    struct clo_wasm_how how;
    pthread_mutex_t lock; /* for names */
    _Atomic int count;
    char *names[CLO_WASM_NAMES];
};

/* When it was asked which pages were written to; thread 0: never, or it can't be told. */
struct clo_wasm_asked_at {
    uint64_t thread, faults, forks;
    const uint8_t *memory;
};

/* What the answer was: from page to page. */
struct clo_wasm_touched {
    struct clo_wasm_asked_at at;
    uint32_t count, room, (*pages)[2];
};

struct clo_wasm_instance {
    struct clo_wasm_library *library;
    struct clo_wasm_mold *mold;
    void *store, *context;
    struct wt_instance instance;
    struct wt_item memory;
    int ended;                /* how it died, 0: it lives */
    bool has_memory, exited, asking, armed, late;
    atomic_bool busy, stop, told; /* told: the guest was asked to stop by the epoch */
    _Atomic uint64_t hard;        /* when it ends, or is asked to by the epoch; 0: never */
    _Atomic uint64_t last;        /* when it ends at the latest, 0: never */
    uint64_t soft, tick;
    size_t place; /* in the engine's heap, from 1; 0: not in it */
    int32_t exit_code;
    struct clo_wasm_run *run; /* what is going on */
    char *texts, *room;       /* texts of a question, and the answer */
    size_t texts_room, room_size;
    struct clo_wasm_touched touched;
    uint8_t *kept;
    size_t kept_size, kept_room;
    char said[CLO_WASM_MESSAGE]; /* what it wrote on its standard output and error */
    size_t said_size;
    struct wt_func functions[CLO_WASM_NAMES];
};

/* What answers an import: given to wasmtime, which frees it with the linker. */
struct clo_wasm_answered {
    struct clo_wasm_library *library;
    int answer;
};

/* The pages of a memory that may differ from the image, the dead ones left out. */
struct clo_wasm_changed {
    struct {
        size_t begin, end;
    } spans[1024];
    size_t count;
};

uint64_t clo_wasm_now(void);
void clo_wasm_used_here(struct clo_wasm_instance *instance);
const uint8_t *clo_wasm_image_page(const struct clo_wasm_how *how, size_t at);
bool clo_wasm_is_clean(const struct clo_wasm_how *how, const uint8_t *memory, size_t at);
const uint8_t *clo_wasm_find_changed(struct clo_wasm_instance *instance, struct clo_wasm_changed *changed, size_t *size);
int clo_wasm_begin(struct clo_wasm_instance *instance, struct clo_wasm_run *run);
int clo_wasm_finish(struct clo_wasm_instance *instance, int status);
int clo_wasm_arm(struct clo_wasm_instance *instance, uint64_t wall, uint64_t grace);
void clo_wasm_disarm(struct clo_wasm_instance *instance);
void *clo_wasm_look_at_clock(void *context, void *data, uint64_t *delta, uint8_t *kind);
int clo_wasm_copy_out(struct clo_wasm_instance *instance, uint32_t at, uint32_t size);
int clo_wasm_broken(struct clo_wasm_instance *instance);
int clo_wasm_enter(struct clo_wasm_instance *instance, int name, union wt_raw *values, size_t count);
uint8_t *clo_wasm_at(struct clo_wasm_instance *instance, uint32_t at, uint64_t size);
int clo_wasm_put(struct clo_wasm_instance *instance, const char *text, size_t size, size_t more, uint32_t *at);
int clo_wasm_string(struct clo_wasm_instance *instance, const char *text, size_t size, uint32_t *handle);
int clo_wasm_last(struct clo_wasm_instance *instance, uint32_t handle, uint32_t *at, uint32_t *size);
void clo_wasm_release(struct clo_wasm_instance *instance, int name, uint32_t first, uint32_t second);
void *clo_wasm_imported(void *env, void *caller, union wt_raw *values, size_t count);

#endif
