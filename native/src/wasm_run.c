/* The JavaScript guest's protocol: a whole run in one crossing from Python.
 *
 * The guest (quickjs-rs) hands out handles of values. A function of the guest that is to tell the host something gives a
 * string; whatever else it gives means that it can't yet, and then the jobs that wait are run and the poll entry asked. */
#include "wasm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JS_OK = 0, JS_RAISED = 1 };

typedef struct clo_wasm_instance instance_t;
typedef struct clo_wasm_run run_t;

static void complain(instance_t *instance, const char *message) {
    if (!instance->run->message[0]) snprintf(instance->run->message, CLO_WASM_MESSAGE, "%s", message);
}

static int broken(instance_t *instance) {
    if (!instance->ended) instance->ended = CLO_WASM_GUEST;
    complain(instance, "it pointed outside of its memory");
    return instance->ended;
}

int clo_wasm_broken(instance_t *instance) { return broken(instance); }

/* Calls an export that gives an i32. */
static int ask(instance_t *instance, int name, uint32_t first, uint32_t second, uint32_t third, uint32_t *result) {
    union wt_raw values[5] = {{.i64 = first}, {.i64 = second}, {.i64 = third}, {0}, {0}};
    int status = clo_wasm_enter(instance, name, values, 5);
    *result = (uint32_t)values[0].i32;
    return status;
}

/* For what gives nothing back that matters: a value or memory is given up. */
void clo_wasm_release(instance_t *instance, int name, uint32_t first, uint32_t second) {
    uint32_t ignored;
    ask(instance, name, first, second, 0, &ignored);
}

/* Memory of the guest for a text and more bytes after it, which begin at a multiple of 4 and are 0. */
int clo_wasm_put(instance_t *instance, const char *text, size_t size, size_t more, uint32_t *at) {
    if (size > UINT32_MAX - 64 - more) return CLO_WASM_SIZE;
    uint64_t rounded = (size + 3) & ~(uint64_t)3, total = rounded + more ? rounded + more : 1;
    int status = ask(instance, WASM_ALLOC, (uint32_t)total, 0, 0, at);
    if (status) return status;
    uint8_t *place = clo_wasm_at(instance, *at, total);
    if (!*at) {
        complain(instance, "the guest has no memory left for what it is given");
        return CLO_WASM_SIZE;
    }
    if (!place) return broken(instance);
    if (size) memcpy(place, text, size);
    memset(place + size, 0, total - size);
    return CLO_WASM_DONE;
}

static void give_back(instance_t *instance, uint32_t at, size_t size, size_t more) {
    uint64_t rounded = (size + 3) & ~(uint64_t)3;
    clo_wasm_release(instance, WASM_FREE, at, (uint32_t)(rounded + more ? rounded + more : 1));
}

int clo_wasm_string(instance_t *instance, const char *text, size_t size, uint32_t *handle) {
    uint32_t at;
    int status = clo_wasm_put(instance, text, size, 0, &at);
    if (status) return status;
    status = ask(instance, WASM_NEW_STRING, at, (uint32_t)size, 0, handle);
    if (!status) give_back(instance, at, size, 0);
    return status;
}

/* Where the text of a string is, until WASM_RESULT_FREE; CLO_WASM_PENDING: it is no string. */
int clo_wasm_last(instance_t *instance, uint32_t handle, uint32_t *at, uint32_t *size) {
    uint32_t state;
    int status = ask(instance, WASM_GET_STRING, handle, 0, 0, &state);
    if (status) return status;
    if (state != JS_OK) return CLO_WASM_PENDING;
    if ((status = ask(instance, WASM_LAST_SIZE, 0, 0, 0, size))) return status;
    if ((status = ask(instance, WASM_LAST_POINTER, 0, 0, 0, at))) return status;
    return clo_wasm_at(instance, *at, *size) || !*size ? CLO_WASM_DONE : broken(instance);
}

/* A text to the run's room, or to a larger one. */
int clo_wasm_copy_out(instance_t *instance, uint32_t at, uint32_t size) {
    run_t *run = instance->run;
    char *room = run->room;
    run->size = size;
    if (size > instance->mold->how.text) {
        complain(instance, "its result is larger than may cross");
        return CLO_WASM_SIZE;
    }
    const uint8_t *text = clo_wasm_at(instance, at, size);
    if (!text && size) return broken(instance);
    if (size > run->room_size && !(room = run->large = malloc(size))) return CLO_WASM_NO_HOST_MEMORY;
    if (size) memcpy(room, text, size);
    return CLO_WASM_DONE;
}

static int take(instance_t *instance, uint32_t handle) {
    uint32_t at, size;
    int status = clo_wasm_last(instance, handle, &at, &size);
    if (status) return status;
    status = clo_wasm_copy_out(instance, at, size);
    clo_wasm_release(instance, WASM_RESULT_FREE, 0, 0);
    return instance->ended ? instance->ended : status;
}

void clo_wasm_forget(run_t *run) {
    free(run->large);
    run->large = NULL;
}

static int read_handle(instance_t *instance, uint32_t at, uint32_t *handle) {
    const uint8_t *place = clo_wasm_at(instance, at, sizeof *handle);
    if (!place) return broken(instance);
    memcpy(handle, place, sizeof *handle);
    return CLO_WASM_DONE;
}

/* ---- What it raised, as a message: "name: message". ---- */

static void add_property(instance_t *instance, uint32_t handle, const char *name, const char *before) {
    char *message = instance->run->message;
    size_t length = strlen(name), said = strlen(message);
    uint32_t at, state, value, text, size;
    if (clo_wasm_put(instance, name, length, 4, &at)) return;
    uint32_t out = at + (uint32_t)((length + 3) & ~(size_t)3);
    union wt_raw values[4] = {{.i64 = handle}, {.i64 = at}, {.i64 = (int64_t)length}, {.i64 = out}};
    state = clo_wasm_enter(instance, WASM_GET_PROPERTY, values, 4) ? JS_RAISED : (uint32_t)values[0].i32;
    if (state == JS_OK && !read_handle(instance, out, &value)) {
        if (!clo_wasm_last(instance, value, &text, &size)) {
            size_t room = CLO_WASM_MESSAGE - said;
            const char *place = (const char *)clo_wasm_at(instance, text, size);
            if (place) snprintf(message + said, room, "%s%.*s", before, (int)(size < room ? size : room), place);
            clo_wasm_release(instance, WASM_RESULT_FREE, 0, 0);
        }
        clo_wasm_release(instance, WASM_FREE_VALUE, value, 0);
    }
    give_back(instance, at, length, 4);
}

/* out: four bytes of the guest's memory. */
static int describe(instance_t *instance, uint32_t out) {
    uint32_t state, handle;
    int status = ask(instance, WASM_LAST_EXCEPTION, out, 0, 0, &state);
    if (!status && state == JS_OK && !(status = read_handle(instance, out, &handle))) {
        add_property(instance, handle, "name", "");
        add_property(instance, handle, "message", ": ");
        clo_wasm_release(instance, WASM_FREE_VALUE, handle, 0);
    }
    return instance->ended ? instance->ended : CLO_WASM_RAISED;
}

/* ---- Calling functions by handle. ---- */

static int constant(instance_t *instance, uint32_t minted, int maker, uint32_t argument, uint32_t *handle) {
    *handle = minted;
    return minted ? CLO_WASM_DONE : ask(instance, maker, argument, 0, 0, handle);
}

/* Calls a function. The arguments' handles are at ``arguments`` in the guest's memory, the result's comes to ``out``. */
static int call(instance_t *instance, uint32_t function, uint32_t arguments, uint32_t count, uint32_t out,
                uint32_t *result) {
    uint32_t undefined, state;
    uint32_t minted = instance->mold->how.undefined;
    int status = constant(instance, minted, WASM_NEW_UNDEFINED, 0, &undefined);
    if (status) return status;
    union wt_raw values[5] = {{.i64 = function}, {.i64 = undefined}, {.i64 = arguments}, {.i64 = count}, {.i64 = out}};
    if ((status = clo_wasm_enter(instance, WASM_CALL_FUNCTION, values, 5))) return status;
    state = (uint32_t)values[0].i32;
    if (!minted) clo_wasm_release(instance, WASM_FREE_VALUE, undefined, 0);
    return state == JS_OK ? read_handle(instance, out, result) : describe(instance, out);
}

/* The text that a function gives; PENDING: it gave something else. */
static int call_for_text(instance_t *instance, uint32_t function, uint32_t arguments, uint32_t count, uint32_t out) {
    uint32_t result;
    int status = call(instance, function, arguments, count, out, &result);
    if (status) return status;
    status = take(instance, result);
    clo_wasm_release(instance, WASM_FREE_VALUE, result, 0);
    return instance->ended ? instance->ended : status;
}

/* After a soft end the rest of the protocol has half of the grace. */
static void go_on(instance_t *instance) {
    if (!instance->run->interrupted) return;
    uint64_t now = clo_wasm_now(), hard = instance->hard;
    instance->stop = false;
    instance->soft = hard > now ? now + (hard - now) / 2 : now;
}

/* Runs the jobs that wait, then asks; scratch: four bytes of the guest's memory. */
static int pump(instance_t *instance, uint32_t scratch) {
    uint32_t done;
    int status = ask(instance, WASM_JOBS, 0, 0, 0, &done);
    if (status) return status;
    go_on(instance);
    return call_for_text(instance, instance->mold->how.poll, scratch, 0, scratch);
}

/* Calls a function with texts, and pumps if that gives no text and there is a poll entry. */
static int call_with_texts(instance_t *instance, uint32_t function, const struct clo_wasm_text *texts, uint32_t count,
                           bool pumps) {
    uint32_t handles[CLO_WASM_TEXTS], at, made = 0;
    int status = clo_wasm_put(instance, NULL, 0, 4 * CLO_WASM_TEXTS + 4, &at);
    if (status) return status;
    for (; made < count && !status; made++)
        status = texts[made].text ? clo_wasm_string(instance, texts[made].text, texts[made].size, &handles[made])
                                  : ask(instance, WASM_NEW_UNDEFINED, 0, 0, 0, &handles[made]);
    if (status) return status; /* what was made is lost to the guest, which is out of memory anyhow */
    uint8_t *place = clo_wasm_at(instance, at, 4 * CLO_WASM_TEXTS + 4);
    if (!place) return broken(instance);
    memcpy(place, handles, sizeof handles[0] * count);
    status = call_for_text(instance, function, at, count, at + 4 * CLO_WASM_TEXTS);
    for (uint32_t i = 0; i < count && !instance->ended; i++) clo_wasm_release(instance, WASM_FREE_VALUE, handles[i], 0);
    if (status == CLO_WASM_PENDING && pumps && instance->mold->how.poll) status = pump(instance, at);
    if (!instance->ended) give_back(instance, at, 0, 4 * CLO_WASM_TEXTS + 4);
    return status;
}

/* ---- The crossings. ---- */

/* Evaluates code; the handle of its value, or of what it raised, is at out afterwards. */
static int evaluate(instance_t *instance, uint32_t at, uint32_t out, uint32_t *handle) {
    run_t *run = instance->run;
    uint32_t state;
    int status = ask(instance, run->flags & CLO_WASM_AWAIT ? WASM_EVAL_ASYNC : WASM_EVAL, at, (uint32_t)run->code_size,
                     out, &state);
    if (status) return status;
    if (state == JS_RAISED) {
        run->raised = 1;
        if ((status = ask(instance, WASM_LAST_EXCEPTION, out, 0, 0, &state))) return status;
    }
    if (state != JS_OK) {
        complain(instance, "the guest refused the code: it is too long, no UTF-8, or has a zero byte");
        return CLO_WASM_RAISED;
    }
    return read_handle(instance, out, handle);
}

static int evaluate_and_encode(instance_t *instance, uint32_t at, uint32_t out) {
    run_t *run = instance->run;
    const struct clo_wasm_how *how = &instance->mold->how;
    uint32_t handles[2];
    int status = evaluate(instance, at, out, &handles[0]);
    if (status) return status;
    go_on(instance);
    uint32_t minted = run->raised ? how->no : how->yes;
    if ((status = constant(instance, minted, WASM_NEW_BOOL, !run->raised, &handles[1]))) return status;
    uint8_t *place = clo_wasm_at(instance, out, 12);
    if (!place) return broken(instance);
    memcpy(place + 4, handles, sizeof handles);
    status = call_for_text(instance, how->encode, out + 4, 2, out);
    clo_wasm_release(instance, WASM_FREE_VALUE, handles[0], 0);
    if (!minted) clo_wasm_release(instance, WASM_FREE_VALUE, handles[1], 0);
    return status == CLO_WASM_PENDING && how->poll ? pump(instance, out) : status;
}

static int run_code(instance_t *instance) {
    run_t *run = instance->run;
    const struct clo_wasm_how *how = &instance->mold->how;
    uint32_t at;
    int status;
    if (run->flags & CLO_WASM_KEEP && clo_wasm_keep(instance)) return CLO_WASM_NO_HOST_MEMORY;
    if (run->before && how->prepare) {
        struct clo_wasm_text before = {run->before, run->before_size};
        status = call_with_texts(instance, how->prepare, &before, 1, false);
        clo_wasm_forget(run);
        run->size = 0;
        if (status > CLO_WASM_PENDING) return status;
    }
    if ((status = clo_wasm_put(instance, run->code, run->code_size, 12, &at))) return status;
    status = evaluate_and_encode(instance, at, at + (uint32_t)((run->code_size + 3) & ~(size_t)3));
    if (!instance->ended) give_back(instance, at, run->code_size, 12);
    return status;
}

/* Evaluates code and gives what the encode entry makes of its value. */
int clo_wasm_eval(instance_t *instance, run_t *run) {
    int status = clo_wasm_begin(instance, run);
    return status ? status : clo_wasm_finish(instance, run_code(instance));
}

/* The same in an instance that is there for nothing else. */
int clo_wasm_once(struct clo_wasm_mold *mold, run_t *run) {
    instance_t *instance;
    int status = clo_wasm_open(mold, &instance, run->message);
    if (status) return status;
    status = clo_wasm_eval(instance, run);
    clo_wasm_close(instance);
    return status;
}

/* Calls the function of run->handle with texts. */
int clo_wasm_invoke(instance_t *instance, run_t *run) {
    int status = clo_wasm_begin(instance, run);
    if (status) return status;
    return clo_wasm_finish(instance, call_with_texts(instance, run->handle, run->texts, run->count, true));
}

/* Runs the jobs that wait, and asks how the run stands. */
int clo_wasm_resume(instance_t *instance, run_t *run) {
    uint32_t at;
    int status = clo_wasm_begin(instance, run);
    if (status) return status;
    if (!(status = clo_wasm_put(instance, NULL, 0, 4, &at))) {
        status = pump(instance, at);
        if (!instance->ended) give_back(instance, at, 0, 4);
    }
    return clo_wasm_finish(instance, status);
}

/* Evaluates code and keeps the value: run->handle. */
int clo_wasm_mint(instance_t *instance, run_t *run) {
    uint32_t at;
    int status = clo_wasm_begin(instance, run);
    if (status) return status;
    if (!(status = clo_wasm_put(instance, run->code, run->code_size, 4, &at))) {
        uint32_t out = at + (uint32_t)((run->code_size + 3) & ~(size_t)3), state;
        status = ask(instance, WASM_EVAL, at, (uint32_t)run->code_size, out, &state);
        if (!status) status = state == JS_OK ? read_handle(instance, out, &run->handle) : describe(instance, out);
        if (!instance->ended) give_back(instance, at, run->code_size, 4);
    }
    return clo_wasm_finish(instance, status);
}

/* Makes a global function of the name in run->code, which asks Python. */
int clo_wasm_function(instance_t *instance, run_t *run) {
    uint32_t at, function, global, state = JS_RAISED;
    int status = clo_wasm_begin(instance, run);
    if (status) return status;
    if (!(status = clo_wasm_put(instance, run->code, run->code_size, 0, &at)) &&
        !(status = ask(instance, WASM_NEW_FUNCTION, at, (uint32_t)run->code_size, 0, &function)) &&
        !(status = ask(instance, WASM_GLOBAL_OBJECT, 0, 0, 0, &global))) {
        union wt_raw values[4] = {
            {.i64 = global}, {.i64 = at}, {.i64 = (int64_t)run->code_size}, {.i64 = function}};
        if (!(status = clo_wasm_enter(instance, WASM_SET_PROPERTY, values, 4))) state = (uint32_t)values[0].i32;
        clo_wasm_release(instance, WASM_FREE_VALUE, function, 0);
        clo_wasm_release(instance, WASM_FREE_VALUE, global, 0);
        give_back(instance, at, run->code_size, 0);
    }
    if (!status && state != JS_OK) status = CLO_WASM_RAISED;
    return clo_wasm_finish(instance, status);
}
