/* What of a call is in registers, where the kernel vouches for it. */
#include "decode.h"

#include <fcntl.h>

enum { MADE = O_CREAT | (O_TMPFILE & ~O_DIRECTORY), WRITTEN = O_TRUNC };

void clo_calls_load(struct clo_calls *calls, uint32_t arch) {
    const struct clo_call *call;
    *calls = (struct clo_calls){{0}};
    for (size_t i = 0; (call = clo_call_row(i)); i++)
        if (call->number[arch] >= 0) calls->row[call->number[arch]] = (uint8_t)(i + 1);
}

const struct clo_call *clo_call_of(const struct clo_calls *calls, int number) {
    if (number < 0 || number >= CLO_CALLS_MAX || !calls->row[number]) return NULL;
    return clo_call_row(calls->row[number] - 1U);
}

uint64_t clo_call_register(const struct seccomp_data *data, uint8_t which) { return which ? data->args[which - 1] : 0; }

/* The kernel reads the low half of an int; what a guest leaves in the high half must not hide it from a rule. */
uint64_t clo_call_arg(const struct clo_call *call, const struct seccomp_data *data, size_t index) {
    uint64_t value = clo_call_register(data, call->arg[index]);
    return call->wide >> index & 1 ? value : (uint32_t)value;
}

/* Sets the event's arguments that are registers, which the kernel vouches for. */
void clo_call_numbers(const struct clo_call *call, const struct seccomp_data *data, struct clo_event *event) {
    uint32_t known = 0;
    for (size_t i = 0; i < CLO_CALL_ARGS; i++) {
        if (!call->arg[i]) continue;
        event->arg[i] = clo_call_arg(call, data, i);
        known |= 1u << i;
    }
    if (call->shape == CLO_SHAPE_RMDIR) {
        event->arg[0] = AT_REMOVEDIR;
        known |= 1;
    }
    if (call->shape == CLO_SHAPE_CREAT) {
        event->arg[1] = event->arg[0];
        event->arg[0] = CLO_CREAT_FLAGS;
        known |= 3;
    }
    event->flags |= known * CLO_EVENT_ARG_KERNEL;
}

/* O_PATH takes no notice of what would make or change a file (open(2)). */
int clo_open_act(uint64_t flags) {
    if (flags & O_PATH) return CLO_ACT_OPEN;
    if (flags & MADE) return CLO_ACT_CREATE;
    return flags & WRITTEN || (flags & O_ACCMODE) != O_RDONLY ? CLO_ACT_WRITE_OPEN : CLO_ACT_OPEN;
}

/* The name of a call of the table and its numbers, by clo_arch; NULL past the end. */
const char *clo_call_name(size_t index, int32_t number[2]) {
    const struct clo_call *call = clo_call_row(index);
    if (!call) return NULL;
    number[0] = call->number[0];
    number[1] = call->number[1];
    return call->name;
}
