/* Everything Python sees of the C side, and the wire that the host and cloche-init speak.
 * Read by cffi (so: no preprocessor lines), by the native module and by cloche-init. Rules: cdef_rules.h; guests: cdef_guest.h.
 *
 * The wire: one AF_UNIX SOCK_SEQPACKET socket. A packet is a clo_head, then records (clo_rec + payload,
 * no padding, host byte order). A body over CLO_WIRE_INLINE bytes travels in a sealed memfd: the packet is then
 * the head alone with CLO_HEAD_MEMFD set, and the memfd is the first passed descriptor.
 * Strings in records are not NUL-terminated unless said; a NUL inside one is refused by both sides. */

enum { CLO_WIRE_VERSION = 3, CLO_WIRE_INLINE = 61440, CLO_WIRE_BODY_MAX = 4194304, CLO_CONTROL_FD = 3 };

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
    CLO_MSG_LIMITS = 9, /* id = token; RLIMIT, PIDS and MEMORY records, which replace those of SETUP for every later
                         * exec and for what runs; answered by DONE, with EPERM when what runs keeps the old ones */
    CLO_MSG_WATCH = 10, /* id = token; a WATCH record, which replaces that of SETUP for every later exec; answered by
                         * DONE, with EINVAL when there was none */
    CLO_MSG_QUIET = 11, /* id = token; of cloche-inner: may the guest be checkpointed? Answered by DONE, EBUSY: not now */
    /* init -> host */
    CLO_MSG_READY = 64,   /* body: uint32 wire version; descriptors: O_PATH of the box's root folder */
    CLO_MSG_FAILED = 65,  /* setup failed, or what follows READY did; init exits; body: int32 errno, then text "what: detail" */
    CLO_MSG_STARTED = 66, /* id; body: uint32 pid as the box sees it; descriptor: PTY master if asked for */
    CLO_MSG_REFUSED = 67, /* id; body: int32 errno, uint32 clo_stage; nothing of the guest ran */
    CLO_MSG_EXITED = 68,  /* id; body: struct clo_exited. May come again, or without STARTED: the first counts */
    CLO_MSG_DONE = 69     /* id = token; body: int32 errno (0 = done) */
};

enum { CLO_HEAD_MEMFD = 1 };

enum clo_cause { CLO_CAUSE_MEMORY = 1 }; /* why cloche-init itself killed an exec */

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
    CLO_TAG_MEMORY = 11,     /* uint64: bytes that all execs may have together; the one that has most is killed */
    CLO_TAG_WATCH = 12,      /* array of struct sock_filter, put on every program besides: see the watch socket below */
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
    CLO_SETUP_LOOPBACK = 32, /* bring up lo, there */
    CLO_SETUP_TRY_WATCH = 64 /* try whether a program could be watched, for the self-test to tell */
};

/* Mounts that the launcher cannot make. All are nosuid,nodev unless said. */
enum clo_mount {
    CLO_MOUNT_TMPFS = 1,  /* target, data "size=...,nr_inodes=...,mode=..." */
    CLO_MOUNT_PROC = 2,   /* target, data e.g. "subset=pid"; +noexec */
    CLO_MOUNT_DEV = 3,    /* source: a bind of the host's /dev, used and detached; target: a small /dev is made there;
                           * data: options of the tmpfs at its shm, which without any is an empty folder */
    CLO_MOUNT_OVERLAY = 4, /* target, source = lower folder, data = options of the sized tmpfs that holds upper and work */
    CLO_MOUNT_MASK = 5,    /* target: an empty, closed folder over a folder, /dev/null over a file; data "": over what a
                            * link there leads to, none there: nothing; "there": no link is followed, none there: failure;
                            * "make": the same, none there: a folder is made */
    /* Only in a setup whose first mount is ROOT. Targets of mounts are then made as needed. */
    CLO_MOUNT_ROOT = 6,    /* target "/", data as TMPFS: a new root folder; nothing of the old one stays */
    CLO_MOUNT_BIND = 7,    /* source: of the old root, with what is mounted below it; target; data "ro" or "rw" */
    CLO_MOUNT_SYMLINK = 8, /* target = the link, source = the text in it */
    /* In any setup. */
    CLO_MOUNT_FOLDER = 9,  /* target, made as needed; data = its mode, octal */
    /* No symbolic link is followed, and what is not there is a failure. */
    CLO_MOUNT_AGAIN = 10,  /* target: over itself, with what is mounted below; data "ro" or "rw" (as it is) */
    CLO_MOUNT_ONLY = 11,   /* target, a folder: a tmpfs with data as its options over it; what is covered is kept open */
    CLO_MOUNT_SHOW = 12,   /* source: a path, not absolute, in what the last ONLY covered; target: made as needed */
    CLO_MOUNT_SEAL = 13    /* target: what is mounted there becomes read-only, what is mounted below it stays */
};

enum clo_landlock { CLO_LANDLOCK_FS = 1, CLO_LANDLOCK_NO_TCP = 2, CLO_LANDLOCK_SCOPE = 4 };
enum clo_access {
    CLO_ACCESS_READ = 1,     /* what is in files */
    CLO_ACCESS_EXECUTE = 2,
    CLO_ACCESS_WRITE = 4,    /* change what is in files; ioctl(2) of devices */
    CLO_ACCESS_LIST = 8,     /* what is in folders */
    CLO_ACCESS_CREATE = 16,  /* names of all kinds but devices */
    CLO_ACCESS_DELETE = 32,  /* names; with CREATE or this, renaming and linking to other folders with the same rules */
    CLO_ACCESS_NO_LINKS = 64 /* of the rule itself: refuse it if there is a symbolic link in its path */
};
enum clo_exec_flag {
    CLO_EXEC_STDIN = 1, CLO_EXEC_STDOUT = 2, CLO_EXEC_STDERR = 4, /* that descriptor is passed, in this order */
    CLO_EXEC_PTY = 8,     /* a terminal from the box's own devpts instead; no descriptors passed */
    CLO_EXEC_LINGER = 16, /* leave the program's descendants alive when it ends */
    CLO_EXEC_PROBE = 32,  /* run the built-in self-test instead of argv: JSON on stdout */
    CLO_EXEC_WORKER = 64, /* cloche-inner: a resident worker (native/inner/worker.c); no descriptors passed */
    CLO_EXEC_BY_WORKER = 128 /* cloche-inner: a fork of the worker, which takes argv, instead of a new program */
};

struct clo_head { uint16_t type; uint16_t flags; uint32_t id; };
struct clo_rec { uint16_t tag; uint16_t zero; uint32_t len; };
struct clo_exited {
    int32_t status;       /* as waitpid(2) */
    uint32_t leftovers;   /* descendants killed after the program ended */
    uint64_t user_us, system_us, peak_kib; /* of the program and what it waited for, getrusage(2) */
    uint32_t cause;       /* clo_cause, or 0: it ended by itself or as the host asked */
    uint32_t zero;
};

/* ---- The native module: system calls that Python lacks. Not used by cloche-init. ----
 * Functions return a negative errno on failure; all are safe to call from several threads at once. */

/* Starting a program. Which step failed is told in clo_spawn.step, which item of it in clo_spawn.index. */
enum clo_step {
    CLO_STEP_NONE = 0, CLO_STEP_STACK = 1, CLO_STEP_CLONE = 2, CLO_STEP_SIGNALS = 3, CLO_STEP_CGROUP = 4,
    CLO_STEP_NAMESPACE = 5, CLO_STEP_STAGE_FOLDER = 6, CLO_STEP_STAGE_SOURCE = 7, CLO_STEP_STAGE_TARGET = 8,
    CLO_STEP_STAGE_IDMAP = 9, CLO_STEP_STAGE_ATTACH = 10, CLO_STEP_DESCRIPTORS = 11, CLO_STEP_SESSION = 12,
    CLO_STEP_GROUPS = 13, CLO_STEP_GID = 14, CLO_STEP_UID = 15, CLO_STEP_CWD = 16, CLO_STEP_PARENT = 17,
    CLO_STEP_EXEC = 18, CLO_STEP_ENTER = 19, CLO_STEP_CAPABILITIES = 20, CLO_STEP_STAGE_MEMORY = 21, CLO_STEP_COVER = 22
};


struct clo_stage_mount {
    const char *source;  /* absolute path of a folder or file; not looked at with a tree; NULL: memory alone */
    const char *target;  /* name made in the stage folder, no slash */
    int32_t userns;      /* from clo_idmap_userns, or -1: not idmapped */
    int32_t tree;        /* a mount that is attached nowhere, taken as it is; or -1 */
    const char *memory;  /* options of a tmpfs that takes what is written, over the source where there is one; or NULL */
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
    const char *cover;        /* a folder that the child sees empty, in a mount namespace of its own; or NULL */
    uint32_t n_fds, n_cgroups, n_stages;
    int32_t death_signal;     /* 0: none */
    int64_t uid, gid;         /* both, or both -1: kept */
    uint32_t new_session;
    uint32_t namespaces;      /* new ones of every kind but network */
    int32_t pid, pidfd, step, index; /* out */
};

int clo_spawn(struct clo_spawn *spawn);
int clo_idmap_userns(uint32_t from_uid, uint32_t to_uid, uint32_t from_gid, uint32_t to_gid, uint32_t root);

/* The static filter. */
enum clo_arch { CLO_ARCH_X86_64 = 0, CLO_ARCH_AARCH64 = 1 };
enum clo_level { CLO_STANDARD = 0, CLO_ENHANCED = 1, CLO_MAXIMUM = 2, CLO_LEVELS = 3 };
enum clo_sockets { CLO_SOCKETS_ALL = 0, CLO_SOCKETS_UNIX = 1, CLO_SOCKETS_NONE = 2, CLO_SOCKETS_INET = 3 };

struct clo_filter {
    uint32_t arch, level, sockets;
    int32_t protect_pid;     /* 0: none */
    uint32_t no_set_id;      /* not 0: no file gets a set-id bit */
    const char *const *deny; /* names of system calls */
    size_t n_deny;
};

int clo_seccomp_program(const struct clo_filter *request, void *code, size_t room);
int clo_syscall_number(const char *name, uint32_t arch);
const char *clo_syscall_name(size_t index); /* NULL past the end */

/* Watching: which acts of a guest are told to the host (acts.c, watch_filter.c). `acts` are bits by clo_act. */
enum clo_depth { CLO_DEPTH_OFF = 0, CLO_DEPTH_WRITES = 1, CLO_DEPTH_FULL = 2, CLO_DEPTH_STRICT = 3 };

/* What a system call with these six registers may be, bits by clo_act; 0: it is never told. Of several, which one lies
 * in the guest's memory. */
uint64_t clo_acts_of(uint32_t arch, int64_t number, const uint64_t *arguments);
uint64_t clo_acts_seen(uint32_t depth); /* the acts that can be told at a depth */

/* Two filters for a box whose static filter is `plain`. The agent's is that filter, but a call that is one of the acts
 * `opened` goes through instead of being refused, and so does putting a filter on. The watch filter, which every program
 * has besides, notifies of the calls that are one of `acts`, and refuses as `plain` does what the agent's filter was
 * opened for and is not notified: so the two together, with a listener that refuses what `plain` refuses, never allow
 * more than `plain`. Written to code, of room instructions; their count, or as clo_seccomp_program. */
int clo_agent_program(const struct clo_filter *plain, uint64_t opened, void *code, size_t room);
int clo_watch_program(const struct clo_filter *plain, uint64_t acts, uint64_t opened, void *code, size_t room);

/* Others. */
enum clo_resolve {
    CLO_RESOLVE_NO_XDEV = 1, CLO_RESOLVE_NO_MAGICLINKS = 2, CLO_RESOLVE_NO_SYMLINKS = 4, CLO_RESOLVE_BENEATH = 8,
    CLO_RESOLVE_IN_ROOT = 16, CLO_RESOLVE_CACHED = 32
};

int clo_landlock_abi(void);
int clo_tmpfs_resize(int folder, uint64_t size, uint64_t inodes);
int clo_mount_device(const char *type, const char *source);
int clo_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);

/* Networks (network.c). Addresses are of IPv4, in network byte order. */
struct clo_cable {
    int32_t inside, outside;  /* out: the namespaces */
    int32_t error;
    uint32_t inside_address, outside_address;
    uint8_t prefix;           /* bits that both addresses share */
};

int clo_cable(struct clo_cable *cable);
int clo_socket_in(int space, int family, int type);

/* Files beneath a folder that somebody hostile fills (files.c, files_tree.c). Paths end with NUL, are relative and have
 * no "." or ".."; "" is the folder `root` itself. A thread acts as `who` for the length of a call; uid -1: as itself. */
struct clo_who { int64_t uid, gid; };

struct clo_file {
    uint64_t offset; /* of what follows it in its folder, for lseek(2) */
    uint64_t inode, size;
    int64_t modified_ns, changed_ns;
    uint32_t mode, links;
};

enum clo_file_how {
    CLO_FILE_READ = 0, CLO_FILE_WRITE = 1, /* made or emptied */ CLO_FILE_APPEND = 2, CLO_FILE_NEW = 3, CLO_FILE_FOLDER = 4,
    CLO_FILE_BOTH = 5 /* read and written, if it is there */
};

int clo_file_open(int root, const struct clo_who *who, const char *path, uint32_t how, uint32_t mode);
int clo_file_stat(int root, const struct clo_who *who, const char *path, struct clo_file *file, char *target);
int clo_file_list(int folder, const struct clo_who *who, struct clo_file *files, size_t room, char *text, size_t text_room, size_t *used);
int clo_file_write(int root, const struct clo_who *who, const char *path, const char *temp, const void *data, size_t size, int64_t mode);
int clo_file_mkdir(int root, const struct clo_who *who, const char *path, uint32_t mode);
int clo_file_symlink(int root, const struct clo_who *who, const char *path, const char *target);
int clo_file_move(int root, const struct clo_who *who, const char *source, const char *target, uint32_t flags);
int clo_file_chmod(int root, const struct clo_who *who, const char *path, uint32_t mode);
int clo_file_remove(int root, const struct clo_who *who, const char *path, int recursive, size_t budget);
int clo_tmpfs(const char *size, const char *inodes);

/* Being told of changes in folders (watch.c). Events are read(2) from the descriptor: struct inotify_event, inotify(7). */
enum clo_watch {
    CLO_WATCH_MODIFY = 0x2, CLO_WATCH_ATTRIB = 0x4, CLO_WATCH_MOVED_FROM = 0x40, CLO_WATCH_MOVED_TO = 0x80,
    CLO_WATCH_CREATE = 0x100, CLO_WATCH_DELETE = 0x200, CLO_WATCH_DELETE_SELF = 0x400, CLO_WATCH_MOVE_SELF = 0x800,
    CLO_WATCH_UNMOUNT = 0x2000, CLO_WATCH_OVERFLOW = 0x4000, CLO_WATCH_IGNORED = 0x8000, CLO_WATCH_FOLDER = 0x40000000
};

int clo_watch_open(void);
int clo_watch_add(int watch, int folder);
int clo_watch_remove(int watch, int number);

/* ---- Paths (paths_normal.c): as their text says, no file is looked at. Any bytes, NUL too. ---- */
size_t clo_path_normalise(const char *base, size_t base_size, const char *path, size_t size, char *out, size_t room,
                          _Bool *climbs);

/* Patterns of paths, and which sets of them a path is in (paths.c). A pattern is components, each after a '/'. In one:
 * '*' is any bytes, '?' one byte, [a-z] one of these, [!a-z] one of the others, and \x is x as it is. A component of two
 * stars alone is any number of components, also none; first, it may stand without a '/' before it. docs/patterns.md */
enum {
    CLO_PATTERN_MAX = 4095,         /* bytes of a pattern */
    CLO_PATTERNS_MAX = 16384,       /* patterns of one build */
    CLO_PATTERNS_BYTES = 1048576,   /* of all of them together */
    CLO_PATTERN_SETS = 1024
};

enum clo_pattern_fault {
    CLO_PATTERN_FINE = 0, CLO_PATTERN_EMPTY = 1, CLO_PATTERN_LONG = 2, CLO_PATTERN_NUL = 3,
    CLO_PATTERN_RELATIVE = 4, /* begins with neither '/' nor two stars */
    CLO_PATTERN_NOTHING = 5,  /* an empty component */
    CLO_PATTERN_DOTS = 6,     /* a component "." or "..", which no path in its normal form has */
    CLO_PATTERN_STARS = 7,    /* two stars within a component */
    CLO_PATTERN_ESCAPE = 8,   /* a component ends with a lone backslash */
    CLO_PATTERN_CLASS = 9,    /* [...] without an end or a byte, with a '/' or a bare '[' in it, "[^", a range backwards */
    CLO_PATTERN_MANY = 10     /* too many different classes in all patterns together; only of a build */
};

struct clo_paths;
struct clo_pattern_asked { const char *text; uint32_t size; uint32_t set; };

struct clo_paths_info {
    uint32_t patterns, sets;
    uint32_t automata, states;
    uint32_t direct;     /* patterns that make too many states alone: each is looked for by itself, in linear time */
    uint32_t zero;
    uint64_t bytes;      /* of memory */
};

int clo_pattern_fault(const char *text, size_t size);
int clo_paths_build(const struct clo_pattern_asked *asked, size_t count, uint32_t sets, struct clo_paths **out, uint32_t *bad);
int clo_paths_build_within(const struct clo_pattern_asked *asked, size_t count, uint32_t sets, size_t states_max,
                           struct clo_paths **out, uint32_t *bad);
void clo_paths_free(struct clo_paths *paths);
void clo_paths_match(const struct clo_paths *paths, const char *path, size_t size, uint64_t *bits);
void clo_paths_info(const struct clo_paths *paths, struct clo_paths_info *info);

/* Paths matched before, of one sandbox, for one thread at a time (paths_cache.c). */
struct clo_path_cache;
struct clo_path_cache *clo_path_cache_new(const struct clo_paths *paths);
void clo_path_cache_free(struct clo_path_cache *cache);
void clo_path_cache_clear(struct clo_path_cache *cache);
_Bool clo_path_cache_find(const struct clo_path_cache *cache, const char *path, size_t size, uint64_t *bits);
void clo_path_cache_match(struct clo_path_cache *cache, const char *path, size_t size, uint64_t *bits);

/* ---- Events: what a guest does, one record an act. ----
 * A batch is records one after another, each of clo_event.size bytes: the head, then its texts in the order of `text`,
 * then zeros up to a multiple of 8. Host byte order. Texts are bytes as the guest or the kernel gave them, without a
 * NUL at the end; they may hold anything but, in paths, NUL. Everything here that came from a guest is hostile. */
enum clo_act {
    /* files: text PATH as asked for, RESOLVED as found */
    CLO_ACT_OPEN = 0,      /* only to read, or a folder; arg: open flags, mode, resolve flags */
    CLO_ACT_WRITE_OPEN = 1, /* of what may be there, without O_CREAT; the same args */
    CLO_ACT_CREATE = 2,    /* with O_CREAT or O_TMPFILE, creat(2); the same args */
    CLO_ACT_MKDIR = 3,     /* arg: mode */
    CLO_ACT_MKNOD = 4,     /* arg: mode with the kind, device */
    CLO_ACT_UNLINK = 5,    /* and rmdir; arg: flags of unlinkat(2) */
    CLO_ACT_RENAME = 6,    /* text: and TARGET, TARGET_RESOLVED (its folder's path, and the name); arg: flags */
    CLO_ACT_LINK = 7,      /* the same texts: PATH is what there is, TARGET the new name; arg: flags */
    CLO_ACT_SYMLINK = 8,   /* text: PATH is the new link, TARGET what it says */
    CLO_ACT_CHMOD = 9,     /* arg: mode; fchmod: RESOLVED alone */
    CLO_ACT_CHOWN = 10,    /* arg: user, group */
    CLO_ACT_UTIME = 11,
    CLO_ACT_TRUNCATE = 12, /* arg: size */
    CLO_ACT_XATTR = 13,    /* set or removed; text: TARGET is the attribute's name; arg: flags */
    CLO_ACT_STAT = 14, CLO_ACT_ACCESS = 15, CLO_ACT_READLINK = 16, CLO_ACT_CHDIR = 17,
    CLO_ACT_LIST = 18, CLO_ACT_READ = 19, CLO_ACT_WRITE = 20, /* of sources that see them: files API; arg: bytes */
    /* processes */
    CLO_ACT_EXEC = 21,     /* text: and TARGET = argv with a NUL after each, cut at 1024 bytes; TARGET_RESOLVED = of the
                            * environment, in the same way, what steers loaders and shells (supervisor_exec.c), cut at
                            * 512 bytes each; arg: flags */
    CLO_ACT_FORK = 22, CLO_ACT_EXIT = 23, /* of sources that see them */
    CLO_ACT_SIGNAL = 24,   /* arg: process id as the guest gave it, signal */
    CLO_ACT_PTRACE = 25,   /* and process_vm_*, kcmp, pidfd_getfd; arg: request, process id */
    CLO_ACT_SETID = 26,    /* user, group and capability changes; arg: the first three of the call */
    CLO_ACT_LIMIT = 27,    /* prlimit of others, scheduling, oom score; arg: the first three */
    CLO_ACT_MEMFD = 28,    /* text: TARGET is its name; arg: flags */
    CLO_ACT_PROTECT = 29,  /* memory made writable and executable at once; arg: address, size, protection */
    /* the kernel */
    CLO_ACT_MOUNT = 30,    /* every call about mounts; text: PATH = source, TARGET = target; arg: flags */
    CLO_ACT_CHROOT = 31,   /* and pivot_root */
    CLO_ACT_NAMESPACE = 32, /* unshare, setns, clone with such flags; arg: flags */
    CLO_ACT_MODULE = 33,   /* kernel modules, kexec */
    CLO_ACT_KERNEL = 34,   /* bpf, perf, keys, io_uring, userfaultfd, and the like; arg: the first three */
    CLO_ACT_SYSTEM = 35,   /* clock, hostname, reboot, swap, quota, syslog; arg: the first three */
    /* network: text TARGET = the address ("192.0.2.1", "/run/x.sock", "@abstract" with its NULs as they are) */
    CLO_ACT_SOCKET = 36,   /* arg: family, type, protocol */
    CLO_ACT_CONNECT = 37,  /* arg: family, port */
    CLO_ACT_BIND = 38,     /* arg: family, port */
    CLO_ACT_LISTEN = 39, CLO_ACT_ACCEPT = 40,
    CLO_ACT_SEND = 41,     /* to an address of its own (sendto); arg: family, port */
    /* the sandbox itself, told by the host; text: TARGET = why */
    CLO_ACT_CREATED = 48, CLO_ACT_STARTED = 49, CLO_ACT_PAUSED = 50, CLO_ACT_RESUMED = 51, CLO_ACT_STOPPED = 52,
    CLO_ACT_DELETED = 53,
    CLO_ACT_BEGUN = 54,    /* a program by exec or spawn; text: TARGET = argv as EXEC; arg: number of the exec */
    CLO_ACT_ENDED = 55,    /* the same; result: exit code or -signal; arg: number of the exec */
    CLO_ACT_LOST = 56,     /* events of a source, or a counter of a rule; arg: how many */
    CLO_ACTS = 57
};

enum clo_source { CLO_SOURCE_GUEST = 0, CLO_SOURCE_FILES = 1, CLO_SOURCE_LIFE = 2, CLO_SOURCE_OTHER = 3 };
enum clo_text { CLO_TEXT_PATH = 0, CLO_TEXT_RESOLVED = 1, CLO_TEXT_TARGET = 2, CLO_TEXT_TARGET_RESOLVED = 3, CLO_TEXTS = 4 };

enum clo_event_flag {
    /* Where a field comes from. A text or argument without its bit is claimed: it lay in memory that the guest can
     * change while it is read. With it the kernel vouches: a register, a path of an object that is held open. */
    CLO_EVENT_TEXT_KERNEL = 0x1,      /* shifted by clo_text: bits 0-3 */
    CLO_EVENT_ARG_KERNEL = 0x10,      /* shifted by the argument: bits 4-7 */
    CLO_EVENT_PINNED = 0x100,         /* RESOLVED is the very object that was acted on: the act was emulated */
    CLO_EVENT_DENIED = 0x200,         /* it was not done: result is what the guest was told, -errno */
    CLO_EVENT_STATIC = 0x400,         /* by the static filter, not by a rule */
    CLO_EVENT_UNREADABLE = 0x800,     /* a text could not be read from the guest; denied, unless it had not begun yet */
    CLO_EVENT_CUT = 0x1000,           /* a text was longer than is kept */
    CLO_EVENT_CLIMBS = 0x2000,        /* PATH goes above the root folder by ".." */
    CLO_EVENT_RESULT = 0x4000,        /* result is known: 0 or more, or -errno */
    CLO_EVENT_MISSING = 0x8000,       /* RESOLVED: there was nothing; it is where it would be */
    CLO_EVENT_MATCHED = 0x10000       /* a rule matched */
};

struct clo_event {
    uint32_t size;     /* of head, texts and padding */
    uint16_t act;      /* clo_act */
    uint16_t source;   /* clo_source */
    uint64_t number;   /* of its source in its sandbox, from 1; what is missing was lost */
    uint64_t time_ns;  /* CLOCK_MONOTONIC */
    uint32_t sandbox;  /* the host's number for it */
    uint32_t flags;    /* clo_event_flag */
    int32_t pid, tid;  /* process and thread, as the host sees them; 0: unknown */
    int32_t call;      /* number of the system call; -1: none */
    uint32_t exec;     /* number of the exec it belongs to; 0: unknown */
    int64_t result;
    uint64_t arg[4];
    uint16_t text[4];  /* their sizes in bytes */
};
enum { CLO_EVENT_HEAD = 96, CLO_EVENT_MAX = 16480, CLO_TEXT_MAX = 4095 }; /* the head and any four texts */

/* What is wrong with a record (events.c). */
enum clo_event_fault {
    CLO_FAULT_SHORT = 1, CLO_FAULT_SIZE = 2, CLO_FAULT_ACT = 3, CLO_FAULT_SOURCE = 4, CLO_FAULT_FLAGS = 5,
    CLO_FAULT_NUMBER = 6, CLO_FAULT_TEXT = 7, CLO_FAULT_PADDING = 8, CLO_FAULT_NUL = 9
};

int64_t clo_event_check(const void *records, size_t size, size_t *at, uint32_t *fault);

/* ---- The watch socket: AF_UNIX SOCK_SEQPACKET, descriptor CLO_WATCH_FD of cloche-init, kept from guests. ----
 * For every exec that is watched its program, right before execve, puts the watch filter on itself and sends one packet:
 * this struct, and the filter's listener (seccomp_unotify(2)) as its one descriptor. Nothing is answered. It must not
 * go on to execve if it can't send. The other end is the supervisor's. */
enum { CLO_WATCH_FD = 4 };

struct clo_listener {
    uint32_t exec; /* id of the exec as in CLO_MSG_EXEC; goes into every event */
    uint32_t pid;  /* of its program, as the box sees it; 0: unknown */
};

/* What the supervisor makes of a call (bpf.c, decode.c). */
int clo_filter_answer(const void *code, size_t count, const void *data, uint32_t *value);
const char *clo_call_name(size_t index, int32_t number[2]);

/* ---- The supervisor: a thread that answers what the watch filters of boxes notify (seccomp_unotify(2)). ---- */
struct clo_supervisor; /* the thread; for one box or for many */
struct clo_observed;   /* a box */

enum clo_overload {
    CLO_OVERLOAD_COUNT = 0, /* a record that has no room is lost, and counted */
    CLO_OVERLOAD_WAIT = 1   /* the box's calls wait for room; after wait_ms OVERLOADED is told, and they wait on */
};
enum clo_observe_flag {
    CLO_OBSERVE_RESOLVE = 1, /* say where paths lead to, whether rules ask for it or not */
    CLO_OBSERVE_STRICT = 2   /* open in the guest's place what is opened by a path that is judged */
};

struct clo_observe {
    int32_t watch;        /* the watch socket's other end: belongs to the supervisor once clo_observe gave 0 */
    int32_t root;         /* O_PATH of the box's root folder; it stays the caller's */
    int64_t uid, gid;     /* of the guest as this process sees them, for opening in its place; -1: as this process */
    const void *filter;   /* the static filter's instructions; NULL: none */
    size_t instructions;
    uint64_t wants;       /* acts, a bit each, of which every record goes to the ring, matched by a rule or not */
    uint64_t ring;        /* bytes, a power of two */
    uint32_t sandbox;     /* for the records */
    uint32_t flags, overload, wait_ms;
};

enum clo_count {
    CLO_COUNT_SEEN = 0, CLO_COUNT_DENIED = 1, /* by rules or for want of an answer */
    CLO_COUNT_STATIC = 2, /* by the static filter */
    CLO_COUNT_EMULATED = 3, CLO_COUNT_UNREADABLE = 4, CLO_COUNT_STALE = 5, /* gone before its answer */ CLO_COUNTS = 6
};
enum clo_observed_flag {
    CLO_OBSERVED_WAITING = 1,    /* calls wait for room in the ring */
    CLO_OBSERVED_OVERLOADED = 2, /* they have waited for longer than wait_ms */
    CLO_OBSERVED_CLOSED = 4      /* cloche-init is gone, and every watched process */
};
struct clo_observed_status {
    uint64_t records;   /* numbers given so far */
    uint64_t lost;      /* of them */
    uint64_t lost_matches; /* which rules matched, lost for want of room; the records say that some did */
    uint64_t vanished;  /* calls that were gone when they were to be received */
    uint64_t refused;   /* packets of the watch socket, or listeners */
    uint32_t listeners; /* execs of which a process lives */
    uint32_t flags;     /* clo_observed_flag */
};

int clo_supervisor_new(struct clo_supervisor **supervisor);
void clo_supervisor_free(struct clo_supervisor *supervisor);
int clo_observe(struct clo_supervisor *supervisor, const struct clo_observe *how, struct clo_observed **box);
void clo_observed_free(struct clo_observed *box);
int clo_observed_bell(const struct clo_observed *box);
int64_t clo_observed_take(struct clo_observed *box, void *out, size_t room);
void clo_observed_want(struct clo_observed *box, uint64_t acts);
int clo_observed_resume(struct clo_observed *box);
void clo_observed_counts(const struct clo_observed *box, uint64_t *counts);
void clo_observed_status(const struct clo_observed *box, struct clo_observed_status *status);
