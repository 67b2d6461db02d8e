/* Single system calls. */
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cloche_native.h"

enum { LANDLOCK_CREATE_RULESET = 444, LANDLOCK_ASK_VERSION = 1 };

_Static_assert(CLO_RESOLVE_NO_XDEV == RESOLVE_NO_XDEV && CLO_RESOLVE_NO_MAGICLINKS == RESOLVE_NO_MAGICLINKS &&
                   CLO_RESOLVE_NO_SYMLINKS == RESOLVE_NO_SYMLINKS && CLO_RESOLVE_BENEATH == RESOLVE_BENEATH &&
                   CLO_RESOLVE_IN_ROOT == RESOLVE_IN_ROOT && CLO_RESOLVE_CACHED == RESOLVE_CACHED,
               "openat2(2)");

/* The ABI of Landlock, 1 or more; -ENOSYS when not built, -EOPNOTSUPP when turned off at boot (landlock(7)). */
int clo_landlock_abi(void) {
    long abi = syscall(LANDLOCK_CREATE_RULESET, NULL, 0, LANDLOCK_ASK_VERSION);
    return abi < 0 ? -errno : (int)abi;
}

/* A new descriptor, the caller's to close. */
int clo_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
    struct open_how how = {.flags = flags, .mode = mode, .resolve = resolve};
    long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof how);
    return fd < 0 ? -errno : (int)fd;
}

/* A memory-backed file system that is mounted nowhere, as an O_PATH descriptor of its root folder, the caller's to close:
 * with it goes the file system. Limits as in tmpfs(5). Needs CAP_SYS_ADMIN. Or a negative errno. */
int clo_tmpfs(const char *size, const char *inodes) {
    int fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
    if (fs < 0) return -errno;
    int failed = syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "size", size, 0) ||
                 syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "nr_inodes", inodes, 0) ||
                 syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "mode", "0700", 0) ||
                 syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    int root = failed ? -errno
                      : (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC,
                                     MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (!failed && root < 0) root = -errno;
    close(fs);
    return root;
}
