/* cloche-inner: process 1 of a guest that has a kernel of its own. What its files share; serve.c has the theory.
 *
 * It is started with descriptor 0 as its end of the host's SEQPACKET socket (cloche_native.agent.control_pair), as root
 * of the guest with the capabilities CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETPCAP, SETUID, SYS_ADMIN and
 * SYS_RESOURCE, and without arguments. It writes nothing to descriptors 1 and 2. /proc, /dev/null and, for terminals,
 * /dev/pts have to be there. The wire is that of cloche-init (native/src/cdef.h), of which it takes:
 *
 *   SETUP   first, and again at any time, as after a restore; each is answered by READY, without a descriptor, or by
 *           FAILED. What it asks is for execs to come. Records:
 *             IDS     needed: uid and gid of every program (the first and third number; neither may be 0). The numbers
 *                     "outside" are not looked at.
 *             RLIMIT  any number up to 16: put on every program.
 *             PIDS    at most that many processes and threads of an exec at once, and RLIMIT_NPROC.
 *             MEMORY  taken and not looked at: the host bounds the whole guest.
 *             SECCOMP a filter that is put on every program; cloche-inner itself has none.
 *             FLAGS   0.
 *           Anything else ends it with FAILED: the launcher of the guest has to see to it.
 *           In Python: Setup(ids=(uid, uid, gid, gid), rlimits=..., pids=...).encode()
 *   EXEC    as cloche-init, with the descriptors of stdin, stdout and stderr that the flags name; /dev/null stands for
 *           the others. With PTY one descriptor is passed, an end of a stream socket pair: what the terminal says comes
 *           out of the other end and what is written there is typed. Its end of file is the hang-up, both ways.
 *           A body in a memfd needs no seals. PROBE is refused. WORKER: the one resident worker (worker.c), without
 *           descriptors and terminal; BY_WORKER: it forks and takes argv, without terminal.
 *   QUIET   answered by DONE: 0, or EBUSY while an exec other than the worker, or a terminal, is there, and so
 *           descriptors of the host may be, with which a guest can't be checkpointed. The worker then has forked ahead.
 *   SIGNAL, KILL, RESIZE, LIMITS, QUIT as cloche-init. PAUSE, RESUME and WATCH are answered by DONE with EOPNOTSUPP.
 *
 * Answers are those of cloche-init; STARTED never has a descriptor. */

#ifndef CLO_INNER_H
#define CLO_INNER_H

#include "../init/init.h"

enum { CLO_INNER_CONTROL = 0, CLO_SPARE_MAX = 16, CLO_TERMINAL_ROOM = 16384 };

/* A control group below that of the box; `members` is its cgroup.procs, -1 when there is none. */
struct clo_group {
    uint32_t number;
    uint32_t limit; /* pids.max */
    int members;
};

/* What the hired process reads and tells; its stack is in it too. It goes when the process is a program or no more. */
struct clo_hired;

/* One exec: its program, and the control group that holds everything it came to. */
struct clo_inner_exec {
    struct clo_inner_exec *next;
    uint32_t id, flags; /* id 0: hired, and has nothing to do yet */
    struct clo_group group;
    struct clo_hired *hired; /* until it is the program */
    int orders;              /* the socket to that, whose end tells of it; or to one forked by the worker */
    pid_t main;
    bool refused;  /* it never was the program */
    bool ended;    /* main has been reaped */
    bool killing;  /* everybody in the group is to die */
    bool counted;  /* leftovers have been */
    bool reported;
    unsigned short unshown; /* times that its end waited for what its terminal still has to show */
    struct clo_exited result;
};

/* Bytes on their way. */
struct clo_flow {
    size_t at, size;
    char data[CLO_TERMINAL_ROOM];
};

/* The terminal of one exec, and the host's socket that it is joined to. */
struct clo_terminal {
    struct clo_terminal *next;
    uint32_t id;
    int master, host, witness; /* foreground.c has the last one's theory */
    bool over;    /* nobody is left who could write to it */
    bool hung_up; /* by the host */
    struct clo_flow out, in;
};

struct pollfd;

struct clo_inner {
    uint32_t uid, gid;
    int signals, null;
    int groups; /* the folder of the groups of execs; -1 before the first setup */
    uint32_t last_group;
    struct clo_group spare[CLO_SPARE_MAX];
    size_t spares;
    struct clo_bounds bounds;
    struct clo_view filter;        /* of programs; ours to free */
    struct clo_inner_exec *execs;  /* the idle one too */
    struct clo_inner_exec *worker; /* one of the execs; NULL without */
    struct clo_inner_exec *ready;  /* one of them too: forked by the worker, waiting for work; NULL without */
    int worker_fd;
    bool worker_answered; /* before that it prepares itself, which takes its time */
    struct clo_terminal *terminals;
    bool vacant;              /* somebody may have to be hired */
    struct clo_hired *let_go; /* memory for the next; NULL without */
    struct pollfd *polls;
    size_t poll_room;
    char buffer[CLO_WIRE_INLINE];
};

/* serve.c */
int clo_inner_serve(void);

/* execs.c: what the host orders about execs; 0, or -errno for what is not understood or a host that is gone. */
int clo_order_exec(struct clo_inner *inner, struct clo_packet *packet);
int clo_order_signal(const struct clo_inner *inner, const struct clo_packet *packet);
int clo_order_kill(const struct clo_inner *inner, uint32_t id);
struct clo_inner_exec *clo_find_exec(const struct clo_inner *inner, uint32_t id);
bool clo_is_quiet(const struct clo_inner *inner);
int clo_become_quiet(struct clo_inner *inner); /* and have all ready for a checkpoint: 0 or EBUSY */
void clo_reap(struct clo_inner *inner);
void clo_settle_start(struct clo_inner *inner, struct clo_inner_exec *exec); /* it is the program, or never will be */
bool clo_tend_all(struct clo_inner *inner); /* whether some are being killed, and so it must be called again */

/* groups.c: control groups of the guest. Each gives 0 or more, or -errno. */
int clo_groups_open(struct clo_inner *inner);
int clo_group_take(struct clo_inner *inner, struct clo_group *group); /* with the bound of the box */
int clo_group_bound(const struct clo_inner *inner, struct clo_group *group); /* puts that on it anew */
void clo_group_drop(struct clo_inner *inner, struct clo_group *group); /* an empty one */
/* At most so many processes and threads; fewer than there are now means that none may be born. */
int clo_group_limit(const struct clo_inner *inner, struct clo_group *group, uint32_t tasks);
/* Calls `each`, which may be NULL, with every process of the group; how many there are. */
int clo_group_each(const struct clo_group *group, void (*each)(void *what, pid_t pid), void *what);

/* hire.c: processes on their way to become programs. */
int clo_inner_hire(struct clo_inner *inner); /* makes sure of an idle one; -errno */
struct clo_inner_exec *clo_find_idle(const struct clo_inner *inner);
void clo_inner_retire(struct clo_inner *inner); /* the idle one: it was hired under old limits */
/* Gives it work; -errno with the stage that failed. `files` are descriptors 0 to 2, 3 or 4, and stay the caller's. */
enum { CLO_FILES_MAX = 5 };
int clo_give_work(struct clo_inner_exec *exec, const struct clo_packet *packet, const int *files, size_t count,
                  enum clo_stage *stage);
void clo_drop_orders(struct clo_inner_exec *exec); /* the socket, not the process */
/* After its end: 0 when it became the program. */
int clo_end_hire(struct clo_inner *inner, struct clo_inner_exec *exec, enum clo_stage *stage);

/* worker.c. The pair: this side's end, or -errno. */
int clo_worker_pair(int *theirs);
void clo_worker_gone(struct clo_inner *inner, const struct clo_inner_exec *exec); /* if it was the worker's */
int clo_worker_fork(struct clo_inner *inner); /* makes sure of one who waits for work; -errno */
/* Gives it the work: the exec that it is from here on, or NULL with the error and its stage. */
struct clo_inner_exec *clo_worker_give(struct clo_inner *inner, const struct clo_exec *asked,
                                       const struct clo_packet *packet, enum clo_stage *stage, int *error);

/* terminal.c */
int clo_terminal_open(struct clo_inner *inner, const struct clo_exec *asked, uint32_t id, int host, int *slave,
                      int witness[2]);
bool clo_terminal_shown(const struct clo_inner *inner, uint32_t id); /* takes what is there to the host: is that all? */
void clo_terminal_over(const struct clo_inner *inner, uint32_t id);
void clo_terminal_drop(struct clo_inner *inner, uint32_t id); /* at once: nothing came of its exec */
int clo_order_resize(const struct clo_inner *inner, const struct clo_packet *packet);
void clo_terminal_polls(const struct clo_terminal *terminal, struct pollfd *polls); /* two */
/* Takes what was typed, to be pumped once the orders that came before it are done. */
void clo_terminals_listen(const struct clo_inner *inner);
void clo_terminals_pump(struct clo_inner *inner);

/* foreground.c. The first for the hired process, of whose descriptors 3 and 4 are these files. */
void clo_fork_witness(void);
int clo_witness_files(const struct clo_inner *inner, struct clo_terminal *terminal, int files[2]); /* -errno */
pid_t clo_foreground(const struct clo_terminal *terminal); /* a process group; 0: not known */

/* limits.c */
int clo_inner_order_limits(struct clo_inner *inner, const struct clo_packet *packet);

#endif
