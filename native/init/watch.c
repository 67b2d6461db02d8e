/* Programs that are watched: the watch socket, and the filter whose listener goes out by it (see cdef.h).
 *
 * Each program gets the filter by itself, right before it is executed, so this program and the shepherds are never
 * watched, and the listener of an exec ends with its last process. What the static filter was opened for is refused by
 * the watch filter or by who listens: a program without it would be allowed too much, so none is started. */

#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel.h"

int clo_find_watch(void)
{
    int type;
    socklen_t size = sizeof type;

    if (getsockopt(CLO_WATCH_FD, SOL_SOCKET, SO_TYPE, &type, &size) || type != SOCK_SEQPACKET)
        return -1;
    return fcntl(CLO_WATCH_FD, F_SETFD, FD_CLOEXEC) ? -1 : CLO_WATCH_FD;
}

/* The socket is kept if there is a filter to go with it. */
int clo_keep_watch(struct clo_box *box, struct clo_failure *failure)
{
    box->filter = box->setup.watch;
    if (box->filter.size && box->watch < 0)
        return clo_fail(failure, EBADF, "watch: descriptor %d is not the watch socket", CLO_WATCH_FD);
    if (!box->filter.size && box->watch >= 0) {
        close(box->watch);
        box->watch = -1;
    }
    return 0;
}

int clo_change_watch(struct clo_box *box, struct clo_view filter)
{
    char *copy;

    if (box->watch < 0)
        return -EINVAL; /* the static filter was not opened for it */
    copy = malloc(filter.size);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, filter.data, filter.size);
    if (box->filter.data != box->setup.watch.data)
        free((void *)box->filter.data);
    box->filter = (struct clo_view){copy, filter.size};
    return 0;
}

/* The listener, or -errno. A kernel before 5.19 does not know how to wait without being interrupted. */
static int put_on(struct clo_view filter)
{
    const struct clo_filter_program program = {(unsigned short)(filter.size / CLO_FILTER_STEP), filter.data};
    const unsigned listen = CLO_SECCOMP_LISTENER;
    long fd = syscall(SYS_seccomp, CLO_SECCOMP_FILTER, listen | CLO_SECCOMP_WAIT_KILLABLE, &program);

    if (fd < 0 && errno == EINVAL)
        fd = syscall(SYS_seccomp, CLO_SECCOMP_FILTER, listen, &program);
    return fd < 0 ? -errno : (int)fd;
}

static int send_listener(int socket, const struct clo_listener *about, int listener)
{
    struct iovec part = {(void *)about, sizeof *about};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } extra = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    const struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &extra, .msg_controllen = sizeof extra.space};

    memcpy(CMSG_DATA(&extra.header), &listener, sizeof listener);
    return sendmsg(socket, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int clo_put_watch(const struct clo_box *box, uint32_t exec)
{
    const struct clo_listener about = {.exec = exec, .pid = (uint32_t)getpid()};
    const int listener = put_on(box->filter);
    int error = listener < 0 ? listener : send_listener(box->watch, &about, listener);

    /* Both are closed on exec; but of the self-test there is none. */
    if (listener >= 0)
        close(listener);
    close(box->watch);
    return error;
}

/* ---- what of it this kernel can, tried before the static filter is there ---- */

/* Waits for a child of the self-test: its exit code, or EINTR if a signal ended it. */
static int code_of(pid_t pid)
{
    int status;

    if (pid < 0)
        return errno;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

/* In a child that shares its descriptors with its parent, leaves a listener at CLO_WATCH_FD and ends: 0, or an errno. */
static int leave_listener(void)
{
    static const struct {
        uint16_t code;
        uint8_t jump_true, jump_false;
        uint32_t value;
    } allow = {6, 0, 0, 0x7fff0000}; /* BPF_RET, SECCOMP_RET_ALLOW */
    const pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
    int listener;

    if (pid == 0) {
        listener = put_on((struct clo_view){(const void *)&allow, sizeof allow});
        _exit(listener < 0 ? -listener : dup2(listener, CLO_WATCH_FD) < 0 ? errno : 0);
    }
    return code_of(pid);
}

/* Nobody waits at this listener, so an answer is ENOENT where its flags are known, and EINVAL where they are not; a
 * descriptor that is none is EBADF where the flags are known. */
static int powers(int listener)
{
    struct clo_notify_answer answer = {.flags = CLO_NOTIFY_CONTINUE};
    struct clo_notify_addfd file = {.flags = CLO_ADDFD_SEND, .from = UINT32_MAX};
    struct pollfd end = {.fd = listener};
    int found = 0;

    if (ioctl(listener, CLO_NOTIFY_SEND, &answer) && errno == ENOENT)
        found |= CLO_WATCH_CONTINUES;
    if (poll(&end, 1, 0) == 1 && end.revents & POLLHUP)
        found |= CLO_WATCH_ENDS;
    if (ioctl(listener, CLO_NOTIFY_ADDFD, &file) && errno == EBADF)
        found |= CLO_WATCH_OPENS;
    return found;
}

/* An errno if no program could be watched here; else CLO_WATCH_LISTENS, and what of the rest the kernel can. */
int clo_try_watch(void)
{
    const pid_t pid = fork(); /* its descriptors are thrown away with it */
    int error;

    if (pid == 0) {
        error = leave_listener();
        _exit(error ? error : CLO_WATCH_LISTENS | powers(CLO_WATCH_FD));
    }
    return code_of(pid);
}
