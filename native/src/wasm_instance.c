/* Molds and instances: made, called, looked into, freed. */
#include "wasm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const clo_wasm_exports[WASM_EXPORTS] = {
    "qjs_alloc",      "qjs_free",      "eval_code",     "eval_async",           "get_string",   "qjs_last_ptr",
    "qjs_last_len",   "qjs_result_free", "free_value",  "last_exception",       "call_function", "new_string",
    "new_bool",       "new_undefined", "execute_pending_jobs", "new_function", "global_object", "set_prop",
    "get_prop",       "room",          "answer",        "after#answer",         "stop",
};

enum { TRAP_STACK = 0, TRAP_UNREACHABLE = 9, WASM_PAGE = 65536, HOST_STACK = 262144, TABLES = 64, ELEMENTS = 1 << 20 };

/* ---- Molds. ---- */

/* What how points to is the caller's, and must live longer. NULL: no memory. */
struct clo_wasm_mold *clo_wasm_mold_new(struct clo_wasm_engine *engine, const struct clo_wasm_how *how) {
    struct clo_wasm_mold *mold = calloc(1, sizeof *mold);
    if (!mold) return NULL;
    mold->engine = engine;
    mold->how = *how;
    pthread_mutex_init(&mold->lock, NULL);
    for (int i = 0; i < WASM_EXPORTS; i++)
        if (!(mold->names[i] = strdup(clo_wasm_exports[i]))) {
            clo_wasm_mold_free(mold);
            return NULL;
        }
    mold->count = WASM_EXPORTS;
    return mold;
}

/* After all of its instances. */
void clo_wasm_mold_free(struct clo_wasm_mold *mold) {
    if (!mold) return;
    for (int i = 0; i < CLO_WASM_NAMES; i++) free(mold->names[i]);
    pthread_mutex_destroy(&mold->lock);
    free(mold);
}

/* The number by which each instance calls the export; -1: too many of them, or no memory. From any thread. */
int clo_wasm_name(struct clo_wasm_mold *mold, const char *name) {
    int found = -1;
    pthread_mutex_lock(&mold->lock);
    for (int i = 0; i < mold->count && found < 0; i++)
        if (!strcmp(mold->names[i], name)) found = i;
    if (found < 0 && mold->count < CLO_WASM_NAMES && (mold->names[mold->count] = strdup(name))) found = mold->count++;
    pthread_mutex_unlock(&mold->lock);
    return found;
}

/* ---- Instances. ---- */

/* The message of what went wrong, without its backtrace; frees it. */
static void take_message(struct clo_wasm_library *library, void *error, void *trap, char *message) {
    static const char before[] = "Caused by:\n    ";
    struct wt_bytes bytes = {0, NULL};
    if (error) library->wasmtime_error_message(error, &bytes);
    else library->wasm_trap_message(trap, &bytes);
    const char *text = bytes.data, *cause = text ? memmem(text, bytes.size, before, sizeof before - 1) : NULL;
    size_t size = bytes.size;
    if (cause) {
        size -= (size_t)(cause + sizeof before - 1 - text);
        text = cause + sizeof before - 1;
    }
    snprintf(message, CLO_WASM_MESSAGE, "%.*s", (int)(size < CLO_WASM_MESSAGE ? size : CLO_WASM_MESSAGE - 1),
             text ? text : "");
    library->wasm_byte_vec_delete(&bytes);
    if (error) library->wasmtime_error_delete(error);
    else library->wasm_trap_delete(trap);
}

/* message has CLO_WASM_MESSAGE bytes. */
int clo_wasm_open(struct clo_wasm_mold *mold, struct clo_wasm_instance **opened, char *message) {
    struct clo_wasm_library *library = mold->engine->library;
    struct clo_wasm_instance *instance = calloc(1, sizeof *instance);
    message[0] = 0;
    if (!instance) return CLO_WASM_NO_HOST_MEMORY;
    instance->library = library;
    instance->mold = mold;
    instance->store = library->wasmtime_store_new(mold->engine->engine, instance, NULL);
    instance->context = library->wasmtime_store_context(instance->store);
    library->wasmtime_store_limiter(instance->store, mold->how.memory, ELEMENTS, 1, TABLES, 1);
    library->wasmtime_store_epoch_deadline_callback(instance->store, clo_wasm_look_at_clock, instance, NULL);
    library->wasmtime_context_set_epoch_deadline(instance->context, 1);
    void *trap = NULL;
    void *error = library->wasmtime_instance_pre_instantiate(mold->how.pre, instance->context, &instance->instance, &trap);
    if (error || trap) {
        take_message(library, error, trap, message);
        clo_wasm_close(instance);
        return CLO_WASM_NOT_STARTED;
    }
    struct wt_extern memory;
    if (library->wasmtime_instance_export_get(instance->context, &instance->instance, "memory", 6, &memory) &&
        memory.kind == WT_MEMORY) {
        instance->memory = memory.of.item;
        instance->has_memory = true;
    }
    *opened = instance;
    return CLO_WASM_DONE;
}

/* CLO_WASM_BUSY: it runs, and stays. */
int clo_wasm_close(struct clo_wasm_instance *instance) {
    if (atomic_exchange(&instance->busy, true)) return CLO_WASM_BUSY;
    instance->library->wasmtime_store_delete(instance->store);
    free(instance->texts);
    free(instance->room);
    free(instance->kept);
    free(instance->touched.pages);
    free(instance);
    return CLO_WASM_DONE;
}

int clo_wasm_alive(const struct clo_wasm_instance *instance) { return !instance->ended; }

/* ---- Calls. ---- */

/* wasmtime counts from where a call begins: a thread with less than that is ended by the kernel, with all others. */
static bool stack_fits(const struct clo_wasm_engine *engine) {
    static _Thread_local uintptr_t low;
    if (!low) {
        pthread_attr_t attributes;
        void *address;
        size_t size;
        if (pthread_getattr_np(pthread_self(), &attributes)) return false;
        pthread_attr_getstack(&attributes, &address, &size);
        pthread_attr_destroy(&attributes);
        low = (uintptr_t)address;
    }
    return (uintptr_t)__builtin_frame_address(0) - low >= engine->stack + HOST_STACK;
}

/* CLO_WASM_DONE: the instance is the caller's until clo_wasm_finish. */
int clo_wasm_begin(struct clo_wasm_instance *instance, struct clo_wasm_run *run) {
    run->raised = run->interrupted = run->exit_code = 0;
    run->calls = 0;
    run->size = run->memory = 0;
    run->large = NULL;
    run->message[0] = 0;
    if (atomic_exchange(&instance->busy, true)) return CLO_WASM_BUSY;
    int status = instance->ended              ? CLO_WASM_DEAD
                 : !stack_fits(instance->mold->engine) ? CLO_WASM_STACK_SMALL
                                                       : clo_wasm_arm(instance, run->wall, run->grace);
    if (status) {
        instance->busy = false;
        return status;
    }
    clo_wasm_used_here(instance);
    instance->run = run;
    instance->tick = run->flags & CLO_WASM_TICKS ? clo_wasm_now() : 0;
    return CLO_WASM_DONE;
}

int clo_wasm_finish(struct clo_wasm_instance *instance, int status) {
    struct clo_wasm_run *run = instance->run;
    clo_wasm_disarm(instance);
    if (instance->has_memory)
        run->memory = instance->library->wasmtime_memory_data_size(instance->context, &instance->memory);
    run->exit_code = instance->exit_code;
    instance->run = NULL;
    instance->busy = false;
    return instance->ended ? instance->ended : status;
}

/* How a call ended that did not return; the first one counts. */
static int fail(struct clo_wasm_instance *instance, void *error, void *trap) {
    struct clo_wasm_library *library = instance->library;
    uint8_t code = UINT8_MAX;
    char message[CLO_WASM_MESSAGE];
    if (trap && !library->wasmtime_trap_code(trap, &code)) code = UINT8_MAX;
    take_message(library, error, trap, message);
    if (instance->ended) return instance->ended;
    size_t memory = instance->has_memory ? library->wasmtime_memory_data_size(instance->context, &instance->memory) : 0;
    bool full = memory + WASM_PAGE > (uint64_t)instance->mold->how.memory;
    instance->ended = instance->exited             ? CLO_WASM_EXITED
                      : instance->late             ? CLO_WASM_STOPPED
                      : code == TRAP_STACK         ? CLO_WASM_STACK
                      : code == TRAP_UNREACHABLE && full ? CLO_WASM_MEMORY
                                                   : CLO_WASM_TRAP;
    if (instance->said_size)
        snprintf(instance->run->message, CLO_WASM_MESSAGE, "%.*s", (int)instance->said_size, instance->said);
    else snprintf(instance->run->message, CLO_WASM_MESSAGE, "%s", message);
    return instance->ended;
}

static struct wt_func *find(struct clo_wasm_instance *instance, int name) {
    struct wt_func *function = &instance->functions[name];
    if (function->store) return function;
    struct wt_extern found;
    const char *text = instance->mold->names[name];
    if (!instance->library->wasmtime_instance_export_get(instance->context, &instance->instance, text, strlen(text), &found) ||
        found.kind != WT_FUNC)
        return NULL;
    *function = found.of.func;
    return function;
}

/* Calls an export: values has the parameters, then the result; count is at least 1. */
int clo_wasm_enter(struct clo_wasm_instance *instance, int name, union wt_raw *values, size_t count) {
    if (instance->ended) return instance->ended;
    const struct wt_func *function = find(instance, name);
    if (!function) {
        snprintf(instance->run->message, CLO_WASM_MESSAGE, "it exports no function %s", instance->mold->names[name]);
        return CLO_WASM_NO_EXPORT;
    }
    void *trap = NULL;
    void *error =
        instance->library->wasmtime_func_call_unchecked(instance->context, function, values, count, &trap);
    return error || trap ? fail(instance, error, trap) : CLO_WASM_DONE;
}

static uint8_t one_kind(struct clo_wasm_library *library, const void *type) { return library->wasm_valtype_kind(type); }

/* What an export takes and gives, at most CLO_WASM_NUMBERS and one; not while it runs. */
int clo_wasm_kinds(struct clo_wasm_instance *instance, int name, uint8_t *kinds, uint32_t *count, uint8_t *result) {
    struct clo_wasm_library *library = instance->library;
    const struct wt_func *function = find(instance, name);
    if (!function) return CLO_WASM_NO_EXPORT;
    void *type = library->wasmtime_func_type(instance->context, function);
    const struct wt_types *parameters = library->wasm_functype_params(type), *results = library->wasm_functype_results(type);
    int status = parameters->size > CLO_WASM_NUMBERS || results->size > 1 ? CLO_WASM_NO_EXPORT : CLO_WASM_DONE;
    if (!status) {
        *count = (uint32_t)parameters->size;
        for (uint32_t i = 0; i < *count; i++) kinds[i] = one_kind(library, parameters->data[i]);
        *result = results->size ? one_kind(library, results->data[0]) : CLO_WASM_NOTHING;
    }
    library->wasm_functype_delete(type);
    return status;
}

/* Calls any export of integers; the caller has seen to it that they are as many as it takes (clo_wasm_kinds). */
int clo_wasm_call(struct clo_wasm_instance *instance, int name, int64_t *numbers, uint32_t count,
                  struct clo_wasm_run *run) {
    union wt_raw values[CLO_WASM_NUMBERS] = {{0}};
    int status = clo_wasm_begin(instance, run);
    if (status) return status;
    for (uint32_t i = 0; i < count; i++) values[i].i64 = numbers[i];
    status = clo_wasm_enter(instance, name, values, CLO_WASM_NUMBERS);
    numbers[0] = values[0].i64;
    return clo_wasm_finish(instance, status);
}

/* ---- What it holds. ---- */

/* Where the guest's memory is at this moment; size 0: it has none. */
uint8_t *clo_wasm_memory(struct clo_wasm_instance *instance, size_t *size) {
    clo_wasm_used_here(instance);
    *size = instance->has_memory ? instance->library->wasmtime_memory_data_size(instance->context, &instance->memory) : 0;
    return instance->has_memory ? instance->library->wasmtime_memory_data(instance->context, &instance->memory) : NULL;
}

/* NULL unless all of it is in the guest's memory; good until its next call. */
uint8_t *clo_wasm_at(struct clo_wasm_instance *instance, uint32_t at, uint64_t size) {
    size_t all;
    uint8_t *memory = clo_wasm_memory(instance, &all);
    return memory && at <= all && size <= all - at ? memory + at : NULL;
}

/* 0, or -1: the limit, or no memory. */
int clo_wasm_grow(struct clo_wasm_instance *instance, uint64_t pages) {
    uint64_t before;
    if (!instance->has_memory) return -1;
    void *error = instance->library->wasmtime_memory_grow(instance->context, &instance->memory, pages, &before);
    if (error) instance->library->wasmtime_error_delete(error);
    return error ? -1 : 0;
}

static bool find_global(struct clo_wasm_instance *instance, const char *name, struct wt_extern *found) {
    return instance->library->wasmtime_instance_export_get(instance->context, &instance->instance, name, strlen(name),
                                                           found) &&
           found->kind == WT_GLOBAL;
}

/* Globals of integers. 0, or -1: there is none of this name. */
int clo_wasm_get(struct clo_wasm_instance *instance, const char *name, int64_t *number) {
    struct wt_extern found;
    struct wt_value value;
    if (!find_global(instance, name, &found)) return -1;
    instance->library->wasmtime_global_get(instance->context, &found.of.item, &value);
    if (value.kind > CLO_WASM_I64) return -1;
    *number = value.kind == CLO_WASM_I32 ? value.of.i32 : value.of.i64;
    return 0;
}

int clo_wasm_set(struct clo_wasm_instance *instance, const char *name, int64_t number) {
    struct wt_extern found;
    struct wt_value value;
    if (!find_global(instance, name, &found)) return -1;
    instance->library->wasmtime_global_get(instance->context, &found.of.item, &value);
    if (value.kind > CLO_WASM_I64) return -1;
    if (value.kind == CLO_WASM_I32) value.of.i32 = (int32_t)number;
    else value.of.i64 = number;
    void *error = instance->library->wasmtime_global_set(instance->context, &found.of.item, &value);
    if (error) instance->library->wasmtime_error_delete(error);
    return error ? -1 : 0;
}
