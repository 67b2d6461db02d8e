/* Execs: from the request to the report, and what the host orders meanwhile. */

#include "inner.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKER_MS = 2000, UNSHOWN_MAX = 500 /* some milliseconds each */ };

static const uint32_t PASSED[3] = {CLO_EXEC_STDIN, CLO_EXEC_STDOUT, CLO_EXEC_STDERR};

struct clo_inner_exec *clo_find_exec(const struct clo_inner *inner, uint32_t id)
{
    struct clo_inner_exec *exec = id ? inner->execs : NULL; /* 0 is that of those who have no work */

    while (exec && exec->id != id)
        exec = exec->next;
    return exec;
}

static void dismiss(struct clo_inner *inner, struct clo_inner_exec *gone)
{
    struct clo_inner_exec **at = &inner->execs;
    enum clo_stage stage;

    while (*at != gone)
        at = &(*at)->next;
    *at = gone->next;
    clo_worker_gone(inner, gone);
    if (gone->hired)
        clo_end_hire(inner, gone, &stage);
    clo_group_drop(inner, &gone->group);
    free(gone);
}

/* ---- the start ---- */

static int refuse(uint32_t id, int error, enum clo_stage stage)
{
    return clo_send_refused(CLO_INNER_CONTROL, id, error, stage);
}

/* The three descriptors of the program: those passed, and nothing for the others; or the terminal, with two more. */
static int choose_stdio(struct clo_inner *inner, const struct clo_exec *asked, struct clo_packet *packet, int *stdio)
{
    int next = 0, error;

    if (asked->flags & CLO_EXEC_PTY) {
        error = clo_terminal_open(inner, asked, packet->head.id, packet->fds[0], &stdio[0], stdio + 3);
        packet->fds[0] = error ? packet->fds[0] : stdio[0]; /* the terminal keeps the host's end */
        stdio[1] = stdio[2] = stdio[0];
        return error;
    }
    for (int i = 0; i < 3; i++)
        stdio[i] = asked->flags & PASSED[i] ? packet->fds[next++] : inner->null;
    return 0;
}

/* Gives a hired process the work. With `socket` it becomes the worker, and has that as descriptor 3. */
static int start_hired(struct clo_inner *inner, struct clo_packet *packet, const struct clo_exec *asked, int socket,
                       enum clo_stage *stage)
{
    const bool terminal = asked->flags & CLO_EXEC_PTY;
    struct clo_inner_exec *exec;
    int files[CLO_FILES_MAX], error;

    *stage = CLO_STAGE_FORK;
    if ((error = clo_inner_hire(inner)))
        return error;
    exec = clo_find_idle(inner);
    *stage = CLO_STAGE_PTY;
    if ((error = choose_stdio(inner, asked, packet, files)))
        return error;
    if (!terminal)
        files[3] = socket;
    error = clo_give_work(exec, packet, files, terminal ? 5 : socket < 0 ? 3 : 4, stage);
    if (terminal) {
        close(files[3]);
        close(files[4]);
    }
    if (error) {
        clo_inner_retire(inner);
        clo_terminal_drop(inner, packet->head.id);
        return error;
    }
    exec->id = packet->head.id;
    exec->flags = asked->flags;
    return 0;
}

static int start_worker(struct clo_inner *inner, struct clo_packet *packet, const struct clo_exec *asked,
                        enum clo_stage *stage)
{
    int ours, theirs, error;

    *stage = CLO_STAGE_FORK;
    if (inner->worker)
        return -EEXIST;
    ours = clo_worker_pair(&theirs);
    if (ours < 0)
        return ours;
    error = start_hired(inner, packet, asked, theirs, stage);
    close(theirs);
    if (error) {
        close(ours);
        return error;
    }
    inner->worker = clo_find_exec(inner, packet->head.id);
    inner->worker_fd = ours;
    return 0;
}

/* One that is not yet its program would go back to its own group once it is asked to leave that. */
static void await_worker(struct clo_inner *inner)
{
    if (inner->worker && inner->worker->hired
        && poll(&(struct pollfd){.fd = inner->worker->orders, .events = POLLIN}, 1, WORKER_MS) > 0)
        clo_settle_start(inner, inner->worker);
}

static int start_by_worker(struct clo_inner *inner, const struct clo_packet *packet, const struct clo_exec *asked,
                           enum clo_stage *stage)
{
    struct clo_inner_exec *exec;
    uint32_t pid;
    int error;

    *stage = inner->worker ? CLO_STAGE_FORK : CLO_STAGE_EXEC;
    await_worker(inner);
    if ((error = clo_worker_fork(inner)))
        return error;
    exec = clo_worker_give(inner, asked, packet, stage, &error);
    if (!exec)
        return error;
    pid = (uint32_t)exec->main;
    return clo_send(CLO_INNER_CONTROL, CLO_MSG_STARTED, exec->id, &pid, sizeof pid, -1);
}

static bool is_refused(const struct clo_exec *asked)
{
    const uint32_t worker = CLO_EXEC_WORKER | CLO_EXEC_BY_WORKER;

    return asked->flags & CLO_EXEC_PROBE || (asked->flags & CLO_EXEC_PTY && asked->flags & worker)
           || (asked->flags & worker) == worker;
}

int clo_order_exec(struct clo_inner *inner, struct clo_packet *packet)
{
    const uint32_t id = packet->head.id, passed = CLO_EXEC_STDIN | CLO_EXEC_STDOUT | CLO_EXEC_STDERR;
    enum clo_stage stage = CLO_STAGE_REQUEST;
    struct clo_exec asked;
    int error;

    if (packet->lost)
        return refuse(id, EMFILE, stage);
    if (!id || clo_parse_exec(packet->body, packet->size, &asked))
        return -EBADMSG;
    if (clo_find_exec(inner, id)) /* a worker always has the same number, and the last may not be reaped yet */
        return asked.flags & CLO_EXEC_WORKER ? refuse(id, EEXIST, stage) : -EBADMSG;
    if (packet->count != (asked.flags & CLO_EXEC_PTY ? 1 : __builtin_popcount(asked.flags & passed)))
        return -EBADMSG;
    if (is_refused(&asked))
        error = -EOPNOTSUPP;
    else if (asked.flags & CLO_EXEC_BY_WORKER)
        error = start_by_worker(inner, packet, &asked, &stage);
    else if (asked.flags & CLO_EXEC_WORKER)
        error = start_worker(inner, packet, &asked, &stage);
    else
        error = start_hired(inner, packet, &asked, -1, &stage);
    return error ? refuse(id, -error, stage) : 0;
}

void clo_settle_start(struct clo_inner *inner, struct clo_inner_exec *exec)
{
    const uint32_t pid = (uint32_t)exec->main;
    enum clo_stage stage;
    int error;

    if (!exec->id) { /* no work for it came, or will; why it ended, if so, the next exec is told, should it end again */
        exec->refused = true;
        clo_drop_orders(exec); /* but not its memory: it may yet be there, for we may have ended this socket */
        return;
    }
    inner->vacant = true;
    error = clo_end_hire(inner, exec, &stage);
    exec->refused = error;
    if (!error) {
        clo_send(CLO_INNER_CONTROL, CLO_MSG_STARTED, exec->id, &pid, sizeof pid, -1);
        return;
    }
    refuse(exec->id, error, stage);
    clo_terminal_drop(inner, exec->id);
    clo_worker_gone(inner, exec);
    exec->id = 0; /* what is left of it is nobody's business */
}

/* ---- the end ---- */

static void kill_member(void *exec, pid_t pid)
{
    struct clo_inner_exec *whose = exec;

    whose->result.leftovers += !whose->counted && (whose->ended || pid != whose->main);
    kill(pid, SIGKILL);
}

/* One round against a group; whether nobody is left in it. */
static bool kill_group(struct clo_inner_exec *exec)
{
    const int left = clo_group_each(&exec->group, kill_member, exec);

    exec->counted |= left >= 0;
    return left == 0;
}

static void condemn(const struct clo_inner *inner, struct clo_inner_exec *exec)
{
    if (exec->killing)
        return;
    exec->killing = true;
    (void)clo_group_limit(inner, &exec->group, 0); /* without it the killing only takes more rounds */
}

static void report(struct clo_inner_exec *exec)
{
    exec->reported = true;
    clo_send(CLO_INNER_CONTROL, CLO_MSG_EXITED, exec->id, &exec->result, sizeof exec->result, -1);
}

/* Takes an exec further: kills what is to die, tells of its end. Whether it has to be seen to again soon. */
static bool tend(struct clo_inner *inner, struct clo_inner_exec *exec)
{
    const bool lingers = exec->flags & CLO_EXEC_LINGER;
    bool empty;

    if (!exec->ended && !exec->killing)
        return false;
    empty = exec->killing ? kill_group(exec) : clo_group_each(&exec->group, NULL, NULL) == 0;
    if (!empty && !exec->killing && !lingers) {
        condemn(inner, exec);
        empty = kill_group(exec);
    }
    /* What a worker said it had forked need not be ours to reap. */
    if (empty && exec->killing && !exec->ended && exec->flags & CLO_EXEC_BY_WORKER) {
        exec->ended = true;
        exec->result.status = SIGKILL;
    }
    if (exec->ended && exec->id && !exec->reported && (empty || !exec->killing)) {
        /* The host takes what is there when it hears of the end, and no more. */
        if (!clo_terminal_shown(inner, exec->id) && exec->unshown++ < UNSHOWN_MAX)
            return true;
        report(exec);
    }
    if (!exec->ended || !empty)
        return exec->killing;
    clo_terminal_over(inner, exec->id);
    dismiss(inner, exec);
    return false;
}

bool clo_tend_all(struct clo_inner *inner)
{
    struct clo_inner_exec *next;
    bool again = false;

    for (struct clo_inner_exec *exec = inner->execs; exec; exec = next) {
        next = exec->next;
        again |= tend(inner, exec);
    }
    return again;
}

static uint64_t microseconds(const struct timeval *time)
{
    return (uint64_t)time->tv_sec * 1000000 + (uint64_t)time->tv_usec;
}

void clo_reap(struct clo_inner *inner)
{
    struct signalfd_siginfo info[8];
    struct clo_inner_exec *exec;
    struct rusage usage;
    int status;
    pid_t pid;

    while (read(inner->signals, info, sizeof info) == sizeof info)
        ;
    while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0) {
        for (exec = inner->execs; exec && (exec->main != pid || exec->ended); exec = exec->next)
            ;
        if (!exec)
            continue;
        if (exec->hired)
            clo_settle_start(inner, exec);
        exec->ended = true;
        exec->result.status = status;
        exec->result.user_us = microseconds(&usage.ru_utime);
        exec->result.system_us = microseconds(&usage.ru_stime);
        exec->result.peak_kib = (uint64_t)usage.ru_maxrss;
    }
}

/* ---- orders; an id that is not there has ended while the packet was on its way ---- */

int clo_become_quiet(struct clo_inner *inner)
{
    if (!clo_is_quiet(inner))
        return EBUSY;
    if (inner->worker_answered)
        (void)clo_worker_fork(inner); /* if it can't now, it is tried when there is work */
    return 0;
}

bool clo_is_quiet(const struct clo_inner *inner)
{
    const struct clo_inner_exec *exec = inner->execs;

    while (exec && (!exec->id || exec == inner->worker))
        exec = exec->next;
    return !exec && !inner->terminals;
}

static void signal_member(void *signal, pid_t pid)
{
    kill(pid, *(const int *)signal);
}

int clo_order_signal(const struct clo_inner *inner, const struct clo_packet *packet)
{
    const struct clo_inner_exec *exec = clo_find_exec(inner, packet->head.id);
    uint32_t asked, scope;
    int number;

    if (clo_parse_signal(packet->body, packet->size, &asked, &scope))
        return -EBADMSG;
    number = (int)asked;
    if (!exec)
        return 0;
    if (scope == CLO_SCOPE_MAIN && !exec->ended)
        kill(exec->main, number);
    else if (scope == CLO_SCOPE_GROUP && !exec->ended)
        kill(-exec->main, number);
    else if (scope != CLO_SCOPE_MAIN)
        clo_group_each(&exec->group, signal_member, &number);
    return 0;
}

int clo_order_kill(const struct clo_inner *inner, uint32_t id)
{
    for (struct clo_inner_exec *exec = inner->execs; exec; exec = exec->next)
        if (exec->id && (!id || exec->id == id))
            condemn(inner, exec);
    return 0;
}
