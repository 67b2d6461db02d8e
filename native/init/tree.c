/* Finding, stopping and killing the processes below this one, against their will.
 *
 * A tree that forks while it is walked hides processes from the walk. So everybody found is stopped, and the walk is
 * repeated until it finds nobody new: then nobody is left who could fork, and the list is whole. Killing comes after
 * that and not before, because under a process limit each kill would give a fork bomb room for a new process.
 *
 * /proc/PID/task/TID/children (Linux 3.5, CONFIG_PROC_CHILDREN) gives a subtree without reading the whole of /proc;
 * where it is missing every /proc/PID/stat is read. Where /proc cannot be read at all (a guest of our uid may set our
 * limit of open files to nothing, prlimit(2)), the tree is called blind: what to do then is the caller's choice. Direct
 * children can still be found by asking wait about every number, and killing those makes their children ours. */

#include "init.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STOP_ROUNDS = 64, PAUSE_MS = 2000, PAUSE_STEP_NS = 200000, USUAL_PID_LIMIT = 32768 };

int64_t clo_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool has(const uint64_t *set, pid_t pid)
{
    return set[pid / 64] >> pid % 64 & 1;
}

static void put(uint64_t *set, pid_t pid)
{
    set[pid / 64] |= UINT64_C(1) << pid % 64;
}

/* Notes a process as met; those that the judge takes or passes are walked on from. Passed ones are listed negative
 * until the walk is over. */
static void meet(struct clo_tree *tree, pid_t pid)
{
    enum clo_verdict verdict;

    if (pid <= 0 || pid >= CLO_PID_LIMIT || has(tree->met, pid))
        return;
    if (tree->count == CLO_TREE_MAX) {
        tree->full = true;
        return;
    }
    verdict = tree->judge ? tree->judge(tree->whose, pid) : CLO_TAKE;
    if (verdict == CLO_SKIP)
        return;
    put(tree->met, pid);
    tree->list[tree->count++] = verdict == CLO_TAKE ? pid : -pid;
}

ssize_t clo_read_text(int proc, const char *path, char *text, size_t size)
{
    int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    ssize_t got;

    if (fd < 0)
        return -1;
    got = read(fd, text, size - 1);
    close(fd);
    text[got > 0 ? got : 0] = 0;
    return got;
}

/* Whether a file or folder of /proc could not be opened for want of anything but its process. */
static bool is_blinding(int fd)
{
    return fd < 0 && errno != ENOENT && errno != ESRCH;
}

/* Meets every number in a children file, which may be longer than one read and split a number in two. */
static void meet_children(struct clo_tree *tree, const char *path)
{
    char text[4096];
    int fd = openat(tree->proc, path, O_RDONLY | O_CLOEXEC);
    ssize_t got;
    pid_t pid = 0;

    tree->blind |= is_blinding(fd);
    if (fd < 0)
        return;
    while ((got = read(fd, text, sizeof text)) > 0) {
        for (ssize_t i = 0; i < got; i++) {
            if (isdigit((unsigned char)text[i])) {
                pid = pid * 10 + (text[i] - '0');
            } else {
                meet(tree, pid);
                pid = 0;
            }
        }
    }
    meet(tree, pid);
    close(fd);
}

/* Calls `each` with every number that names an entry of a folder below /proc. */
static void each_number(struct clo_tree *tree, const char *path, void (*each)(struct clo_tree *, const char *, pid_t))
{
    _Alignas(struct dirent64) char entries[8192];
    int fd = openat(tree->proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    long got;

    tree->blind |= is_blinding(fd);
    if (fd < 0)
        return;
    while ((got = syscall(SYS_getdents64, fd, entries, sizeof entries)) > 0) {
        for (long at = 0; at < got;) {
            const struct dirent64 *entry = (const void *)(entries + at);
            if (isdigit((unsigned char)entry->d_name[0]))
                each(tree, path, atoi(entry->d_name));
            at += entry->d_reclen;
        }
    }
    close(fd);
}

static void meet_children_of_thread(struct clo_tree *tree, const char *tasks, pid_t thread)
{
    char path[64];

    snprintf(path, sizeof path, "%s/%d/children", tasks, thread);
    meet_children(tree, path);
}

/* What follows "PID (name) " in stat: the name may hold anything, also a bracket. NULL when the process is gone. */
static const char *read_stat(int proc, pid_t pid, char *text, size_t size)
{
    char path[32];
    const char *after;

    snprintf(path, sizeof path, "%d/stat", pid);
    if (clo_read_text(proc, path, text, size) <= 0)
        return NULL;
    after = strrchr(text, ')');
    return after && after[1] == ' ' ? after + 2 : NULL;
}

static pid_t top_of(const struct clo_tree *tree)
{
    return tree->top ? tree->top : getpid();
}

static void meet_if_child_is_below(struct clo_tree *tree, const char *unused, pid_t pid)
{
    char text[1024];
    const char *stat = read_stat(tree->proc, pid, text, sizeof text);
    pid_t parent;

    (void)unused;
    if (!stat || sscanf(stat, "%*c %d", &parent) != 1 || parent <= 0 || parent >= CLO_PID_LIMIT)
        return;
    if (parent == top_of(tree) || has(tree->met, parent))
        meet(tree, pid);
}

static void walk_children(struct clo_tree *tree)
{
    char path[32];
    pid_t pid = top_of(tree);

    for (size_t i = 0;; i++) {
        snprintf(path, sizeof path, "%d/task", pid);
        each_number(tree, path, meet_children_of_thread);
        if (i == tree->count)
            return;
        pid = abs(tree->list[i]);
    }
}

static void walk_scan(struct clo_tree *tree)
{
    size_t before;

    do {
        before = tree->count;
        each_number(tree, ".", meet_if_child_is_below);
    } while (tree->count > before);
}

bool clo_tree_can_list(int proc)
{
    char path[32];

    snprintf(path, sizeof path, "%d/stat", getpid());
    return faccessat(proc, path, R_OK, 0) == 0;
}

void clo_tree_start(struct clo_tree *tree, int proc, enum clo_verdict (*judge)(const void *, pid_t), const void *whose)
{
    char path[64];

    snprintf(path, sizeof path, "%d/task/%d/children", getpid(), getpid());
    tree->proc = proc;
    tree->scan = faccessat(proc, path, R_OK, 0) != 0;
    tree->judge = judge;
    tree->whose = whose;
    tree->count = tree->met_alive = 0;
    tree->uncounted = 0;
    memset(tree->marked, 0, (size_t)tree->highest / 8 + 8); /* not all of it: untouched pages cost nothing */
    tree->highest = 0;
}

void clo_tree_walk(struct clo_tree *tree)
{
    size_t taken = 0;

    tree->count = 0;
    tree->full = tree->blind = false;
    if (tree->scan)
        walk_scan(tree);
    else
        walk_children(tree);
    for (size_t i = 0; i < tree->count; i++) {
        tree->met[abs(tree->list[i]) / 64] = 0;
        if (tree->list[i] > 0)
            tree->list[taken++] = tree->list[i];
    }
    tree->count = taken;
}

void clo_tree_signal(const struct clo_tree *tree, int signal)
{
    for (size_t i = 0; i < tree->count; i++)
        kill(tree->list[i], signal);
}

static void mark(struct clo_tree *tree, pid_t pid)
{
    put(tree->marked, pid);
    if (pid > tree->highest)
        tree->highest = pid;
}

size_t clo_tree_only_new(struct clo_tree *tree)
{
    size_t kept = 0;

    for (size_t i = 0; i < tree->count; i++) {
        const pid_t pid = tree->list[i];
        if (has(tree->marked, pid))
            continue;
        mark(tree, pid);
        tree->list[kept++] = pid;
    }
    return tree->count = kept;
}

static char state_of(const struct clo_tree *tree, pid_t pid)
{
    char text[1024];
    const char *stat = read_stat(tree->proc, pid, text, sizeof text);

    return stat ? *stat : 'Z';
}

/* Sends SIGSTOP to those not marked and marks them; how many there were. */
static size_t stop_new(struct clo_tree *tree)
{
    size_t found = 0;

    for (size_t i = 0; i < tree->count; i++) {
        const pid_t pid = tree->list[i];
        if (has(tree->marked, pid))
            continue;
        mark(tree, pid);
        tree->met_alive += pid != tree->uncounted && state_of(tree, pid) != 'Z';
        kill(pid, SIGSTOP);
        found++;
    }
    return found;
}

int clo_tree_stop(struct clo_tree *tree)
{
    const int64_t deadline = clo_now_ms() + PAUSE_MS;
    size_t running;

    do {

        clo_tree_walk(tree);
        running = stop_new(tree);
        for (size_t i = 0; i < tree->count; i++) {
            /* One in D has the signal waiting and stops before it runs again; a zombie runs no more. */
            if (!strchr("RS", state_of(tree, tree->list[i])))
                continue;
            kill(tree->list[i], SIGSTOP); /* one that ran on may have sent it SIGCONT */
            running++;
        }
        if (tree->full || tree->blind)
            return -EBUSY;
        if (running)
            nanosleep(&(struct timespec){.tv_nsec = PAUSE_STEP_NS}, NULL);
    } while (running && clo_now_ms() < deadline);
    return running ? -EBUSY : 0;
}

static bool kill_numbers(pid_t from, pid_t to)
{
    siginfo_t info;
    bool found = false;

    for (pid_t pid = from; pid < to; pid++)
        if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0)
            found |= kill(pid, SIGKILL) == 0;
    return found;
}

/* Ids above the old default of pid_max are only looked at when there is nobody below. */
void clo_kill_by_number(void)
{
    if (!kill_numbers(1, USUAL_PID_LIMIT))
        kill_numbers(USUAL_PID_LIMIT, CLO_PID_LIMIT);
}

size_t clo_tree_kill(struct clo_tree *tree)
{
    int round = 0;

    do
        clo_tree_walk(tree);
    while (stop_new(tree) && ++round < STOP_ROUNDS);
    clo_tree_signal(tree, SIGKILL);
    return tree->count;
}
