/* What is taken away from folders after they were mounted: covers, parts made read-only, parts alone left in sight.
 *
 * Theory. What is asked for here was found by the host, which looked at the folders from outside; another box that
 * writes to the same folder may have changed it since. So every path is opened once, without following a symbolic link
 * anywhere in it, and the mount is put on what was opened. Where that is no longer there the setup fails: a cover that
 * covers nothing would look applied.
 *
 * A mount point can be neither removed nor renamed by the guest (EBUSY: rename(2), unlink(2)), and nothing in it can be
 * linked or renamed to the other side of it (EXDEV). The folders above one are bound over themselves for that reason. */

#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel.h"

static const char MASK_OPTIONS[] = "size=4k,nr_inodes=1,mode=000";

/* An O_PATH descriptor, or -1 with errno: ELOOP where a symbolic link is met. */
static int open_plain(int folder, const char *path)
{
    const bool beneath = folder != AT_FDCWD;
    struct clo_open_how how = {.flags = O_PATH | O_CLOEXEC,
                               .resolve = CLO_RESOLVE_NO_SYMLINKS | CLO_RESOLVE_NO_MAGICLINKS
                                          | (beneath ? CLO_RESOLVE_BENEATH : 0)};

    return (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
}

/* Both descriptors are closed. */
static int attach_on(int mount, int target)
{
    const unsigned flags = CLO_MOVE_MOUNT_EMPTY_PATH | CLO_MOVE_MOUNT_T_EMPTY_PATH;
    int error = mount < 0 || syscall(SYS_move_mount, mount, "", target, "", flags) ? errno : 0;

    if (mount >= 0)
        close(mount);
    close(target);
    errno = error;
    return error ? -1 : 0;
}

static int new_cover(bool folder)
{
    if (folder)
        return clo_new_mount("tmpfs", MASK_OPTIONS, CLO_MOUNT_ATTR_NOSUID | CLO_MOUNT_ATTR_NODEV | CLO_MOUNT_ATTR_RDONLY);
    return clo_copy_mount(AT_FDCWD, "/dev/null", CLO_MOUNT_ATTR_NOSUID | CLO_MOUNT_ATTR_RDONLY, false);
}

/* What the box does not show at all needs no cover. */
static int mask_whatever(const struct clo_mount_asked *asked, struct clo_failure *failure)
{
    struct stat status;
    int cover;

    if (stat(asked->target, &status))
        return errno == ENOENT || errno == ENOTDIR ? 0 : clo_fail(failure, errno, "mount: mask: %s", asked->target);
    cover = new_cover(S_ISDIR(status.st_mode));
    if (cover < 0 || clo_attach(cover, AT_FDCWD, asked->target))
        return clo_fail(failure, errno, "mount: mask: %s", asked->target);
    return 0;
}

static int target_of_mask(const struct clo_mount_asked *asked)
{
    int target = open_plain(AT_FDCWD, asked->target);

    if (target >= 0 || errno != ENOENT || strcmp(asked->data, "make"))
        return target;
    return clo_make_target(asked->target, true) ? -1 : open_plain(AT_FDCWD, asked->target);
}

int clo_mount_mask(const struct clo_mount_asked *asked, struct clo_failure *failure)
{
    struct stat status;
    int target;

    if (!*asked->data)
        return mask_whatever(asked, failure);
    target = target_of_mask(asked);
    if (target < 0 || fstat(target, &status)) {
        clo_fail(failure, errno, "mount: mask: %s", asked->target);
        if (target >= 0)
            close(target);
        return -1;
    }
    if (attach_on(new_cover(S_ISDIR(status.st_mode)), target))
        return clo_fail(failure, errno, "mount: mask: %s", asked->target);
    return 0;
}

/* A copy of the tree of mounts at `tree`, or -1 with errno. */
static int copy_of(int tree, bool read_only)
{
    struct clo_mount_attr attr = {.set = read_only ? CLO_MOUNT_ATTR_RDONLY : 0, .propagation = MS_PRIVATE};
    const unsigned how = AT_EMPTY_PATH | CLO_AT_RECURSIVE;
    int copy = (int)syscall(SYS_open_tree, tree, "", CLO_OPEN_TREE_CLONE | O_CLOEXEC | how), error;

    if (copy < 0 || syscall(SYS_mount_setattr, copy, "", how, &attr, sizeof attr) == 0)
        return copy;
    error = errno;
    close(copy);
    errno = error;
    return -1;
}

int clo_mount_again(const struct clo_mount_asked *asked, struct clo_failure *failure)
{
    int target = open_plain(AT_FDCWD, asked->target);

    if (target < 0 || attach_on(copy_of(target, asked->data[1] == 'o'), target))
        return clo_fail(failure, errno, "mount: again: %s", asked->target);
    return 0;
}

int clo_mount_only(const struct clo_mount_asked *asked, struct clo_parts *parts, struct clo_failure *failure)
{
    int covered = open_plain(AT_FDCWD, asked->target), target = covered < 0 ? -1 : dup(covered);

    if (parts->covered >= 0)
        close(parts->covered);
    parts->covered = covered;
    if (target < 0
        || attach_on(clo_new_mount("tmpfs", asked->data, CLO_MOUNT_ATTR_NOSUID | CLO_MOUNT_ATTR_NODEV), target))
        return clo_fail(failure, errno, "mount: only: %s", asked->target);
    return 0;
}

int clo_mount_show(const struct clo_mount_asked *asked, struct clo_parts *parts, struct clo_failure *failure)
{
    struct stat status;
    int shown, copy, target;

    if (parts->covered < 0)
        return clo_fail(failure, EINVAL, "mount: show: %s: nothing is covered", asked->target);
    shown = open_plain(parts->covered, asked->source);
    if (shown < 0)
        return clo_fail(failure, errno, "mount: show: %s", asked->target);
    copy = fstat(shown, &status) ? -1 : copy_of(shown, false);
    close(shown);
    if (copy < 0)
        return clo_fail(failure, errno, "mount: show: %s", asked->target);
    target = clo_make_target(asked->target, S_ISDIR(status.st_mode)) ? -1 : open_plain(AT_FDCWD, asked->target);
    if (target < 0) {
        clo_fail(failure, errno, "mount: show: %s", asked->target);
        close(copy);
        return -1;
    }
    return attach_on(copy, target) ? clo_fail(failure, errno, "mount: show: %s", asked->target) : 0;
}

int clo_mount_seal(const struct clo_mount_asked *asked, struct clo_failure *failure)
{
    return clo_make_read_only(asked->target) ? clo_fail(failure, errno, "mount: seal: %s", asked->target) : 0;
}
