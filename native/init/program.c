/* From a fork to the guest's first instruction.
 *
 * The program is started the way posix_spawn(3) does it: its process shares this one's memory until execve, and this
 * one sleeps meanwhile. That saves the copy of the page tables and the pipe that would carry the error. The memory is
 * not dumpable, so no other guest can look into the process before it has become the program. */

#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel.h"

enum { STACK_SIZE = 65536, REPORT_FD = 3 };

/* -errno of the call that failed, else 0. */
static int checked(long result)
{
    return result < 0 ? -errno : 0;
}

static int set_stdio(const struct clo_start *start)
{
    setsid();
    for (int i = 0; i < 3; i++)
        if (dup2(start->stdio[i], i) < 0)
            return -errno;
    return start->terminal ? checked(ioctl(0, TIOCSCTTY, 0)) : 0;
}

static int set_signals(void)
{
    sigset_t none;

    sigemptyset(&none);
    return checked(sigprocmask(SIG_SETMASK, &none, NULL));
}

static int set_limits(const struct clo_start *start)
{
    const struct clo_bounds *bounds = &start->box->bounds;

    /* Should the shepherd be killed, the program goes at once, and what it started right after. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) || set_signals())
        return -errno;
    for (size_t i = 0; i < bounds->count; i++) {
        struct rlimit limit = {bounds->list[i].soft, bounds->list[i].hard};
        if (setrlimit((int)bounds->list[i].resource, &limit))
            return -errno;
    }
    if (!bounds->limits_pids)
        return 0;
    return checked(setrlimit(RLIMIT_NPROC, &(struct rlimit){start->job->nproc, start->job->nproc}));
}

static int set_cwd(const struct clo_start *start)
{
    const struct clo_view cwd = start->job->exec.cwd;
    char path[CLO_PATH_SIZE];

    if (!cwd.size)
        return checked(chdir("/"));
    memcpy(path, cwd.data, cwd.size);
    path[cwd.size] = 0;
    return checked(chdir(path));
}

static int set_landlock(const struct clo_start *start)
{
    if (start->box->ruleset < 0)
        return 0;
    return checked(syscall(SYS_landlock_restrict_self, start->box->ruleset, 0));
}

/* Closes all from `first` on, but the watch socket if there is one. */
static int close_all(const struct clo_start *start, unsigned first)
{
    const unsigned watch = (unsigned)start->box->watch;

    if (start->box->watch < 0)
        return checked(syscall(SYS_close_range, first, ~0U, 0));
    if (first < watch && syscall(SYS_close_range, first, watch - 1, 0))
        return -errno;
    return checked(syscall(SYS_close_range, watch + 1, ~0U, 0));
}

/* Everything but the program itself, each step noted before it is taken; -errno. The static filter is on already:
 * cloche-init itself has been under it since setup (clo_settle). The watch filter comes last, so that nothing of this is
 * told as an act of the program, and when the descriptors are closed, so that there is one left for the listener. */
static int seal(struct clo_start *start, unsigned first_closed)
{
    int error;

    start->stage = CLO_STAGE_STDIO;
    if ((error = set_stdio(start)))
        return error;
    start->stage = CLO_STAGE_LIMITS;
    if ((error = set_limits(start)))
        return error;
    start->stage = CLO_STAGE_CWD;
    if ((error = set_cwd(start)))
        return error;
    start->stage = CLO_STAGE_LANDLOCK;
    if ((error = set_landlock(start)))
        return error;
    start->stage = CLO_STAGE_STDIO;
    if ((error = close_all(start, first_closed)))
        return error;
    start->stage = CLO_STAGE_SECCOMP;
    if (start->box->watch >= 0 && (error = clo_put_watch(start->box, start->job->id)))
        return error;
    start->stage = CLO_STAGE_EXEC;
    return 0;
}

/* Runs on a stack of its own in the shepherd's memory. */
static int become_program(void *argument)
{
    struct clo_start *start = argument;
    int error = -seal(start, 3);

    start->error = error ? error : clo_execute(start->argv, start->env, clo_execve);
    _exit(127);
}

/* The self-test goes on in this program, so it gets memory of its own and tells by a pipe that it is sealed. */
static _Noreturn void become_probe(struct clo_start *start, int report)
{
    if (dup2(report, REPORT_FD) < 0)
        _exit(127);
    start->error = -seal(start, REPORT_FD + 1);
    if (write(REPORT_FD, start, sizeof *start) != sizeof *start || start->error)
        _exit(127);
    close(REPORT_FD);
    clo_probe(start->box);
}

static pid_t start_probe(struct clo_start *start)
{
    struct clo_start told;
    int report[2];
    pid_t pid;

    start->stage = CLO_STAGE_FORK;
    if (pipe2(report, O_CLOEXEC)) {
        start->error = errno;
        return -1;
    }
    pid = fork();
    if (pid == 0)
        become_probe(start, report[1]);
    start->error = pid < 0 ? errno : 0;
    close(report[1]);
    if (pid > 0) {
        start->error = EIO;
        if (read(report[0], &told, sizeof told) == sizeof told) {
            start->error = told.error;
            start->stage = told.stage;
        }
    }
    close(report[0]);
    return pid;
}

pid_t clo_start_program(struct clo_start *start)
{
    static char stack[STACK_SIZE] __attribute__((aligned(16)));
    pid_t pid;

    if (start->job->exec.flags & CLO_EXEC_PROBE) {
        pid = start_probe(start);
    } else {
        start->stage = CLO_STAGE_FORK;
        start->error = 0;
        pid = clone(become_program, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, start);
        if (pid < 0)
            start->error = errno;
    }
    if (start->error && pid > 0)
        waitpid(pid, NULL, 0);
    return pid;
}
