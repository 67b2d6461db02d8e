/* Processes hired before there is work for them.
 *
 * In this kernel a fork costs more than everything else about the start of a program, so the hired process shares the
 * memory of process 1 until it executes the program, as one made by vfork(2) does; but process 1 does not wait for it
 * with closed eyes. A guest can stop every process of its uid, this one too in its last moment before execve, and that
 * must stop nobody else. So there are two rules: what the hired process runs touches nothing that process 1 changes
 * (not even errno: raw.h), and process 1 learns how it went from the end of the socket between them, which closes when
 * the program starts.
 *
 * All that does not depend on the work is done beforehand. The descriptors of the program come by the socket, and land
 * on 0, 1 and 2 because nothing else is open. */

#include "inner.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../init/kernel.h"
#include "raw.h"

enum { STACK_SIZE = 32768, SIGNAL_SET = 8 };

struct clo_hired {
    struct clo_bounds bounds;
    uint32_t uid, gid;
    int members, orders;
    char *body; /* of the request, which the rest points into */
    char **argv, **env;
    char cwd[CLO_PATH_SIZE]; /* empty: stay where process 1 is, at / */
    char name[16]; /* which tells a watching host whose it is */
    bool terminal;
    size_t files; /* how many descriptors it gets */
    char *filter; /* what the program is put under; NULL: nothing */
    unsigned short filter_size;
    int error; /* 0, or the errno that stopped it at `stage` */
    enum clo_stage stage;
    _Alignas(16) char stack[STACK_SIZE];
};

struct passed {
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(CLO_FILES_MAX * sizeof(int))];
    } extra;
    char byte;
};

/* ---- in the hired process: no call of the C library that can set errno ---- */

static int leave(struct clo_hired *hired, long error)
{
    hired->error = (int)-error;
    clo_raw(SYS_exit_group, 127, 0, 0, 0);
    return 0;
}

static long set_limit(int resource, uint64_t soft, uint64_t hard)
{
    const struct rlimit limit = {soft, hard};

    return clo_raw(SYS_prlimit64, 0, resource, (long)&limit, 0);
}

static long set_limits(const struct clo_hired *hired)
{
    const struct clo_bounds *bounds = &hired->bounds;
    long error = 0;

    for (size_t i = 0; !error && i < bounds->count; i++)
        error = set_limit((int)bounds->list[i].resource, bounds->list[i].soft, bounds->list[i].hard);
    if (!error && bounds->limits_pids)
        error = set_limit(RLIMIT_NPROC, bounds->pids, bounds->pids);
    return error;
}

/* What can be done before there is work; -errno. */
static long prepare(struct clo_hired *hired)
{
    const uint64_t no_signals = 0;
    long error;

    hired->stage = CLO_STAGE_FORK;
    error = clo_raw(SYS_write, hired->members, (long)"0", 1, 0);
    if (error < 0)
        return error;
    hired->stage = CLO_STAGE_STDIO;
    clo_raw(SYS_setsid, 0, 0, 0, 0);
    error = clo_raw(SYS_close_range, 0, hired->orders - 1, 0, 0);
    if (!error) /* not ~0U: gVisor takes it for a negative number */
        error = clo_raw(SYS_close_range, hired->orders + 1, INT32_MAX, 0, 0);
    if (error)
        return error;
    hired->stage = CLO_STAGE_LIMITS;
    error = set_limits(hired);
    if (!error)
        error = clo_raw(SYS_setgroups, 0, 0, 0, 0);
    if (!error)
        error = clo_raw(SYS_setresgid, hired->gid, hired->gid, hired->gid, 0);
    if (!error)
        error = clo_raw(SYS_rt_sigprocmask, SIG_SETMASK, (long)&no_signals, 0, SIGNAL_SET);
    return error;
}

/* Waits for work; 0 when there is none to come, as process 1 is gone or has hired another. */
static long take_work(const struct clo_hired *hired)
{
    struct passed passed = {0};
    struct iovec part = {&passed.byte, 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &passed.extra, .msg_controllen = sizeof passed.extra.space};
    const int wanted[CLO_FILES_MAX] = {0, 1, 2, 3, 4};
    long got;

    do /* it is interrupted when the sentry stops its guest */
        got = clo_raw(SYS_recvmsg, hired->orders, (long)&message, 0, 0);
    while (got == -EINTR);
    if (got <= 0)
        return got;
    if (message.msg_flags & MSG_CTRUNC || passed.extra.header.cmsg_len != CMSG_LEN(hired->files * sizeof(int))
        || memcmp(CMSG_DATA(&passed.extra.header), wanted, hired->files * sizeof(int)))
        return -EMFILE;
    return got;
}

/* gVisor's execve opens a pipe as any program does, and waits there for who writes to it. */
static int raw_execve(const char *path, char *const *argv, char *const *env)
{
    struct stat status;

    if (!clo_raw(SYS_newfstatat, AT_FDCWD, (long)path, (long)&status, 0) && !S_ISREG(status.st_mode))
        return EACCES;
    return (int)-clo_raw(SYS_execve, (long)path, (long)argv, (long)env, 0);
}

/* The only way to be another user, and the last step before what that user may do. Capabilities go with it. */
static long become_user(struct clo_hired *hired)
{
    long error = 0;

    hired->stage = CLO_STAGE_PTY;
    if (hired->terminal) {
        error = clo_raw(SYS_ioctl, 0, TIOCSCTTY, 0, 0);
        clo_fork_witness();
    }
    hired->stage = CLO_STAGE_LIMITS;
    if (!error)
        error = clo_raw(SYS_setresuid, hired->uid, hired->uid, hired->uid, 0);
    hired->stage = CLO_STAGE_CWD;
    if (!error && hired->cwd[0])
        error = clo_raw(SYS_chdir, (long)hired->cwd, 0, 0, 0);
    return error;
}

/* The last step: the filter is the program's, and may refuse what the others need. */
static long put_filter(const struct clo_hired *hired)
{
    const struct clo_filter_program program = {hired->filter_size, hired->filter};

    clo_raw(SYS_prctl, PR_SET_NAME, (long)hired->name, 0, 0);
    return hired->filter ? clo_raw(SYS_seccomp, CLO_SECCOMP_FILTER, 0, (long)&program, 0) : 0;
}

static int run_hired(void *argument)
{
    struct clo_hired *hired = argument;
    long error = prepare(hired);

    if (error)
        return leave(hired, error);
    hired->stage = CLO_STAGE_STDIO;
    error = take_work(hired);
    if (error <= 0 || (error = become_user(hired)))
        return leave(hired, error);
    hired->stage = CLO_STAGE_SECCOMP;
    if ((error = put_filter(hired)))
        return leave(hired, error);
    hired->stage = CLO_STAGE_EXEC;
    return leave(hired, -clo_execute(hired->argv, hired->env, raw_execve));
}

/* ---- in process 1 ---- */

struct clo_inner_exec *clo_find_idle(const struct clo_inner *inner)
{
    struct clo_inner_exec *exec = inner->execs;

    while (exec && (exec->id || exec->refused || !exec->hired))
        exec = exec->next;
    return exec;
}

/* Memory that was used before: to get other from the kernel, and give it back, takes as long as a few system calls and
 * page faults, which is much beside the rest. */
static struct clo_hired *get_hired(struct clo_inner *inner)
{
    struct clo_hired *hired = inner->let_go;

    inner->let_go = NULL;
    if (!hired)
        return calloc(1, sizeof *hired);
    memset(hired, 0, offsetof(struct clo_hired, stack));
    return hired;
}

static void free_hired(struct clo_inner *inner, struct clo_inner_exec *exec)
{
    struct clo_hired *hired = exec->hired;

    exec->hired = NULL;
    if (!hired)
        return;
    free(hired->body);
    free(hired->argv);
    free(hired->env);
    free(hired->filter);
    if (inner->let_go)
        free(hired);
    else
        inner->let_go = hired;
}

/* Those of now: the next setup may bring others while this one is at work. */
static int take_terms(const struct clo_inner *inner, struct clo_hired *hired)
{
    hired->bounds = inner->bounds;
    hired->uid = inner->uid;
    hired->gid = inner->gid;
    if (!inner->filter.size)
        return 0;
    hired->filter = malloc(inner->filter.size);
    if (!hired->filter)
        return -ENOMEM;
    memcpy(hired->filter, inner->filter.data, inner->filter.size);
    hired->filter_size = (unsigned short)(inner->filter.size / CLO_FILTER_STEP);
    return 0;
}

/* Starts the process; it may already be at work when this comes back. */
static int start(struct clo_inner_exec *exec)
{
    struct clo_hired *hired = exec->hired;
    int ends[2], error = 0;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
        return -errno;
    hired->members = exec->group.members;
    hired->orders = ends[1];
    exec->orders = ends[0];
    exec->main = clone(run_hired, hired->stack + sizeof hired->stack, CLONE_VM | SIGCHLD, hired);
    if (exec->main < 0) {
        error = -errno;
        close(ends[0]);
    }
    close(ends[1]);
    return error;
}

int clo_inner_hire(struct clo_inner *inner)
{
    struct clo_inner_exec *exec;
    int error;

    inner->vacant = false;
    if (clo_find_idle(inner))
        return 0;
    exec = malloc(sizeof *exec);
    if (!exec)
        return -ENOMEM;
    *exec = (struct clo_inner_exec){.orders = -1, .hired = get_hired(inner)};
    error = exec->hired ? take_terms(inner, exec->hired) : -ENOMEM;
    if (!error)
        error = clo_group_take(inner, &exec->group);
    if (!error && (error = start(exec)))
        clo_group_drop(inner, &exec->group);
    if (error) {
        free_hired(inner, exec);
        free(exec);
        return error;
    }
    exec->next = inner->execs;
    inner->execs = exec;
    return 0;
}

void clo_inner_retire(struct clo_inner *inner)
{
    struct clo_inner_exec *idle = clo_find_idle(inner);

    inner->vacant = true;
    if (!idle)
        return;
    idle->refused = true;
    shutdown(idle->orders, SHUT_RDWR);
}

/* The request as the hired process needs it, in memory that stays. */
static int note_work(struct clo_hired *hired, const struct clo_packet *packet)
{
    struct clo_exec asked;

    hired->body = malloc(packet->size + 1);
    if (!hired->body)
        return -ENOMEM;
    memcpy(hired->body, packet->body, packet->size);
    if (clo_parse_exec(hired->body, packet->size, &asked))
        return -EBADMSG;
    hired->argv = clo_point(&asked.argv);
    hired->env = clo_point(&asked.env);
    if (!hired->argv || !hired->env)
        return -ENOMEM;
    hired->terminal = asked.flags & CLO_EXEC_PTY;
    snprintf(hired->name, sizeof hired->name, "exec-%u", packet->head.id);
    if (asked.cwd.size > 1)
        memcpy(hired->cwd, asked.cwd.data, asked.cwd.size); /* checked: shorter than its room */
    return 0;
}

int clo_give_work(struct clo_inner_exec *exec, const struct clo_packet *packet, const int *files, size_t count,
                  enum clo_stage *stage)
{
    struct passed passed = {.extra.header = {.cmsg_len = CMSG_LEN(count * sizeof(int)), .cmsg_level = SOL_SOCKET,
                                             .cmsg_type = SCM_RIGHTS}};
    struct iovec part = {&passed.byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &passed.extra,
                             .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    const int error = note_work(exec->hired, packet);

    *stage = CLO_STAGE_REQUEST;
    if (error)
        return error;
    exec->hired->files = count;
    memcpy(CMSG_DATA(&passed.extra.header), files, count * sizeof(int));
    if (sendmsg(exec->orders, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == 1)
        return 0;
    *stage = exec->hired->error ? exec->hired->stage : CLO_STAGE_FORK; /* it failed beforehand */
    return exec->hired->error ? -exec->hired->error : -errno;
}

void clo_drop_orders(struct clo_inner_exec *exec)
{
    if (exec->orders >= 0)
        close(exec->orders);
    exec->orders = -1;
}

int clo_end_hire(struct clo_inner *inner, struct clo_inner_exec *exec, enum clo_stage *stage)
{
    const int error = exec->hired->error;

    *stage = exec->hired->stage;
    clo_drop_orders(exec);
    free_hired(inner, exec);
    return error;
}
