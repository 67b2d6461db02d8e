/* File systems of a box's own: how large they are, and new ones that are attached nowhere yet.
 *
 * Mounts are made as descriptors (fsopen, fsmount: Linux 5.2), so there is no mount point to be left behind: whatever
 * becomes of this process, the kernel takes the mount down with its last descriptor or namespace. */
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cloche_native.h"

static int set(int context, const char *key, const char *value) {
    return (int)syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, key, value, 0);
}

/* Gives the tmpfs whose root `folder` is new bounds. -EINVAL: more than that is in it; -EOPNOTSUPP: it is no tmpfs;
 * -EPERM: not root of the first user namespace. The descriptor stays the caller's. */
int clo_tmpfs_resize(int folder, uint64_t size, uint64_t inodes) {
    char text[2][24];
    struct statfs status;
    if (fstatfs(folder, &status)) return -errno;
    if (status.f_type != TMPFS_MAGIC) return -EOPNOTSUPP;
    snprintf(text[0], sizeof text[0], "%llu", (unsigned long long)size);
    snprintf(text[1], sizeof text[1], "%llu", (unsigned long long)inodes);
    int context = (int)syscall(SYS_fspick, folder, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH);
    if (context < 0) return -errno;
    int error = set(context, "size", text[0]) || set(context, "nr_inodes", text[1]) ||
                        syscall(SYS_fsconfig, context, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0)
                    ? -errno
                    : 0;
    close(context);
    return error;
}

/* A new mount of the block device at `source`, nosuid and nodev, attached nowhere: a descriptor, the caller's to close.
 * Closing it takes the mount down, unless it was attached meanwhile. */
int clo_mount_device(const char *type, const char *source) {
    int context = (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
    if (context < 0) return -errno;
    int mount = -1;
    if (!set(context, "source", source) && !syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
        mount = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    int error = -errno;
    close(context);
    return mount < 0 ? error : mount;
}
