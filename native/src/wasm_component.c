/* The protocol of a component that was linked into one module: it takes a text and gives one.
 *
 * As components do, it has memory for what it is given allocated by itself (``room``), gives the address of a pair of
 * address and size (``answer``), and frees that when it is told that it was read (``after#answer``). */
#include "wasm.h"

#include <stdio.h>
#include <string.h>

static int call(struct clo_wasm_instance *instance, int name, uint32_t first, uint32_t second, uint32_t *result) {
    union wt_raw values[2] = {{.i64 = first}, {.i64 = second}};
    int status = clo_wasm_enter(instance, name, values, 2);
    *result = (uint32_t)values[0].i32;
    return status;
}

static int exchange(struct clo_wasm_instance *instance) {
    struct clo_wasm_run *run = instance->run;
    uint32_t at, pair, told[2], ignored;
    if (run->flags & CLO_WASM_KEEP && clo_wasm_keep(instance)) return CLO_WASM_NO_HOST_MEMORY;
    if (run->code_size > UINT32_MAX / 2) return CLO_WASM_SIZE;
    int status = call(instance, WASM_ROOM, (uint32_t)run->code_size, 0, &at);
    if (status) return status;
    uint8_t *room = at ? clo_wasm_at(instance, at, run->code_size) : NULL;
    if (!room) return clo_wasm_broken(instance);
    if (run->code_size) memcpy(room, run->code, run->code_size);
    if ((status = call(instance, WASM_ANSWER, at, (uint32_t)run->code_size, &pair))) return status;
    const uint8_t *place = clo_wasm_at(instance, pair, sizeof told);
    if (!place) return clo_wasm_broken(instance);
    memcpy(told, place, sizeof told);
    status = clo_wasm_copy_out(instance, told[0], told[1]);
    if (instance->ended) return status;
    int after = call(instance, WASM_AFTER, pair, 0, &ignored);
    return after ? after : status;
}

/* Gives the text of run->code to the guest, and takes what it answers. */
int clo_wasm_tell(struct clo_wasm_instance *instance, struct clo_wasm_run *run) {
    int status = clo_wasm_begin(instance, run);
    return status ? status : clo_wasm_finish(instance, exchange(instance));
}
