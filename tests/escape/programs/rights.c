/* Becoming more than it is: another user, more rights, a higher priority, more locked memory. */
#include "act.h"

#include <sched.h>
#include <sys/resource.h>

/* Becoming another user, by each road; any that changes something is enough. */
static int become_root(char **a) {
    (void)a;
    uid_t before = geteuid();
    static const uid_t wanted[] = {0, 1, 200000, 65534};
    int why = 0;
    if (before == 0) {
        saw("is root here");
        return setresuid(0, 0, 0) == 0;
    }
    for (size_t i = 0; i < 4; i++) {
        if (wanted[i] == before) continue;
        if (setuid(wanted[i]) && setreuid(wanted[i], wanted[i]) && setresuid(wanted[i], wanted[i], wanted[i])) why = errno;
        long old = syscall(SYS_setfsuid, wanted[i]), now = syscall(SYS_setfsuid, -1);
        if (geteuid() != before || (old >= 0 && now != (long)before)) return 1;
    }
    errno = why;
    return 0;
}

static int raise_capabilities(char **a) {
    (void)a;
    struct {
        uint32_t version;
        int pid;
    } head = {0x20080522, 0};
    struct {
        uint32_t effective, permitted, inheritable;
    } sets[2] = {{1u << 21, 1u << 21, 1u << 21}, {0, 0, 0}}; /* CAP_SYS_ADMIN */
    if (syscall(SYS_capset, &head, sets)) return 0;
    return worked(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 21, 0, 0));
}

static int keep_capabilities(char **a) {
    (void)a;
    if (prctl(PR_SET_SECUREBITS, 1 << 4 /* SECBIT_KEEP_CAPS */, 0, 0, 0)) return 0;
    return prctl(PR_GET_SECUREBITS) & 1 << 4;
}

static int drop_no_new_privileges(char **a) {
    if (a[0]) { /* the other way it works, and is then so */
        return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0)) saw("can't be unset; ");
    return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0;
}

/* A higher priority than it was given; "nicer" is what anybody may. */
static int priority(char **a) {
    if (a[0]) return setpriority(PRIO_PROCESS, 0, 5) == 0 && getpriority(PRIO_PROCESS, 0) == 5;
    if (setpriority(PRIO_PROCESS, 0, -20)) return 0;
    return getpriority(PRIO_PROCESS, 0) == -20;
}

static int real_time(char **a) {
    struct sched_param level = {.sched_priority = a[0] ? 0 : 50};
    int policy = a[0] ? SCHED_BATCH : SCHED_FIFO;
    if (sched_setscheduler(0, policy, &level)) return 0;
    return sched_getscheduler(0) == policy;
}

/* Locks an amount of memory, in MiB. */
static int lock_memory(char **a) {
    size_t size = a[0] ? (size_t)atol(a[0]) << 10 : (size_t)1 << 30;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory != MAP_FAILED && mlock(memory, size) == 0;
}

static int lock_all(char **a) {
    (void)a;
    size_t size = (size_t)64 << 20;
    if (mlockall(MCL_CURRENT | MCL_FUTURE)) return 0;
    return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
}

static int move_others_pages(char **a) {
    (void)a;
    unsigned long nodes = 1;
    return worked(syscall(SYS_migrate_pages, getpid(), 8, &nodes, &nodes));
}

static const struct act acts[] = {
    {"become-root", become_root, SYS_setresuid},
    {"raise-capabilities", raise_capabilities, SYS_capset},
    {"keep-capabilities", keep_capabilities, SYS_prctl},
    {"drop-no-new-privs", drop_no_new_privileges, SYS_prctl},
    {"priority", priority, SYS_setpriority},
    {"real-time", real_time, SYS_sched_setscheduler},
    {"mlock", lock_memory, SYS_mlock},
    {"mlockall", lock_all, SYS_mlockall},
    {"migrate-pages", move_others_pages, SYS_migrate_pages},
};

ACT_MAIN(acts)
