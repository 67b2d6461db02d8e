/* The table of watched calls. What is not here is never seen: reading, writing, closing, forking, waiting, ending, and
 * sending on a connected socket, which programs do all the time and which the answers of the others bound; and what
 * lies wholly in memory (clone3, which the static filter makes absent; sendmsg). */
#include <string.h>

#include "acts.h"

/* Kernel ABI values, the same on both machines. */
enum {
    PATH_ONLY = 0x200000,     /* O_PATH: the kernel then ignores what would write or create */
    CREATES = 0x00400040,     /* O_CREAT, and the bit of O_TMPFILE that is its own */
    WRITES = 0x3 | 0x200,     /* O_ACCMODE; O_TRUNC */
    NAMESPACES = 0x7e020000,  /* CLONE_NEWNS NEWCGROUP NEWUTS NEWIPC NEWUSER NEWPID NEWNET */
    NAMESPACES_AND_TIME = 0x7e020080,
    WRITE_AND_EXECUTE = 0x6,  /* PROT_WRITE PROT_EXEC */
    ADDRESS = 4,              /* the argument of sendto(2) that is one */
    PR_SECCOMP = 22, SECCOMP_STRICT = 0, SECCOMP_FILTER = 1,
    STICK_INPUT = 0x5412, LINUX_CONSOLE = 0x541c, CONSOLE = 0x541d, DISCIPLINE = 0x5423
};

#define ALL 0xffffffffU
#define BIT(act) (UINT64_C(1) << CLO_ACT_##act)
#define ALWAYS(name, act) {name, BIT(act), 0, CLO_ELSE, 0, 0}
#define NOT_WITH(name, argument, value) {name, 0, argument, CLO_EQ, ALL, value}
#define ONLY_WITH(name, act, argument, value) {name, BIT(act), argument, CLO_EQ, ALL, value}
#define OPENS(name, flags)                                    \
    {name, BIT(OPEN), flags, CLO_HAS, PATH_ONLY, 0},          \
        {name, BIT(CREATE), flags, CLO_HAS, CREATES, 0},      \
        {name, BIT(WRITE_OPEN), flags, CLO_HAS, WRITES, 0}, ALWAYS(name, OPEN)

/* clang-format off */
static const struct clo_watched table[] = {
    OPENS("open", 1), OPENS("openat", 2), ALWAYS("creat", CREATE),
    {"openat2", BIT(OPEN) | BIT(WRITE_OPEN) | BIT(CREATE), 0, CLO_ELSE, 0, 0}, /* its flags lie in memory */
    ALWAYS("mkdir", MKDIR), ALWAYS("mkdirat", MKDIR), ALWAYS("mknod", MKNOD), ALWAYS("mknodat", MKNOD),
    ALWAYS("unlink", UNLINK), ALWAYS("unlinkat", UNLINK), ALWAYS("rmdir", UNLINK),
    ALWAYS("rename", RENAME), ALWAYS("renameat", RENAME), ALWAYS("renameat2", RENAME),
    ALWAYS("link", LINK), ALWAYS("linkat", LINK), ALWAYS("symlink", SYMLINK), ALWAYS("symlinkat", SYMLINK),
    ALWAYS("chmod", CHMOD), ALWAYS("fchmod", CHMOD), ALWAYS("fchmodat", CHMOD), ALWAYS("fchmodat2", CHMOD),
    ALWAYS("chown", CHOWN), ALWAYS("fchown", CHOWN), ALWAYS("lchown", CHOWN), ALWAYS("fchownat", CHOWN),
    ALWAYS("utime", UTIME), ALWAYS("utimes", UTIME), ALWAYS("futimesat", UTIME), ALWAYS("utimensat", UTIME),
    ALWAYS("truncate", TRUNCATE), ALWAYS("ftruncate", TRUNCATE),
    ALWAYS("setxattr", XATTR), ALWAYS("lsetxattr", XATTR), ALWAYS("fsetxattr", XATTR), ALWAYS("setxattrat", XATTR),
    ALWAYS("removexattr", XATTR), ALWAYS("lremovexattr", XATTR), ALWAYS("fremovexattr", XATTR),
    ALWAYS("removexattrat", XATTR),
    ALWAYS("stat", STAT), ALWAYS("lstat", STAT), ALWAYS("newfstatat", STAT), ALWAYS("statx", STAT),
    ALWAYS("access", ACCESS), ALWAYS("faccessat", ACCESS), ALWAYS("faccessat2", ACCESS),
    ALWAYS("readlink", READLINK), ALWAYS("readlinkat", READLINK), ALWAYS("chdir", CHDIR), ALWAYS("fchdir", CHDIR),

    ALWAYS("execve", EXEC), ALWAYS("execveat", EXEC),
    ALWAYS("kill", SIGNAL), ALWAYS("tkill", SIGNAL), ALWAYS("tgkill", SIGNAL), ALWAYS("rt_sigqueueinfo", SIGNAL),
    ALWAYS("rt_tgsigqueueinfo", SIGNAL), ALWAYS("pidfd_send_signal", SIGNAL),
    ALWAYS("ptrace", PTRACE), ALWAYS("process_vm_readv", PTRACE), ALWAYS("process_vm_writev", PTRACE),
    ALWAYS("process_madvise", PTRACE), ALWAYS("kcmp", PTRACE), ALWAYS("pidfd_getfd", PTRACE),
    ALWAYS("setuid", SETID), ALWAYS("setgid", SETID), ALWAYS("setreuid", SETID), ALWAYS("setregid", SETID),
    ALWAYS("setresuid", SETID), ALWAYS("setresgid", SETID), ALWAYS("setfsuid", SETID), ALWAYS("setfsgid", SETID),
    ALWAYS("setgroups", SETID), ALWAYS("capset", SETID),
    {"prlimit64", BIT(LIMIT), 0, CLO_NE, ALL, 0}, /* of another process */
    ALWAYS("sched_setaffinity", LIMIT), ALWAYS("sched_setscheduler", LIMIT), ALWAYS("sched_setparam", LIMIT),
    ALWAYS("sched_setattr", LIMIT), ALWAYS("setpriority", LIMIT), ALWAYS("ioprio_set", LIMIT),
    ALWAYS("memfd_create", MEMFD), ALWAYS("memfd_secret", MEMFD),
    {"mmap", BIT(PROTECT), 2, CLO_EQ, WRITE_AND_EXECUTE, WRITE_AND_EXECUTE},
    {"mprotect", BIT(PROTECT), 2, CLO_EQ, WRITE_AND_EXECUTE, WRITE_AND_EXECUTE},
    {"pkey_mprotect", BIT(PROTECT), 2, CLO_EQ, WRITE_AND_EXECUTE, WRITE_AND_EXECUTE},

    ALWAYS("mount", MOUNT), ALWAYS("umount2", MOUNT), ALWAYS("open_tree", MOUNT), ALWAYS("open_tree_attr", MOUNT),
    ALWAYS("move_mount", MOUNT), ALWAYS("fsopen", MOUNT), ALWAYS("fsconfig", MOUNT), ALWAYS("fsmount", MOUNT),
    ALWAYS("fspick", MOUNT), ALWAYS("mount_setattr", MOUNT), ALWAYS("chroot", CHROOT), ALWAYS("pivot_root", CHROOT),
    {"clone", BIT(NAMESPACE), 0, CLO_HAS, NAMESPACES, 0}, {"unshare", BIT(NAMESPACE), 0, CLO_HAS, NAMESPACES_AND_TIME, 0},
    ALWAYS("setns", NAMESPACE),
    ALWAYS("init_module", MODULE), ALWAYS("finit_module", MODULE), ALWAYS("delete_module", MODULE),
    ALWAYS("kexec_load", MODULE), ALWAYS("kexec_file_load", MODULE),
    ALWAYS("bpf", KERNEL), ALWAYS("perf_event_open", KERNEL), ALWAYS("add_key", KERNEL), ALWAYS("request_key", KERNEL),
    ALWAYS("keyctl", KERNEL), ALWAYS("userfaultfd", KERNEL), ALWAYS("io_uring_setup", KERNEL),
    ALWAYS("io_uring_enter", KERNEL), ALWAYS("io_uring_register", KERNEL), ALWAYS("name_to_handle_at", KERNEL),
    ALWAYS("open_by_handle_at", KERNEL), ALWAYS("fanotify_init", KERNEL), ALWAYS("fanotify_mark", KERNEL),
    ALWAYS("iopl", KERNEL), ALWAYS("ioperm", KERNEL), ALWAYS("modify_ldt", KERNEL), ALWAYS("lsm_set_self_attr", KERNEL),
    NOT_WITH("personality", 0, 0), NOT_WITH("personality", 0, ALL), ALWAYS("personality", KERNEL), /* ALL: a question */
    ONLY_WITH("seccomp", KERNEL, 0, SECCOMP_STRICT), ONLY_WITH("seccomp", KERNEL, 0, SECCOMP_FILTER),
    ONLY_WITH("prctl", KERNEL, 0, PR_SECCOMP),
    ONLY_WITH("ioctl", KERNEL, 1, STICK_INPUT), ONLY_WITH("ioctl", KERNEL, 1, LINUX_CONSOLE),
    ONLY_WITH("ioctl", KERNEL, 1, CONSOLE), ONLY_WITH("ioctl", KERNEL, 1, DISCIPLINE),
    ALWAYS("settimeofday", SYSTEM), ALWAYS("clock_settime", SYSTEM), ALWAYS("clock_adjtime", SYSTEM),
    ALWAYS("adjtimex", SYSTEM), ALWAYS("sethostname", SYSTEM), ALWAYS("setdomainname", SYSTEM),
    ALWAYS("reboot", SYSTEM), ALWAYS("swapon", SYSTEM), ALWAYS("swapoff", SYSTEM), ALWAYS("quotactl", SYSTEM),
    ALWAYS("quotactl_fd", SYSTEM), ALWAYS("acct", SYSTEM), ALWAYS("syslog", SYSTEM), ALWAYS("vhangup", SYSTEM),

    ALWAYS("socket", SOCKET), ALWAYS("connect", CONNECT), ALWAYS("bind", BIND), ALWAYS("listen", LISTEN),
    ALWAYS("accept", ACCEPT), ALWAYS("accept4", ACCEPT),
    {"sendto", BIT(SEND), ADDRESS, CLO_WIDE, 0, 0}, /* without an address it is send(2) */
};
/* clang-format on */

_Static_assert(CLO_ACTS <= 64, "acts are bits of 64");

const struct clo_watched *clo_watched_row(size_t index) {
    return index < sizeof table / sizeof table[0] ? &table[index] : NULL;
}

/* Names of watched calls by a hash, so that each of some 400 calls of a machine is found at once: a supervisor is
 * started for every box. */
enum { SLOTS = 512 };
_Static_assert(SLOTS >= 2 * sizeof table / sizeof table[0], "looking for a name must end soon");

static uint32_t hash(const char *name) {
    uint32_t value = 2166136261; /* FNV-1a, 32 bits */
    for (; *name; name++) value = (value ^ (uint8_t)*name) * 16777619;
    return value;
}

/* Where a name is, or where it would be. */
static uint16_t *slot_of(uint16_t slots[SLOTS], const char *name) {
    uint32_t at = hash(name) % SLOTS;
    while (slots[at] && strcmp(table[slots[at] - 1].name, name)) at = (at + 1) % SLOTS;
    return &slots[at];
}

/* Fills the index for a machine; -EINVAL for one that is not known. */
int clo_watched_index(struct clo_watched_index *index, uint32_t arch) {
    const struct clo_syscall *call;
    uint16_t slots[SLOTS] = {0};
    if (arch > CLO_ARCH_AARCH64) return -EINVAL;
    memset(index, 0, sizeof *index);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        uint16_t *slot = slot_of(slots, table[i].name);
        if (!*slot) *slot = (uint16_t)(i + 1); /* the first row of a call */
    }
    for (size_t i = 0; (call = clo_syscall_row(i)); i++)
        if (call->number[arch] >= 0) index->first[call->number[arch]] = *slot_of(slots, call->name);
    return 0;
}

static int holds(const struct clo_watched *row, const uint64_t *arguments) {
    uint64_t wide = arguments[row->argument];
    uint32_t value = (uint32_t)wide;
    switch (row->op) {
    case CLO_EQ: return (value & row->mask) == row->value;
    case CLO_NE: return (value & row->mask) != row->value;
    case CLO_HAS: return (value & row->mask) != 0;
    case CLO_WIDE: return wide != 0;
    default: return 1;
    }
}

/* The acts that a call with these registers may be; 0: none. Thread safe. */
uint64_t clo_watched_acts(const struct clo_watched_index *index, int64_t number, const uint64_t arguments[6]) {
    if (number < 0 || number >= CLO_NUMBERS || !index->first[number]) return 0;
    size_t first = (size_t)index->first[number] - 1;
    for (size_t i = first; i < sizeof table / sizeof table[0]; i++) {
        if (i > first && strcmp(table[i].name, table[first].name)) return 0;
        if (holds(&table[i], arguments)) return table[i].acts;
    }
    return 0;
}

uint64_t clo_acts_of(uint32_t arch, int64_t number, const uint64_t *arguments) {
    struct clo_watched_index index;
    return clo_watched_index(&index, arch) ? 0 : clo_watched_acts(&index, number, arguments);
}

/* At "writes" a call that only looks is left to the kernel, asked for or not. */
uint64_t clo_acts_seen(uint32_t depth) {
    static const uint64_t looks = BIT(OPEN) | BIT(STAT) | BIT(ACCESS) | BIT(READLINK) | BIT(CHDIR);
    uint64_t all = 0;
    if (depth == CLO_DEPTH_OFF || depth > CLO_DEPTH_STRICT) return 0;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) all |= table[i].acts;
    return depth == CLO_DEPTH_WRITES ? all & ~looks : all;
}
