/* Assembles the static filter of a level as classic BPF.
 *
 * Shape: architecture, x32 bit, then a balanced tree of "number >= n" over runs of numbers that share a verdict; the
 * tests of a call's arguments stand at its leaf. So no call takes more than about nine comparisons, and one whose
 * verdict needs no argument depends on its number alone, which lets the kernel (5.11 and later) keep "allowed" in a
 * bitmap and skip the program. A number that no table knows gets ENOSYS: a call newer than this file is refused as by
 * an older kernel.
 *
 * Everything works on the caller's memory; there is no state. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <string.h>

#include "assemble.h"

enum { X32_BIT = 0x40000000, NOT_LOADED = -1 };

_Static_assert(sizeof(struct sock_filter) == 8, "Python takes 8 bytes an instruction");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the low half of an argument is loaded at its own offset");

static const uint32_t audit_arch[] = {[CLO_ARCH_X86_64] = 0xc000003e, [CLO_ARCH_AARCH64] = 0xc00000b7};

static const uint32_t answer[] = {
    [CLO_V_ALLOW] = SECCOMP_RET_ALLOW,
    [CLO_V_PERM] = SECCOMP_RET_ERRNO | EPERM,
    [CLO_V_NOSYS] = SECCOMP_RET_ERRNO | ENOSYS,
    [CLO_V_NOFAMILY] = SECCOMP_RET_ERRNO | EAFNOSUPPORT,
    [CLO_V_NOTIFY] = SECCOMP_RET_USER_NOTIF,
};

void clo_emit(struct clo_assembler *out, uint16_t code, uint8_t jump_true, uint8_t jump_false, uint32_t k) {
    if (out->used < out->room)
        out->code[out->used] = (struct sock_filter){.code = code, .jt = jump_true, .jf = jump_false, .k = k};
    out->used++;
}

static void emit_load(struct clo_assembler *out, size_t offset) {
    clo_emit(out, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
}

/* Loads the half of an argument that begins `offset` bytes into it. */
void clo_emit_load(struct clo_assembler *out, unsigned argument, unsigned offset) {
    emit_load(out, offsetof(struct seccomp_data, args) + 8U * argument + offset);
}

static void emit_answer(struct clo_assembler *out, uint32_t value) { clo_emit(out, BPF_RET | BPF_K, 0, 0, value); }

void clo_emit_verdict(struct clo_assembler *out, uint8_t verdict) { emit_answer(out, answer[verdict]); }

static bool applies(const struct clo_test *test, const struct clo_filter *request) {
    static const uint8_t level[] = {CLO_IN_STANDARD, CLO_IN_ENHANCED, CLO_IN_MAXIMUM};
    static const uint8_t sockets[] = {CLO_IN_SOCKETS_ALL, CLO_IN_SOCKETS_UNIX, CLO_IN_SOCKETS_NONE,
                                      CLO_IN_SOCKETS_INET};
    unsigned here = level[request->level] | sockets[request->sockets];
    if (request->protect_pid) here |= CLO_IN_PROTECT;
    if (request->no_set_id) here |= CLO_IN_NO_SET_ID;
    return test->where & here;
}

static void resolve_tests(struct clo_assembler *out) {
    const struct clo_test *test, *before = NULL;
    int number = -1;
    for (size_t i = 0; (test = clo_test_row(i)); before = test, i++) {
        if (!before || strcmp(before->name, test->name)) number = clo_syscall_number(test->name, out->request->arch);
        out->tested[i] = (int16_t)(number >= 0 && applies(test, out->request) ? number : -1);
    }
}

void clo_emit_tests(struct clo_assembler *out, int number) {
    const struct clo_test *test;
    int loaded = NOT_LOADED; /* which argument the accumulator holds */
    for (size_t i = 0; (test = clo_test_row(i)); i++) {
        if (out->tested[i] != number) continue;
        if (test->op == CLO_ELSE) {
            emit_answer(out, answer[test->verdict]);
            return;
        }
        if (loaded != test->argument) clo_emit_load(out, test->argument, 0);
        loaded = test->argument;
        if (test->op == CLO_HAS) {
            clo_emit(out, BPF_JMP | BPF_JSET | BPF_K, 0, 1, test->mask);
        } else {
            if (test->mask != UINT32_MAX) {
                clo_emit(out, BPF_ALU | BPF_AND | BPF_K, 0, 0, test->mask);
                loaded = NOT_LOADED;
            }
            uint32_t value = test->pid ? (uint32_t)(test->pid * out->request->protect_pid) : test->value;
            bool equal = test->op == CLO_EQ;
            clo_emit(out, BPF_JMP | BPF_JEQ | BPF_K, !equal, equal, value);
        }
        emit_answer(out, answer[test->verdict]);
    }
    emit_answer(out, SECCOMP_RET_ALLOW);
}

static void emit_leaf(struct clo_assembler *out, const struct clo_run *run, clo_leaf *leaf) {
    if (run->verdict == CLO_V_TEST)
        leaf(out, run->first);
    else
        clo_emit_verdict(out, run->verdict);
}

/* The verdict of every number, from the tables and the names that the caller denies besides. */
static int judge(struct clo_assembler *out) {
    const struct clo_filter *request = out->request;
    const struct clo_syscall *row;
    uint8_t *verdict = out->plain;
    memset(verdict, CLO_V_NOSYS, CLO_NUMBERS);
    for (size_t i = 0; (row = clo_syscall_row(i)); i++) {
        int number = row->number[request->arch];
        if (number < 0 || row->reach == CLO_UNHEARD) continue;
        verdict[number] = row->reach == CLO_REFUSED || row->reach < request->level ? CLO_V_PERM : CLO_V_ALLOW;
    }
    for (size_t i = 0; clo_test_row(i); i++)
        if (out->tested[i] >= 0 && verdict[out->tested[i]] == CLO_V_ALLOW) verdict[out->tested[i]] = CLO_V_TEST;
    for (size_t i = 0; i < request->n_deny; i++) {
        int number = clo_syscall_number(request->deny[i], request->arch);
        if (number == -ENOENT) return -ENOENT;
        /* One that is refused anyway keeps its answer: ENOSYS makes programs fall back. */
        if (number >= 0 && verdict[number] != CLO_V_NOSYS) verdict[number] = CLO_V_PERM;
    }
    return 0;
}

static void gather_runs(struct clo_assembler *out, const uint8_t *verdicts, uint8_t beyond, clo_leaf *leaf) {
    for (size_t number = 0; number <= CLO_NUMBERS; number++) {
        uint8_t here = number < CLO_NUMBERS ? verdicts[number] : beyond;
        const struct clo_run *last = out->n_runs ? &out->runs[out->n_runs - 1] : NULL;
        if (last && last->verdict == here && here != CLO_V_TEST) continue;
        struct clo_run *run = &out->runs[out->n_runs++];
        *run = (struct clo_run){.first = (uint16_t)number, .verdict = here};
        size_t before = out->used, room = out->room;
        out->room = 0; /* measure only */
        emit_leaf(out, run, leaf);
        run->size = (uint16_t)(out->used - before);
        out->used = before;
        out->room = room;
    }
}

/* The root of runs[first .. last] splits at this one. */
static size_t middle_of(size_t first, size_t last) { return first + (last - first + 1) / 2; }

static size_t tree_size(const struct clo_assembler *out, size_t first, size_t last) {
    if (first == last) return out->runs[first].size;
    size_t middle = middle_of(first, last), below = tree_size(out, first, middle - 1);
    return 1 + (below > UINT8_MAX) + below + tree_size(out, middle, last);
}

static void emit_tree(struct clo_assembler *out, size_t first, size_t last, clo_leaf *leaf) {
    if (first == last) {
        emit_leaf(out, &out->runs[first], leaf);
        return;
    }
    size_t middle = middle_of(first, last), below = tree_size(out, first, middle - 1);
    if (below <= UINT8_MAX) {
        clo_emit(out, BPF_JMP | BPF_JGE | BPF_K, (uint8_t)below, 0, out->runs[middle].first);
    } else { /* a conditional jump reaches 255 instructions */
        clo_emit(out, BPF_JMP | BPF_JGE | BPF_K, 0, 1, out->runs[middle].first);
        clo_emit(out, BPF_JMP | BPF_JA, 0, 0, (uint32_t)below);
    }
    emit_tree(out, first, middle - 1, leaf);
    emit_tree(out, middle, last, leaf);
}

static void emit_head(struct clo_assembler *out) {
    emit_load(out, offsetof(struct seccomp_data, arch));
    clo_emit(out, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, audit_arch[out->request->arch]);
    emit_answer(out, SECCOMP_RET_KILL_PROCESS);
    emit_load(out, offsetof(struct seccomp_data, nr));
    if (out->request->arch != CLO_ARCH_X86_64) return;
    clo_emit(out, BPF_JMP | BPF_JGE | BPF_K, 0, 3, X32_BIT);
    clo_emit(out, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, UINT32_MAX); /* syscall(-1) is a probe, not x32 */
    emit_answer(out, answer[CLO_V_NOSYS]);
    emit_answer(out, SECCOMP_RET_KILL_PROCESS);
}

int clo_assemble_plain(struct clo_assembler *out, const struct clo_filter *request) {
    if (request->arch > CLO_ARCH_AARCH64 || request->level >= CLO_LEVELS || request->sockets > CLO_SOCKETS_INET)
        return -EINVAL;
    if (request->protect_pid < 0) return -EINVAL;
    out->request = request;
    resolve_tests(out);
    return judge(out);
}

int clo_assemble(struct clo_assembler *out, const uint8_t *verdicts, uint8_t beyond, clo_leaf *leaf) {
    gather_runs(out, verdicts, beyond, leaf);
    emit_head(out);
    emit_tree(out, 0, out->n_runs - 1, leaf);
    return out->used > out->room ? -E2BIG : (int)out->used;
}

/* Writes the program into code, of room instructions; the count, or -EINVAL for a field out of range, -ENOENT for a
 * name in deny that no machine has, -E2BIG when room is too small. Thread safe. */
int clo_seccomp_program(const struct clo_filter *request, void *code, size_t room) {
    struct clo_assembler out = {.code = code, .room = room};
    int failed = clo_assemble_plain(&out, request);
    return failed ? failed : clo_assemble(&out, out.plain, CLO_V_NOSYS, clo_emit_tests);
}
