/* Who is in the foreground of a terminal. This kernel tells that only to those whose terminal it is, and not to who has
 * its other end. So a process of ours is in the session of each program that has one: root of the guest, deaf to
 * signals, a child of process 1, and no member of the exec's group. It is forked, in two steps, by the hired process
 * once that has the terminal, answers each byte by the number of the foreground's process group, and goes when the
 * socket does. */

#include "inner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "raw.h"

/* Descriptors of the hired process, beside its terminal: 0, 1 and 2. */
enum { TERMINAL = 0, QUESTIONS = 3, MEMBERS = 4, ASK_MS = 500 };

/* ---- in the hired process and its children: see hire.c for what they may call ---- */

static long fork_raw(void)
{
    return clo_raw5(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static void leave(void)
{
    clo_raw(SYS_exit_group, 0, 0, 0, 0);
}

static void answer(void)
{
    char question;
    long got;

    clo_raw(SYS_setpgid, 0, 0, 0, 0);
    for (;;) {
        pid_t group = 0;

        got = clo_raw(SYS_read, QUESTIONS, (long)&question, 1, 0);
        if (got == -EINTR)
            continue;
        if (got <= 0)
            return;
        clo_raw(SYS_ioctl, TERMINAL, TIOCGPGRP, (long)&group, 0);
        clo_raw(SYS_write, QUESTIONS, (long)&group, sizeof group, 0);
    }
}

/* The one in between: what it settles, the other inherits. */
static void fork_again(void)
{
    const uint64_t all = UINT64_MAX;
    bool settled = clo_raw(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, 0, sizeof all) == 0
                   && clo_raw(SYS_write, MEMBERS, (long)"0", 1, 0) == 1;

    clo_raw(SYS_close_range, TERMINAL + 1, QUESTIONS - 1, 0, 0);
    clo_raw(SYS_close_range, QUESTIONS + 1, INT32_MAX, 0, 0);
    if (settled && fork_raw() == 0)
        answer();
    leave();
}

void clo_fork_witness(void)
{
    const long pid = fork_raw();

    if (pid == 0)
        fork_again();
    while (pid > 0 && clo_raw(SYS_wait4, pid, 0, 0, 0) == -EINTR)
        ;
    clo_raw(SYS_close_range, QUESTIONS, MEMBERS, 0, 0);
}

/* ---- in process 1 ---- */

int clo_witness_files(const struct clo_inner *inner, struct clo_terminal *terminal, int files[2])
{
    int pair[2];

    files[1] = openat(inner->groups, "cgroup.procs", O_WRONLY | O_CLOEXEC);
    if (files[1] < 0)
        return -errno;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
        const int error = -errno;
        close(files[1]);
        return error;
    }
    terminal->witness = pair[0];
    files[0] = pair[1];
    return 0;
}

pid_t clo_foreground(const struct clo_terminal *terminal)
{
    struct pollfd answered = {.fd = terminal->witness, .events = POLLIN};
    pid_t group;

    while (recv(terminal->witness, &group, sizeof group, MSG_DONTWAIT) > 0)
        ; /* an answer that was late */
    if (send(terminal->witness, "?", 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1 || poll(&answered, 1, ASK_MS) <= 0
        || recv(terminal->witness, &group, sizeof group, MSG_DONTWAIT) != sizeof group)
        return 0;
    return group;
}
