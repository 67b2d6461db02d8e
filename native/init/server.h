/* What serve.c and hire.c share: the list of shepherds. */

#ifndef CLO_SERVER_H
#define CLO_SERVER_H

#include "init.h"

struct exec {
    struct exec *next;
    uint32_t id; /* 0: a shepherd that has nothing to do yet */
    pid_t shepherd;
    int orders;       /* the socket to it */
    int64_t deadline; /* when to kill the shepherd, monotonic milliseconds; 0: never */
    uint64_t memory;  /* bytes at the last look */
    bool lost;        /* the shepherd is dead, and not because its work was done */
    bool retired;     /* an idle one that knows old limits: it gets no work, and ends */
    bool starved;     /* killed for memory */
};

struct server {
    struct clo_box box;
    struct clo_tree tree;
    struct exec *execs;
    bool strays; /* a shepherd was lost: what it left is being killed */
    bool vacant; /* a shepherd may have to be hired */
    int64_t look; /* when to look at memory again, monotonic milliseconds */
    char buffer[CLO_WIRE_INLINE];
};

/* serve.c */
void clo_kill_exec(struct exec *exec, uint32_t cause);

/* limits.c */
int clo_order_limits(struct server *server, const struct clo_packet *packet);

/* supervise.c: how long until it must be called again, in milliseconds; -1: until something else happens. */
int clo_supervise(struct server *server);

/* hire.c */
uint32_t clo_count_processes(const struct server *server);
void clo_retire_idle(struct server *server);
int clo_hire(struct server *server);
int clo_hand_over(struct server *server, const struct clo_packet *packet, enum clo_stage *stage);
void clo_distrust_idle(struct server *server);
void clo_dismiss(struct server *server, const struct exec *gone);

#endif
