/* The janitor: cleans up after a host that died, however it died.
 *
 * It runs beside the host, in a session of its own, and reads lines from a stream socket: "+d PATH" remembers a folder
 * to be removed, "+c PATH" a cgroup to be emptied and removed, "+g PATH" every cgroup whose path begins so (a host
 * names its groups alike and tells it once, not at each start; their folder "cloche" goes with the last of any host's),
 * "-PATH" forgets. When the socket ends, because the host closed it or is no more, it kills what runs in the cgroups,
 * removes them and the folders, newest first, and exits 0.
 * A line that it does not understand ends it at once with 2 and nothing touched: the host's end then breaks.
 *
 * Guests may have written in the folders, so nothing there is trusted: it goes from descriptor to descriptor, never
 * through a symbolic link or onto another mount, and needs no more descriptors the deeper a tree is. */

#include "init.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "kernel.h"

enum { LINE_SIZE = CLO_PATH_SIZE + 4, DEPTH_MAX = 32, KILL_ROUNDS = 400, ROUND_NS = 5000000 };

static const char GROUPS_FOLDER[] = "/cloche"; /* cloche_native.cgroup_files.PARENT */

struct item {
    struct item *next;
    char kind; /* 'd' folder, 'c' cgroup, 'g' beginning of cgroups' paths */
    char path[];
};

/* ---- cgroups ---- */

static bool write_file(int folder, const char *name, const char *text)
{
    int fd = openat(folder, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    if (fd >= 0)
        close(fd);
    return written;
}

/* Kills each process listed; how many there were. Processes of a pid namespace not below ours show as 0. */
static size_t kill_listed(int folder)
{
    int fd = openat(folder, "cgroup.procs", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    FILE *list = fd < 0 ? NULL : fdopen(fd, "r");
    size_t found = 0;
    int pid;

    if (!list)
        return 0;
    while (fscanf(list, "%d", &pid) == 1) {
        found++;
        if (pid > 1)
            kill(pid, SIGKILL);
    }
    fclose(list);
    return found;
}

/* One blow: how many were there. cgroup.kill (v2, Linux 5.14) reaches all at once, also the frozen; in v1 SIGKILL waits
 * until the thaw. */
static size_t strike(const char *path)
{
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    size_t found;

    if (folder < 0)
        return 0;
    write_file(folder, "cgroup.kill", "1");
    found = kill_listed(folder);
    write_file(folder, "freezer.state", "THAWED");
    write_file(folder, "cgroup.freeze", "0");
    close(folder);
    return found;
}

static void remove_cgroup(const char *path)
{
    for (int round = 0; round < KILL_ROUNDS; round++) {
        if (!strike(path) && (rmdir(path) == 0 || errno == ENOENT))
            return;
        nanosleep(&(struct timespec){.tv_nsec = ROUND_NS}, NULL);
    }
}

/* ---- folders ---- */

/* Opens a folder without leaving the mount that `parent` is on. Before Linux 5.6 equal device numbers must do. */
static int open_same_mount(int parent, const char *name, int flags)
{
    const struct clo_open_how how = {
        .flags = (uint64_t)(flags | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW),
        .resolve = CLO_RESOLVE_NO_XDEV | CLO_RESOLVE_NO_SYMLINKS | CLO_RESOLVE_NO_MAGICLINKS,
    };
    struct stat above, below;
    long fd = syscall(SYS_openat2, parent, name, &how, sizeof how);

    if (fd >= 0 || errno != ENOSYS)
        return (int)fd;
    fd = openat(parent, name, (int)how.flags);
    if (fd >= 0 && (fstat(parent, &above) || fstat((int)fd, &below) || above.st_dev != below.st_dev)) {
        close((int)fd);
        errno = EXDEV;
        return -1;
    }
    return (int)fd;
}

/* Opens a folder for removal of what is in it, also one that its owner had closed to himself. */
static int open_folder(int parent, const char *name)
{
    int fd = open_same_mount(parent, name, O_RDONLY), handle;
    char link[64];

    if (fd < 0 && errno == EACCES && (handle = open_same_mount(parent, name, O_PATH)) >= 0) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
        if (chmod(link, 0700) == 0)
            fd = open_same_mount(parent, name, O_RDONLY);
        close(handle);
    }
    if (fd >= 0)
        (void)fchmod(fd, 0700); /* without, entries of a read-only folder could not be removed; root needs no leave */
    return fd;
}

struct sweep {
    int top;
    unsigned names;
    bool moved;
};

static bool remove_entry(struct sweep *sweep, int parent, const char *name, int depth);

/* Removes what is in a folder, which it closes; whether that was everything. */
static bool empty_folder(struct sweep *sweep, int folder, int depth)
{
    DIR *list = fdopendir(folder);
    const struct dirent *entry;
    bool all = true;

    if (!list) {
        close(folder);
        return false;
    }
    while ((entry = readdir(list)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            all = remove_entry(sweep, folder, entry->d_name, depth) && all;
    closedir(list);
    return all;
}

/* Removes one entry and all below. Too deep a folder is moved up to the top, to be met there in a later round. */
static bool remove_entry(struct sweep *sweep, int parent, const char *name, int depth)
{
    char aside[32];
    int folder;

    if (unlinkat(parent, name, 0) == 0)
        return true;
    if (depth == DEPTH_MAX) {
        snprintf(aside, sizeof aside, ".cloche-%u", sweep->names++);
        if (renameat(parent, name, sweep->top, aside))
            return false;
        sweep->moved = true;
        return true;
    }
    folder = open_folder(parent, name);
    return folder >= 0 && empty_folder(sweep, folder, depth + 1) && unlinkat(parent, name, AT_REMOVEDIR) == 0;
}

/* Removes a folder by rounds, until one has moved nothing. */
static void remove_tree(const char *path)
{
    struct sweep sweep = {.top = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)};
    int folder;

    if (sweep.top < 0)
        return;
    do {
        sweep.moved = false;
        folder = openat(sweep.top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    } while (folder >= 0 && (empty_folder(&sweep, folder, 0), sweep.moved));
    close(sweep.top);
    rmdir(path);
}

/* ---- commands ---- */

static bool remember(struct item **items, const char *path, char kind)
{
    struct item *item = malloc(sizeof *item + strlen(path) + 1);

    if (!item)
        return false;
    item->kind = kind;
    item->next = *items;
    strcpy(item->path, path);
    *items = item;
    return true;
}

static void forget(struct item **items, const char *path)
{
    while (*items) {
        struct item *item = *items;
        if (strcmp(item->path, path) != 0) {
            items = &item->next;
            continue;
        }
        *items = item->next;
        free(item);
    }
}

static bool obey(struct item **items, const char *line)
{
    if (line[0] == '-' && line[1] == '/') {
        forget(items, line + 1);
        return true;
    }
    if (line[0] != '+' || !line[1] || !strchr("dcg", line[1]) || line[2] != ' ' || line[3] != '/')
        return false;
    /* A path that ends so would name "/", or every cgroup of a folder. */
    return line[strlen(line) - 1] != '/' && remember(items, line + 3, line[1]);
}

/* Adds each cgroup whose path begins like that of a 'g' item. */
static void expand(struct item **items)
{
    char path[CLO_PATH_SIZE];
    const struct dirent *entry;

    for (const struct item *item = *items; item; item = item->next) {
        const char *prefix = strrchr(item->path, '/') + 1;
        int parent_size = (int)(prefix - item->path);
        DIR *parent;

        if (item->kind != 'g')
            continue;
        snprintf(path, sizeof path, "%.*s", parent_size, item->path);
        parent = opendir(path);
        while (parent && (entry = readdir(parent)))
            if (!strncmp(entry->d_name, prefix, strlen(prefix)) && entry->d_name[0] != '.'
                && snprintf(path, sizeof path, "%.*s%s", parent_size, item->path, entry->d_name) < (int)sizeof path)
                remember(items, path, 'c');
        if (parent)
            closedir(parent);
    }
}

/* Removes the folder that the host made for all its cgroups, unless another host has some in it. */
static void remove_parent(const char *beginning)
{
    const size_t size = (size_t)(strrchr(beginning, '/') - beginning), own = strlen(GROUPS_FOLDER);
    char path[CLO_PATH_SIZE];

    if (size < own || size >= sizeof path || memcmp(beginning + size - own, GROUPS_FOLDER, own))
        return;
    memcpy(path, beginning, size);
    path[size] = 0;
    rmdir(path);
}

static void clean_up(const struct item *items)
{
    /* All are struck before any is waited for: what runs in one may be frozen by another. */
    for (const struct item *item = items; item; item = item->next)
        if (item->kind == 'c')
            strike(item->path);
    for (const struct item *item = items; item; item = item->next)
        if (item->kind == 'c')
            remove_cgroup(item->path);
    for (const struct item *item = items; item; item = item->next)
        if (item->kind == 'g')
            remove_parent(item->path);
    for (const struct item *item = items; item; item = item->next)
        if (item->kind == 'd')
            remove_tree(item->path);
}

/* Obeys the whole lines in a buffer and moves the rest to its start; -1 for a line that is no command. */
static int obey_lines(struct item **items, char *buffer, size_t *used)
{
    char *line = buffer, *end;

    while ((end = memchr(line, '\n', *used - (size_t)(line - buffer)))) {
        *end = 0;
        if (strlen(line) != (size_t)(end - line) || !obey(items, line))
            return -1;
        line = end + 1;
    }
    *used -= (size_t)(line - buffer);
    memmove(buffer, line, *used);
    return *used < LINE_SIZE ? 0 : -1;
}

int clo_janitor(int commands)
{
    static const int ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGTSTP, SIGTTIN, SIGTTOU};
    static char buffer[LINE_SIZE];
    struct item *items = NULL;
    size_t used = 0;
    ssize_t got;

    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        signal(ignored[i], SIG_IGN);
    setsid();
    if (clo_own_descriptors(commands) || chdir("/"))
        return 1;
    for (;;) {
        got = read(CLO_CONTROL_FD, buffer + used, sizeof buffer - used);
        if (got < 0 && errno == EAGAIN) {
            poll(&(struct pollfd){.fd = CLO_CONTROL_FD, .events = POLLIN}, 1, -1);
            continue;
        }
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        used += (size_t)got;
        if (obey_lines(&items, buffer, &used))
            return 2;
    }
    expand(&items);
    clean_up(items);
    return 0;
}
