/* The resident worker: a program that has prepared itself, for a language that takes long to, and forks on demand.
 *
 * It is started like any program, but has the guest's /dev/null as 0, 1 and 2, so that nothing of the host's is open in
 * a guest that is to be saved, and one end of a socket pair as 3. By that it gets packets of one byte, each with the end
 * of another socket pair: it forks twice, so that who is forked is an orphan and process 1's to reap, waits for the one
 * in between, and answers with one packet. The orphan waits at its own socket for one packet of work, or for the end:
 *
 *   body         three numbers, uint32: the bytes of argv, of the environment, of the folder to start in
 *   descriptors  a file that holds these three, strings ended by NUL; what becomes 0, 1 and 2
 *
 * While it forks the worker is a member of the control group of the exec to come, in which the orphan is therefore born:
 * whose it is rests on nothing that the worker says. From there on it is an exec like any other. The worker is no more
 * trusted than any program: a late answer is its end.
 *
 * A fork of a large process takes longer than all else here. So before a guest is saved one is forked ahead: the first
 * program of each guest that is restored finds it. */

#include "inner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ANSWER_MS = 5000, PREPARE_MS = 120000, FILES = 4 };

int clo_worker_pair(int *theirs)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return -errno;
    *theirs = pair[1];
    return pair[0];
}

static void kill_member(void *unused, pid_t pid)
{
    (void)unused;
    kill(pid, SIGKILL);
}

static void let_go(struct clo_inner *inner)
{
    clo_drop_orders(inner->ready);
    inner->ready = NULL;
}

void clo_worker_gone(struct clo_inner *inner, const struct clo_inner_exec *exec)
{
    if (inner->ready == exec)
        let_go(inner);
    if (inner->worker != exec)
        return;
    close(inner->worker_fd);
    inner->worker_fd = -1;
    inner->worker = NULL;
    inner->worker_answered = false;
    if (inner->ready) {
        inner->ready->killing = true;
        clo_group_each(&inner->ready->group, kill_member, NULL);
        let_go(inner);
    }
}

static int write_all(int fd, const char *data, size_t size)
{
    while (size) {
        const ssize_t done = write(fd, data, size);
        if (done < 0)
            return -errno;
        data += done;
        size -= (size_t)done;
    }
    return 0;
}

/* A file with what is asked, for reading from its begin; or -errno. */
static int write_request(const struct clo_exec *asked)
{
    const int fd = memfd_create("request", MFD_CLOEXEC);
    int error;

    if (fd < 0)
        return -errno;
    if ((error = write_all(fd, asked->argv.data, asked->argv.size))
        || (error = write_all(fd, asked->env.data, asked->env.size))
        || (error = write_all(fd, asked->cwd.data, asked->cwd.size))
        || (error = lseek(fd, 0, SEEK_SET) < 0 ? -errno : 0)) {
        close(fd);
        return error;
    }
    return fd;
}

static int send_with(int socket, const void *data, size_t size, const int *files, size_t count)
{
    struct iovec body = {(void *)data, size};
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(FILES * sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = &body, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = CMSG_SPACE(count * sizeof(int))};

    control.head.cmsg_level = SOL_SOCKET;
    control.head.cmsg_type = SCM_RIGHTS;
    control.head.cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(&control.head), files, count * sizeof(int));
    return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

static int await_answer(int socket, int patience)
{
    struct pollfd waiting = {.fd = socket, .events = POLLIN};
    char answer[8];
    ssize_t got;

    if (poll(&waiting, 1, patience) <= 0)
        return -ETIMEDOUT;
    got = recv(socket, answer, sizeof answer, MSG_DONTWAIT);
    return got > 0 ? 0 : -ESRCH;
}

static int enter(const struct clo_inner_exec *exec, pid_t pid)
{
    char text[16];
    const int size = snprintf(text, sizeof text, "%d", pid);

    return write(exec->group.members, text, (size_t)size) < 0 ? -errno : 0;
}

static void note_member(void *found, pid_t pid)
{
    pid_t *first = found;

    if (!*first)
        *first = pid;
}

/* The limits that hold now; those it has are of the worker's start. */
static int limit(const struct clo_inner *inner, struct clo_inner_exec *exec)
{
    const struct clo_bounds *bounds = &inner->bounds;
    const pid_t pid = exec->main;

    for (size_t i = 0; i < bounds->count; i++)
        if (prlimit(pid, bounds->list[i].resource, &(struct rlimit){bounds->list[i].soft, bounds->list[i].hard}, NULL))
            return -errno;
    if (bounds->limits_pids && prlimit(pid, RLIMIT_NPROC, &(struct rlimit){bounds->pids, bounds->pids}, NULL))
        return -errno;
    return clo_group_bound(inner, &exec->group);
}

/* Has the worker fork into the group of `exec`, of which who is there then is the main process. */
static int fork_into(struct clo_inner *inner, struct clo_inner_exec *exec)
{
    struct clo_inner_exec *worker = inner->worker;
    int theirs, error;

    exec->orders = clo_worker_pair(&theirs);
    if (exec->orders < 0)
        return exec->orders;
    error = enter(exec, worker->main);
    if (!error)
        error = send_with(inner->worker_fd, "f", 1, &theirs, 1);
    close(theirs);
    if (!error)
        error = await_answer(inner->worker_fd, inner->worker_answered ? ANSWER_MS : PREPARE_MS);
    inner->worker_answered |= !error;
    if (enter(worker, worker->main) || error == -ETIMEDOUT)
        kill(worker->main, SIGKILL); /* it would stay where it does not belong, or answer when nobody asks */
    if (!error)
        clo_group_each(&exec->group, note_member, &exec->main);
    return error ? error : exec->main ? 0 : -ESRCH;
}

/* What is in the group must die before that is another's. */
static void give_up(struct clo_inner_exec *exec)
{
    exec->id = 0;
    exec->refused = exec->ended = exec->killing = true;
    clo_group_each(&exec->group, kill_member, NULL);
}

int clo_worker_fork(struct clo_inner *inner)
{
    struct clo_inner_exec *exec;
    int error;

    if (inner->ready && !inner->ready->ended)
        return 0;
    if (inner->ready)
        let_go(inner);
    exec = inner->worker ? malloc(sizeof *exec) : NULL;
    if (!exec)
        return inner->worker ? -ENOMEM : -ESRCH;
    *exec = (struct clo_inner_exec){.flags = CLO_EXEC_BY_WORKER, .orders = -1};
    error = clo_group_take(inner, &exec->group);
    if (error) {
        free(exec);
        return error;
    }
    exec->next = inner->execs;
    inner->execs = inner->ready = exec;
    error = fork_into(inner, exec);
    if (error) {
        let_go(inner);
        give_up(exec);
    }
    return error;
}

struct clo_inner_exec *clo_worker_give(struct clo_inner *inner, const struct clo_exec *asked,
                                       const struct clo_packet *packet, enum clo_stage *stage, int *error)
{
    static const uint32_t passed[3] = {CLO_EXEC_STDIN, CLO_EXEC_STDOUT, CLO_EXEC_STDERR};
    const uint32_t sizes[3] = {(uint32_t)asked->argv.size, (uint32_t)asked->env.size, (uint32_t)asked->cwd.size};
    struct clo_inner_exec *exec = inner->ready;
    int files[FILES], next = 0;

    *stage = CLO_STAGE_REQUEST;
    files[0] = *error = write_request(asked);
    if (*error < 0)
        return NULL;
    for (int i = 0; i < 3; i++)
        files[1 + i] = asked->flags & passed[i] ? packet->fds[next++] : inner->null;
    *stage = CLO_STAGE_LIMITS;
    *error = limit(inner, exec);
    if (!*error) {
        *stage = CLO_STAGE_REQUEST;
        syscall(SYS_nfsservctl, exec->main, packet->head.id); /* no kernel has it; who watches learns whose it is now */
        *error = send_with(exec->orders, sizes, sizeof sizes, files, FILES);
    }
    close(files[0]);
    let_go(inner);
    if (*error) {
        give_up(exec);
        return NULL;
    }
    exec->id = packet->head.id;
    exec->flags = asked->flags;
    return exec;
}
