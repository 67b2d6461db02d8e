/* Control groups of the guest's kernel: which processes belong to which exec, whatever they do to get away.
 *
 * The file system that shows the groups is mounted, opened and unmounted at once, so the guest has no path to it. A
 * group `box` holds one for each exec, which its program enters before it is the guest's. Whatever the program starts is
 * born in there. In this kernel a group's bound of processes is not one of the groups below it, so each exec has its
 * own. A group that is empty again is kept for the next exec: making one costs as much as a quarter of a start. */

#include "inner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MEMBERS_SIZE = 1 << 20, TASKS_MAX = 1 << 20 }; /* this kernel takes neither "max" nor much larger numbers */

static const char TARGET[] = "/proc"; /* any folder that is there */

int clo_groups_open(struct clo_inner *inner)
{
    int root, error;

    if (inner->groups >= 0)
        return 0;
    if (mount("none", TARGET, "cgroup", 0, "pids"))
        return -errno;
    root = open(TARGET, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    error = root < 0 ? -errno : 0;
    if (umount2(TARGET, MNT_DETACH) && !error)
        error = -errno;
    if (!error && mkdirat(root, "box", 0700))
        error = -errno;
    if (!error && (inner->groups = openat(root, "box", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        error = -errno;
    if (root >= 0)
        close(root);
    return error;
}

int clo_group_limit(const struct clo_inner *inner, struct clo_group *group, uint32_t tasks)
{
    char path[40], text[16];
    int fd, size;

    if (group->limit == tasks)
        return 0;
    snprintf(path, sizeof path, "%u/pids.max", group->number);
    fd = openat(inner->groups, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    size = snprintf(text, sizeof text, "%u", tasks < TASKS_MAX ? tasks : TASKS_MAX);
    size = write(fd, text, (size_t)size) < 0 ? -errno : 0;
    close(fd);
    if (!size)
        group->limit = tasks;
    return size;
}

static int make(struct clo_inner *inner, struct clo_group *group)
{
    char path[40];
    int error;

    *group = (struct clo_group){.number = ++inner->last_group, .limit = UINT32_MAX};
    snprintf(path, sizeof path, "%u", group->number);
    if (mkdirat(inner->groups, path, 0700))
        return -errno;
    snprintf(path, sizeof path, "%u/cgroup.procs", group->number);
    group->members = openat(inner->groups, path, O_RDWR | O_CLOEXEC);
    if (group->members >= 0)
        return 0;
    error = -errno;
    snprintf(path, sizeof path, "%u", group->number);
    unlinkat(inner->groups, path, AT_REMOVEDIR);
    return error;
}

int clo_group_bound(const struct clo_inner *inner, struct clo_group *group)
{
    return clo_group_limit(inner, group, inner->bounds.limits_pids ? inner->bounds.pids : UINT32_MAX);
}

int clo_group_take(struct clo_inner *inner, struct clo_group *group)
{
    int error = 0;

    if (inner->spares)
        *group = inner->spare[--inner->spares];
    else
        error = make(inner, group);
    if (!error && (error = clo_group_bound(inner, group)))
        clo_group_drop(inner, group);
    return error;
}

void clo_group_drop(struct clo_inner *inner, struct clo_group *group)
{
    char path[16];

    if (inner->spares < CLO_SPARE_MAX) {
        inner->spare[inner->spares++] = *group;
        return;
    }
    close(group->members);
    snprintf(path, sizeof path, "%u", group->number);
    unlinkat(inner->groups, path, AT_REMOVEDIR);
}

int clo_group_each(const struct clo_group *group, void (*each)(void *what, pid_t pid), void *what)
{
    static char text[MEMBERS_SIZE]; /* all zero: it costs no memory until used */
    /* Each call sees the list as it is then: two calls would put two lists together that don't match. */
    ssize_t size = pread(group->members, text, sizeof text - 1, 0);
    int count = 0;

    if (size < 0)
        return -errno;
    if (size == sizeof text - 1) /* a number that is cut off is another one */
        while (size && text[size - 1] != '\n')
            size--;
    text[size] = 0;
    for (char *at = text, *end; *at; at = *end ? end + 1 : end) {
        const long pid = strtol(at, &end, 10);
        if (end == at)
            return -EBADMSG;
        if (each && pid > 1) /* this kernel says 0 of one that is just gone, and kill(2) takes that for ourselves */
            each(what, (pid_t)pid);
        count++;
    }
    return count;
}
