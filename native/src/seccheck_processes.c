/* What is known of the processes of a sandbox: which exec of the host's each belongs to, and its current folder, where
 * messages do not say it. A process that finds no room is not known, and nothing is said of it. */
#include <string.h>

#include "seccheck.h"

static struct clo_traced_process *slot(struct clo_sentry *sentry, int32_t pid, uint32_t probe) {
    return &sentry->processes[((uint32_t)pid + probe) % CLO_SENTRY_PROCESSES];
}

/* NULL: not known. */
struct clo_traced_process *clo_sentry_process(struct clo_sentry *sentry, int32_t pid) {
    for (uint32_t probe = 0; pid && probe < CLO_SENTRY_PROBES; probe++)
        if (slot(sentry, pid, probe)->pid == pid) return slot(sentry, pid, probe);
    return NULL;
}

/* A new entry for a process, with what `like` says; the first of those where it belongs makes place, if it must. */
static struct clo_traced_process *add(struct clo_sentry *sentry, int32_t pid, const struct clo_traced_process *like) {
    clo_sentry_gone(sentry, pid);
    uint32_t probe = 0;
    while (probe < CLO_SENTRY_PROBES && slot(sentry, pid, probe)->pid) probe++;
    struct clo_traced_process *process = slot(sentry, pid, probe % CLO_SENTRY_PROBES);
    *process = *like;
    process->pid = pid;
    return process;
}

/* Whether what this process does is the box's own doing, and no act of the guest. */
bool clo_sentry_own(struct clo_sentry *sentry, int32_t pid) {
    if (!sentry->init) return false;
    const struct clo_traced_process *process = clo_sentry_process(sentry, pid);
    return pid == CLO_SENTRY_INIT || (process && process->young);
}

/* Notes its current folder; of size 0: that is not known any more. */
void clo_sentry_cwd(struct clo_sentry *sentry, int32_t pid, struct clo_span cwd) {
    static const struct clo_traced_process none;
    struct clo_traced_process *process = clo_sentry_process(sentry, pid);
    if (!process && pid && cwd.size) process = add(sentry, pid, &none);
    if (!process) return;
    process->cwd_size = cwd.size <= CLO_SENTRY_CWD_MAX ? (uint8_t)cwd.size : 0;
    if (process->cwd_size) memcpy(process->cwd, cwd.text, process->cwd_size);
}

void clo_sentry_born(struct clo_sentry *sentry, int32_t parent, int32_t child) {
    const struct clo_traced_process *known = clo_sentry_process(sentry, parent);
    struct clo_traced_process made = {0};
    if (known) made = *known;
    made.executed = false;
    made.young = sentry->init && (parent == CLO_SENTRY_INIT || made.young);
    if (child) add(sentry, child, &made);
}

/* Notes that a process is an exec's program, or becomes it without execve(2), as what a resident worker forks does. */
void clo_sentry_belongs(struct clo_sentry *sentry, uint64_t pid, uint64_t exec) {
    if (!pid || pid > INT32_MAX || exec > UINT32_MAX) return;
    const struct clo_traced_process *known = clo_sentry_process(sentry, (int32_t)pid);
    struct clo_traced_process made = {0};
    if (known) made = *known;
    made.exec = (uint32_t)exec;
    made.young = false;
    add(sentry, (int32_t)pid, &made);
}

void clo_sentry_gone(struct clo_sentry *sentry, int32_t pid) {
    struct clo_traced_process *process = clo_sentry_process(sentry, pid);
    if (process) process->pid = 0;
}
