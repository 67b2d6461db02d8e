/* A box of a listener: its socket, its decoder, its ring and counters. */
#include "listener.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BIT(act) (UINT64_C(1) << (act))

/* A rule matched. A guest goes on meanwhile, so what is to stop it is asked for before anything else is done. */
static void react(struct clo_listened *box) {
    struct clo_reflex *reflex = &box->reflex;
    if (!reflex->size || clo_judging_match(box->judging, 0)->respond < reflex->least) return;
    ssize_t sent = send(reflex->fd, reflex->request, reflex->size, MSG_DONTWAIT | MSG_NOSIGNAL);
    atomic_store(&box->reflexed, sent == (ssize_t)reflex->size);
    reflex->size = 0;
}

/* One record of the decoder: counted, judged, and put where it is wanted. */
static void tell(void *with, struct clo_event *record) {
    struct clo_listened *box = with;
    bool matched = false;
    clo_add_to(&box->counts[record->act], 1);
    if (record->flags & CLO_EVENT_UNREADABLE) clo_add_to(&box->unreadable, 1);
    (void)clo_judging_ask(box->judging, record, &matched); /* what it would answer is in the match: it is done already */
    if (matched) react(box);
    if (!matched && !(box->wanted & BIT(record->act))) return;
    if (!matched) {
        clo_outlet_put(&box->outlet, record, record->time_ns);
        return;
    }
    record->flags |= CLO_EVENT_MATCHED;
    clo_outlet_tell(&box->outlet); /* whoever takes the record finds its match */
    uint64_t number = clo_outlet_put(&box->outlet, record, record->time_ns);
    clo_outlet_put_match(&box->outlet, clo_judging_match(box->judging, number), record->time_ns);
    clo_outlet_told(&box->outlet);
}

static void publish(struct clo_listened *box) {
    const struct clo_sentry_counts *counts = &box->sentry.counts;
    bool news = counts->dropped != atomic_load(&box->dropped) || counts->bad != atomic_load(&box->bad);
    atomic_store(&box->packets, counts->packets);
    atomic_store(&box->bad, counts->bad);
    atomic_store(&box->unknown, counts->unknown);
    atomic_store(&box->dropped, counts->dropped);
    if (news) clo_outlet_signal(&box->outlet);
}

static uint64_t begin(struct clo_listened *box) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    box->wanted = atomic_load(&box->wants);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Nothing more will come. */
static void end(struct clo_listener_thread *thread, struct clo_listened *box, uint64_t now) {
    epoll_ctl(thread->epoll, EPOLL_CTL_DEL, box->fd, NULL);
    clo_sentry_due(&box->sentry, UINT64_MAX, now);
    publish(box);
    atomic_store(&box->ended, true);
    clo_outlet_signal(&box->outlet);
}

static bool has_hung_up(int fd) {
    struct pollfd other = {.fd = fd, .events = POLLRDHUP};
    return poll(&other, 1, 0) > 0 && other.revents & (POLLRDHUP | POLLHUP | POLLERR);
}

/* Receives one batch: how many bytes. An end is told from a packet without bytes, which is none of a sentry's, by the
 * hang-up, which may have come a moment ago. */
size_t clo_listened_serve(struct clo_listener_thread *thread, struct clo_listened *box) {
    int count = recvmmsg(box->fd, thread->heads, CLO_LISTENER_BATCH, MSG_DONTWAIT, NULL);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    uint64_t now = begin(box);
    size_t heard = 0;
    for (int i = 0; i < count; i++) {
        if (!thread->heads[i].msg_len && has_hung_up(box->fd)) {
            count = 0;
            break;
        }
        bool cut = thread->heads[i].msg_hdr.msg_flags & MSG_TRUNC;
        heard += thread->heads[i].msg_len;
        clo_sentry_feed(&box->sentry, thread->bodies[i].iov_base, thread->heads[i].msg_len, cut, now);
    }
    publish(box);
    if (count <= 0) end(thread, box, now);
    return heard;
}

/* Tells of what was held for too long; whether there is still something held. */
bool clo_listened_tend(struct clo_listened *box, uint64_t now) {
    if (!box->sentry.held || now < CLO_SENTRY_HELD_NS) return box->sentry.held;
    box->wanted = atomic_load(&box->wants);
    clo_sentry_due(&box->sentry, now - CLO_SENTRY_HELD_NS, now);
    return box->sentry.held;
}

/* ---- from other threads ---- */

static void discard(struct clo_listened *box) {
    clo_judging_free(box->judging);
    clo_outlet_close(&box->outlet);
    munmap(box, sizeof *box);
}

/* Has a sentry heard: 0 or a negative errno, and then nothing of `how` was taken. -EINVAL: a ring's size; -EBADF, -EPERM: a
 * descriptor that can't be waited for. -ESRCH: the thread is another process's. The box is to be freed before or
 * after its thread. */
int clo_listen(struct clo_listener_thread *thread, const struct clo_listen *how, struct clo_listened **out) {
    if (getpid() != thread->owner) return -ESRCH;
    /* Pages of it that are never needed take no memory. */
    struct clo_listened *box = mmap(NULL, sizeof *box, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (box == MAP_FAILED) return -ENOMEM;
    box->thread = thread;
    box->owner = thread->owner;
    box->fd = how->socket;
    atomic_init(&box->wants, how->wants);
    clo_sentry_init(&box->sentry, &how->sentry, tell, box);
    int status = clo_outlet_open(&box->outlet, how->ring);
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = box};
    if (!status) {
        pthread_mutex_lock(&thread->lock);
        if (epoll_ctl(thread->epoll, EPOLL_CTL_ADD, box->fd, &event)) status = -errno;
        if (!status) {
            box->next = thread->boxes;
            thread->boxes = box;
        }
        pthread_mutex_unlock(&thread->lock);
    }
    if (status)
        discard(box);
    else
        *out = box;
    return status;
}

static void take_out(struct clo_listener_thread *thread, struct clo_listened *box) {
    pthread_mutex_lock(&thread->lock);
    struct clo_listened **at = &thread->boxes;
    while (*at != box) at = &(*at)->next;
    *at = box->next;
    epoll_ctl(thread->epoll, EPOLL_CTL_DEL, box->fd, NULL); /* a forked process may have it open: closing is not enough */
    pthread_mutex_unlock(&thread->lock);
}

/* Hears it no more, and closes its socket. NULL is fine; in a forked process nothing is done. */
void clo_listened_free(struct clo_listened *box) {
    if (!box || getpid() != box->owner) return;
    if (box->thread) take_out(box->thread, box);
    close(box->fd);
    discard(box);
}

/* Readable when there are records to take, or the status has changed; taking them resets it. The box's. */
int clo_listened_bell(const struct clo_listened *box) { return box->outlet.bell; }

/* Hears all that the sentry has said by now, in the thread that asks: whoever was told something that came after an act of
 * the guest finds that act's record here. What the sentry says meanwhile may be left. Any thread; it waits for no more than
 * a batch of the listener's own. */
void clo_listened_catch_up(struct clo_listened *box) {
    struct pollfd socket = {.fd = box->fd, .events = POLLIN | POLLRDHUP};
    int waiting = 0;
    if (!box->thread || getpid() != box->owner) return;
    pthread_mutex_lock(&box->thread->lock);
    if (ioctl(box->fd, FIONREAD, &waiting) || waiting < 0) waiting = 0;
    for (size_t left = (size_t)waiting, heard = 1; left && heard && poll(&socket, 1, 0) > 0;) {
        heard = clo_listened_serve(box->thread, box);
        left -= heard < left ? heard : left;
    }
    pthread_mutex_unlock(&box->thread->lock);
}

/* Takes records, whole ones: their bytes; 0: there are none; -ENOSPC: `room` is too small for the first, which CLO_EVENT_MAX
 * never is. Any thread; never waits. */
int64_t clo_listened_take(struct clo_listened *box, void *out, size_t room) {
    return clo_outlet_take(&box->outlet, &box->outlet.ring, box->thread && getpid() == box->owner, out, room);
}

/* The same of matches, struct clo_match, each put right after its record. */
int64_t clo_listened_take_matches(struct clo_listened *box, void *out, size_t room) {
    return clo_outlet_take(&box->outlet, &box->outlet.matches, box->thread && getpid() == box->owner, out, room);
}

/* Which acts' records all go to the ring, from the next batch on. */
void clo_listened_want(struct clo_listened *box, uint64_t acts) { atomic_store(&box->wants, acts); }

/* Judges by this program from now on, by none if it is NULL; what was remembered for the one before is forgotten. When
 * this returns no act is judged by that any more. 0, -ENOMEM or -ESRCH. The program may be dropped by the caller. */
int clo_listened_judge(struct clo_listened *box, struct clo_program *program) {
    if (!box->thread || getpid() != box->owner) return -ESRCH;
    struct clo_judging *judging = program ? clo_judging_new(program) : NULL, *before;
    if (program && !judging) return -ENOMEM;
    pthread_mutex_lock(&box->thread->lock);
    before = box->judging;
    box->judging = judging;
    pthread_mutex_unlock(&box->thread->lock);
    clo_judging_free(before);
    return 0;
}

/* Has `request` sent by `fd`, once and without waiting, when a rule matches next that responds as gravely as `least` or
 * more; of size 0: not any more. The descriptor stays the caller's. 1 if what was asked for before was sent, 0 if it was
 * not; -EINVAL: it is too long; -ESRCH. */
int clo_listened_reflex(struct clo_listened *box, int fd, uint32_t least, const void *request, size_t size) {
    if (!box->thread || getpid() != box->owner) return -ESRCH;
    if (size > sizeof box->reflex.request) return -EINVAL;
    pthread_mutex_lock(&box->thread->lock);
    bool before = atomic_exchange(&box->reflexed, false);
    box->reflex.fd = fd;
    box->reflex.least = least;
    box->reflex.size = (uint32_t)size;
    if (size) memcpy(box->reflex.request, request, size);
    pthread_mutex_unlock(&box->thread->lock);
    return before;
}

/* Whether what was asked for was sent. */
int clo_listened_reflexed(const struct clo_listened *box) { return atomic_load(&box->reflexed); }

/* How many events each of the first `room` rules of the program matched. Exact. 0 or -ESRCH. */
int clo_listened_matched(struct clo_listened *box, uint64_t *counts, size_t room) {
    if (!box->thread || getpid() != box->owner) return -ESRCH;
    pthread_mutex_lock(&box->thread->lock);
    for (size_t rule = 0; rule < room; rule++) counts[rule] = clo_judging_matched(box->judging, (uint32_t)rule);
    pthread_mutex_unlock(&box->thread->lock);
    return 0;
}

/* Writes CLO_ACTS numbers: how often each act was seen. Each is exact; they are not of one moment. */
void clo_listened_counts(const struct clo_listened *box, uint64_t *counts) {
    for (size_t act = 0; act < CLO_ACTS; act++) counts[act] = atomic_load_explicit(&box->counts[act], memory_order_relaxed);
}

void clo_listened_status(const struct clo_listened *box, struct clo_listened_status *status) {
    bool ended = atomic_load(&box->ended); /* first: what came before it is in the others */
    *status = (struct clo_listened_status){
        .ended = ended, .records = atomic_load(&box->outlet.records), .lost = atomic_load(&box->outlet.lost),
        .lost_matches = atomic_load(&box->outlet.lost_matches), .packets = atomic_load(&box->packets),
        .bad = atomic_load(&box->bad), .unknown = atomic_load(&box->unknown), .dropped = atomic_load(&box->dropped),
        .unreadable = atomic_load(&box->unreadable)};
}
