/* The mounts that a launcher cannot make: sized file systems, a /proc with options, a /dev of a few nodes, an overlay
 * on a sized tmpfs; and all mounts of a box that has no launcher, see root.c. No guest runs yet, so paths may be walked
 * without care for races. */

#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "kernel.h"

/* Room enough for the names below, and for nothing else: a tmpfs without an inode limit holds kernel memory. */
static const char DEV_OPTIONS[] = "size=64k,nr_inodes=64,mode=755";

static const char *const NODES[CLO_NODES] = {"null", "zero", "full", "random", "urandom", "tty"};

static const char *const LINKS[][2] = {
    {"pts/ptmx", "ptmx"},          {"/proc/self/fd", "fd"},         {"/proc/self/fd/0", "stdin"},
    {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"},
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

int clo_make_read_only(const char *path)
{
    struct clo_mount_attr attr = {.set = CLO_MOUNT_ATTR_RDONLY};
    unsigned long flags = MS_REMOUNT | MS_BIND | MS_RDONLY;
    struct statvfs now;

    if (syscall(SYS_mount_setattr, AT_FDCWD, path, 0, &attr, sizeof attr) == 0)
        return 0;
    if (errno != ENOSYS || statvfs(path, &now))
        return -1;
    /* Before Linux 5.12: a remount says all flags, and must not drop one that the user namespace may not. */
    flags |= now.f_flag & ST_NOSUID ? MS_NOSUID : 0;
    flags |= now.f_flag & ST_NODEV ? MS_NODEV : 0;
    flags |= now.f_flag & ST_NOEXEC ? MS_NOEXEC : 0;
    flags |= now.f_flag & ST_NOATIME ? MS_NOATIME : 0;
    flags |= now.f_flag & ST_NODIRATIME ? MS_NODIRATIME : 0;
    flags |= now.f_flag & ST_RELATIME ? MS_RELATIME : 0;
    return mount(NULL, path, NULL, flags, NULL);
}

int clo_detach(const char *path)
{
    if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW))
        return -1;
    /* The empty mount point would only puzzle; where it cannot be removed it stays, and gives nothing away. */
    if (rmdir(path))
        (void)unlink(path);
    return 0;
}

int clo_copy_nodes(const struct clo_mount_asked *asked, int *nodes, struct clo_failure *failure)
{
    int source = open(asked->source, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (source < 0)
        return clo_fail(failure, errno, "mount: dev: %s", asked->source);
    for (size_t i = 0; i < COUNT(NODES); i++) {
        nodes[i] = clo_copy_mount(source, NODES[i], CLO_MOUNT_ATTR_NOSUID, false);
        if (nodes[i] < 0 && !(errno == ENOENT && strcmp(NODES[i], "tty") == 0)) {
            clo_fail(failure, errno, "mount: dev: %s/%s", asked->source, NODES[i]);
            close(source);
            return -1;
        }
    }
    return close(source);
}

static int attach_nodes(const int *nodes, int target, struct clo_failure *failure)
{
    for (size_t i = 0; i < COUNT(NODES); i++) {
        int file = nodes[i] < 0 ? -1 : openat(target, NODES[i], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0444);
        if (nodes[i] < 0)
            continue;
        if (file < 0 || close(file) || clo_attach(nodes[i], target, NODES[i]))
            return clo_fail(failure, errno, "mount: dev: %s", NODES[i]);
    }
    return 0;
}

/* Mounts a file system of its own on a new folder of /dev. */
static int mount_below(const struct clo_mount_asked *asked, int target, const char *name, const char *type,
                       const char *options)
{
    char path[CLO_PATH_SIZE];

    if (mkdirat(target, name, 0755))
        return -1;
    if (!*options)
        return 0;
    if (snprintf(path, sizeof path, "%s/%s", asked->target, name) >= (int)sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return mount(type, path, type, MS_NOSUID | MS_NOEXEC, options);
}

static int fill_dev(const struct clo_mount_asked *asked, const int *nodes, int target, struct clo_failure *failure)
{
    if (attach_nodes(nodes, target, failure))
        return -1;
    if (mount_below(asked, target, "pts", "devpts", "newinstance,ptmxmode=0666,mode=620"))
        return clo_fail(failure, errno, "mount: dev: pts");
    if (mount_below(asked, target, "shm", "tmpfs", asked->data))
        return clo_fail(failure, errno, "mount: dev: shm %s", asked->data);
    for (size_t i = 0; i < COUNT(LINKS); i++)
        if (symlinkat(LINKS[i][0], target, LINKS[i][1]))
            return clo_fail(failure, errno, "mount: dev: %s", LINKS[i][1]);
    return 0;
}

static int make_dev(const struct clo_mount_asked *asked, const int *nodes, struct clo_failure *failure)
{
    int target = open(asked->target, O_RDONLY | O_DIRECTORY | O_CLOEXEC), result;

    if (target < 0)
        return clo_fail(failure, errno, "mount: dev: %s", asked->target);
    result = fill_dev(asked, nodes, target, failure);
    close(target);
    return result;
}

/* What holds the nodes ends up read-only, so that no guest can put a FIFO where a program looks for /dev/null: a root
 * of our own does anyway; else it is a tmpfs. */
static int mount_dev(const struct clo_mount_asked *asked, struct clo_parts *parts, struct clo_failure *failure)
{
    if (parts->own_root)
        return clo_make_target(asked->target, true) ? clo_fail(failure, errno, "mount: dev: %s", asked->target)
                                                    : make_dev(asked, parts->nodes, failure);
    if (clo_copy_nodes(asked, parts->nodes, failure))
        return -1;
    if (mount("tmpfs", asked->target, "tmpfs", MS_NOSUID | MS_NOEXEC, DEV_OPTIONS))
        return clo_fail(failure, errno, "mount: dev: %s", asked->target);
    if (make_dev(asked, parts->nodes, failure))
        return -1;
    if (clo_make_read_only(asked->target))
        return clo_fail(failure, errno, "mount: dev: %s read-only", asked->target);
    if (clo_detach(asked->source))
        return clo_fail(failure, errno, "mount: dev: detach %s", asked->source);
    return 0;
}

/* Writes ",name=path" with what overlayfs treats as special escaped; false when it does not fit. */
static bool add_option(char *options, size_t size, const char *name, const char *path, const char *tail)
{
    size_t used = strlen(options);
    int head = snprintf(options + used, size - used, ",%s=", name);

    if (head < 0 || (size_t)head >= size - used)
        return false;
    used += (size_t)head;
    for (; *path; path++) {
        if (size - used < 3)
            return false;
        if (*path == '\\' || *path == ':' || *path == ',')
            options[used++] = '\\';
        options[used++] = *path;
    }
    return snprintf(options + used, size - used, "%s", tail) < (int)(size - used);
}

/* The lower folder may be what the tmpfs is about to cover: it is entered first and named ".". */
static int mount_overlay(const struct clo_mount_asked *asked, struct clo_failure *failure)
{
    char options[CLO_PATH_SIZE] = "userxattr,lowerdir=.";
    struct stat lower;
    int target;

    if (!add_option(options, sizeof options, "upperdir", asked->target, "/upper")
        || !add_option(options, sizeof options, "workdir", asked->target, "/work"))
        return clo_fail(failure, ENAMETOOLONG, "mount: overlay: %s", asked->target);
    if (chdir(asked->source) || stat(".", &lower))
        return clo_fail(failure, errno, "mount: overlay: %s", asked->source);
    if (mount("tmpfs", asked->target, "tmpfs", MS_NOSUID | MS_NODEV, asked->data))
        return clo_fail(failure, errno, "mount: overlay: tmpfs on %s with %s", asked->target, asked->data);
    target = open(asked->target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* The upper folder's mode is what the merged folder shows. */
    if (target < 0 || mkdirat(target, "upper", 0755) || fchmodat(target, "upper", lower.st_mode & 07777, 0)
        || mkdirat(target, "work", 0755)) {
        clo_fail(failure, errno, "mount: overlay: folders in %s", asked->target);
        if (target >= 0)
            close(target);
        return -1;
    }
    close(target);
    if (mount("overlay", asked->target, "overlay", MS_NOSUID | MS_NODEV, options))
        return clo_fail(failure, errno, "mount: overlay: %s on %s", asked->source, asked->target);
    return chdir("/") ? clo_fail(failure, errno, "mount: overlay: /") : 0;
}

static int mount_plain(const struct clo_mount_asked *asked, const char *type, unsigned long more,
                       struct clo_failure *failure)
{
    if (mount(type, asked->target, type, MS_NOSUID | MS_NODEV | more, asked->data))
        return clo_fail(failure, errno, "mount: %s on %s with %s", type, asked->target, asked->data);
    return 0;
}

/* Attaches what was taken from the host, and makes what it is attached to. */
static int mount_part(const struct clo_mount_asked *asked, struct clo_parts *parts, struct clo_failure *failure)
{
    const int part = parts->list[parts->next++];
    struct stat status;

    if (fstat(part, &status) || clo_make_target(asked->target, S_ISDIR(status.st_mode))
        || clo_attach(part, AT_FDCWD, asked->target))
        return clo_fail(failure, errno, "mount: on %s", asked->target);
    return 0;
}

static int make_link(const struct clo_mount_asked *asked, struct clo_failure *failure)
{
    return symlink(asked->source, asked->target) ? clo_fail(failure, errno, "mount: link: %s", asked->target) : 0;
}

static int make_folder(const struct clo_mount_asked *asked, struct clo_failure *failure)
{
    const mode_t mode = (mode_t)strtoul(asked->data, NULL, 8);

    if (clo_make_target(asked->target, true) || chmod(asked->target, mode))
        return clo_fail(failure, errno, "mount: folder: %s", asked->target);
    return 0;
}

static int mount_one(const struct clo_mount_asked *asked, struct clo_parts *parts, struct clo_failure *failure)
{
    if (asked->kind >= CLO_MOUNT_BIND && asked->kind < CLO_MOUNT_FOLDER && !parts->own_root)
        return clo_fail(failure, EINVAL, "mount: %s: only below a root of its own", asked->target);
    switch (asked->kind) {
    case CLO_MOUNT_TMPFS:
        if (parts->own_root && clo_make_target(asked->target, true))
            return clo_fail(failure, errno, "mount: folder for %s", asked->target);
        return mount_plain(asked, "tmpfs", 0, failure);
    case CLO_MOUNT_PROC:
        return parts->own_root ? mount_part(asked, parts, failure) : mount_plain(asked, "proc", MS_NOEXEC, failure);
    case CLO_MOUNT_DEV:
        return mount_dev(asked, parts, failure);
    case CLO_MOUNT_OVERLAY:
        return mount_overlay(asked, failure);
    case CLO_MOUNT_MASK:
        return clo_mount_mask(asked, failure);
    case CLO_MOUNT_BIND:
        return mount_part(asked, parts, failure);
    case CLO_MOUNT_SYMLINK:
        return make_link(asked, failure);
    case CLO_MOUNT_FOLDER:
        return make_folder(asked, failure);
    case CLO_MOUNT_AGAIN:
        return clo_mount_again(asked, failure);
    case CLO_MOUNT_ONLY:
        return clo_mount_only(asked, parts, failure);
    case CLO_MOUNT_SHOW:
        return clo_mount_show(asked, parts, failure);
    case CLO_MOUNT_SEAL:
        return clo_mount_seal(asked, failure);
    default: /* the parser lets no other through than a root, and that is first or not there */
        return parts->own_root ? 0 : clo_fail(failure, EINVAL, "mount: a root must come first");
    }
}

int clo_mount_all(const struct clo_setup *setup, struct clo_parts *parts, struct clo_failure *failure)
{
    struct clo_mount_asked asked;
    size_t at = 0;
    int result = 0;

    parts->covered = -1;
    if (clo_has_root(setup) && clo_enter_root(setup, parts, failure))
        return -1;
    while (!result && clo_next_mount(setup, &at, &asked))
        result = mount_one(&asked, parts, failure);
    if (parts->covered >= 0)
        close(parts->covered);
    return result;
}
