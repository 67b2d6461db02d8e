/* Memory of a box that no control group bounds: looked at by cloche-init, which kills the exec that has most when all
 * have too much together.
 *
 * Theory. What counts is the resident memory of every process below a shepherd, and what is in the memory-backed folders.
 * Resident pages that processes share are counted for each by /proc/PID/statm, which takes some microseconds; only when
 * that sum is over the bound, they are asked for again by /proc/PID/smaps_rollup, which divides shared pages among those
 * who share them and takes as long as a process is big (Linux 4.14; closed to us of a process that made itself not
 * dumpable, for which the first figure then stands).
 *
 * How soon to look again follows from how far the bound is: memory can't be filled faster than pages are cleared. So a
 * box that uses little is looked at ten times a second, one close to its bound every two milliseconds, and none at all
 * while nothing runs. Looking takes at most a tenth of one processor's time, however many processes there are.
 *
 * What a program gets between two looks is over the bound; a limit on data of each process (RLIMIT_DATA), which the
 * host sends along, is the second line. */

#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

enum {
    LEAST_MS = 2,
    MOST_MS = 100,
    GROWTH = 4 << 20, /* bytes that one processor fills in a millisecond: 4 GiB/s */
    PROCESSORS_MAX = 4,
    SHARE = 10 /* looking takes one part in so many */
};

static struct clo_tree tree;

static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- rooms ---- */

static void open_room(struct clo_box *box, const char *path)
{
    int room;

    if (box->room_count == CLO_ROOMS_MAX)
        return; /* the bound on each of them holds, only their sum is not known */
    room = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (room >= 0)
        box->rooms[box->room_count++] = room;
}

/* To be called when all mounts are made, and no guest has run. */
void clo_open_rooms(struct clo_box *box)
{
    struct clo_mount_asked asked;
    char path[CLO_PATH_SIZE + 8];
    size_t at = 0;

    if (!box->bounds.memory)
        return;
    while (clo_next_mount(&box->setup, &at, &asked)) {
        if (asked.kind == CLO_MOUNT_TMPFS || asked.kind == CLO_MOUNT_OVERLAY)
            open_room(box, asked.target);
        if (asked.kind == CLO_MOUNT_DEV && *asked.data) {
            snprintf(path, sizeof path, "%s/shm", asked.target);
            open_room(box, path);
        }
    }
}

static uint64_t weigh_rooms(const struct clo_box *box)
{
    struct statvfs status;
    uint64_t sum = 0;

    for (size_t i = 0; i < box->room_count; i++)
        if (fstatvfs(box->rooms[i], &status) == 0)
            sum += (uint64_t)(status.f_blocks - status.f_bfree) * status.f_frsize;
    return sum;
}

/* ---- processes ---- */

static uint64_t resident(int proc, pid_t pid)
{
    static uint64_t page;
    unsigned long long pages = 0;
    char path[32], text[256];

    if (!page)
        page = (uint64_t)sysconf(_SC_PAGESIZE);
    snprintf(path, sizeof path, "%d/statm", pid);
    if (clo_read_text(proc, path, text, sizeof text) <= 0 || sscanf(text, "%*u %llu", &pages) != 1)
        return 0; /* it has ended */
    return pages * page;
}

static uint64_t share(int proc, pid_t pid)
{
    char path[40], text[2048];
    const char *line;

    snprintf(path, sizeof path, "%d/smaps_rollup", pid);
    if (clo_read_text(proc, path, text, sizeof text) <= 0 || !(line = strstr(text, "\nPss:")))
        return resident(proc, pid);
    return strtoull(line + sizeof "\nPss:" - 1, NULL, 10) * 1024;
}

static void walk(const struct server *server, const struct exec *exec)
{
    clo_tree_start(&tree, server->box.proc, NULL, NULL);
    tree.top = exec->shepherd;
    clo_tree_walk(&tree);
}

/* Whether an exec counts: one that is being killed gives its memory back presently. */
static bool counts(const struct exec *exec)
{
    return exec->id && !exec->lost && !exec->deadline;
}

/* Weighs every exec and gives their sum; *most is the heaviest. */
static uint64_t weigh(struct server *server, uint64_t (*each)(int, pid_t), struct exec **most)
{
    uint64_t sum = 0;

    *most = NULL;
    for (struct exec *exec = server->execs; exec; exec = exec->next) {
        if (!counts(exec))
            continue;
        walk(server, exec);
        server->tree.blind |= tree.blind; /* which ends the box */
        exec->memory = 0;
        for (size_t i = 0; i < tree.count; i++)
            exec->memory += each(server->box.proc, tree.list[i]);
        sum += exec->memory;
        if (!*most || exec->memory > (*most)->memory)
            *most = exec;
    }
    return sum;
}

/* The shepherd is told why first: then it knows when it sees the end. */
static void starve(const struct server *server, struct exec *exec)
{
    exec->starved = true;
    clo_kill_exec(exec, CLO_CAUSE_MEMORY);
    walk(server, exec);
    clo_tree_signal(&tree, SIGKILL);
}

static int64_t growth(void)
{
    static int64_t bytes;
    cpu_set_t set;
    int count;

    if (!bytes) {
        count = sched_getaffinity(0, sizeof set, &set) ? PROCESSORS_MAX : CPU_COUNT(&set);
        bytes = (int64_t)GROWTH * (count < PROCESSORS_MAX ? count : PROCESSORS_MAX);
    }
    return bytes;
}

/* Looks, kills if need be, and gives how long the bound can't be reached, in milliseconds. */
static int64_t look(struct server *server)
{
    const uint64_t bound = server->box.bounds.memory, rooms = weigh_rooms(&server->box);
    const int64_t begun = now_us();
    struct exec *most;
    uint64_t used = rooms + weigh(server, resident, &most);
    int64_t wait = LEAST_MS, cost;

    if (used > bound)
        used = rooms + weigh(server, share, &most);
    if (used > bound && most)
        starve(server, most);
    else if (used < bound)
        wait = (int64_t)((bound - used) / (uint64_t)growth());
    cost = (now_us() - begun) * SHARE / 1000;
    wait = wait < MOST_MS ? wait : MOST_MS;
    wait = wait > LEAST_MS ? wait : LEAST_MS;
    return wait > cost ? wait : cost;
}

int clo_supervise(struct server *server)
{
    const struct exec *exec = server->execs;
    int64_t now;

    while (exec && !counts(exec))
        exec = exec->next;
    if (!exec || !server->box.bounds.memory) {
        server->look = 0;
        return -1;
    }
    now = clo_now_ms();
    if (server->look <= now)
        server->look = now + look(server);
    return (int)(server->look - now);
}
