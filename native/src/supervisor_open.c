/* Where paths lead to, and what is done in the guest's place (guest.h): the file is found first, judged, and then that
 * very file is given to the guest by SECCOMP_IOCTL_NOTIF_ADDFD, or acted on. */
#include "supervisor.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#ifndef SECCOMP_ADDFD_FLAG_SEND /* Linux 5.14 */
#define SECCOMP_ADDFD_FLAG_SEND (1UL << 1)
#endif

enum { AGAIN_NS = 5000000, PENDING_MAX = 64 };

/* An open of a pipe whose other end nobody has yet. */
struct clo_pending {
    struct clo_pending *next;
    struct clo_ear *ear;
    uint64_t id;
    struct clo_asked asked;
    struct clo_guest_how how;
    struct clo_found found;
    char path[CLO_PATH_ROOM], base[CLO_PATH_ROOM];
};

static void set_found(struct clo_heard *heard, enum clo_text which, const struct clo_found *found, bool pinned) {
    if (!found->size) return;
    heard->text[which] = found->path;
    heard->event.text[which] = (uint16_t)found->size;
    if (which == CLO_TEXT_RESOLVED && found->flags & CLO_FOUND_MISSING) heard->event.flags |= CLO_EVENT_MISSING;
    if (pinned && found->fd >= 0 && !(found->flags & (CLO_FOUND_TEXT | CLO_FOUND_MISSING)))
        heard->event.flags |= (uint32_t)CLO_EVENT_TEXT_KERNEL << which | CLO_EVENT_PINNED;
}

static bool is_open(uint32_t act) {
    return act == CLO_ACT_OPEN || act == CLO_ACT_WRITE_OPEN || act == CLO_ACT_CREATE;
}

static bool may_be_refused(const struct clo_observed *box, uint32_t act) {
    return clo_judging_needs_paths(box->judging, act) && clo_judging_needs_texts(box->judging, act);
}

/* Whether the call is to be done here: what a rule may refuse for its path. openat2(2) has its flags in memory, so what it
 * says that it is may be something else by the time that it goes on. */
bool clo_heard_is_done_here(const struct clo_heard *heard) {
    const struct clo_observed *box = heard->box;
    uint32_t act = heard->event.act;
    if (!(box->flags & CLO_OBSERVE_STRICT) || !heard->call || !heard->call->path) return false;
    if (heard->call->shape == CLO_SHAPE_OPENAT2)
        return may_be_refused(box, CLO_ACT_OPEN) || may_be_refused(box, CLO_ACT_WRITE_OPEN) ||
               may_be_refused(box, CLO_ACT_CREATE);
    return (is_open(act) || clo_deed_is(act)) && may_be_refused(box, act);
}

static bool follows(const struct clo_heard *heard) {
    uint64_t at = clo_call_register(&heard->notif->data, heard->call->at);
    switch (heard->call->follow) {
    case CLO_FOLLOW_ALWAYS: return !(is_open(heard->event.act) && heard->event.arg[0] & O_NOFOLLOW);
    case CLO_FOLLOW_UNLESS_TOLD: return !(at & AT_SYMLINK_NOFOLLOW);
    case CLO_FOLLOW_IF_TOLD: return at & AT_SYMLINK_FOLLOW;
    default: return false;
    }
}

static struct clo_deed deed_of(const struct clo_supervisor *supervisor, const struct clo_heard *heard) {
    const struct clo_event *event = &heard->event;
    bool numbered = event->act == CLO_ACT_RENAME || event->act == CLO_ACT_LINK || event->act == CLO_ACT_UNLINK;
    uint64_t flags = numbered ? event->arg[0] : clo_call_register(&heard->notif->data, heard->call->at);
    return (struct clo_deed){.act = event->act, .flags = (uint32_t)flags, .arg = {event->arg[0], event->arg[1]},
                             .follow = follows(heard), .text = supervisor->texts[CLO_TEXT_TARGET]};
}

static void pin(struct clo_supervisor *supervisor, struct clo_heard *heard, bool target, const struct clo_asked *asked,
                struct clo_found *found) {
    int status;
    heard->emulated = true;
    if (is_open(heard->event.act)) {
        heard->how = (struct clo_guest_how){heard->event.arg[0], heard->event.arg[1], heard->event.arg[2],
                                            heard->call->shape == CLO_SHAPE_OPENAT2};
        heard->asked = *asked;
        status = clo_guest_pin(heard->box->root, asked, &heard->how, found);
    } else {
        struct clo_deed deed = deed_of(supervisor, heard);
        status = clo_deed_pin(heard->box->root, &deed, target, asked, found);
    }
    if (!heard->pinned) heard->pinned = status;
}

/* An empty path, of a call that is done here: whatever the guest's memory says by now, it is to no avail. */
void clo_heard_empty(struct clo_heard *heard) {
    heard->emulated = true;
    if (!heard->pinned) heard->pinned = -ENOENT;
}

/* Finds where the path leads to that was just read into supervisor->raw, if anybody wants to know. */
void clo_heard_resolve(struct clo_supervisor *supervisor, struct clo_heard *heard, enum clo_text which,
                       const struct clo_asked *asked) {
    enum clo_text to = which == CLO_TEXT_PATH ? CLO_TEXT_RESOLVED : CLO_TEXT_TARGET_RESOLVED;
    struct clo_found *found = &supervisor->found[which == CLO_TEXT_TARGET];
    struct clo_guest_root *root = heard->box->root;
    if (clo_heard_is_done_here(heard)) {
        pin(supervisor, heard, which == CLO_TEXT_TARGET, asked, found);
        set_found(heard, to, found, true);
    } else if (heard->box->flags & CLO_OBSERVE_RESOLVE || clo_judging_needs_resolved(heard->box->judging, heard->event.act)) {
        clo_guest_resolve(root, asked, which == CLO_TEXT_PATH && follows(heard), found);
        set_found(heard, to, found, false);
        clo_found_drop(found);
    }
}

/* Gives the guest a descriptor in answer: its number there, or -errno; -ENOENT: the caller is gone. */
static int give(int listener, uint64_t id, int fd, bool close_on_exec) {
    struct seccomp_notif_addfd add = {
        .id = id, .flags = SECCOMP_ADDFD_FLAG_SEND, .srcfd = (uint32_t)fd, .newfd_flags = close_on_exec ? O_CLOEXEC : 0};
    int given = ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
    if (given < 0 && errno == EINPROGRESS) return -ENOENT;
    return given < 0 ? -errno : given;
}

static bool keep(struct clo_supervisor *supervisor, const struct clo_heard *heard) {
    struct clo_observed *box = heard->box;
    struct clo_pending *pending = box->pendings < PENDING_MAX ? malloc(sizeof *pending) : NULL;
    if (!pending) return false;
    *pending = (struct clo_pending){.next = box->pending, .ear = heard->ear, .id = heard->notif->id,
                                    .asked = heard->asked, .how = heard->how, .found = supervisor->found[0]};
    memcpy(pending->path, heard->asked.path, heard->asked.size + 1);
    pending->asked.path = pending->path;
    if (heard->asked.base) {
        memcpy(pending->base, heard->asked.base, heard->asked.base_size);
        pending->asked.base = pending->base;
    }
    supervisor->found[0].fd = -1;
    box->pending = pending;
    box->pendings++;
    supervisor->due = true;
    return true;
}

/* After the judge's yes: does an act other than an open. 0 or -errno, still to be answered. */
static int64_t do_deed(struct clo_supervisor *supervisor, struct clo_heard *heard) {
    struct clo_deed deed = deed_of(supervisor, heard);
    int status = clo_deed_do(heard->box->root, &deed, heard->event.tid, heard->pinned, &supervisor->found[0],
                             &supervisor->found[1]);
    heard->done = !status;
    return status;
}

/* After the judge's yes: does what was pinned, or opens it and answers with it. The result: a number in the guest, or -errno, which
 * is still to be answered; -ENOENT with heard->answered: the caller is gone; -EINPROGRESS: the answer comes later. */
int64_t clo_heard_open(struct clo_supervisor *supervisor, struct clo_heard *heard) {
    if (!is_open(heard->event.act)) return do_deed(supervisor, heard);
    struct clo_found *found = &supervisor->found[0];
    int fd = heard->pinned ? heard->pinned : clo_guest_take(heard->box->root, &heard->asked, &heard->how, found);
    if (fd == -EINPROGRESS) {
        if (!keep(supervisor, heard)) return -EAGAIN;
        heard->answered = true;
        return fd;
    }
    if (fd < 0) return fd;
    clo_outlet_tell(&heard->box->outlet);
    int given = give(heard->ear->fd, heard->notif->id, fd, heard->how.flags & O_CLOEXEC);
    close(fd);
    heard->answered = given >= 0 || given == -ENOENT;
    return given;
}

static bool finish(struct clo_observed *box, struct clo_pending *pending) {
    int fd = -ENOENT;
    if (!ioctl(pending->ear->fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &pending->id))
        fd = clo_guest_take(box->root, &pending->asked, &pending->how, &pending->found);
    if (fd == -EINPROGRESS) return false;
    int given = fd < 0 ? fd : give(pending->ear->fd, pending->id, fd, pending->how.flags & O_CLOEXEC);
    if (fd >= 0) close(fd);
    if (given < 0) clo_answer(box->supervisor, pending->ear, pending->id, given);
    return true;
}

/* Tries the opens again that wait for somebody; those of `gone` are given up. Gives when to try next, or CLO_NEVER. */
uint64_t clo_pending_tend(struct clo_observed *box, const struct clo_ear *gone, uint64_t now) {
    if (!box->pending) return CLO_NEVER;
    if (!gone && now < box->again) return box->again;
    for (struct clo_pending **at = &box->pending; *at;) {
        struct clo_pending *pending = *at;
        if (pending->ear != gone && (gone || !finish(box, pending))) {
            at = &pending->next;
            continue;
        }
        *at = pending->next;
        box->pendings--;
        clo_found_drop(&pending->found);
        free(pending);
    }
    box->again = now + AGAIN_NS;
    return box->pending ? box->again : CLO_NEVER;
}
