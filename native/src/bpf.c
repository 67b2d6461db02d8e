/* A classic BPF machine, as seccomp(2) uses it (Documentation/networking/filter.rst and seccomp_check_filter of the
 * kernel). A program is checked once; then every jump stays in it, forward, and it ends with an answer: so the machine
 * needs no bounds of its own and always stops. */
#include "bpf.h"

#include <string.h>

enum { SHIFT_END = 32 };

/* What seccomp_check_filter allows. BPF_LEN loads the size of struct seccomp_data. */
static bool known(uint16_t code) {
    switch (code) {
    case BPF_LD | BPF_W | BPF_ABS: case BPF_LD | BPF_W | BPF_LEN: case BPF_LDX | BPF_W | BPF_LEN:
    case BPF_LD | BPF_IMM: case BPF_LDX | BPF_IMM: case BPF_LD | BPF_MEM: case BPF_LDX | BPF_MEM:
    case BPF_ST: case BPF_STX: case BPF_MISC | BPF_TAX: case BPF_MISC | BPF_TXA:
    case BPF_RET | BPF_K: case BPF_RET | BPF_A: case BPF_ALU | BPF_NEG:
    case BPF_ALU | BPF_ADD | BPF_K: case BPF_ALU | BPF_ADD | BPF_X:
    case BPF_ALU | BPF_SUB | BPF_K: case BPF_ALU | BPF_SUB | BPF_X:
    case BPF_ALU | BPF_MUL | BPF_K: case BPF_ALU | BPF_MUL | BPF_X:
    case BPF_ALU | BPF_DIV | BPF_K: case BPF_ALU | BPF_DIV | BPF_X:
    case BPF_ALU | BPF_AND | BPF_K: case BPF_ALU | BPF_AND | BPF_X:
    case BPF_ALU | BPF_OR | BPF_K: case BPF_ALU | BPF_OR | BPF_X:
    case BPF_ALU | BPF_XOR | BPF_K: case BPF_ALU | BPF_XOR | BPF_X:
    case BPF_ALU | BPF_LSH | BPF_K: case BPF_ALU | BPF_LSH | BPF_X:
    case BPF_ALU | BPF_RSH | BPF_K: case BPF_ALU | BPF_RSH | BPF_X:
    case BPF_JMP | BPF_JA:
    case BPF_JMP | BPF_JEQ | BPF_K: case BPF_JMP | BPF_JEQ | BPF_X:
    case BPF_JMP | BPF_JGT | BPF_K: case BPF_JMP | BPF_JGT | BPF_X:
    case BPF_JMP | BPF_JGE | BPF_K: case BPF_JMP | BPF_JGE | BPF_X:
    case BPF_JMP | BPF_JSET | BPF_K: case BPF_JMP | BPF_JSET | BPF_X:
        return true;
    default:
        return false;
    }
}

static bool in_reach(const struct sock_filter *at, size_t rest) {
    if (BPF_CLASS(at->code) != BPF_JMP) return true;
    if (BPF_OP(at->code) == BPF_JA) return at->k < rest;
    return at->jt < rest && at->jf < rest;
}

/* 0, or -EINVAL for what the kernel would refuse, but for one thing: a word of memory may be read that was not written;
 * it is 0. Thread safe. */
int clo_bpf_check(const struct sock_filter *code, size_t count) {
    if (!count || count > BPF_MAXINSNS || BPF_CLASS(code[count - 1].code) != BPF_RET) return -EINVAL;
    for (size_t i = 0; i < count; i++) {
        const struct sock_filter *at = &code[i];
        if (!known(at->code) || !in_reach(at, count - i - 1)) return -EINVAL;
        switch (at->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            if (at->k >= sizeof(struct seccomp_data) || at->k % 4) return -EINVAL;
            break;
        case BPF_LD | BPF_MEM: case BPF_LDX | BPF_MEM: case BPF_ST: case BPF_STX:
            if (at->k >= BPF_MEMWORDS) return -EINVAL;
            break;
        case BPF_ALU | BPF_DIV | BPF_K:
            if (!at->k) return -EINVAL;
            break;
        case BPF_ALU | BPF_LSH | BPF_K: case BPF_ALU | BPF_RSH | BPF_K:
            if (at->k >= SHIFT_END) return -EINVAL;
            break;
        default:
            break;
        }
    }
    return 0;
}

/* The right side of a division is not 0. Shifts count modulo the width, as the kernel's do. */
static uint32_t calculate(uint16_t operation, uint32_t left, uint32_t right) {
    switch (operation) {
    case BPF_ADD: return left + right;
    case BPF_SUB: return left - right;
    case BPF_MUL: return left * right;
    case BPF_DIV: return left / right;
    case BPF_AND: return left & right;
    case BPF_OR: return left | right;
    case BPF_XOR: return left ^ right;
    case BPF_LSH: return left << right % SHIFT_END;
    case BPF_RSH: return left >> right % SHIFT_END;
    default: return 0U - left; /* BPF_NEG */
    }
}

static bool holds(uint16_t operation, uint32_t left, uint32_t right) {
    switch (operation) {
    case BPF_JEQ: return left == right;
    case BPF_JGT: return left > right;
    case BPF_JGE: return left >= right;
    default: return left & right; /* BPF_JSET */
    }
}

/* The answer of a program that clo_bpf_check passed. A division by a register of 0 answers 0, the kernel's way, which
 * is to kill. Thread safe. */
struct clo_bpf_answer clo_bpf_run(const struct sock_filter *code, const struct seccomp_data *data) {
    uint32_t a = 0, x = 0, memory[BPF_MEMWORDS] = {0};
    struct clo_bpf_answer answer = {0, false};
    for (const struct sock_filter *at = code;; at++) {
        uint32_t right = BPF_SRC(at->code) == BPF_X ? x : at->k;
        switch (BPF_CLASS(at->code)) {
        case BPF_RET:
            answer.value = BPF_RVAL(at->code) == BPF_A ? a : at->k;
            return answer;
        case BPF_LD:
            if (BPF_MODE(at->code) == BPF_ABS) {
                memcpy(&a, (const char *)data + at->k, sizeof a);
                answer.looked |= at->k >= offsetof(struct seccomp_data, instruction_pointer);
            } else if (BPF_MODE(at->code) == BPF_MEM) {
                a = memory[at->k];
            } else {
                a = BPF_MODE(at->code) == BPF_LEN ? (uint32_t)sizeof *data : at->k;
            }
            break;
        case BPF_LDX:
            if (BPF_MODE(at->code) == BPF_MEM)
                x = memory[at->k];
            else
                x = BPF_MODE(at->code) == BPF_LEN ? (uint32_t)sizeof *data : at->k;
            break;
        case BPF_ST: memory[at->k] = a; break;
        case BPF_STX: memory[at->k] = x; break;
        case BPF_JMP:
            if (BPF_OP(at->code) == BPF_JA)
                at += at->k;
            else
                at += holds(BPF_OP(at->code), a, right) ? at->jt : at->jf;
            break;
        case BPF_ALU:
            if (BPF_OP(at->code) == BPF_DIV && !right) return answer;
            a = calculate(BPF_OP(at->code), a, right);
            break;
        default: /* BPF_MISC */
            if (BPF_MISCOP(at->code) == BPF_TAX)
                x = a;
            else
                a = x;
            break;
        }
    }
}

/* For tests and tools: checks, then runs on `data`, a struct seccomp_data. The answer in *value, whether it looked at
 * the arguments as result; -EINVAL. */
int clo_filter_answer(const void *code, size_t count, const void *data, uint32_t *value) {
    struct seccomp_data copy;
    int failed = clo_bpf_check(code, count);
    if (failed) return failed;
    memcpy(&copy, data, sizeof copy);
    struct clo_bpf_answer answer = clo_bpf_run(code, &copy);
    *value = answer.value;
    return answer.looked;
}
