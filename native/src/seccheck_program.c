/* Starts of programs. execve(2) is told of by its call, which says what was asked for, and by the sentry, which says what
 * it became: one record of both. */
#include <string.h>

#include "seccheck.h"

enum { NUMBER_DIGITS = 10 };

/* One argument with its NUL, as far as there is room. */
void clo_program_argument(struct clo_sentry *sentry, struct clo_message *message, const char *text, size_t size) {
    size_t room = CLO_ARGV_MAX - message->argv;
    if (size >= room) {
        message->program_cut = true;
        if (!room) return;
        size = room - 1;
    }
    memcpy(sentry->argv + message->argv, text, size);
    message->argv += size;
    sentry->argv[message->argv++] = 0;
}

/* One NAME=value, if it steers something. */
void clo_program_entry(struct clo_sentry *sentry, struct clo_message *message, const char *text, size_t size) {
    size_t room = CLO_TEXT_MAX - message->env;
    if (!clo_steers(text, size)) return;
    if (room > CLO_STEER_ENTRY) room = CLO_STEER_ENTRY;
    if (size >= room) {
        message->program_cut = true;
        if (!room) return;
        size = room - 1;
        if (!clo_steers(text, size)) return;
    }
    memcpy(sentry->env + message->env, text, size);
    message->env += size;
    sentry->env[message->env++] = 0;
}

static void put_program(struct clo_sentry *sentry, struct clo_telling *telling, const struct clo_message *message,
                        bool vouched) {
    if (message->program_cut) telling->event.flags |= CLO_EVENT_CUT;
    clo_telling_text(telling, CLO_TEXT_TARGET, sentry->argv, message->argv, vouched);
    clo_telling_text(telling, CLO_TEXT_TARGET_RESOLVED, sentry->env, message->env, vouched);
}

/* Whether the start that has just succeeded was told of before; this is asked once. */
static bool was_told(struct clo_sentry *sentry, const struct clo_message *message) {
    struct clo_traced_process *process = clo_sentry_process(sentry, message->pid);
    if (!process) return false;
    bool told = process->executed && message->exits && message->result >= 0;
    process->executed = false;
    return told;
}

/* The end of a start: of one that is held, whose record gets its result; else true, if it is still to be told. */
static bool end_start(struct clo_sentry *sentry, const struct clo_message *message, uint64_t now) {
    struct clo_held_exec *held = clo_sentry_exec_of(sentry, message->tid);
    if (!held) return !was_told(sentry, message);
    struct clo_event *event = &held->record.event;
    event->result = message->result;
    event->flags |= CLO_EVENT_RESULT;
    event->time_ns = now;
    if (!clo_sentry_own(sentry, message->pid)) sentry->tell(sentry->with, event);
    clo_sentry_drop_exec(sentry, held);
    return false;
}

/* execve(2) or execveat(2) begins or has ended. */
void clo_message_execve(struct clo_sentry *sentry, const struct clo_message *message, uint64_t now) {
    bool own = clo_sentry_own(sentry, message->pid);
    if (message->exits && !end_start(sentry, message, now)) return;
    struct clo_telling telling = clo_telling_of(sentry, CLO_ACT_EXEC, message, now);
    const struct clo_call *call = clo_call_of(&sentry->calls, (int)message->call);
    clo_telling_path(sentry, &telling, message);
    if (call->arg[0]) {
        telling.event.arg[0] = (uint32_t)message->number[1];
        telling.event.flags |= CLO_EVENT_ARG_KERNEL;
    }
    put_program(sentry, &telling, message, false);
    if (message->exits || !message->tid) {
        if (!own) clo_telling_send(sentry, &telling);
        return;
    }
    struct clo_held_exec *held = clo_sentry_hold_exec(sentry, message->tid, now);
    if (clo_event_pack(&telling.event, telling.text, &held->record, sizeof held->record) < 0)
        clo_sentry_drop_exec(sentry, held);
}

/* A raw exit of such a call: true if it was of one that is held, or was told of before. */
bool clo_message_execve_ended(struct clo_sentry *sentry, const struct clo_message *message, uint64_t now) {
    if (!message->exits || !(clo_is_execve(sentry, message->call) || clo_sentry_exec_of(sentry, message->tid))) return false;
    return !end_start(sentry, message, now);
}

/* "exec-" and a decimal number, which cloche-inner calls the child that is to be that exec's program. */
static uint32_t exec_number(struct clo_span name) {
    static const char prefix[] = "exec-";
    const size_t before = sizeof prefix - 1;
    uint64_t number = 0;
    if (name.size <= before || name.size > before + NUMBER_DIGITS || memcmp(name.text, prefix, before) != 0) return 0;
    for (size_t at = before; at < name.size; at++) {
        if (name.text[at] < '0' || name.text[at] > '9') return 0;
        number = number * 10 + (uint64_t)(name.text[at] - '0');
    }
    return number <= UINT32_MAX ? (uint32_t)number : 0;
}

static void take_over(struct clo_telling *telling, const struct clo_event *asked) {
    uint32_t kept = CLO_EVENT_ARG_KERNEL | CLO_EVENT_CLIMBS | CLO_EVENT_CUT;
    const char *path = clo_event_text(asked, CLO_TEXT_PATH);
    if (!asked->text[CLO_TEXT_PATH] || path[0] != '/') kept |= CLO_EVENT_UNREADABLE;
    telling->event.call = asked->call;
    telling->event.arg[0] = asked->arg[0];
    telling->event.flags |= asked->flags & kept;
    clo_telling_text(telling, CLO_TEXT_PATH, path, asked->text[CLO_TEXT_PATH], false);
}

static void tell_executed(struct clo_sentry *sentry, const struct clo_message *message, const struct clo_held_exec *held,
                          uint64_t now) {
    struct clo_traced_process *process = clo_sentry_process(sentry, message->pid);
    if (process) {
        if (process->young) process->exec = exec_number(message->name);
        process->young = false;
        process->executed = true;
    }
    struct clo_telling telling = clo_telling_of(sentry, CLO_ACT_EXEC, message, now);
    if (held) take_over(&telling, &held->record.event);
    if (clo_span_absolute(message->path))
        clo_telling_text(&telling, CLO_TEXT_RESOLVED, message->path.text, message->path.size, true);
    put_program(sentry, &telling, message, true);
    clo_telling_send(sentry, &telling);
}

/* A process has become another program. */
void clo_message_executed(struct clo_sentry *sentry, const struct clo_message *message, uint64_t now) {
    struct clo_held_exec *held = clo_sentry_exec_of(sentry, message->tid);
    if (!sentry->init || message->pid != CLO_SENTRY_INIT) tell_executed(sentry, message, held, now);
    if (held) clo_sentry_drop_exec(sentry, held);
}
