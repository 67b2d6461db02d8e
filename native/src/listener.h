/* The listener's parts share this. Theory of operation in listener.c. */
#ifndef CLOCHE_LISTENER_H
#define CLOCHE_LISTENER_H

#include <sys/socket.h>

#include "judging.h"
#include "outlet.h"
#include "seccheck.h"

enum { CLO_LISTENER_BATCH = 32 };

struct clo_listened {
    struct clo_listener_thread *thread; /* NULL: it was freed */
    pid_t owner;
    struct clo_listened *next; /* the thread's */
    int fd;
    /* under the thread's lock */
    struct clo_sentry sentry;
    struct clo_judging *judging; /* NULL: by no rules */
    uint64_t wanted;             /* wants, of this batch */
    struct clo_reflex { int fd; uint32_t least, size; char request[CLO_REFLEX_MAX]; } reflex; /* size 0: none */
    /* everybody's */
    struct clo_outlet outlet;
    _Atomic uint64_t wants, packets, bad, unknown, dropped, unreadable;
    atomic_bool ended, reflexed;
    _Atomic uint64_t counts[CLO_ACTS];
};

struct clo_listener_thread {
    pthread_t thread;
    pid_t owner;
    int epoll, command;
    atomic_bool quit;
    pthread_mutex_t lock;         /* of the list and what is in it; held for a batch at a time */
    struct clo_listened *boxes;
    char *room;                   /* CLO_LISTENER_BATCH packets of CLO_SENTRY_PACKET_MAX bytes */
    struct mmsghdr heads[CLO_LISTENER_BATCH];
    struct iovec bodies[CLO_LISTENER_BATCH];
};

/* listener_box.c: under the lock */
size_t clo_listened_serve(struct clo_listener_thread *thread, struct clo_listened *box);
bool clo_listened_tend(struct clo_listened *box, uint64_t now);

#endif
