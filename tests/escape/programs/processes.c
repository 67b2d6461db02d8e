/* Bombs, daemons and signals: what a guest does to processes, its own and those of others. */
#include "act.h"

#include <dirent.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

static int number(char **a, int otherwise) {
    return a[0] ? atoi(a[0]) : otherwise;
}

static void nap(long milliseconds) {
    struct timespec t = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    while (nanosleep(&t, &t)) {
    }
}

/* As many children as asked for, all alive at once. */
static int fork_loop(char **a) {
    int wanted = number(a, 1 << 20), made = 0;
    while (made < wanted) {
        pid_t child = fork();
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (;;) pause();
        }
        if (child < 0) break;
        made++;
    }
    saw("%d processes", made);
    return made == wanted;
}

/* Each child is a vfork of the one before, which waits in the kernel meanwhile. Not by vfork(3): it shares the stack. */
static int vfork_chain(char **a) {
    int wanted = number(a, 1 << 20);
    volatile int *made = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    volatile int *why = made + 1;
    for (int depth = 0; depth < wanted; depth++) {
        long child = syscall(SYS_clone, CLONE_VFORK | SIGCHLD, 0, 0, 0, 0); /* copies memory, but waits as vfork does */
        if (child < 0) {
            *why = errno;
            break;
        }
        if (child > 0) { /* its child has ended: so have all after it */
            if (depth) _exit(0);
            saw("%d processes", *made);
            errno = *why;
            return *made == wanted;
        }
        ++*made;
    }
    _exit(0);
}

static void *doze(void *nothing) {
    for (;;) pause();
    return nothing;
}

static int threads(char **a) {
    int wanted = number(a, 1 << 20), made = 0;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 32768);
    for (pthread_t one; made < wanted; made++)
        if ((errno = pthread_create(&one, &small, doze, NULL))) break;
    saw("%d threads", made);
    return made == wanted;
}

/* Children that end and are never waited for. */
static int zombies(char **a) {
    int wanted = number(a, 1 << 20), made = 0;
    while (made < wanted) {
        pid_t child = fork();
        if (child == 0) _exit(0);
        if (child < 0) break;
        made++;
    }
    saw("%d zombies", made);
    return made == wanted;
}

/* Grandchildren whose parent has gone; one after the other, so that only those nobody reaps add up. */
static int orphans(char **a) {
    int wanted = number(a, 1000);
    for (int i = 0; i < wanted; i++) {
        pid_t child = -1;
        for (int tries = 0; tries < 2000 && (child = fork()) < 0; tries++) nap(1);
        if (child < 0) return 0;
        if (child == 0) {
            pid_t grandchild = fork();
            if (grandchild == 0) {
                setsid();
                nap(1);
                _exit(0);
            }
            _exit(grandchild < 0);
        }
        if (ended(child)) i--; /* no room just now */
    }
    return 1;
}

/* A daemon by the book: twice forked, a session of its own, no descriptor kept, every signal ignored. */
static int daemonise(char **a) {
    (void)a;
    int ready[2];
    if (pipe(ready)) return 0;
    if (fork() == 0) {
        setsid();
        if (fork()) _exit(0);
        for (int s = 1; s < 32; s++) signal(s, SIG_IGN);
        prctl(PR_SET_NAME, "escaped-daemon");
        if (write(ready[1], "!", 1) != 1) _exit(1);
        for (int fd = 0; fd < 16; fd++) close(fd);
        nap(60000);
        _exit(0);
    }
    char word;
    return read(ready[0], &word, 1) == 1;
}

static int stop(char **a) {
    pid_t target = !strcmp(a[0], "self") ? getpid() : !strcmp(a[0], "shepherd") ? getppid() : 1;
    if (!strcmp(a[0], "child")) {
        int status;
        if ((target = fork()) == 0) nap(20000), _exit(0);
        int done = kill(target, SIGSTOP) == 0 && waitpid(target, &status, WUNTRACED) == target && WIFSTOPPED(status);
        kill(target, SIGKILL);
        return done;
    }
    if (kill(target, SIGSTOP)) return 0;
    nap(300);
    return 1;
}

/* Signals every number it can name, but those it needs to tell of it. "done" if its own child died of it. */
static int kill_all(char **a) {
    int last = number(a, 65536), hit = 0;
    pid_t child = fork();
    if (child == 0) nap(30000), _exit(0);
    for (pid_t pid = 1; pid <= last; pid++)
        if (pid != getpid() && pid != getppid() && kill(pid, SIGKILL) == 0) hit++;
    if (child > last) kill(child, SIGKILL);
    saw("%d signals were taken", hit);
    return ended(child) == 128 + SIGKILL;
}

static int kill_minus_one(char **a) {
    (void)a;
    kill(-1, SIGKILL);
    return 1;
}

/* Every road to a signal, against one process: "done" if any went through. Signal 0 asks for the right alone. */
static int signal_roads(char **a) {
    pid_t target = a[0] ? atoi(a[0]) : 0, child = 0;
    if (!target && (target = child = fork()) == 0) nap(30000), _exit(0);
    siginfo_t info;
    memset(&info, 0, sizeof info);
    info.si_code = SI_QUEUE;
    int through = 0, why = 0, ends[2];
    int number_only = 0;
    struct f_owner_ex owner = {F_OWNER_PID, target};
    long results[8] = {
        kill(target, number_only),
        kill(-target, number_only),
        syscall(SYS_tkill, target, number_only),
        syscall(SYS_tgkill, target, target, number_only),
        syscall(SYS_rt_sigqueueinfo, target, number_only, &info),
        syscall(SYS_rt_tgsigqueueinfo, target, target, number_only, &info),
        syscall(SYS_pidfd_send_signal, syscall(SYS_pidfd_open, target, 0), number_only, NULL, 0),
        -1,
    };
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0) { /* have the kernel send SIGURG, made deadly by F_SETSIG */
        if (fcntl(ends[0], F_SETOWN_EX, &owner) == 0 && fcntl(ends[0], F_SETSIG, SIGKILL) == 0 &&
            fcntl(ends[0], F_SETFL, O_ASYNC) == 0 && write(ends[1], "!", 1) == 1)
            nap(20);
    }
    for (int i = 0; i < 8; i++) {
        if (results[i] >= 0) through++;
        else why = errno;
    }
    saw("%d of 7 went through", through);
    if (child > 0) {
        kill(child, SIGKILL);
        ended(child);
    }
    errno = why ? why : EPERM;
    return through > 0;
}

/* Priority, processors, I/O priority and scheduling of one process; of its own child without a number. */
static int slow_down(char **a) {
    pid_t target = a[0] ? atoi(a[0]) : 0, child = 0;
    if (!target && (target = child = fork()) == 0) nap(30000), _exit(0);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    struct sched_param level = {0};
    int through = (setpriority(PRIO_PROCESS, (id_t)target, 19) == 0) + (sched_setaffinity(target, sizeof one, &one) == 0);
    int why = errno;
    through += (sched_setscheduler(target, SCHED_IDLE, &level) == 0) + (syscall(SYS_ioprio_set, 1, target, 3 << 13) == 0);
    if (child) kill(child, SIGKILL);
    saw("%d of 4 went through", through);
    errno = why;
    return through > 0;
}

/* Cuts another process's limits; its own without a number. */
static int cut_limits(char **a) {
    struct rlimit none = {3, 3};
    return syscall(SYS_prlimit64, a[0] ? atoi(a[0]) : 0, RLIMIT_NOFILE, &none, NULL) == 0;
}

static int raise_limits(char **a) {
    static const int which[] = {RLIMIT_NOFILE, RLIMIT_NPROC, RLIMIT_FSIZE, RLIMIT_CORE, RLIMIT_MEMLOCK, RLIMIT_RTPRIO};
    int changed = 0, why = 0;
    for (size_t i = 0; i < sizeof which / sizeof *which; i++) {
        struct rlimit old, wanted;
        getrlimit((__rlimit_resource_t)which[i], &old);
        if (old.rlim_max == RLIM_INFINITY) {
            saw("limit %d has no bound; ", which[i]);
            continue;
        }
        wanted = old;
        if (a[0]) wanted.rlim_cur = wanted.rlim_max = old.rlim_max / 2;
        else wanted.rlim_max = old.rlim_max + 1, wanted.rlim_cur = old.rlim_max + 1;
        if (setrlimit((__rlimit_resource_t)which[i], &wanted) == 0) changed++;
        else why = errno;
    }
    errno = why;
    return changed > 0;
}

/* Looks for a socket to forge a report on: own descriptors, and those of shepherd and agent. "own" makes one first. */
static int forge_report(char **a) {
    static const char packet[] = "\5\0\0\0\1\0\0\0";
    int ends[2], sent = 0;
    if (a[0] && socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends)) return 0;
    for (int fd = 3; fd < 1024; fd++)
        if (send(fd, packet, sizeof packet, MSG_DONTWAIT | MSG_NOSIGNAL) > 0) sent++;
    pid_t targets[] = {1, getppid()};
    for (size_t t = 0; t < 2; t++)
        for (int n = 0; n < 64; n++) {
            char path[64];
            snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)targets[t], n);
            int fd = open(path, O_WRONLY | O_NONBLOCK);
            struct stat status;
            if (fd >= 0 && !fstat(fd, &status) && S_ISCHR(status.st_mode)) close(fd); /* /dev/null takes everything */
            else if (fd >= 0) {
                saw("opened %s; ", path);
                if (write(fd, packet, sizeof packet) > 0) sent++;
                close(fd);
            }
        }
    return sent > 0;
}

/* Crashes with as much core as it may write, here. */
static int dump_core(char **a) {
    (void)a;
    struct rlimit all;
    getrlimit(RLIMIT_CORE, &all);
    all.rlim_cur = all.rlim_max;
    setrlimit(RLIMIT_CORE, &all);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_DUMPABLE, 1);
        abort();
    }
    int status;
    if (waitpid(child, &status, 0) != child) return 0;
    saw("largest core %ld", (long)all.rlim_max);
    return WCOREDUMP(status);
}

static void *spin(void *nothing) {
    for (volatile unsigned long n = 0;; n++) {
    }
    return nothing;
}

/* Spins on so many threads for so many milliseconds, and tells the processor time that it got. */
static int burn(char **a) {
    int count = number(a, 8);
    for (pthread_t one; count > 1; count--)
        if (pthread_create(&one, NULL, spin, NULL)) break;
    struct timespec begun, now;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    long wanted = a[0] && a[1] ? atol(a[1]) : 1000, passed;
    do {
        clock_gettime(CLOCK_MONOTONIC, &now);
        passed = (now.tv_sec - begun.tv_sec) * 1000 + (now.tv_nsec - begun.tv_nsec) / 1000000;
    } while (passed < wanted);
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    saw("%ld", used.tv_sec * 1000 + used.tv_nsec / 1000000);
    return 1;
}

static int futex_word;

static void *hammer(void *nothing) {
    for (;;) {
        struct timespec soon = {0, 1000};
        syscall(SYS_futex, &futex_word, 0 /* FUTEX_WAIT */, 0, &soon, NULL, 0);
        syscall(SYS_futex, &futex_word, 1 /* FUTEX_WAKE */, 1 << 30, NULL, NULL, 0);
    }
    return nothing;
}

static int futex_storm(char **a) {
    int count = number(a, 16);
    for (pthread_t one; count > 0; count--)
        if ((errno = pthread_create(&one, NULL, hammer, NULL))) return 0;
    nap(a[0] && a[1] ? atol(a[1]) : 500);
    return 1;
}

/* Queues signals to itself that it never takes. */
static int signal_queue(char **a) {
    int wanted = number(a, 1 << 24), sent = 0;
    sigset_t blocked;
    sigfillset(&blocked);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    while (sent < wanted && sigqueue(getpid(), SIGRTMIN, (union sigval){0}) == 0) sent++;
    saw("%d queued", sent);
    return sent == wanted;
}

static int timers(char **a) {
    int wanted = number(a, 1 << 24), made = 0;
    struct sigevent quiet = {.sigev_notify = SIGEV_NONE};
    for (timer_t one; made < wanted && timer_create(CLOCK_MONOTONIC, &quiet, &one) == 0; made++) {
    }
    saw("%d timers", made);
    return made == wanted;
}

static const struct act acts[] = {
    {"fork-loop", fork_loop, 0},
    {"vfork-chain", vfork_chain, 0},
    {"threads", threads, 0},
    {"zombies", zombies, 0},
    {"orphans", orphans, 0},
    {"daemon", daemonise, 0},
    {"stop", stop, 0},
    {"kill-all", kill_all, 0},
    {"kill-minus-one", kill_minus_one, 0},
    {"signal-roads", signal_roads, 0},
    {"slow-down", slow_down, 0},
    {"cut-limits", cut_limits, 0},
    {"raise-limits", raise_limits, 0},
    {"forge-report", forge_report, 0},
    {"dump-core", dump_core, 0},
    {"burn", burn, 0},
    {"futex-storm", futex_storm, 0},
    {"signal-queue", signal_queue, 0},
    {"timers", timers, 0},
};

ACT_MAIN(acts)
