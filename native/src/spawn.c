/* Starting a program, and the user namespaces that stages are mapped by.
 *
 * Theory. The host may be a big Python process, and fork would copy its page tables; so the child shares the memory
 * and the caller's thread waits until it has executed (CLONE_VM | CLONE_VFORK, what posix_spawn does), on a stack of
 * its own. In between the child may only make system calls: no allocation, no lock, nothing of libc that talks to
 * other threads. That is why ids are set by raw calls: libc's setuid makes every thread of the process follow.
 *
 * While the child has another uid and still our memory, the kernel itself marks that memory undumpable (credentials
 * changed), so the other uid can't trace its way in. The mark stays on the host: it writes no core file afterwards.
 *
 * Order of the child's steps: cgroups first, that all the rest is charged there; mounts while it is root;
 * descriptors; ids; then the parent-death signal, which a change of ids clears. For a program in namespaces of its own
 * the rest is in enter.c.
 *
 * The parent-death signal comes when the *thread* that spawned ends (prctl(2)), so spawn from one that lives. */
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "enter.h"
#include "stage.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif
#include "step.h"

enum { STACK_SIZE = 65536, GUARD_SIZE = 65536, FDS_MAX = 64, SIGNALS = 64, KERNEL_SIGSET_SIZE = 8 };

struct launch {
    struct clo_spawn *spawn;
    pid_t parent;
    char *stack;  /* for the process that enters namespaces, or NULL */
    pid_t inside; /* that process */
    int error;
};

/* The top of a new stack whose guard page faults; NULL with errno. Freed by free_stack. */
static char *new_stack(void) {
    char *low = mmap(NULL, GUARD_SIZE + STACK_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (low == MAP_FAILED) return NULL;
    if (!mprotect(low + GUARD_SIZE, STACK_SIZE, PROT_READ | PROT_WRITE)) {
        /* A child's frames are never left, execve ends them: a sanitizer's marks stay where the next stack will be. */
        ASAN_UNPOISON_MEMORY_REGION(low + GUARD_SIZE, STACK_SIZE);
        return low + GUARD_SIZE + STACK_SIZE;
    }
    int error = errno;
    munmap(low, GUARD_SIZE + STACK_SIZE);
    errno = error;
    return NULL;
}

static void free_stack(char *top) { munmap(top - STACK_SIZE - GUARD_SIZE, GUARD_SIZE + STACK_SIZE); }

/* Raw: libc's versions leave out the two signals it keeps for itself, and those too must not reach the child. */
static void set_mask(const uint64_t *mask, uint64_t *old) {
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, mask, old, KERNEL_SIGSET_SIZE);
}

/* Handlers would run in the memory of the host, and an ignored signal would stay ignored through execve. */
static int reset_signals(struct clo_spawn *spawn) {
    const uint64_t default_action[4] = {0};
    for (int number = 1; number <= SIGNALS; number++) {
        if (number == SIGKILL || number == SIGSTOP) continue;
        if (syscall(SYS_rt_sigaction, number, default_action, NULL, KERNEL_SIGSET_SIZE))
            return clo_step_failed(spawn, CLO_STEP_SIGNALS, (uint32_t)number);
    }
    return 0;
}

/* "0" is the writer itself, which spares the kernel its lock over all threads. */
static int join_cgroups(struct clo_spawn *spawn) {
    for (uint32_t i = 0; i < spawn->n_cgroups; i++)
        if (write(spawn->cgroups[i], "0", 1) != 1) return clo_step_failed(spawn, CLO_STEP_CGROUP, i);
    return 0;
}

/* Every source is first copied above all targets, so that no target overwrites a source still to come; and looked at
 * before that, as a copy could land on the number of a source that is closed. */
static int map_descriptors(struct clo_spawn *spawn) {
    const int32_t *fds = spawn->fds;
    uint32_t count = spawn->n_fds;
    unsigned free_from = 0;
    int copies[FDS_MAX];
    int above = count ? fds[2 * count - 2] + 1 : 0;
    for (uint32_t i = 0; i < count; i++)
        if (fcntl(fds[2 * i + 1], F_GETFD) < 0) return clo_step_failed(spawn, CLO_STEP_DESCRIPTORS, i);
    for (uint32_t i = 0; i < count; i++) {
        copies[i] = fcntl(fds[2 * i + 1], F_DUPFD_CLOEXEC, above);
        if (copies[i] < 0) return clo_step_failed(spawn, CLO_STEP_DESCRIPTORS, i);
    }
    for (uint32_t i = 0; i < count; i++) {
        unsigned target = (unsigned)fds[2 * i];
        if (syscall(SYS_dup3, copies[i], target, 0) < 0) return clo_step_failed(spawn, CLO_STEP_DESCRIPTORS, i);
        if (target > free_from && syscall(SYS_close_range, free_from, target - 1, 0))
            return clo_step_failed(spawn, CLO_STEP_DESCRIPTORS, i);
        free_from = target + 1;
    }
    if (syscall(SYS_close_range, free_from, UINT_MAX, 0)) return clo_step_failed(spawn, CLO_STEP_DESCRIPTORS, count);
    return 0;
}

static int drop_ids(struct clo_spawn *spawn) {
    if (spawn->uid < 0) return 0;
    if (syscall(SYS_setgroups, 0, NULL)) return clo_step_failed(spawn, CLO_STEP_GROUPS, 0);
    if (syscall(SYS_setresgid, spawn->gid, spawn->gid, spawn->gid)) return clo_step_failed(spawn, CLO_STEP_GID, 0);
    if (syscall(SYS_setresuid, spawn->uid, spawn->uid, spawn->uid)) return clo_step_failed(spawn, CLO_STEP_UID, 0);
    return 0;
}

static int die_with_parent(struct clo_spawn *spawn, pid_t parent) {
    if (!spawn->death_signal) return 0;
    if (prctl(PR_SET_PDEATHSIG, spawn->death_signal)) return clo_step_failed(spawn, CLO_STEP_PARENT, 0);
    errno = ESRCH; /* the parent died before the signal was set, so it will never come */
    return getppid() == parent ? 0 : clo_step_failed(spawn, CLO_STEP_PARENT, 0);
}

static int prepare(struct clo_spawn *spawn) {
    int error = reset_signals(spawn);
    if (!error) error = join_cgroups(spawn);
    if (!error && (spawn->n_stages || spawn->cover)) error = clo_stage(spawn);
    if (!error) error = map_descriptors(spawn);
    if (!error) error = drop_ids(spawn);
    if (!error && spawn->cwd && chdir(spawn->cwd)) error = clo_step_failed(spawn, CLO_STEP_CWD, 0);
    return error;
}

int clo_become(struct clo_spawn *spawn) {
    const uint64_t none = 0;
    set_mask(&none, NULL);
    syscall(SYS_execve, spawn->argv[0], spawn->argv, spawn->env);
    return clo_step_failed(spawn, CLO_STEP_EXEC, 0);
}

static int run(struct launch *launch) {
    struct clo_spawn *spawn = launch->spawn;
    int error = prepare(spawn);
    if (error) return error;
    if (launch->stack) return clo_enter(spawn, launch->stack, launch->parent, &launch->inside);
    if (spawn->new_session && syscall(SYS_setsid) < 0) return clo_step_failed(spawn, CLO_STEP_SESSION, 0);
    error = die_with_parent(spawn, launch->parent);
    return error ? error : clo_become(spawn);
}

static int child_main(void *argument) {
    struct launch *launch = argument;
    int error = launch->error = run(launch);
    syscall(SYS_exit_group, error ? 127 : 0);
    return 127;
}

static int check(const struct clo_spawn *spawn) {
    if (!spawn->argv || !spawn->argv[0] || !spawn->env) return -EINVAL;
    if (spawn->n_fds > FDS_MAX || spawn->n_stages > CLO_STAGES_MAX) return -E2BIG;
    for (uint32_t i = 0; i < spawn->n_fds; i++) {
        if (spawn->fds[2 * i] < 0 || spawn->fds[2 * i] == INT_MAX) return -EINVAL;
        if (i && spawn->fds[2 * i] <= spawn->fds[2 * i - 2]) return -EINVAL;
    }
    if ((spawn->uid < 0) != (spawn->gid < 0) || spawn->uid == 0 || spawn->gid == 0) return -EINVAL;
    if (spawn->uid >= UINT32_MAX || spawn->gid >= UINT32_MAX) return -EINVAL;
    /* Root of the host would be the namespace's owner, and the only uid that could be mapped into it. */
    if (spawn->namespaces && spawn->uid < 0 && !geteuid()) return -EPERM;
    return spawn->n_stages && !spawn->stage_folder ? -EINVAL : 0;
}

/* Waits for one child, of whatever kind. */
static void reap(pid_t pid) {
    while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR) continue;
}

/* Starts the child that becomes the program. */
static int spawn_plain(struct launch *launch, char *stack) {
    struct clo_spawn *spawn = launch->spawn;
    int pid = clone(child_main, stack, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, launch, &spawn->pidfd);
    if (pid < 0) return clo_step_failed(spawn, CLO_STEP_CLONE, 0);
    if (!launch->error) {
        spawn->pid = pid;
        return 0;
    }
    reap(pid);
    close(spawn->pidfd);
    spawn->pidfd = -1;
    return launch->error;
}

/* Starts the helper that starts the program in namespaces. The helper's end is no SIGCHLD. Were it killed from outside
 * half-way, the program's process could still be using our memory: it is then killed too, and waited for. */
static int spawn_inside(struct launch *launch, char *stack) {
    struct clo_spawn *spawn = launch->spawn;
    launch->error = -ECHILD;
    spawn->step = CLO_STEP_ENTER;
    int helper = clone(child_main, stack, CLONE_VM | CLONE_VFORK, launch);
    if (helper < 0) return clo_step_failed(spawn, CLO_STEP_CLONE, 0);
    reap(helper);
    int error = launch->error;
    if (!error) {
        spawn->pidfd = (int)syscall(SYS_pidfd_open, launch->inside, 0);
        if (spawn->pidfd < 0) error = clo_step_failed(spawn, CLO_STEP_ENTER, 0);
    }
    if (!error) {
        spawn->pid = launch->inside;
        spawn->step = CLO_STEP_NONE;
    } else if (launch->inside) {
        kill(launch->inside, SIGKILL);
        reap(launch->inside);
    }
    return error;
}

/* Starts the program: 0 with pid and pidfd (the caller's to close and to reap), or a negative errno with step and
 * index; then nothing is left, neither process nor descriptor. Blocks until the program runs. */
int clo_spawn(struct clo_spawn *spawn) {
    const uint64_t all = UINT64_MAX;
    uint64_t before;
    struct launch launch = {.spawn = spawn, .parent = getpid()};
    spawn->pid = spawn->pidfd = -1;
    spawn->step = spawn->index = 0;
    int error = check(spawn);
    if (error) return error;
    char *stack = new_stack();
    if (!stack) return clo_step_failed(spawn, CLO_STEP_STACK, 0);
    if (spawn->namespaces && !(launch.stack = new_stack())) {
        error = clo_step_failed(spawn, CLO_STEP_STACK, 1);
        free_stack(stack);
        return error;
    }
    set_mask(&all, &before);
    error = launch.stack ? spawn_inside(&launch, stack) : spawn_plain(&launch, stack);
    set_mask(&before, NULL);
    free_stack(stack);
    if (launch.stack) free_stack(launch.stack);
    return error;
}

/* Were the host killed meanwhile, this process would keep every descriptor of the host open: it ends with the host. */
static int wait_to_be_killed(void *argument) {
    const pid_t *parent = argument;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL)) return 1;
    while (getppid() == *parent) pause();
    return 0;
}

static int write_map(int pid, const char *which, uint32_t from, uint32_t to, uint32_t root) {
    char path[64], line[96];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, which);
    int length = root ? snprintf(line, sizeof line, "%u %u 1\n%u 0 1\n", from, to, root)
                      : snprintf(line, sizeof line, "%u %u 1\n", from, to);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    int error = write(fd, line, (size_t)length) == length ? 0 : -errno;
    close(fd);
    return error;
}

static int open_userns(int pid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* A user namespace that shows the owner from_uid as to_uid (and the group so), as the descriptor that
 * mount_setattr(2) takes; the caller's to close. With root, not 0, that owner and group are shown as 0. A child that lives just for this holds it until it is open. The
 * child's end is no SIGCHLD, and only a wait for exactly this kind sees it. */
int clo_idmap_userns(uint32_t from_uid, uint32_t to_uid, uint32_t from_gid, uint32_t to_gid, uint32_t root) {
    const uint64_t all = UINT64_MAX;
    const pid_t self = getpid();
    uint64_t before;
    char *stack = new_stack();
    if (!stack) return -errno;
    set_mask(&all, &before);
    int pid = clone(wait_to_be_killed, stack, CLONE_VM | CLONE_NEWUSER, (void *)&self);
    int result = pid < 0 ? -errno : 0;
    if (pid > 0) {
        result = write_map(pid, "uid_map", from_uid, to_uid, root);
        if (!result) result = write_map(pid, "gid_map", from_gid, to_gid, root);
        if (!result) result = open_userns(pid);
        kill(pid, SIGKILL);
        reap(pid);
    }
    set_mask(&before, NULL);
    free_stack(stack);
    return result;
}
