/* What the files of cloche-init share. See serve.c for the theory of operation. */

#ifndef CLO_INIT_H
#define CLO_INIT_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* so this header comes first */
#endif

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire.h"

enum { CLO_PASSED_MAX = 3, CLO_RLIMITS_MAX = 16, CLO_ROOMS_MAX = 16 };

/* What every exec is bounded by: of the setup at first, and as the host changes it. */
struct clo_bounds {
    struct clo_rlimit_asked list[CLO_RLIMITS_MAX];
    size_t count;
    uint64_t memory; /* of all execs and the rooms together; 0: no bound */
    uint32_t pids;
    bool limits_pids;
};

/* The descriptors that cloche-init and its shepherds hold; none is ever a guest's. -1: not there. */
struct clo_box {
    int control;   /* the wire to the host */
    int signals;   /* signalfd of SIGCHLD: each process polls it for its own */
    int proc;      /* a /proc of the box, whatever is mounted over it */
    int null;      /* the box's /dev/null */
    int terminals; /* the box's devpts */
    int ruleset;   /* the Landlock ruleset */
    int watch;     /* the watch socket */
    int rooms[CLO_ROOMS_MAX]; /* the memory-backed file systems that guests write in, to see how full they are */
    size_t room_count;
    struct clo_setup setup;
    struct clo_bounds bounds;
    struct clo_view filter; /* the watch filter, of the setup at first; empty: programs are not watched */
    int watchable;          /* as CLO_SETUP_TRY_WATCH found: an errno, CLO_WATCH_LISTENS and more, or -1: not tried */
};

/* What a kernel can of watching; above every errno that there is. */
enum {
    CLO_WATCH_CONTINUES = 1, /* lets a call go on: Linux 5.5 */
    CLO_WATCH_ENDS = 2,      /* tells when the last process of a listener is gone: 5.9 */
    CLO_WATCH_OPENS = 4,     /* gives a descriptor as the answer: 5.14 */
    CLO_WATCH_LISTENS = 192
};

/* Why a setup failed: an errno and "what: detail". */
struct clo_failure {
    int error;
    char what[512];
};

/* One packet from the host. */
struct clo_packet {
    struct clo_head head;
    const char *body;
    size_t size;
    int fds[CLO_PASSED_MAX];
    int count;
    bool lost; /* descriptors did not fit under this process's limit */
    void *map; /* the body's memfd, mapped */
    int memfd; /* that, or -1 */
};

/* main.c */
bool clo_number(const char *text, int *number);
int clo_own_descriptors(int socket);

/* serve.c */
int clo_serve(int control);

/* control.c: sending blocks until the host takes it; -errno when it is gone. */
int clo_send(int control, enum clo_msg type, uint32_t id, const void *body, size_t size, int fd);
int clo_send_refused(int control, uint32_t id, int error, enum clo_stage stage);
/* 1 with a packet, which clo_packet_free must be given; 0 when the host has hung up; -errno. */
int clo_receive(int control, char *buffer, struct clo_packet *packet);
/* Sends a received packet on, with its descriptors; -errno. */
int clo_forward(int socket, const struct clo_packet *packet);
void clo_packet_free(struct clo_packet *packet);

/* body.c: maps the memfd that holds the body, after making sure that nobody can change it any more; -errno. */
int clo_map_body(int fd, struct clo_packet *packet);

/* setup.c */
int clo_fail(struct clo_failure *failure, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
struct clo_network;
int clo_setup(struct clo_box *box, struct clo_network *network, struct clo_failure *failure);
int clo_settle(const struct clo_box *box, struct clo_failure *failure);

/* supervise.c */
void clo_open_rooms(struct clo_box *box);

/* bounds.c: -E2BIG, and then nothing is changed, when there would be too many. */
int clo_change_bounds(struct clo_bounds *bounds, const struct clo_setup *asked);

/* mounts.c */
struct clo_parts;
int clo_mount_all(const struct clo_setup *setup, struct clo_parts *parts, struct clo_failure *failure);
int clo_make_read_only(const char *path);
int clo_copy_nodes(const struct clo_mount_asked *asked, int *nodes, struct clo_failure *failure);
int clo_detach(const char *path);

/* root.c: mounts as descriptors, and parts of the host's that a new root is made of. Each -1 with errno. */
enum { CLO_PARTS_MAX = 512, CLO_NODES = 6 };
struct clo_parts {
    bool own_root;  /* / is a tmpfs of our own */
    bool old_root;  /* the host's is still mounted over it */
    int list[CLO_PARTS_MAX]; /* of the binds and /proc mounts, in the order they are asked for */
    size_t count, next;
    int nodes[CLO_NODES];
    int proc; /* one that hides nothing and is attached nowhere, or -1 */
    int covered; /* what the last ONLY covered, or -1 */
};
int clo_new_mount(const char *type, const char *options, uint64_t attributes);
int clo_copy_mount(int folder, const char *path, uint64_t attributes, bool recursive);
int clo_attach(int mount, int folder, const char *target); /* closes the mount's descriptor */
int clo_make_target(const char *path, bool folder);        /* with the folders above it, unless it is there */
bool clo_has_root(const struct clo_setup *setup);
int clo_enter_root(const struct clo_setup *setup, struct clo_parts *parts, struct clo_failure *failure);
int clo_seal_root(struct clo_parts *parts, struct clo_failure *failure);

/* paths.c: each -1 with the failure filled in. */
int clo_mount_mask(const struct clo_mount_asked *asked, struct clo_failure *failure);
int clo_mount_again(const struct clo_mount_asked *asked, struct clo_failure *failure);
int clo_mount_only(const struct clo_mount_asked *asked, struct clo_parts *parts, struct clo_failure *failure);
int clo_mount_show(const struct clo_mount_asked *asked, struct clo_parts *parts, struct clo_failure *failure);
int clo_mount_seal(const struct clo_mount_asked *asked, struct clo_failure *failure);

/* namespaces.c: what new namespaces lack. */
int clo_map_ids(const struct clo_setup *setup, struct clo_failure *failure);
struct clo_network {
    pid_t helper;
    int pidfd, error;
    bool made; /* or error is set */
};
int clo_start_network(const struct clo_setup *setup, struct clo_network *network, struct clo_failure *failure);
int clo_enter_network(const struct clo_setup *setup, struct clo_network *network, struct clo_failure *failure);

/* landlock.c: the ruleset's descriptor, -1 when none is asked for, or -2 with the failure filled in. */
int clo_landlock_ruleset(const struct clo_setup *setup, struct clo_failure *failure);

/* tree.c: the processes below this one. Only direct children are sure not to be recycled process ids; for deeper ones
 * that would take the kernel handing out every other id between two system calls of ours, as ids go round. */
enum { CLO_TREE_MAX = 65536, CLO_PID_LIMIT = 4194304 };
enum clo_verdict { CLO_TAKE, CLO_PASS, CLO_SKIP }; /* list it; only what is below it; neither */
struct clo_tree {
    int proc;
    pid_t top;                                               /* whose descendants; 0: this process's */
    bool scan;                                               /* the kernel lists no children: read every parent */
    enum clo_verdict (*judge)(const void *whose, pid_t pid); /* NULL takes all */
    const void *whose;
    bool full, blind;                                        /* the last walk met too many; could not read /proc */
    pid_t highest;                                           /* of those marked */
    size_t count, met_alive;                                 /* in list; signalled since the start, zombies apart */
    pid_t uncounted;                                         /* not one of those */
    pid_t list[CLO_TREE_MAX];
    uint64_t met[CLO_PID_LIMIT / 64], marked[CLO_PID_LIMIT / 64]; /* in this walk; since the start */
};
int64_t clo_now_ms(void);
bool clo_tree_can_list(int proc);
/* A small file below /proc as text; the number of bytes, or -1. */
ssize_t clo_read_text(int proc, const char *path, char *text, size_t size);
/* `tree` is static memory, so all zero the first time. */
void clo_tree_start(struct clo_tree *tree, int proc, enum clo_verdict (*judge)(const void *, pid_t), const void *whose);
/* Lists what is there now; a tree that changes meanwhile may hide some. */
void clo_tree_walk(struct clo_tree *tree);
/* Leaves in the list those that no walk since the start has found; how many. */
size_t clo_tree_only_new(struct clo_tree *tree);
/* One signal to each that is listed. */
void clo_tree_signal(const struct clo_tree *tree, int signal);
/* Sends SIGSTOP until a whole walk finds nobody new and nobody running: 0, or -EBUSY after two seconds. */
int clo_tree_stop(struct clo_tree *tree);
/* One round of killing: how many were still there. Processes take their time to die, so one round is not enough. */
size_t clo_tree_kill(struct clo_tree *tree);
/* Kills direct children, found without /proc: 10 ms, or two seconds where ids are high. */
void clo_kill_by_number(void);

/* shepherd.c */
struct clo_order {
    uint32_t type; /* CLO_MSG_SIGNAL, CLO_MSG_KILL, CLO_MSG_RESIZE */
    uint32_t a, b;
};
struct clo_job {
    uint32_t id, nproc; /* nproc: RLIMIT_NPROC, when limited */
    struct clo_exec exec;
    struct clo_packet *packet; /* holds what exec points into, and the passed descriptors */
    int orders;                /* struct clo_order from cloche-init; its end means that cloche-init is gone */
};
/* `orders` is a socket: first a clo_order EXEC with id and nproc, then the request, then other orders. */
_Noreturn void clo_shepherd(const struct clo_box *box, struct clo_tree *tree, int orders, char *buffer);

/* program.c */
struct clo_start {
    const struct clo_box *box;
    const struct clo_job *job;
    char **argv, **env;
    int stdio[3];
    bool terminal;
    int error; /* 0, or the errno that stopped it at `stage` */
    uint32_t stage;
};
pid_t clo_start_program(struct clo_start *start);

/* execute.c: pointers into the request's strings, NULL at the end, or NULL itself when there is no memory; and execve
 * with the search of execvp(3), but no shell for what is not an executable. It gives the errno to report, as the call
 * does that it is given: clo_execve, or another that does the same. */
typedef int clo_execve_call(const char *path, char *const *argv, char *const *env);
char **clo_point(const struct clo_strings *strings);
clo_execve_call clo_execve;
int clo_execute(char *const *argv, char *const *env, clo_execve_call *call);

/* signals.c: from here on all are blocked and none is ignored, so that programs start clean; gives a descriptor (signalfd(2))
 * that tells when a child has ended, or -1. */
int clo_own_signals(void);

/* watch.c: each -errno, or -1 with the failure filled in. */
int clo_find_watch(void); /* the descriptor, or -1 */
int clo_keep_watch(struct clo_box *box, struct clo_failure *failure);
int clo_change_watch(struct clo_box *box, struct clo_view filter);
int clo_put_watch(const struct clo_box *box, uint32_t exec); /* in the program's process */
int clo_try_watch(void);

/* probe.c */
_Noreturn void clo_probe(const struct clo_box *box);

/* janitor.c */
int clo_janitor(int commands);

#endif
