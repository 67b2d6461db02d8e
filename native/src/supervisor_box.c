/* A box of a supervisor: its listeners, its ring and bell, its counters. */
#include "supervisor.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS /* Linux 6.6 */
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

enum { MILLISECOND = 1000000, LISTENERS_MAX = 65536 };

static void tell(struct clo_observed *box, uint32_t flags) {
    atomic_fetch_or(&box->told, flags);
    clo_outlet_signal(&box->outlet);
}

/* Does what is due: gives when something will be next, or CLO_NEVER. */
uint64_t clo_observed_tend(struct clo_observed *box, uint64_t now) {
    uint64_t due = clo_pending_tend(box, NULL, now);
    if (!box->waiting || box->wait_until == CLO_NEVER) return due;
    if (now >= box->wait_until) {
        box->wait_until = CLO_NEVER;
        tell(box, CLO_OBSERVED_OVERLOADED);
        return due;
    }
    return box->wait_until < due ? box->wait_until : due;
}

/* ---- listeners ---- */

/* The flag goes by value, and a kernel before 6.6 does not know it: without, answers come later, that is all. */
int clo_observed_listen(struct clo_observed *box, struct clo_ear *ear) {
    uint64_t none = 0;
    if (!ioctl(ear->fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &none) || errno != ENOENT) return -EBADF; /* no listener */
    (void)ioctl(ear->fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
    if (atomic_load(&box->listening) >= LISTENERS_MAX) return -EMFILE;
    int status = clo_ear_open(box->supervisor, ear);
    if (status) return status;
    ear->next = box->listeners;
    box->listeners = ear;
    atomic_fetch_add(&box->listening, 1);
    return 0;
}

static void check_closed(struct clo_observed *box) {
    if (box->watch.fd < 0 && !box->listeners) tell(box, CLO_OBSERVED_CLOSED);
}

/* Closes a listener: whatever still waits on it gets ENOSYS. */
void clo_observed_hang_up(struct clo_observed *box, struct clo_ear *ear) {
    struct clo_ear **at = &box->listeners;
    while (*at != ear) at = &(*at)->next;
    *at = ear->next;
    clo_pending_tend(box, ear, 0);
    clo_ear_close(box->supervisor, ear);
    free(ear);
    atomic_fetch_sub(&box->listening, 1);
    check_closed(box);
}

/* The descriptor of a packet that is as it has to be, or -1; any others are closed. */
static int take_descriptor(struct msghdr *message, bool right) {
    int found = -1;
    for (struct cmsghdr *head = CMSG_FIRSTHDR(message); head; head = CMSG_NXTHDR(message, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
        for (size_t at = 0; sizeof(int) <= head->cmsg_len - CMSG_LEN(0) - at; at += sizeof(int)) {
            int fd;
            memcpy(&fd, CMSG_DATA(head) + at, sizeof fd);
            if (right && found < 0)
                found = fd;
            else
                close(fd);
        }
    }
    return found;
}

static void stop_watching(struct clo_observed *box) {
    clo_ear_close(box->supervisor, &box->watch);
    box->watch.fd = -1;
    check_closed(box);
}

/* One packet of the watch socket. */
void clo_observed_receive(struct clo_observed *box) {
    struct clo_listener packet;
    union { struct cmsghdr head; char room[CMSG_SPACE(sizeof(int))]; } control;
    struct iovec body = {&packet, sizeof packet};
    struct msghdr message = {
        .msg_iov = &body, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t size = recvmsg(box->watch.fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size < 0 && (errno == EMFILE || errno == ENFILE)) size = 1; /* the packet is gone; its program gets ENOSYS */
    if (size <= 0) {
        stop_watching(box);
        return;
    }
    bool right = (size_t)size == sizeof packet && !(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC));
    int fd = take_descriptor(&message, right);
    struct clo_ear *ear = fd < 0 ? NULL : malloc(sizeof *ear);
    if (ear) *ear = (struct clo_ear){.kind = CLO_EAR_LISTENER, .fd = fd, .box = box, .exec = packet.exec};
    if (ear && !clo_observed_listen(box, ear)) return;
    clo_add_to(&box->refused, 1);
    if (fd >= 0) close(fd);
    free(ear);
}

/* ---- records ---- */

static bool half_empty(const struct clo_ring *ring) { return clo_ring_room(ring) >= ring->size / 2; }

/* Matches make calls wait only if somebody takes them. */
static bool heeds(const struct clo_observed *box) { return atomic_load(&box->heeded); }

static bool worth_it(const struct clo_observed *box) {
    return half_empty(&box->outlet.ring) && (!heeds(box) || half_empty(&box->outlet.matches));
}

/* Whether a call may be received: if its record must not be lost there has to be room for any. Else the box waits. */
bool clo_observed_has_room(struct clo_observed *box, uint64_t now) {
    if (box->overload != CLO_OVERLOAD_WAIT) return true;
    bool empty_enough = worth_it(box);
    if (empty_enough) box->lossy = false;
    if (empty_enough || box->lossy) return true;
    if (clo_ring_room(&box->outlet.ring) >= CLO_EVENT_MAX && (!heeds(box) || clo_ring_room(&box->outlet.matches) >= CLO_EVENT_MAX))
        return true;
    box->waiting = true;
    box->wait_until = now + box->wait_ns;
    box->supervisor->due = true;
    for (struct clo_ear *ear = box->listeners; ear; ear = ear->next) clo_ear_change(box->supervisor, ear);
    tell(box, CLO_OBSERVED_WAITING);
    atomic_store(&box->full, true);
    clo_observed_rearm(box); /* if it was emptied meanwhile nobody will say so */
    return false;
}

/* Listens again if there is room enough for it to be worth it. */
void clo_observed_rearm(struct clo_observed *box) {
    if (!box->waiting || (!box->lossy && !worth_it(box))) return;
    box->waiting = false;
    atomic_store(&box->full, false);
    atomic_fetch_and(&box->told, ~(uint32_t)(CLO_OBSERVED_WAITING | CLO_OBSERVED_OVERLOADED));
    for (struct clo_ear *ear = box->listeners; ear; ear = ear->next) clo_ear_change(box->supervisor, ear);
}

/* ---- from other threads ---- */

static void discard(struct clo_observed *box) {
    if (box->root_fd >= 0) close(box->root_fd);
    clo_guest_root_free(box->root);
    clo_outlet_close(&box->outlet);
    clo_judging_free(box->judging);
    free(box->filter);
    free(box);
}

static int prepare(struct clo_observed *box, const struct clo_observe *how) {
    if (how->instructions) {
        if (how->instructions > BPF_MAXINSNS) return -EINVAL;
        box->filter = malloc(how->instructions * sizeof *box->filter);
        if (!box->filter) return -ENOMEM;
        memcpy(box->filter, how->filter, how->instructions * sizeof *box->filter);
        if (clo_bpf_check(box->filter, how->instructions)) return -EINVAL;
    }
    int status = clo_outlet_open(&box->outlet, how->ring);
    if (status) return status;
    box->root_fd = fcntl(how->root, F_DUPFD_CLOEXEC, 0);
    if (box->root_fd < 0) return -errno;
    return clo_guest_root_new(box->root_fd, &box->root);
}

static int add(struct clo_supervisor *supervisor, struct clo_observed *box, void *with) {
    (void)with;
    int status = 0;
    if (supervisor->became || (box->flags & CLO_OBSERVE_STRICT && supervisor->boxes)) return -EBUSY;
    if (box->flags & CLO_OBSERVE_STRICT) {
        supervisor->became = true;
        status = clo_guest_become(box->root, box->who.uid, box->who.gid);
    }
    if (!status) status = clo_ear_open(supervisor, &box->watch);
    if (status) return status;
    box->next = supervisor->boxes;
    supervisor->boxes = box;
    return 0;
}

/* Has a box watched: 0 or a negative errno, and then nothing of `how` was taken. -EINVAL: a filter that is none, a
 * ring's size, an unknown overload, a guest that is root with STRICT; -EBADF: a descriptor; -EBUSY: with STRICT the
 * thread must have no other box, ever. The box is to be freed before or after its supervisor. */
int clo_observe(struct clo_supervisor *supervisor, const struct clo_observe *how, struct clo_observed **out) {
    if (how->overload > CLO_OVERLOAD_WAIT || how->flags & ~(uint32_t)(CLO_OBSERVE_RESOLVE | CLO_OBSERVE_STRICT))
        return -EINVAL;
    struct clo_observed *box = aligned_alloc(CLO_CACHE_LINE, sizeof *box);
    if (!box) return -ENOMEM;
    memset(box, 0, sizeof *box);
    box->supervisor = supervisor;
    box->watch = (struct clo_ear){.kind = CLO_EAR_WATCH, .fd = how->watch, .box = box};
    box->root_fd = box->outlet.bell = -1;
    box->who = (struct clo_who){how->uid, how->gid};
    box->sandbox = how->sandbox;
    box->flags = how->flags;
    box->overload = how->overload;
    box->wait_ns = (uint64_t)how->wait_ms * MILLISECOND;
    atomic_init(&box->wants, how->wants);
    int status = prepare(box, how);
    if (!status) status = clo_supervisor_do(supervisor, add, box, NULL);
    if (status) {
        discard(box);
        return status;
    }
    *out = box;
    return 0;
}

/* In the thread: nothing of the box is listened to any more. */
void clo_observed_close(struct clo_observed *box) {
    while (box->listeners) clo_observed_hang_up(box, box->listeners);
    if (box->watch.fd >= 0) stop_watching(box);
    box->supervisor = NULL;
}

static int take_out(struct clo_supervisor *supervisor, struct clo_observed *box, void *with) {
    (void)with;
    struct clo_observed **at = &supervisor->boxes;
    while (*at != box) at = &(*at)->next;
    *at = box->next;
    clo_observed_close(box);
    return 0;
}

/* What its guest waits for is answered with ENOSYS, as everything watched is from now on. NULL is fine; in a forked
 * process nothing is done. */
void clo_observed_free(struct clo_observed *box) {
    if (!box || (box->supervisor && clo_supervisor_do(box->supervisor, take_out, box, NULL))) return;
    discard(box);
}

/* Readable when there are records to take, or the box's flags have changed; taking them resets it. The box's. */
int clo_observed_bell(const struct clo_observed *box) { return box->outlet.bell; }

static int64_t take(struct clo_observed *box, struct clo_ring *ring, void *out, size_t room) {
    const uint64_t one = 1;
    bool threaded = box->supervisor && getpid() == box->supervisor->owner;
    int64_t taken = clo_outlet_take(&box->outlet, ring, threaded, out, room);
    bool enough = atomic_load(&box->full) && worth_it(box);
    if (enough && box->supervisor) (void)!write(box->supervisor->command.fd, &one, sizeof one);
    return taken;
}

/* Takes records, whole ones: their bytes; 0: there are none; -ENOSPC: `room` is too small for the first, which
 * CLO_EVENT_MAX never is. Any thread; never waits for the guest. */
int64_t clo_observed_take(struct clo_observed *box, void *out, size_t room) { return take(box, &box->outlet.ring, out, room); }

/* The same of matches, struct clo_match, each put right after its record. */
int64_t clo_observed_take_matches(struct clo_observed *box, void *out, size_t room) {
    atomic_store(&box->heeded, true);
    return take(box, &box->outlet.matches, out, room);
}

/* Which acts' records all go to the ring from now on. */
void clo_observed_want(struct clo_observed *box, uint64_t acts) { atomic_store(&box->wants, acts); }

static int go_on(struct clo_supervisor *supervisor, struct clo_observed *box, void *with) {
    (void)supervisor, (void)with;
    box->lossy = true;
    clo_observed_rearm(box);
    return 0;
}

/* Lets the calls go on that wait for room: what has none is lost and counted until the ring is half empty. */
int clo_observed_resume(struct clo_observed *box) {
    return box->supervisor ? clo_supervisor_do(box->supervisor, go_on, box, NULL) : 0;
}

/* Writes CLO_ACTS * CLO_COUNTS numbers, by act. Each is exact; they are not of one moment. */
void clo_observed_counts(const struct clo_observed *box, uint64_t *counts) {
    for (size_t act = 0; act < CLO_ACTS; act++)
        for (size_t which = 0; which < CLO_COUNTS; which++)
            *counts++ = atomic_load_explicit(&box->counts[act][which], memory_order_relaxed);
}

void clo_observed_status(const struct clo_observed *box, struct clo_observed_status *status) {
    *status = (struct clo_observed_status){
        .records = atomic_load(&box->outlet.records), .lost = atomic_load(&box->outlet.lost),
        .lost_matches = atomic_load(&box->outlet.lost_matches),
        .vanished = atomic_load(&box->vanished), .refused = atomic_load(&box->refused),
        .listeners = atomic_load(&box->listening), .flags = atomic_load(&box->told)};
}
