/* Kernel interfaces that the C library or its headers may be too old to name. System call numbers from 424 on are the
 * same on every architecture; the constants are those of the uapi headers of Linux 6.18. */

#ifndef CLO_KERNEL_H
#define CLO_KERNEL_H

#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#ifndef SYS_open_tree
#define SYS_open_tree 428
#endif
#ifndef SYS_move_mount
#define SYS_move_mount 429
#endif
#ifndef SYS_fsopen
#define SYS_fsopen 430
#define SYS_fsconfig 431
#define SYS_fsmount 432
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

/* Of seccomp(2), and what it is given. */
enum { CLO_SECCOMP_FILTER = 1, CLO_SECCOMP_LISTENER = 8, CLO_SECCOMP_WAIT_KILLABLE = 32 };

struct clo_filter_program {
    unsigned short length;
    const void *code;
};

/* Of a listener, and what it is given: struct seccomp_notif_resp and struct seccomp_notif_addfd. */
enum { CLO_NOTIFY_CONTINUE = 1, CLO_ADDFD_SEND = 2 };

struct clo_notify_answer {
    uint64_t id;
    int64_t value;
    int32_t error;
    uint32_t flags;
};

struct clo_notify_addfd {
    uint64_t id;
    uint32_t flags, from, to, to_flags;
};

#define CLO_NOTIFY_SEND _IOWR('!', 1, struct clo_notify_answer)
#define CLO_NOTIFY_ADDFD _IOW('!', 3, struct clo_notify_addfd)

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x1000
#endif

/* Names of our own: some of these are in <sys/mount.h>, some in <linux/mount.h>, and the two cannot be mixed. */
enum {
    CLO_OPEN_TREE_CLONE = 1,
    CLO_MOVE_MOUNT_EMPTY_PATH = 4,
    CLO_MOVE_MOUNT_FOLLOW = 0x10, /* symbolic links at the target's end */
    CLO_MOVE_MOUNT_T_EMPTY_PATH = 0x40,
    CLO_MOUNT_ATTR_RDONLY = 1,
    CLO_MOUNT_ATTR_NOSUID = 2,
    CLO_MOUNT_ATTR_NODEV = 4,
    CLO_MOUNT_ATTR_NOEXEC = 8,
    CLO_AT_RECURSIVE = 0x8000,
    CLO_FS_CLOEXEC = 1, /* of fsopen and fsmount */
    CLO_FSCONFIG_FLAG = 0,
    CLO_FSCONFIG_STRING = 1,
    CLO_FSCONFIG_CREATE = 6
};

struct clo_mount_attr {
    uint64_t set, clear, propagation, userns;
};

struct clo_open_how {
    uint64_t flags, mode, resolve;
};

/* Landlock, landlock(7). An older kernel takes the longer struct when what it does not know is zero. */
enum { CLO_LANDLOCK_VERSION = 1, CLO_LANDLOCK_PATH_BENEATH = 1 };

struct clo_landlock_ruleset {
    uint64_t fs, net, scope;
};

struct clo_landlock_path {
    uint64_t access;
    int32_t parent;
} __attribute__((packed));

#endif
