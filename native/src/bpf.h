/* A classic BPF machine for programs of seccomp(2): what the kernel would answer, asked of the same registers. */
#ifndef CLOCHE_BPF_H
#define CLOCHE_BPF_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>

#include "cloche_native.h"

struct clo_bpf_answer {
    uint32_t value; /* SECCOMP_RET_... | data */
    bool looked;    /* at more than the number and the machine: another call of this number may be answered otherwise */
};

int clo_bpf_check(const struct sock_filter *code, size_t count);
struct clo_bpf_answer clo_bpf_run(const struct sock_filter *code, const struct seccomp_data *data);

#endif
