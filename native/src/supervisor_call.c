/* One call of a guest: received, taken apart, judged, answered. */
#include "supervisor.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#define BIT(act) (UINT64_C(1) << (act))

static void count(struct clo_observed *box, uint32_t act, enum clo_count which) {
    _Atomic uint64_t *counter = &box->counts[act][which];
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* What the static filter says: 0 or -errno. An answer that is neither yes nor an error is taken for a no. The answer to
 * a number that needs no look at the arguments is remembered if it is yes. */
static int ask_filter(struct clo_observed *box, const struct seccomp_data *data) {
    bool known = data->nr >= 0 && data->nr < CLO_CALLS_MAX;
    if (!box->filter || (known && box->by_number[data->nr] == CLO_STATIC_ALLOWS)) return 0;
    struct clo_bpf_answer answer = clo_bpf_run(box->filter, data);
    uint32_t action = answer.value & SECCOMP_RET_ACTION_FULL, error = answer.value & SECCOMP_RET_DATA;
    bool yes = action == SECCOMP_RET_ALLOW || action == SECCOMP_RET_LOG;
    if (known) box->by_number[data->nr] = yes && !answer.looked ? CLO_STATIC_ALLOWS : CLO_STATIC_ASK;
    if (yes || (action == SECCOMP_RET_ERRNO && !error)) return 0;
    return action == SECCOMP_RET_ERRNO ? -(int)error : -EPERM;
}

static bool still_there(const struct clo_heard *heard) {
    uint64_t id = heard->notif->id;
    return !ioctl(heard->ear->fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &id);
}

static int send(struct clo_supervisor *supervisor, const struct clo_ear *ear, uint64_t id, int error, uint32_t flags) {
    struct seccomp_notif_resp *response = supervisor->response;
    response->id = id;
    response->val = 0;
    response->error = error;
    response->flags = flags;
    return ioctl(ear->fd, SECCOMP_IOCTL_NOTIF_SEND, response) ? -errno : 0;
}

/* 0: the call goes on, as the guest's kernel does it; else an error. False is as it should be: the caller was killed, or a
 * signal took it out of the call. */
int clo_answer(struct clo_supervisor *supervisor, const struct clo_ear *ear, uint64_t id, int error) {
    return send(supervisor, ear, id, error, error ? 0 : SECCOMP_USER_NOTIF_FLAG_CONTINUE);
}

static void deny(struct clo_heard *heard, int error, uint32_t flags, enum clo_count which) {
    heard->answer = error;
    heard->event.result = error;
    heard->event.flags |= CLO_EVENT_DENIED | CLO_EVENT_RESULT | flags;
    count(heard->box, heard->event.act, which);
}

/* What a call that can't be judged is answered: what the kernel would say to such a text, if it would say so too. */
static int closed(int unread) {
    return unread == -EFAULT || unread == -ENAMETOOLONG || unread == -EBADF || unread == -ENOTDIR || unread == -ENOENT
               ? unread
               : -EPERM;
}

/* cloche-init may not be looked into, and the first call of a listener is its own: the program's execve, tried along
 * PATH. Nothing of the guest has run then. */
static bool is_before_program(struct clo_heard *heard) {
    struct clo_ear *ear = heard->ear;
    if (!ear->first) ear->first = heard->event.tid;
    bool before = !ear->begun && heard->event.act == CLO_ACT_EXEC && ear->first == heard->event.tid &&
                  heard->unread == -EPERM;
    if (!before) ear->begun = true;
    return before;
}

static bool make_record(struct clo_supervisor *supervisor, struct clo_heard *heard) {
    return clo_event_pack(&heard->event, heard->text, &supervisor->record, sizeof supervisor->record) > 0;
}

static void swap_texts(struct clo_heard *heard, enum clo_text one, enum clo_text other) {
    const char *text = heard->text[one];
    uint16_t size = heard->event.text[one];
    heard->text[one] = heard->text[other];
    heard->event.text[one] = heard->event.text[other];
    heard->text[other] = text;
    heard->event.text[other] = size;
}

static void exchange(struct clo_heard *heard) {
    swap_texts(heard, CLO_TEXT_PATH, CLO_TEXT_TARGET);
    swap_texts(heard, CLO_TEXT_RESOLVED, CLO_TEXT_TARGET_RESOLVED);
}

/* An exchange of two names is a rename of the second too: what a rule says of that. 0, or -errno with *matched. */
static int ask_exchanged(struct clo_supervisor *supervisor, struct clo_heard *heard, bool *matched) {
    if (heard->event.act != CLO_ACT_RENAME || !(heard->event.arg[0] & RENAME_EXCHANGE)) return 0;
    if (!clo_judging_needs_texts(heard->box->judging, CLO_ACT_RENAME)) return 0;
    exchange(heard);
    int ruled = make_record(supervisor, heard) ? clo_judging_ask(heard->box->judging, &supervisor->record.event, matched) : -EPERM;
    exchange(heard);
    return ruled;
}

/* Receives into supervisor->notif; false: there is nothing to be answered. ENOENT: the caller was gone already. */
static bool receive(struct clo_supervisor *supervisor, struct clo_ear *ear) {
    memset(supervisor->notif, 0, supervisor->notif_size);
    if (!ioctl(ear->fd, SECCOMP_IOCTL_NOTIF_RECV, supervisor->notif)) return true;
    if (errno == ENOENT || errno == EINTR)
        atomic_fetch_add(&ear->box->vanished, 1);
    else
        clo_observed_hang_up(ear->box, ear); /* never to be heard again: its calls get ENOSYS */
    return false;
}

static void open_for(struct clo_supervisor *supervisor, struct clo_heard *heard) {
    count(heard->box, heard->event.act, CLO_COUNT_EMULATED);
    int64_t result = clo_heard_open(supervisor, heard);
    if (heard->answered && result == -ENOENT) count(heard->box, heard->event.act, CLO_COUNT_STALE);
    if (!heard->answered) heard->answer = (int)result;
    if (result == -EINPROGRESS || (heard->answered && result < 0)) return;
    heard->event.result = result;
    heard->event.flags |= CLO_EVENT_RESULT;
}

/* Finds the answer to what was read, and puts the record where it is wanted. The static filter has the last word; the
 * rules see the call all the same. */
static void judge(struct clo_supervisor *supervisor, struct clo_heard *heard, int refused, uint64_t wants) {
    struct clo_observed *box = heard->box;
    uint32_t act = heard->event.act;
    bool matched = false, before = is_before_program(heard);
    count(box, act, CLO_COUNT_SEEN);
    if (heard->unread) count(box, act, CLO_COUNT_UNREADABLE);
    if (refused)
        deny(heard, refused, CLO_EVENT_STATIC, CLO_COUNT_STATIC);
    else if (heard->unread && !before && (clo_judging_needs_texts(box->judging, act) || clo_heard_is_done_here(heard)))
        deny(heard, closed(heard->unread), 0, CLO_COUNT_DENIED);
    int ruled = ask_exchanged(supervisor, heard, &matched);
    if (!make_record(supervisor, heard)) return;
    if (!ruled) ruled = clo_judging_ask(box->judging, &supervisor->record.event, &matched);
    if (ruled && !heard->answer && !before) deny(heard, ruled, 0, CLO_COUNT_DENIED);
    if (heard->emulated && !heard->answer) open_for(supervisor, heard);
    if (!matched && !(wants & BIT(act))) return;
    struct clo_event *event = &supervisor->record.event;
    event->flags = heard->event.flags | (matched ? CLO_EVENT_MATCHED : 0U);
    event->result = heard->event.result;
    if (matched) clo_outlet_tell(&box->outlet); /* whoever takes the record finds its match */
    uint64_t number = clo_outlet_put(&box->outlet, event, heard->event.time_ns);
    if (matched) clo_outlet_put_match(&box->outlet, clo_judging_match(box->judging, number), event->time_ns);
}

/* Answers one call of a listener that has one. */
void clo_supervisor_serve(struct clo_supervisor *supervisor, struct clo_ear *ear) {
    struct clo_observed *box = ear->box;
    uint64_t now = clo_now();
    ear->heard = now;
    if (!clo_observed_has_room(box, now) || !receive(supervisor, ear)) return;
    const struct seccomp_data *data = &supervisor->notif->data;
    uint64_t args[6];
    memcpy(args, data->args, sizeof args);
    uint64_t acts = clo_watched_acts(&supervisor->acts, data->nr, args);
    struct clo_heard heard = {
        .box = box, .ear = ear, .notif = supervisor->notif, .call = clo_call_of(&supervisor->calls, data->nr),
        .event = {.act = acts ? (uint16_t)__builtin_ctzll(acts) : CLO_ACT_KERNEL, .source = CLO_SOURCE_GUEST,
                  .time_ns = now, .sandbox = box->sandbox, .tid = (int32_t)supervisor->notif->pid, .call = data->nr,
                  .exec = ear->exec}};
    supervisor->found[0].fd = supervisor->found[1].fd = -1;
    int refused = ask_filter(box, data);
    uint64_t wants = atomic_load_explicit(&box->wants, memory_order_relaxed);
    if (!acts) acts = BIT(CLO_ACT_KERNEL);
    if (wants & acts || clo_judging_looks(box->judging, acts)) {
        clo_heard_read(supervisor, &heard);
        if (still_there(&heard)) {
            judge(supervisor, &heard, refused, wants);
        } else {
            count(box, heard.event.act, CLO_COUNT_SEEN);
            count(box, heard.event.act, CLO_COUNT_STALE);
            heard.answered = true;
        }
        clo_outlet_told(&box->outlet);
        clo_found_drop(&supervisor->found[0]);
        clo_found_drop(&supervisor->found[1]);
    } else {
        count(box, heard.event.act, CLO_COUNT_SEEN);
        if (refused) deny(&heard, refused, CLO_EVENT_STATIC, CLO_COUNT_STATIC);
    }
    if (heard.answered) return;
    /* What was to be done here never goes on, whatever came between. */
    if (!heard.answer && !heard.done && (heard.emulated || clo_heard_is_done_here(&heard))) heard.answer = -EPERM;
    int failed = heard.done ? send(supervisor, ear, supervisor->notif->id, 0, 0)
                            : clo_answer(supervisor, ear, supervisor->notif->id, heard.answer);
    if (failed) count(box, heard.event.act, CLO_COUNT_STALE);
}
