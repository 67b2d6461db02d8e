/* sources: native/src/seccomp.c native/src/watch_filter.c native/src/acts.c native/src/policy.c native/src/syscalls.c
 *
 * Any request gives an error or a program that the kernel would take and that answers every call: known operations
 * only, loads inside struct seccomp_data, jumps forward and inside, a return at each end; and nothing is written past
 * the room that was given. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>

#include "cloche_native.h"

enum { ROOM_MAX = 1024, NAMES_MAX = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int held) {
    if (!held) abort();
}

static void check_program(const struct sock_filter *code, size_t count) {
    check(count > 0 && code[count - 1].code == (BPF_RET | BPF_K));
    for (size_t at = 0; at < count; at++) {
        size_t left = count - at - 1;
        switch (code[at].code) {
        case BPF_LD | BPF_W | BPF_ABS: check(code[at].k % 4 == 0 && code[at].k <= sizeof(struct seccomp_data) - 4); break;
        case BPF_ALU | BPF_AND | BPF_K: break;
        case BPF_JMP | BPF_JA: check(code[at].k < left); break;
        case BPF_JMP | BPF_JEQ | BPF_K:
        case BPF_JMP | BPF_JGE | BPF_K:
        case BPF_JMP | BPF_JSET | BPF_K: check(code[at].jt < left && code[at].jf < left); break;
        case BPF_RET | BPF_K: break;
        default: abort();
        }
    }
}

static void check_answer(int count, const struct sock_filter *code, size_t room) {
    if (count < 0) {
        check(count == -EINVAL || count == -ENOENT || count == -E2BIG);
        return;
    }
    check((size_t)count <= room);
    check_program(code, (size_t)count);
}

/* The whole of the input: arch, level, sockets, room (2), pid (4), then names to deny, each ended by a NUL. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 9) return 0;
    struct clo_filter request = {.arch = data[0] % 4, .level = data[1] % 5, .sockets = data[2] % 5};
    size_t room = (data[3] | (size_t)data[4] << 8) % (ROOM_MAX + 1);
    memcpy(&request.protect_pid, data + 5, 4);
    char *text = malloc(size - 9 + 1);
    memcpy(text, data + 9, size - 9);
    text[size - 9] = 0;
    const char *names[NAMES_MAX];
    for (char *name = text; name < text + size - 9 && request.n_deny < NAMES_MAX; name += strlen(name) + 1)
        names[request.n_deny++] = name;
    request.deny = names;
    struct sock_filter *code = malloc(room * sizeof *code); /* exactly that: one more is found by the sanitizer */
    uint64_t acts = data[4] * UINT64_C(0x0101010101010101) ^ (uint64_t)(uint32_t)request.protect_pid << 16;
    check_answer(clo_seccomp_program(&request, code, room), code, room);
    check_answer(clo_agent_program(&request, acts, code, room), code, room);
    check_answer(clo_watch_program(&request, acts, ~acts, code, room), code, room);
    free(code);
    free(text);
    return 0;
}
