/* What waits for another message of its thread.
 *
 * A raw call is held if the caller said that another message tells of it better: the sentry says nothing of a call with a
 * text that is no UTF-8, not even that it dropped it, but its registers it does say. If the next message of that thread is
 * about something else the call is told as far as its registers go.
 *
 * The start of a program is held since the sentry says first what was asked for and then what it became. */
#include <string.h>

#include "seccheck.h"

static void note(struct clo_sentry *sentry, uint64_t now) {
    if (!sentry->held++ || now < sentry->oldest) sentry->oldest = now;
}

static void let_go(struct clo_sentry *sentry, struct clo_held_call *held, uint64_t now) {
    struct clo_message message = {.kind = CLO_MESSAGE_RAW, .tid = held->tid, .pid = held->pid, .call = held->call};
    memcpy(message.number, held->number, sizeof message.number);
    held->tid = 0;
    sentry->held--;
    clo_held_call_tell(sentry, &message, now);
}

/* Tells of a start as it stands. */
static void release(struct clo_sentry *sentry, struct clo_held_exec *held, uint64_t now) {
    if (!clo_sentry_own(sentry, held->record.event.pid)) {
        held->record.event.time_ns = now;
        sentry->tell(sentry->with, &held->record.event);
    }
    clo_sentry_drop_exec(sentry, held);
}

void clo_sentry_drop_exec(struct clo_sentry *sentry, struct clo_held_exec *held) {
    held->tid = 0;
    sentry->held--;
}

/* NULL: none is held of this thread. */
struct clo_held_exec *clo_sentry_exec_of(struct clo_sentry *sentry, int32_t tid) {
    for (size_t i = 0; tid && i < CLO_SENTRY_EXECS; i++)
        if (sentry->execs[i].tid == tid) return &sentry->execs[i];
    return NULL;
}

static struct clo_held_exec *first_exec(struct clo_sentry *sentry) {
    struct clo_held_exec *first = NULL;
    for (size_t i = 0; i < CLO_SENTRY_EXECS; i++)
        if (sentry->execs[i].tid && (!first || sentry->execs[i].turn < first->turn)) first = &sentry->execs[i];
    return first;
}

/* A place for a start, whose record is to be filled in. */
struct clo_held_exec *clo_sentry_hold_exec(struct clo_sentry *sentry, int32_t tid, uint64_t now) {
    struct clo_held_exec *held = NULL;
    while (!held) {
        for (size_t i = 0; i < CLO_SENTRY_EXECS && !held; i++)
            if (!sentry->execs[i].tid) held = &sentry->execs[i];
        if (!held) release(sentry, first_exec(sentry), now);
    }
    held->tid = tid;
    held->at = now;
    held->turn = ++sentry->turn;
    note(sentry, now);
    return held;
}

/* Holds a raw call; another thread's in its place is let go. */
void clo_sentry_hold(struct clo_sentry *sentry, const struct clo_message *message, uint64_t now) {
    struct clo_held_call *place = &sentry->calls_held[(uint32_t)message->tid % CLO_SENTRY_HELD], before = *place;
    *place = (struct clo_held_call){.tid = message->tid, .pid = message->pid, .call = message->call, .at = now};
    memcpy(place->number, message->number, sizeof place->number);
    note(sentry, now);
    if (before.tid) let_go(sentry, &before, now);
}

/* A message has come: what its thread has waiting is done with, or has waited in vain. */
void clo_sentry_before(struct clo_sentry *sentry, const struct clo_message *message, uint64_t now) {
    if (!sentry->held || !message->tid) return;
    bool of_call = message->kind >= CLO_MESSAGE_RAW;
    struct clo_held_call *call = &sentry->calls_held[(uint32_t)message->tid % CLO_SENTRY_HELD];
    if (call->tid == message->tid) {
        bool raw_enter = message->kind == CLO_MESSAGE_RAW && !message->exits;
        bool done = (of_call && message->call == call->call && !raw_enter) ||
                    (message->kind == CLO_MESSAGE_EXECUTED && clo_is_execve(sentry, call->call));
        if (done) {
            call->tid = 0;
            sentry->held--;
        } else {
            let_go(sentry, call, now);
        }
    }
    struct clo_held_exec *exec = clo_sentry_exec_of(sentry, message->tid);
    bool its_end = of_call && message->exits && exec && (int32_t)message->call == exec->record.event.call;
    if (exec && message->kind != CLO_MESSAGE_EXECUTED && !its_end) release(sentry, exec, now);
}

/* Tells of all that has been held since `before` or longer. */
void clo_sentry_due(struct clo_sentry *sentry, uint64_t before, uint64_t now) {
    if (!sentry->held || sentry->oldest > before) return;
    for (size_t i = 0; i < CLO_SENTRY_HELD; i++)
        if (sentry->calls_held[i].tid && sentry->calls_held[i].at <= before) let_go(sentry, &sentry->calls_held[i], now);
    for (struct clo_held_exec *held; (held = first_exec(sentry)) && held->at <= before;) release(sentry, held, now);
    sentry->oldest = UINT64_MAX;
    for (size_t i = 0; i < CLO_SENTRY_HELD; i++)
        if (sentry->calls_held[i].tid && sentry->calls_held[i].at < sentry->oldest) sentry->oldest = sentry->calls_held[i].at;
    for (size_t i = 0; i < CLO_SENTRY_EXECS; i++)
        if (sentry->execs[i].tid && sentry->execs[i].at < sentry->oldest) sentry->oldest = sentry->execs[i].at;
}
