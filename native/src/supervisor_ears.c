/* What a supervisor listens to, and its waiting for that.
 *
 * Theory. With SYNC_WAKE_UP the kernel wakes a supervisor on the guest's own processor, which is free just then, the
 * guest being held. epoll(7) loses that: who waits there is put on an idle processor where there is one, which has to be
 * woken first, for each call there and back, at several times the cost of the call. poll(2) keeps it. So listeners are waited for
 * by poll itself: near ones, a few, since each costs in each wait. The others and all else are in an epoll set, which is
 * one more descriptor of that poll. A far listener that is heard changes places with a near one that was not for a while. */
#include "supervisor.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { QUIET_NS = 10000000 };

static uint32_t events_of(const struct clo_ear *ear) {
    return ear->kind == CLO_EAR_LISTENER && ear->box->waiting ? 0 : EPOLLIN;
}

static int far(const struct clo_supervisor *supervisor, struct clo_ear *ear, int operation) {
    struct epoll_event event = {.events = events_of(ear), .data.ptr = ear};
    return epoll_ctl(supervisor->epoll, operation, ear->fd, &event) ? -errno : 0;
}

/* A place for a near listener: one that is free, or whose listener was not heard since `before`. -1: none. */
static int place_for(const struct clo_supervisor *supervisor, uint64_t before) {
    int found = -1;
    for (int i = 0; i < CLO_NEAR; i++) {
        const struct clo_ear *ear = supervisor->near[i];
        if (!ear) return i;
        if (ear->heard < before && (found < 0 || ear->heard < supervisor->near[found]->heard)) found = i;
    }
    return found;
}

/* Begins to listen: 0 or a negative errno. */
int clo_ear_open(struct clo_supervisor *supervisor, struct clo_ear *ear) {
    int place = ear->kind == CLO_EAR_LISTENER ? place_for(supervisor, 0) : -1;
    if (place < 0) return far(supervisor, ear, EPOLL_CTL_ADD);
    supervisor->near[place] = ear;
    return 0;
}

/* After its box began to wait for room, or ended to. */
void clo_ear_change(struct clo_supervisor *supervisor, struct clo_ear *ear) {
    for (int i = 0; i < CLO_NEAR; i++)
        if (supervisor->near[i] == ear) return; /* asked at each wait */
    far(supervisor, ear, EPOLL_CTL_MOD);
}

/* Ends to listen, and closes it. Out of the epoll set by hand: as long as a process that was just forked has it open,
 * closing does not take it out. */
void clo_ear_close(struct clo_supervisor *supervisor, struct clo_ear *ear) {
    int place = 0;
    while (place < CLO_NEAR && supervisor->near[place] != ear) place++;
    if (place < CLO_NEAR) supervisor->near[place] = NULL;
    else far(supervisor, ear, EPOLL_CTL_DEL);
    close(ear->fd);
}

static void bring_near(struct clo_supervisor *supervisor, struct clo_ear *ear) {
    uint64_t now = clo_now();
    ear->heard = now;
    int place = place_for(supervisor, now - QUIET_NS);
    if (place < 0) return;
    if (supervisor->near[place] && far(supervisor, supervisor->near[place], EPOLL_CTL_ADD)) return;
    far(supervisor, ear, EPOLL_CTL_DEL);
    supervisor->near[place] = ear;
}

static struct clo_ear *next_far(struct clo_supervisor *supervisor, bool *speaks) {
    struct epoll_event event;
    if (epoll_wait(supervisor->epoll, &event, 1, 0) != 1) return NULL;
    struct clo_ear *ear = event.data.ptr;
    *speaks = event.events & EPOLLIN;
    if (ear->kind == CLO_EAR_LISTENER && *speaks) bring_near(supervisor, ear);
    return ear;
}

/* Waits until something is to be heard, or `until`: NULL. One at a time, since serving it may free what others are about;
 * each in its turn. `speaks`: there is something to be read; else the other end is gone. */
struct clo_ear *clo_ear_next(struct clo_supervisor *supervisor, uint64_t until, bool *speaks) {
    struct pollfd set[CLO_NEAR + 1];
    uint32_t turns[CLO_NEAR + 1];
    nfds_t count = 0;
    struct timespec left, *limit = NULL;
    if (until != CLO_NEVER) {
        uint64_t now = clo_now(), ns = until > now ? until - now : 0;
        left = (struct timespec){.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
        limit = &left;
    }
    for (uint32_t i = 0; i <= CLO_NEAR; i++) {
        uint32_t turn = (supervisor->turn + i) % (CLO_NEAR + 1);
        const struct clo_ear *ear = turn < CLO_NEAR ? supervisor->near[turn] : NULL;
        if (turn < CLO_NEAR && !ear) continue;
        turns[count] = turn;
        set[count++] = ear ? (struct pollfd){.fd = ear->fd, .events = events_of(ear) ? POLLIN : 0}
                           : (struct pollfd){.fd = supervisor->epoll, .events = POLLIN};
    }
    if (ppoll(set, count, limit, NULL) <= 0) return NULL;
    nfds_t ready = 0;
    while (!set[ready].revents) ready++;
    supervisor->turn = turns[ready] + 1;
    if (turns[ready] == CLO_NEAR) return next_far(supervisor, speaks);
    *speaks = set[ready].revents & POLLIN;
    return supervisor->near[turns[ready]];
}
