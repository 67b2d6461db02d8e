/* The root folder of a box that was entered directly, made of parts of the host's.
 *
 * Theory. Whatever comes from the host is taken hold of first, while its root is still ours: a detached copy of each
 * folder, of the device nodes, and a /proc, which the kernel gives a user namespace only as long as another one is in
 * sight. Then a tmpfs becomes the root, and the parts are attached.
 *
 * The host's root is detached for good before any path is followed through something of the host's, so that no symbolic
 * link in a folder that a guest wrote earlier can lead back to it. Where there is no such path it is detached last:
 * unmounting waits for every CPU to pass a quiescent state (RCU), and would wait for the helper that makes the network
 * namespace (namespaces.c).
 *
 * Each copy is made private: it would else follow what is mounted and unmounted below its original.
 *
 * open_tree, move_mount, fsopen (Linux 5.2), mount_setattr (5.12). */

#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel.h"

/* Sets "key=value,flag,..." on a file system that is being made. */
static int configure(int fs, const char *options)
{
    char text[CLO_PATH_SIZE / 2], *rest = text, *option;

    memcpy(text, options, strlen(options) + 1); /* the parser bounds them */
    while ((option = strsep(&rest, ","))) {
        char *value = strchr(option, '=');
        if (!*option)
            continue;
        if (value)
            *value++ = 0;
        if (syscall(SYS_fsconfig, fs, value ? CLO_FSCONFIG_STRING : CLO_FSCONFIG_FLAG, option, value, 0))
            return -1;
    }
    return (int)syscall(SYS_fsconfig, fs, CLO_FSCONFIG_CREATE, NULL, NULL, 0);
}

int clo_new_mount(const char *type, const char *options, uint64_t attributes)
{
    int fs = (int)syscall(SYS_fsopen, type, CLO_FS_CLOEXEC), mount = -1, error;

    if (fs < 0)
        return -1;
    if (configure(fs, options) == 0)
        mount = (int)syscall(SYS_fsmount, fs, CLO_FS_CLOEXEC, attributes);
    error = errno;
    close(fs);
    errno = error;
    return mount;
}

int clo_copy_mount(int folder, const char *path, uint64_t attributes, bool recursive)
{
    struct clo_mount_attr attr = {.set = attributes, .propagation = MS_PRIVATE};
    const unsigned deep = recursive ? CLO_AT_RECURSIVE : 0;
    int tree = (int)syscall(SYS_open_tree, folder, path, CLO_OPEN_TREE_CLONE | O_CLOEXEC | deep), error;

    if (tree < 0 || syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | deep, &attr, sizeof attr) == 0)
        return tree;
    error = errno;
    close(tree);
    errno = error;
    return -1;
}

int clo_attach(int mount, int folder, const char *target)
{
    const unsigned flags = CLO_MOVE_MOUNT_EMPTY_PATH | CLO_MOVE_MOUNT_FOLLOW;
    int error = syscall(SYS_move_mount, mount, "", folder, target, flags) ? errno : 0;

    close(mount);
    errno = error;
    return error ? -1 : 0;
}

static int make_one(const char *path, bool folder)
{
    int file;

    if (folder)
        return mkdir(path, 0755);
    file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0444);
    return file < 0 ? -1 : close(file);
}

int clo_make_target(const char *path, bool folder)
{
    char above[CLO_PATH_SIZE];

    if (make_one(path, folder) == 0 || errno == EEXIST)
        return 0;
    if (errno != ENOENT)
        return -1;
    for (size_t i = 1; path[i]; i++) {
        if (path[i] != '/')
            continue;
        memcpy(above, path, i);
        above[i] = 0;
        if (mkdir(above, 0755) && errno != EEXIST)
            return -1;
    }
    return make_one(path, folder) == 0 || errno == EEXIST ? 0 : -1;
}

/* Takes hold of what one mount needs of the host. */
static int take_part(const struct clo_mount_asked *asked, struct clo_parts *parts, struct clo_failure *failure)
{
    const uint64_t plain = CLO_MOUNT_ATTR_NOSUID | CLO_MOUNT_ATTR_NODEV;
    int part;

    if (asked->kind == CLO_MOUNT_ROOT)
        return clo_fail(failure, EINVAL, "root: asked for twice");
    if (asked->kind == CLO_MOUNT_DEV)
        return clo_copy_nodes(asked, parts->nodes, failure);
    if (asked->kind != CLO_MOUNT_BIND && asked->kind != CLO_MOUNT_PROC)
        return 0;
    if (parts->count == CLO_PARTS_MAX)
        return clo_fail(failure, E2BIG, "mount: %s: over %d binds", asked->target, CLO_PARTS_MAX);
    if (asked->kind == CLO_MOUNT_PROC && *asked->data) { /* it may hide processes from us too */
        parts->proc = clo_new_mount("proc", "", plain | CLO_MOUNT_ATTR_NOEXEC);
        if (parts->proc < 0)
            return clo_fail(failure, errno, "mount: proc");
    }
    if (asked->kind == CLO_MOUNT_PROC)
        part = clo_new_mount("proc", asked->data, plain | CLO_MOUNT_ATTR_NOEXEC);
    else
        part = clo_copy_mount(AT_FDCWD, asked->source, plain | (asked->data[1] == 'o' ? CLO_MOUNT_ATTR_RDONLY : 0), true);
    if (part < 0)
        return clo_fail(failure, errno, "mount: %s on %s", *asked->source ? asked->source : "proc", asked->target);
    parts->list[parts->count++] = part;
    return 0;
}

/* The old root is then stacked on the new one: pivot_root(2). */
static int change_root(const char *options, struct clo_failure *failure)
{
    int root = clo_new_mount("tmpfs", options, CLO_MOUNT_ATTR_NOSUID | CLO_MOUNT_ATTR_NODEV);

    if (root < 0)
        return clo_fail(failure, errno, "root: tmpfs with %s", options);
    if (syscall(SYS_move_mount, root, "", AT_FDCWD, "/", CLO_MOVE_MOUNT_EMPTY_PATH) || fchdir(root)
        || syscall(SYS_pivot_root, ".", "."))
        return clo_fail(failure, errno, "root: in place of the old one");
    return close(root);
}

/* The working folder is the new root, whose name the two share; the upper one is meant: umount2(2). */
static int detach_old_root(struct clo_parts *parts, struct clo_failure *failure)
{
    if (umount2(".", MNT_DETACH))
        return clo_fail(failure, errno, "root: detach the old one");
    parts->old_root = false;
    return 0;
}

bool clo_has_root(const struct clo_setup *setup)
{
    struct clo_mount_asked first;
    size_t at = 0;

    return clo_next_mount(setup, &at, &first) && first.kind == CLO_MOUNT_ROOT;
}

static bool is_in(const char *path, const char *folder)
{
    const size_t size = strlen(folder);

    return strncmp(path, folder, size) == 0 && (!path[size] || path[size] == '/');
}

/* Whether the way to this target leads through something that we did not make. */
static bool leads_through_host(const struct clo_setup *setup, const char *target)
{
    struct clo_mount_asked before;
    size_t at = 0;

    while (clo_next_mount(setup, &at, &before) && before.target != target)
        if ((before.kind == CLO_MOUNT_BIND || before.kind == CLO_MOUNT_SYMLINK) && is_in(target, before.target))
            return true;
    return false;
}

int clo_enter_root(const struct clo_setup *setup, struct clo_parts *parts, struct clo_failure *failure)
{
    struct clo_mount_asked first, asked;
    bool at_once = false;
    size_t at = 0;

    clo_next_mount(setup, &at, &first);
    while (clo_next_mount(setup, &at, &asked)) {
        at_once = at_once || leads_through_host(setup, asked.target);
        if (take_part(&asked, parts, failure))
            return -1;
    }
    if (change_root(first.data, failure))
        return -1;
    parts->own_root = parts->old_root = true;
    return at_once ? detach_old_root(parts, failure) : 0;
}

int clo_seal_root(struct clo_parts *parts, struct clo_failure *failure)
{
    if (parts->old_root && detach_old_root(parts, failure))
        return -1;
    if (parts->own_root && clo_make_read_only("/"))
        return clo_fail(failure, errno, "root: read-only");
    return 0;
}
