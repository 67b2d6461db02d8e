/* Everything Python sees of the C side, and the wire that the host and cloche-init speak.
 * Read by cffi (so: no preprocessor lines), by the native module and by cloche-init.
 *
 * The wire: one AF_UNIX SOCK_SEQPACKET socket. A packet is a clo_head, then records (clo_rec + payload,
 * no padding, host byte order). A body over CLO_WIRE_INLINE bytes travels in a sealed memfd: the packet is then
 * the head alone with CLO_HEAD_MEMFD set, and the memfd is the first passed descriptor.
 * Strings in records are not NUL-terminated unless said; a NUL inside one is refused by both sides. */

enum { CLO_WIRE_VERSION = 1, CLO_WIRE_INLINE = 61440, CLO_WIRE_BODY_MAX = 4194304, CLO_CONTROL_FD = 3 };

enum clo_msg {
    /* host -> init */
    CLO_MSG_SETUP = 1,  /* once, first: records below */
    CLO_MSG_EXEC = 2,   /* id = new exec id (never reused) */
    CLO_MSG_SIGNAL = 3, /* id; body: uint32 signal, uint32 clo_scope */
    CLO_MSG_KILL = 4,   /* id: SIGKILL the whole tree of that exec; id 0: every exec */
    CLO_MSG_RESIZE = 5, /* id; body: uint16 rows, uint16 columns */
    CLO_MSG_PAUSE = 6,  /* id = token; stops every guest process; answered by DONE */
    CLO_MSG_RESUME = 7, /* id = token; answered by DONE */
    CLO_MSG_QUIT = 8,   /* kill every guest process, then exit 0 */
    /* init -> host */
    CLO_MSG_READY = 64,   /* body: uint32 wire version; descriptors: O_PATH of the box's root folder */
    CLO_MSG_FAILED = 65,  /* setup failed, or what follows READY did; init exits; body: int32 errno, then text "what: detail" */
    CLO_MSG_STARTED = 66, /* id; body: uint32 pid as the box sees it; descriptor: PTY master if asked for */
    CLO_MSG_REFUSED = 67, /* id; body: int32 errno, uint32 clo_stage; nothing of the guest ran */
    CLO_MSG_EXITED = 68,  /* id; body: struct clo_exited. May come again, or without STARTED: the first counts */
    CLO_MSG_DONE = 69     /* id = token; body: int32 errno (0 = done) */
};

enum { CLO_HEAD_MEMFD = 1 };

enum clo_scope { CLO_SCOPE_MAIN = 0, CLO_SCOPE_GROUP = 1, CLO_SCOPE_TREE = 2 };

/* Which step of an exec failed. Only CLO_STAGE_EXEC is the caller's program; the others are ours. */
enum clo_stage {
    CLO_STAGE_REQUEST = 1, CLO_STAGE_FORK = 2, CLO_STAGE_STDIO = 3, CLO_STAGE_PTY = 4, CLO_STAGE_LIMITS = 5,
    CLO_STAGE_CWD = 6, CLO_STAGE_LANDLOCK = 7, CLO_STAGE_SECCOMP = 8, CLO_STAGE_EXEC = 9
};

enum clo_tag {
    /* SETUP */
    CLO_TAG_FLAGS = 1,       /* uint32 clo_setup_flag */
    CLO_TAG_HOSTNAME = 2,    /* text */
    CLO_TAG_MOUNT = 3,       /* uint32 clo_mount, then source NUL target NUL data NUL; done in the order given */
    CLO_TAG_LANDLOCK = 4,    /* uint32 clo_landlock flags */
    CLO_TAG_PATH = 5,        /* uint32 clo_access, then an absolute path: a Landlock rule */
    CLO_TAG_SECCOMP = 6,     /* array of struct sock_filter, put on cloche-init and so on every exec */
    CLO_TAG_RLIMIT = 7,      /* uint32 resource, uint32 0, uint64 soft, uint64 hard; put on every exec */
    CLO_TAG_AFFINITY = 8,    /* cpu mask bytes as sched_setaffinity(2) takes them */
    CLO_TAG_PIDS = 9,        /* uint32: RLIMIT_NPROC of an exec = this + what cloche-init itself runs */
    CLO_TAG_IDS = 10,        /* uint32 uid here, uid outside, gid here, gid outside: maps the user namespace, first */
    /* EXEC */
    CLO_TAG_EXEC_FLAGS = 32, /* uint32 clo_exec_flag */
    CLO_TAG_ARGV = 33,       /* each argument with its NUL */
    CLO_TAG_ENV = 34,        /* each NAME=value with its NUL; the whole environment */
    CLO_TAG_CWD = 35,        /* absolute path in the box */
    CLO_TAG_WINDOW = 36      /* uint16 rows, uint16 columns */
};

enum clo_setup_flag {
    CLO_SETUP_REAPER = 1,   /* become PR_SET_CHILD_SUBREAPER (needed when not PID 1) */
    CLO_SETUP_DROP = 2,     /* drop every capability, the bounding set too, after the mounts */
    CLO_SETUP_ROOT_RO = 4,  /* remount / read-only after the mounts */
    CLO_SETUP_HIDE_INIT = 8, /* detach the mount /.cloche that this program was started from */
    CLO_SETUP_NETWORK = 16,  /* enter a new network namespace */
    CLO_SETUP_LOOPBACK = 32  /* bring up lo, there */
};

/* Mounts that the launcher cannot make. All are nosuid,nodev unless said. */
enum clo_mount {
    CLO_MOUNT_TMPFS = 1,  /* target, data "size=...,nr_inodes=...,mode=..." */
    CLO_MOUNT_PROC = 2,   /* target, data e.g. "subset=pid"; +noexec */
    CLO_MOUNT_DEV = 3,    /* source: a bind of the host's /dev, used and detached; target: a small /dev is made there;
                           * data: options of the tmpfs at its shm, which without any is an empty folder */
    CLO_MOUNT_OVERLAY = 4, /* target, source = lower folder, data = options of the sized tmpfs that holds upper and work */
    CLO_MOUNT_MASK = 5,    /* target: an empty, closed folder over a folder, /dev/null over a file; none there: nothing */
    /* Only in a setup whose first mount is ROOT. Targets of mounts are then made as needed. */
    CLO_MOUNT_ROOT = 6,    /* target "/", data as TMPFS: a new root folder; nothing of the old one stays */
    CLO_MOUNT_BIND = 7,    /* source: of the old root, with what is mounted below it; target; data "ro" or "rw" */
    CLO_MOUNT_SYMLINK = 8, /* target = the link, source = the text in it */
    CLO_MOUNT_FOLDER = 9   /* target, data = its mode, octal */
};

enum clo_landlock { CLO_LANDLOCK_FS = 1, CLO_LANDLOCK_NO_TCP = 2, CLO_LANDLOCK_SCOPE = 4 };
enum clo_access { CLO_ACCESS_READ = 1, CLO_ACCESS_EXECUTE = 2, CLO_ACCESS_WRITE = 4 };
enum clo_exec_flag {
    CLO_EXEC_STDIN = 1, CLO_EXEC_STDOUT = 2, CLO_EXEC_STDERR = 4, /* that descriptor is passed, in this order */
    CLO_EXEC_PTY = 8,     /* a terminal from the box's own devpts instead; no descriptors passed */
    CLO_EXEC_LINGER = 16, /* leave the program's descendants alive when it ends */
    CLO_EXEC_PROBE = 32   /* run the built-in self-test instead of argv: JSON on stdout */
};

struct clo_head { uint16_t type; uint16_t flags; uint32_t id; };
struct clo_rec { uint16_t tag; uint16_t zero; uint32_t len; };
struct clo_exited {
    int32_t status;       /* as waitpid(2) */
    uint32_t leftovers;   /* descendants killed after the program ended */
    uint64_t user_us, system_us, peak_kib; /* of the program and what it waited for, getrusage(2) */
};

/* ---- The native module: system calls that Python lacks. Not used by cloche-init. ----
 * Functions return a negative errno on failure; all are safe to call from several threads at once. */

/* Starting a program. Which step failed is told in clo_spawn.step, which item of it in clo_spawn.index. */
enum clo_step {
    CLO_STEP_NONE = 0, CLO_STEP_STACK = 1, CLO_STEP_CLONE = 2, CLO_STEP_SIGNALS = 3, CLO_STEP_CGROUP = 4,
    CLO_STEP_NAMESPACE = 5, CLO_STEP_STAGE_FOLDER = 6, CLO_STEP_STAGE_SOURCE = 7, CLO_STEP_STAGE_TARGET = 8,
    CLO_STEP_STAGE_IDMAP = 9, CLO_STEP_STAGE_ATTACH = 10, CLO_STEP_DESCRIPTORS = 11, CLO_STEP_SESSION = 12,
    CLO_STEP_GROUPS = 13, CLO_STEP_GID = 14, CLO_STEP_UID = 15, CLO_STEP_CWD = 16, CLO_STEP_PARENT = 17,
    CLO_STEP_EXEC = 18, CLO_STEP_ENTER = 19, CLO_STEP_CAPABILITIES = 20
};


struct clo_stage_mount {
    const char *source;  /* absolute path of a folder or file */
    const char *target;  /* name made in the stage folder, no slash */
    int32_t userns;      /* from clo_idmap_userns, or -1: not idmapped */
    uint32_t read_only;
};

struct clo_spawn {
    const char *const *argv;  /* argv[0] is the path, not searched for; ends with NULL */
    const char *const *env;   /* NAME=value; ends with NULL */
    const char *cwd;          /* or NULL */
    const int32_t *fds;       /* pairs (number in the child, number here), the first ones ascending */
    const int32_t *cgroups;   /* open for writing; each is given "0" */
    const char *stage_folder; /* or NULL; gets a tmpfs in the child's own mount namespace */
    const struct clo_stage_mount *stages;
    uint32_t n_fds, n_cgroups, n_stages;
    int32_t death_signal;     /* 0: none */
    int64_t uid, gid;         /* both, or both -1: kept */
    uint32_t new_session;
    uint32_t namespaces;      /* new ones of every kind but network */
    int32_t pid, pidfd, step, index; /* out */
};

int clo_spawn(struct clo_spawn *spawn);
int clo_idmap_userns(uint32_t from_uid, uint32_t to_uid, uint32_t from_gid, uint32_t to_gid);

/* The static filter. */
enum clo_arch { CLO_ARCH_X86_64 = 0, CLO_ARCH_AARCH64 = 1 };
enum clo_level { CLO_STANDARD = 0, CLO_ENHANCED = 1, CLO_MAXIMUM = 2, CLO_LEVELS = 3 };
enum clo_sockets { CLO_SOCKETS_ALL = 0, CLO_SOCKETS_UNIX = 1, CLO_SOCKETS_NONE = 2, CLO_SOCKETS_INET = 3 };

struct clo_filter {
    uint32_t arch, level, sockets;
    int32_t protect_pid;     /* 0: none */
    const char *const *deny; /* names of system calls */
    size_t n_deny;
};

int clo_seccomp_program(const struct clo_filter *request, void *code, size_t room);
int clo_syscall_number(const char *name, uint32_t arch);
const char *clo_syscall_name(size_t index); /* NULL past the end */

/* Others. */
enum clo_resolve {
    CLO_RESOLVE_NO_XDEV = 1, CLO_RESOLVE_NO_MAGICLINKS = 2, CLO_RESOLVE_NO_SYMLINKS = 4, CLO_RESOLVE_BENEATH = 8,
    CLO_RESOLVE_IN_ROOT = 16, CLO_RESOLVE_CACHED = 32
};

int clo_landlock_abi(void);
int clo_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
