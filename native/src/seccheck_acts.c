/* Which act a message is, and what of it goes into a record. */
#include <string.h>

#include "seccheck.h"

enum { NAMESPACES = 0x7e020000, THREAD = 0x10000, WRITE_AND_EXECUTE = 6, SIGNAL_MASK = 0x7f, STATUS_MASK = 0xffff };

/* A record without texts: who, when, which call, with which result. */
struct clo_telling clo_telling_of(struct clo_sentry *sentry, uint32_t act, const struct clo_message *message, uint64_t now) {
    const struct clo_traced_process *process = clo_sentry_process(sentry, message->pid);
    return (struct clo_telling){
        .event = {.act = (uint16_t)act, .source = CLO_SOURCE_GUEST, .time_ns = now, .sandbox = sentry->sandbox,
                  .flags = (message->cut ? CLO_EVENT_CUT : 0U) | (message->exits ? CLO_EVENT_RESULT : 0U),
                  .pid = message->pid, .tid = message->tid,
                  .call = message->kind >= CLO_MESSAGE_RAW ? (int32_t)message->call : -1,
                  .exec = process ? process->exec : 0, .result = message->result}};
}

/* The text stays where it is until the record is made. */
void clo_telling_text(struct clo_telling *telling, enum clo_text which, const char *text, size_t size, bool vouched) {
    if (size > CLO_TEXT_MAX) {
        size = CLO_TEXT_MAX;
        telling->event.flags |= CLO_EVENT_CUT;
    }
    telling->text[which] = text;
    telling->event.text[which] = (uint16_t)size;
    if (vouched && size) telling->event.flags |= (uint32_t)CLO_EVENT_TEXT_KERNEL << which;
}

void clo_telling_send(struct clo_sentry *sentry, const struct clo_telling *telling) {
    if (clo_event_pack(&telling->event, telling->text, &sentry->record, sizeof sentry->record) > 0)
        sentry->tell(sentry->with, &sentry->record.event);
}

static void set_numbers(struct clo_telling *telling, size_t count, uint64_t first, uint64_t second, uint64_t third) {
    const uint64_t numbers[] = {first, second, third};
    for (size_t i = 0; i < count; i++) {
        telling->event.arg[i] = numbers[i];
        telling->event.flags |= (uint32_t)CLO_EVENT_ARG_KERNEL << i;
    }
}

/* A call of which only the registers are known; its texts, if it has some, are not. */
void clo_held_call_tell(struct clo_sentry *sentry, const struct clo_message *message, uint64_t now) {
    struct seccomp_data data = {.nr = (int)message->call};
    uint64_t args[6];
    memcpy(args, message->number, sizeof args);
    memcpy(data.args, message->number, sizeof data.args);
    uint64_t acts = clo_watched_acts(&sentry->acts, message->call, args);
    if (!acts || clo_sentry_own(sentry, message->pid)) return;
    struct clo_telling telling = clo_telling_of(sentry, (uint32_t)__builtin_ctzll(acts), message, now);
    const struct clo_call *call = clo_call_of(&sentry->calls, (int)message->call);
    if (call) clo_call_numbers(call, &data, &telling.event);
    bool texts = call && (call->path || call->path2);
    bool traced = sentry->lines && call && (texts || call->shape == CLO_SHAPE_FD) &&
                  clo_telling_traced(sentry, &telling, call, message);
    if (texts && !traced) telling.event.flags |= CLO_EVENT_UNREADABLE;
    clo_telling_send(sentry, &telling);
}

static void tell_clone(struct clo_sentry *sentry, const struct clo_message *message, uint64_t now) {
    int32_t child = (int32_t)message->number[1];
    uint64_t flags = message->number[2];
    if (flags & THREAD || child == message->pid) return;
    bool own = clo_sentry_own(sentry, message->pid);
    struct clo_telling telling = clo_telling_of(sentry, CLO_ACT_FORK, message, now);
    clo_sentry_born(sentry, message->pid, child);
    if (own) return;
    telling.event.result = child;
    telling.event.flags |= CLO_EVENT_RESULT;
    set_numbers(&telling, 1, (uint32_t)flags, 0, 0);
    clo_telling_send(sentry, &telling);
}

/* The status is as wait(2) gives it. */
static void tell_exit(struct clo_sentry *sentry, const struct clo_message *message, uint64_t now) {
    if (!clo_sentry_own(sentry, message->pid)) {
        uint32_t status = (uint32_t)message->number[0] & STATUS_MASK, signal = status & SIGNAL_MASK, code = status >> 8;
        struct clo_telling telling = clo_telling_of(sentry, CLO_ACT_EXIT, message, now);
        telling.event.result = signal ? -(int64_t)signal : (int64_t)code;
        telling.event.flags |= CLO_EVENT_RESULT;
        set_numbers(&telling, 1, signal ? 128 + signal : code, 0, 0);
        clo_telling_send(sentry, &telling);
    }
    clo_sentry_gone(sentry, message->pid);
}

static void tell_raw(struct clo_sentry *sentry, const struct clo_message *message, uint64_t now) {
    uint32_t call = message->call;
    if (call == CLO_SENTRY_BELONGS && sentry->init && message->pid == CLO_SENTRY_INIT) {
        clo_sentry_belongs(sentry, message->number[0], message->number[1]);
        return;
    }
    bool shadow = call < CLO_CALLS_MAX && sentry->shadows[call / 64] >> call % 64 & 1;
    if (!message->exits && message->tid && shadow)
        clo_sentry_hold(sentry, message, now);
    else if (!clo_message_execve_ended(sentry, message, now))
        clo_held_call_tell(sentry, message, now);
}

static void tell_chdir(struct clo_sentry *sentry, const struct clo_message *message, uint64_t now) {
    struct clo_telling telling = clo_telling_of(sentry, CLO_ACT_CHDIR, message, now);
    clo_telling_path(sentry, &telling, message);
    if (message->exits && message->result >= 0) {
        enum clo_text which = telling.event.text[CLO_TEXT_PATH] ? CLO_TEXT_PATH : CLO_TEXT_RESOLVED;
        struct clo_span cwd = {telling.text[which], telling.event.text[which]};
        if (telling.event.flags & CLO_EVENT_UNREADABLE) cwd = (struct clo_span){0};
        clo_sentry_cwd(sentry, message->pid, cwd);
    }
    if (!clo_sentry_own(sentry, message->pid)) clo_telling_send(sentry, &telling);
}

static void set_open(struct clo_sentry *sentry, struct clo_telling *telling, const struct clo_message *message) {
    bool creat = clo_call_of(&sentry->calls, (int)message->call)->shape == CLO_SHAPE_CREAT;
    uint32_t flags = creat ? CLO_CREAT_FLAGS : (uint32_t)message->number[1];
    telling->event.act = (uint16_t)clo_open_act(flags);
    set_numbers(telling, 2, flags, (uint32_t)message->number[2], 0);
    clo_telling_path(sentry, telling, message);
}

static void set_data(struct clo_telling *telling, const struct clo_message *message) {
    uint64_t size = message->number[1];
    if (message->exits) size = message->result > 0 ? (uint64_t)message->result : 0;
    set_numbers(telling, 1, size, 0, 0);
    if (clo_span_absolute(message->beside))
        clo_telling_text(telling, CLO_TEXT_RESOLVED, message->beside.text, message->beside.size, true);
}

/* The act of a message that is nothing but a call that is told of, or -1. */
static int act_of(const struct clo_sentry *sentry, const struct clo_message *message) {
    const struct clo_call *call = clo_call_of(&sentry->calls, (int)message->call);
    switch (message->kind) {
    case CLO_MESSAGE_OPEN: return CLO_ACT_OPEN;
    case CLO_MESSAGE_READ: return CLO_ACT_READ;
    case CLO_MESSAGE_WRITE: return CLO_ACT_WRITE;
    case CLO_MESSAGE_CONNECT: return CLO_ACT_CONNECT;
    case CLO_MESSAGE_SOCKET: return CLO_ACT_SOCKET;
    case CLO_MESSAGE_SETID: return call && sentry->message_of[message->call] == CLO_MESSAGE_SETID ? CLO_ACT_SETID : -1;
    case CLO_MESSAGE_SETRESID: return CLO_ACT_SETID;
    case CLO_MESSAGE_PRLIMIT: return (uint32_t)message->number[0] ? CLO_ACT_LIMIT : -1;
    case CLO_MESSAGE_CHROOT: return CLO_ACT_CHROOT;
    case CLO_MESSAGE_CLONE: return message->number[0] & NAMESPACES ? CLO_ACT_NAMESPACE : -1;
    case CLO_MESSAGE_BIND: return CLO_ACT_BIND;
    case CLO_MESSAGE_ACCEPT: return CLO_ACT_ACCEPT;
    case CLO_MESSAGE_MMAP: return (message->number[2] & WRITE_AND_EXECUTE) == WRITE_AND_EXECUTE ? CLO_ACT_PROTECT : -1;
    case CLO_MESSAGE_LISTEN: return CLO_ACT_LISTEN;
    case CLO_MESSAGE_PTRACE: return CLO_ACT_PTRACE;
    default: return -1;
    }
}

static void tell_call(struct clo_sentry *sentry, const struct clo_message *message, uint64_t now) {
    int act = act_of(sentry, message);
    if (act < 0 || clo_sentry_own(sentry, message->pid)) return;
    struct clo_telling telling = clo_telling_of(sentry, (uint32_t)act, message, now);
    uint32_t first = (uint32_t)message->number[0], second = (uint32_t)message->number[1], third = (uint32_t)message->number[2];
    switch (message->kind) {
    case CLO_MESSAGE_OPEN: set_open(sentry, &telling, message); break;
    case CLO_MESSAGE_READ: case CLO_MESSAGE_WRITE: set_data(&telling, message); break;
    case CLO_MESSAGE_CONNECT: case CLO_MESSAGE_BIND: case CLO_MESSAGE_ACCEPT:
        clo_telling_address(sentry, &telling, message);
        break;
    case CLO_MESSAGE_SETID: case CLO_MESSAGE_CLONE: set_numbers(&telling, 1, first, 0, 0); break;
    case CLO_MESSAGE_PRLIMIT: case CLO_MESSAGE_PTRACE: set_numbers(&telling, 2, first, second, 0); break;
    case CLO_MESSAGE_SOCKET: case CLO_MESSAGE_SETRESID: set_numbers(&telling, 3, first, second, third); break;
    case CLO_MESSAGE_MMAP: set_numbers(&telling, 3, message->number[0], message->number[1], third); break;
    case CLO_MESSAGE_CHROOT: clo_telling_path(sentry, &telling, message); break;
    default: break;
    }
    clo_telling_send(sentry, &telling);
}

/* Tells of a message that was read, or keeps it in mind. */
void clo_message_tell(struct clo_sentry *sentry, const struct clo_message *message, uint64_t now) {
    if (clo_span_absolute(message->cwd)) clo_sentry_cwd(sentry, message->pid, message->cwd);
    switch (message->kind) {
    case CLO_MESSAGE_CLONED: tell_clone(sentry, message, now); break;
    case CLO_MESSAGE_EXECUTED: clo_message_executed(sentry, message, now); break;
    case CLO_MESSAGE_EXITED: tell_exit(sentry, message, now); break;
    case CLO_MESSAGE_RAW: tell_raw(sentry, message, now); break;
    case CLO_MESSAGE_EXECVE: clo_message_execve(sentry, message, now); break;
    case CLO_MESSAGE_CHDIR: tell_chdir(sentry, message, now); break;
    default: tell_call(sentry, message, now); break;
    }
}
