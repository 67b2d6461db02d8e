/* The supervisor's parts share this. Theory of operation in supervisor.c. */
#ifndef CLOCHE_SUPERVISOR_H
#define CLOCHE_SUPERVISOR_H

#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "acts.h"
#include "bpf.h"
#include "decode.h"
#include "events.h"
#include "guest.h"
#include "judging.h"
#include "outlet.h"
#include "programs.h"

enum { CLO_NEAR = 4, CLO_PROCESSES = 64 };

#define CLO_NEVER UINT64_MAX

/* What is listened to. */
enum clo_ear_kind { CLO_EAR_COMMAND, CLO_EAR_WATCH, CLO_EAR_LISTENER };

struct clo_ear {
    enum clo_ear_kind kind;
    int fd;
    struct clo_observed *box;
    /* of listeners */
    uint32_t exec;
    int32_t first;        /* the thread that the first call came from, 0: none has; while it is cloche-init's ... */
    bool begun;           /* ... own, before the program is, this is false */
    uint64_t heard;       /* when it was last */
    struct clo_ear *next; /* of the box */
};

struct clo_pending;

enum clo_static { CLO_STATIC_UNKNOWN, CLO_STATIC_ALLOWS, CLO_STATIC_ASK };

struct clo_observed {
    struct clo_supervisor *supervisor;
    struct clo_observed *next; /* the supervisor's */
    struct clo_ear watch, *listeners;
    struct clo_guest_root *root;
    int root_fd;
    struct clo_who who;
    struct sock_filter *filter; /* NULL: none */
    uint8_t by_number[CLO_CALLS_MAX]; /* clo_static */
    uint32_t sandbox, flags, overload;
    uint64_t wait_ns;
    /* the thread's */
    struct clo_judging *judging; /* NULL: by no rules */
    struct clo_pending *pending; /* opens that wait for the other end of a pipe */
    size_t pendings;
    uint64_t again; /* when to look after them */
    bool waiting, lossy;
    uint64_t wait_until;
    /* everybody's */
    struct clo_outlet outlet;
    _Atomic uint64_t wants, vanished, refused;
    _Atomic uint32_t listening, told;
    atomic_bool full, heeded;
    _Atomic uint64_t counts[CLO_ACTS][CLO_COUNTS];
};

/* One call while it is worked on. Texts are here, with a NUL, until the record is made. */
struct clo_heard {
    struct clo_observed *box;
    struct clo_ear *ear;
    const struct seccomp_notif *notif;
    const struct clo_call *call; /* NULL: of no layout */
    struct clo_event event;
    int answer;   /* 0, or -errno for the guest */
    int unread;   /* 0, or -errno: why a text is not known */
    const char *text[CLO_TEXTS];
    /* of what is done here */
    bool emulated, answered;
    bool done;  /* not an open, and to be answered with 0 */
    int pinned; /* 0, or what the guest is to be told */
    struct clo_asked asked;
    struct clo_guest_how how;
};

struct clo_process { int32_t tid, pid; uint64_t at; /* when it was seen to be so */ };

struct clo_supervisor {
    pthread_t thread;
    pid_t owner;
    int epoll;
    struct clo_ear *near[CLO_NEAR]; /* NULL: none */
    uint32_t turn;
    struct clo_ear command;
    bool became; /* some guest's user, for good: the thread is for that box alone */
    bool quit, due; /* due: some box has something to be done at a time */
    struct clo_observed *boxes;
    struct seccomp_notif *notif; /* of the kernel's size */
    struct seccomp_notif_resp *response;
    size_t notif_size;
    struct clo_calls calls;
    struct clo_watched_index acts;
    struct clo_process processes[CLO_PROCESSES];
    /* scratch */
    char raw[CLO_PATH_ROOM], base[CLO_PATH_ROOM], texts[CLO_TEXTS][CLO_PATH_ROOM];
    struct clo_found found[2]; /* of PATH, of TARGET */
    union { struct clo_event event; char bytes[CLO_EVENT_MAX]; } record;
    /* what another thread asks to be done here, one at a time */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool asked;
    int (*act)(struct clo_supervisor *, struct clo_observed *, void *);
    struct clo_observed *of;
    void *with;
    int result;
};

/* supervisor.c */
int clo_supervisor_do(struct clo_supervisor *supervisor,
                      int (*act)(struct clo_supervisor *, struct clo_observed *, void *), struct clo_observed *box,
                      void *with);

/* supervisor_ears.c: in the thread, but opening the first */
int clo_ear_open(struct clo_supervisor *supervisor, struct clo_ear *ear);
void clo_ear_change(struct clo_supervisor *supervisor, struct clo_ear *ear);
void clo_ear_close(struct clo_supervisor *supervisor, struct clo_ear *ear);
struct clo_ear *clo_ear_next(struct clo_supervisor *supervisor, uint64_t until, bool *speaks);

/* supervisor_box.c: all but the first in the thread */
int clo_observed_listen(struct clo_observed *box, struct clo_ear *ear);
void clo_observed_receive(struct clo_observed *box);
void clo_observed_hang_up(struct clo_observed *box, struct clo_ear *ear);
void clo_observed_close(struct clo_observed *box);
bool clo_observed_has_room(struct clo_observed *box, uint64_t now);
void clo_observed_rearm(struct clo_observed *box);
uint64_t clo_observed_tend(struct clo_observed *box, uint64_t now);

/* supervisor_open.c */
void clo_heard_resolve(struct clo_supervisor *supervisor, struct clo_heard *heard, enum clo_text which,
                       const struct clo_asked *asked);
bool clo_heard_is_done_here(const struct clo_heard *heard);
void clo_heard_empty(struct clo_heard *heard);
int64_t clo_heard_open(struct clo_supervisor *supervisor, struct clo_heard *heard);
uint64_t clo_pending_tend(struct clo_observed *box, const struct clo_ear *gone, uint64_t now);

/* supervisor_call.c */
int clo_answer(struct clo_supervisor *supervisor, const struct clo_ear *ear, uint64_t id, int error);
void clo_supervisor_serve(struct clo_supervisor *supervisor, struct clo_ear *ear);
/* supervisor_read.c */
void clo_heard_read(struct clo_supervisor *supervisor, struct clo_heard *heard);
void clo_heard_text(struct clo_heard *heard, enum clo_text which, const char *text, size_t size);
void clo_heard_unread(struct clo_heard *heard, int status);

/* supervisor_exec.c */
void clo_heard_program(struct clo_supervisor *supervisor, struct clo_heard *heard);

uint64_t clo_now(void);

#endif
