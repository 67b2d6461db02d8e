/* What guests import, answered here: clocks, randomness and closed doors without Python, the rest by asking it. */
#include "wasm.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum { OK = 0, BADF = 8, INTR = 27, INVAL = 28, FAULT = 21, IO_VECTORS = 1024, RANDOM_CHUNK = 65536, NAME_MAX_ = 4096 };
enum { TICK = 100000000 };
#define REFUSED UINT32_MAX

typedef void *answer(struct clo_wasm_instance *instance, union wt_raw *values);

static void *trap(struct clo_wasm_instance *instance, const char *message) {
    return instance->library->wasmtime_trap_new(message, strlen(message));
}

static uint32_t number(const union wt_raw *values, int index) { return (uint32_t)values[index].i32; }

static void *say(union wt_raw *values, int32_t result) {
    values[0].i32 = result;
    return NULL;
}

static bool write32(struct clo_wasm_instance *instance, uint32_t at, uint32_t value) {
    uint8_t *place = clo_wasm_at(instance, at, sizeof value);
    if (place) memcpy(place, &value, sizeof value);
    return place != NULL;
}

/* ---- WASI, as far as a language's guest has it: nothing is open, there is no environment. ---- */

static void *clock_time(struct clo_wasm_instance *instance, union wt_raw *values) {
    const struct clo_wasm_how *how = &instance->mold->how;
    uint32_t which = number(values, 0);
    uint8_t *place = clo_wasm_at(instance, number(values, 2), 8);
    if (!place) return say(values, FAULT);
    if (which > 1) return say(values, INVAL);
    struct timespec time;
    clock_gettime(which ? CLOCK_MONOTONIC : CLOCK_REALTIME, &time);
    uint64_t now = how->clock_frozen ? how->frozen : (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
    memcpy(place, &now, sizeof now);
    return say(values, OK);
}

static void *random_get(struct clo_wasm_instance *instance, union wt_raw *values) {
    uint32_t at = number(values, 0), size = number(values, 1);
    uint8_t *place = clo_wasm_at(instance, at, size);
    if (!place) return say(values, FAULT);
    for (size_t done = 0; done < size;) {
        size_t chunk = size - done < RANDOM_CHUNK ? size - done : RANDOM_CHUNK;
        ssize_t got = getrandom(place + done, chunk, 0);
        if (got < 0 && errno != EINTR) return trap(instance, "the system gives no randomness");
        done += got < 0 ? 0 : (size_t)got;
        uint64_t last = instance->last;
        if (last && clo_wasm_now() >= last) return say(values, INTR);
    }
    return say(values, OK);
}

static void *no_strings(struct clo_wasm_instance *instance, union wt_raw *values) {
    bool fits = write32(instance, number(values, 0), 0) && write32(instance, number(values, 1), 0);
    return say(values, fits ? OK : FAULT);
}

static void *nothing(struct clo_wasm_instance *instance, union wt_raw *values) {
    (void)instance;
    return say(values, OK);
}

static void *not_open(struct clo_wasm_instance *instance, union wt_raw *values) {
    (void)instance;
    return say(values, BADF);
}

/* Only a panic writes: its beginning is kept for the message of the trap that follows. */
static void *fd_write(struct clo_wasm_instance *instance, union wt_raw *values) {
    uint32_t fd = number(values, 0), at = number(values, 1), count = number(values, 2), total = 0;
    if (fd != 1 && fd != 2) return say(values, BADF);
    if (count > IO_VECTORS) return say(values, INVAL);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t vector[2];
        const uint8_t *place = clo_wasm_at(instance, at, 8 * (uint64_t)count);
        if (!place) return say(values, FAULT);
        memcpy(vector, place + 8 * (size_t)i, sizeof vector);
        const uint8_t *text = clo_wasm_at(instance, vector[0], vector[1]);
        if (!text) return say(values, FAULT);
        size_t left = sizeof instance->said - instance->said_size, size = vector[1] < left ? vector[1] : left;
        memcpy(instance->said + instance->said_size, text, size);
        instance->said_size += size;
        total += vector[1];
    }
    return say(values, write32(instance, number(values, 3), total) ? OK : FAULT);
}

static void *proc_exit(struct clo_wasm_instance *instance, union wt_raw *values) {
    instance->exited = true;
    instance->exit_code = values[0].i32;
    return trap(instance, "exit");
}

/* ---- Asking Python. ---- */

static int ask(struct clo_wasm_instance *instance, struct clo_wasm_asked *asked) {
    struct clo_wasm_run *run = instance->run;
    if (instance->asking || !run || !run->python) return -1;
    instance->asking = true;
    asked->room = instance->room;
    asked->room_size = instance->room_size;
    int told = instance->library->asker(asked, run->python);
    instance->room = asked->room;
    instance->room_size = asked->room_size;
    instance->asking = false;
    bool fits = asked->kind == CLO_WASM_ASK_NUMBERS || (asked->room && asked->answer_size <= asked->room_size);
    return told == 1 && !fits ? -1 : told;
}

/* Called by the asker, for an answer that does not fit; where there is no memory for it the room stays as it is. */
void clo_wasm_room(struct clo_wasm_asked *asked, size_t size) {
    char *room = realloc(asked->room, size);
    if (!room) return;
    asked->room = room;
    asked->room_size = size;
}

/* Also lets Python see the signals that came: a guest that computes gives it no other chance. */
static void *host_interrupt(struct clo_wasm_instance *instance, union wt_raw *values) {
    struct clo_wasm_run *run = instance->run;
    uint64_t now = clo_wasm_now();
    if (run && run->flags & CLO_WASM_TICKS && now >= instance->tick) {
        struct clo_wasm_asked asked = {.kind = CLO_WASM_ASK_TICK};
        instance->tick = now + TICK;
        if (ask(instance, &asked) == -2) instance->stop = true;
    }
    bool stop = instance->stop || (instance->soft && now >= instance->soft);
    if (stop && run) run->interrupted = 1;
    return say(values, stop);
}

/* A question is not remembered beyond it: a large one, or its answer, leaves no large room behind. */
static void shrink(struct clo_wasm_instance *instance) {
    enum { LARGE = 65536 };
    if (instance->texts_room > LARGE) {
        free(instance->texts);
        instance->texts = NULL;
        instance->texts_room = 0;
    }
    if (instance->room_size > LARGE) {
        free(instance->room);
        instance->room = NULL;
        instance->room_size = 0;
    }
}

/* Copies text after what is already there; sizes are checked by the caller. */
static bool copy_text(struct clo_wasm_instance *instance, size_t at, uint32_t from, uint32_t size) {
    if (at + size > instance->texts_room) {
        char *larger = realloc(instance->texts, at + size + 1024);
        if (!larger) return false;
        instance->texts = larger;
        instance->texts_room = at + size + 1024;
    }
    const uint8_t *text = clo_wasm_at(instance, from, size);
    if (!text) return false;
    memcpy(instance->texts + at, text, size);
    return true;
}

static bool copy_argument(struct clo_wasm_instance *instance, uint32_t handle, size_t at, bool *string, size_t *size) {
    uint32_t from = 0, length = 0;
    int status = clo_wasm_last(instance, handle, &from, &length);
    *string = status == CLO_WASM_DONE;
    *size = length;
    if (status == CLO_WASM_PENDING) return true;
    bool copied = *string && length <= instance->mold->how.text - at && copy_text(instance, at, from, length);
    if (*string) clo_wasm_release(instance, WASM_RESULT_FREE, 0, 0);
    return copied;
}

/* host_call(name, its size, this, count, handles): each argument that is a string goes over, another is as none. */
static void *host_call(struct clo_wasm_instance *instance, union wt_raw *values) {
    uint32_t name = number(values, 0), name_size = number(values, 1), count = number(values, 3);
    uint32_t handles[CLO_WASM_TEXTS];
    struct clo_wasm_asked asked = {.kind = CLO_WASM_ASK_CALL, .count = count};
    struct clo_wasm_run *run = instance->run;
    if (instance->asking || !run || !run->python || count > CLO_WASM_TEXTS || name_size > NAME_MAX_)
        return say(values, -1);
    const uint8_t *given = clo_wasm_at(instance, number(values, 4), sizeof handles[0] * (uint64_t)count);
    if (!given || !copy_text(instance, 0, name, name_size)) return say(values, -1);
    memcpy(handles, given, sizeof handles[0] * count);
    size_t at = name_size;
    bool strings[CLO_WASM_TEXTS];
    for (uint32_t i = 0; i < count; at += asked.texts[i++].size)
        if (!copy_argument(instance, handles[i], at, &strings[i], &asked.texts[i].size)) return say(values, -1);
    asked.name = (struct clo_wasm_text){instance->texts, name_size};
    at = name_size;
    for (uint32_t i = 0; i < count; at += asked.texts[i++].size)
        asked.texts[i].text = strings[i] ? instance->texts + at : NULL;
    run->calls++;
    int told = ask(instance, &asked);
    uint32_t handle = REFUSED;
    if (told == 1) {
        if (clo_wasm_string(instance, asked.room, asked.answer_size, &handle)) handle = REFUSED;
    } else if (told == 0) {
        union wt_raw undefined[1] = {{0}};
        if (!clo_wasm_enter(instance, WASM_NEW_UNDEFINED, undefined, 1)) handle = number(undefined, 0);
    } else if (told == -2) {
        instance->stop = true;
    }
    shrink(instance);
    return say(values, (int32_t)handle);
}

/* The two questions about modules end alike: the answer's text in the guest's memory, its size where the guest says. */
static void *answer_module(struct clo_wasm_instance *instance, union wt_raw *values, struct clo_wasm_asked *asked,
                           uint32_t size_at) {
    uint32_t at = 0;
    int told = ask(instance, asked);
    if (told == -2) instance->stop = true;
    if (told == 1 && asked->answer_size <= instance->mold->how.text) {
        if (clo_wasm_put(instance, asked->room, asked->answer_size, 0, &at)) at = 0;
        if (at && !write32(instance, size_at, (uint32_t)asked->answer_size)) at = 0;
    }
    shrink(instance);
    return say(values, (int32_t)at);
}

static void *module_normalize(struct clo_wasm_instance *instance, union wt_raw *values) {
    uint32_t base = number(values, 1), name = number(values, 3);
    if (instance->asking || base > NAME_MAX_ || name > NAME_MAX_ || !copy_text(instance, 0, number(values, 0), base) ||
        !copy_text(instance, base, number(values, 2), name))
        return say(values, 0);
    struct clo_wasm_asked asked = {.kind = CLO_WASM_ASK_NORMALIZE, .count = 2};
    asked.texts[0] = (struct clo_wasm_text){instance->texts, base};
    asked.texts[1] = (struct clo_wasm_text){instance->texts + base, name};
    return answer_module(instance, values, &asked, number(values, 4));
}

static void *module_load(struct clo_wasm_instance *instance, union wt_raw *values) {
    uint32_t name = number(values, 1);
    if (instance->asking || name > NAME_MAX_ || !copy_text(instance, 0, number(values, 0), name)) return say(values, 0);
    struct clo_wasm_asked asked = {.kind = CLO_WASM_ASK_LOAD, .count = 1};
    asked.texts[0] = (struct clo_wasm_text){instance->texts, name};
    return answer_module(instance, values, &asked, number(values, 2));
}

static void *ask_numbers(struct clo_wasm_instance *instance, uint32_t id, union wt_raw *values, size_t count) {
    int64_t numbers[CLO_WASM_NUMBERS];
    if (count > CLO_WASM_NUMBERS) return trap(instance, "too many parameters");
    for (size_t i = 0; i < count; i++) numbers[i] = values[i].i64;
    struct clo_wasm_asked asked = {.kind = CLO_WASM_ASK_NUMBERS, .id = id, .count = (uint32_t)count, .numbers = numbers};
    if (instance->run) instance->run->calls++;
    int told = ask(instance, &asked);
    if (told == 0) return NULL;
    if (told < 0) return trap(instance, "the host ended the call");
    if (count) values[0].i64 = asked.result;
    return NULL;
}

/* ---- Which is which. ---- */

static const struct {
    const char *module, *name, *type;
    answer *answer;
} answers[] = {
    {"env", "host_interrupt", ":i", host_interrupt},
    {"env", "host_call", "iiiii:i", host_call},
    {"env", "host_module_normalize", "iiiii:i", module_normalize},
    {"env", "host_module_load", "iii:i", module_load},
    {"wasi_snapshot_preview1", "clock_time_get", "iIi:i", clock_time},
    {"wasi_snapshot_preview1", "random_get", "ii:i", random_get},
    {"wasi_snapshot_preview1", "environ_sizes_get", "ii:i", no_strings},
    {"wasi_snapshot_preview1", "environ_get", "ii:i", nothing},
    {"wasi_snapshot_preview1", "args_sizes_get", "ii:i", no_strings},
    {"wasi_snapshot_preview1", "args_get", "ii:i", nothing},
    {"wasi_snapshot_preview1", "sched_yield", ":i", nothing},
    {"wasi_snapshot_preview1", "fd_close", "i:i", not_open},
    {"wasi_snapshot_preview1", "fd_fdstat_get", "ii:i", not_open},
    {"wasi_snapshot_preview1", "fd_seek", "iIii:i", not_open},
    {"wasi_snapshot_preview1", "fd_prestat_get", "ii:i", not_open},
    {"wasi_snapshot_preview1", "fd_write", "iiii:i", fd_write},
    {"wasi_snapshot_preview1", "proc_exit", "i:", proc_exit},
};
enum { ANSWERS = sizeof answers / sizeof answers[0], PYTHON = 1000 };

/* The number of what answers an import; -1: nothing does, -2: it is of another type. */
int clo_wasm_answer(const char *module, const char *name, const char *type) {
    for (int i = 0; i < ANSWERS; i++)
        if (!strcmp(answers[i].module, module) && !strcmp(answers[i].name, name))
            return strcmp(answers[i].type, type) ? -2 : i;
    return -1;
}

/* Every import comes through here. What a call back into the guest ended ends the guest's call too. */
void *clo_wasm_imported(void *env, void *caller, union wt_raw *values, size_t count) {
    const struct clo_wasm_answered *answered = env;
    struct clo_wasm_library *library = answered->library;
    struct clo_wasm_instance *instance = library->wasmtime_context_get_data(library->wasmtime_caller_context(caller));
    if (!instance) return library->wasmtime_trap_new("not of this bridge", 18);
    void *ended = answered->answer >= PYTHON
                      ? ask_numbers(instance, (uint32_t)(answered->answer - PYTHON), values, count)
                      : answers[answered->answer].answer(instance, values);
    return ended || !instance->ended ? ended : trap(instance, "ended within a call of the host");
}
