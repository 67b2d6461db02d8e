/* What gVisor's sentry says of its guest, as records of events.
 *
 * Theory. A packet is one message: a head (its size and the message's type, 16 bits each, little endian; how many messages
 * were dropped so far, 32 bits) and a protobuf. The sentry is not trusted, since its guest may have taken it over: every
 * length is held against what is there, nothing goes deeper than one message within another, what is kept is bounded,
 * and what makes no sense is counted and changes nothing. A record says what the supervisor's would say of the same act.
 * What lay in the guest's memory is claimed; registers, paths of open files and what became of an execve(2) are the
 * sentry's own word.
 *
 * Formats: gVisor, pkg/sentry/seccheck. One state is for one sentry and one thread at a time. */
#include "seccheck.h"

#include <stdlib.h>
#include <string.h>

/* Kinds of messages that tell of calls by name; any other call in them is none. SETID tells of setsid(2) too. */
static const struct { uint8_t kind; const char *call; } told[] = {
    {CLO_MESSAGE_OPEN, "open"}, {CLO_MESSAGE_OPEN, "openat"}, {CLO_MESSAGE_OPEN, "creat"},
    {CLO_MESSAGE_CONNECT, "connect"}, {CLO_MESSAGE_EXECVE, "execve"}, {CLO_MESSAGE_EXECVE, "execveat"},
    {CLO_MESSAGE_SOCKET, "socket"}, {CLO_MESSAGE_CHDIR, "chdir"}, {CLO_MESSAGE_CHDIR, "fchdir"},
    {CLO_MESSAGE_SETID, "setuid"}, {CLO_MESSAGE_SETID, "setgid"}, {CLO_MESSAGE_SETRESID, "setresuid"},
    {CLO_MESSAGE_SETRESID, "setresgid"}, {CLO_MESSAGE_PRLIMIT, "prlimit64"}, {CLO_MESSAGE_CHROOT, "chroot"},
    {CLO_MESSAGE_CLONE, "clone"}, {CLO_MESSAGE_BIND, "bind"}, {CLO_MESSAGE_ACCEPT, "accept"},
    {CLO_MESSAGE_ACCEPT, "accept4"}, {CLO_MESSAGE_MMAP, "mmap"}, {CLO_MESSAGE_LISTEN, "listen"},
    {CLO_MESSAGE_PTRACE, "ptrace"},
};
enum { TOLD = sizeof told / sizeof told[0] };

static void index_calls(struct clo_sentry *sentry) {
    for (size_t i = 0; i < TOLD; i++)
        if (told[i].kind != CLO_MESSAGE_SETID) sentry->strict |= UINT64_C(1) << told[i].kind;
    for (int number = 0; number < CLO_CALLS_MAX; number++) {
        const struct clo_call *call = clo_call_of(&sentry->calls, number);
        for (size_t i = 0; call && i < TOLD; i++)
            if (!strcmp(call->name, told[i].call)) sentry->message_of[number] = told[i].kind;
    }
}

/* Prepares a state, which has only zeros. `how` was checked; `tell` is called for each record, which it may change and must
 * not keep. */
void clo_sentry_init(struct clo_sentry *sentry, const struct clo_sentry_how *how, clo_sentry_tell *tell, void *with) {
    clo_calls_load(&sentry->calls, CLO_ARCH_HERE);
    clo_watched_index(&sentry->acts, CLO_ARCH_HERE);
    index_calls(sentry);
    memcpy(sentry->shadows, how->shadows, sizeof sentry->shadows);
    sentry->sandbox = how->sandbox;
    sentry->lines = how->lines;
    sentry->init = how->flags & CLO_SENTRY_OWN_INIT;
    sentry->tell = tell;
    sentry->with = with;
}

static uint16_t little16(const uint8_t *at) { return (uint16_t)(at[0] | at[1] << 8); }
static uint32_t little32(const uint8_t *at) { return (uint32_t)little16(at) | (uint32_t)little16(at + 2) << 16; }

static int take(struct clo_sentry *sentry, const uint8_t *packet, size_t size, bool cut, uint64_t now) {
    struct clo_message message;
    if (size < CLO_SENTRY_HEAD) return -EBADMSG;
    uint32_t head = little16(packet), kind = little16(packet + 2), dropped = little32(packet + 4);
    if (head < CLO_SENTRY_HEAD || head > size) return -EBADMSG;
    if (dropped > sentry->counts.dropped) sentry->counts.dropped = dropped;
    if (!kind || kind >= CLO_MESSAGES) {
        sentry->counts.unknown++;
        return 0;
    }
    if (clo_message_read(sentry, kind, packet + head, size - head, cut, &message)) return -EBADMSG;
    bool strict = sentry->strict >> kind & 1;
    if (strict && (message.call >= CLO_CALLS_MAX || sentry->message_of[message.call] != kind)) return -EBADMSG;
    clo_sentry_before(sentry, &message, now);
    clo_message_tell(sentry, &message, now);
    return 0;
}

/* Tells of one packet, and of what was held for too long. `cut`: the packet was longer. The time never goes back. */
void clo_sentry_feed(struct clo_sentry *sentry, const void *packet, size_t size, bool cut, uint64_t now) {
    if (sentry->held && now >= CLO_SENTRY_HELD_NS) clo_sentry_due(sentry, now - CLO_SENTRY_HELD_NS, now);
    sentry->counts.packets++;
    if (take(sentry, packet, size, cut, now)) sentry->counts.bad++;
}

/* ---- for Python: packets at once ---- */

struct clo_sentry_decoder {
    struct clo_sentry sentry;
    char *out;
    size_t room, used;
};

static void collect(void *with, struct clo_event *record) {
    struct clo_sentry_decoder *decoder = with;
    if (record->size > decoder->room - decoder->used) return; /* SPARE is there for any packet */
    record->number = ++decoder->sentry.counts.records;
    if (record->flags & CLO_EVENT_UNREADABLE) decoder->sentry.counts.unreadable++;
    memcpy(decoder->out + decoder->used, record, record->size);
    decoder->used += record->size;
}

/* A decoder of one sentry; NULL: no memory. */
struct clo_sentry_decoder *clo_sentry_decoder_new(const struct clo_sentry_how *how) {
    struct clo_sentry_decoder *decoder = calloc(1, sizeof *decoder);
    if (decoder) clo_sentry_init(&decoder->sentry, how, collect, decoder);
    return decoder;
}

void clo_sentry_decoder_free(struct clo_sentry_decoder *decoder) { free(decoder); }

/* Decodes packets, each after its size (uint32_t; bit 31: it was cut), one after another: the bytes of records written to
 * `out`, which is aligned to 8 and has at least CLO_SENTRY_SPARE of room. *next: where to go on, which is `size` at the
 * end. What is cut off at the end of `packets` counts as bad. */
size_t clo_sentry_decode(struct clo_sentry_decoder *decoder, const void *packets, size_t size, uint64_t now, void *out,
                         size_t room, size_t *next) {
    const uint8_t *bytes = packets;
    size_t at = 0;
    decoder->out = out;
    decoder->room = room;
    decoder->used = 0;
    while (at < size && room - decoder->used >= CLO_SENTRY_SPARE) {
        uint32_t head = CLO_SENTRY_CUT;
        size_t left = size - at;
        if (left >= sizeof head) memcpy(&head, bytes + at, sizeof head);
        size_t length = head & ~(uint32_t)CLO_SENTRY_CUT;
        if (left < sizeof head || length > left - sizeof head) {
            decoder->sentry.counts.packets++;
            decoder->sentry.counts.bad++;
            at = size;
            break;
        }
        clo_sentry_feed(&decoder->sentry, bytes + at + sizeof head, length, head & CLO_SENTRY_CUT, now);
        at += sizeof head + length;
    }
    *next = at;
    return decoder->used;
}

/* Tells of all that is held; the same room. */
size_t clo_sentry_flush(struct clo_sentry_decoder *decoder, uint64_t now, void *out, size_t room) {
    decoder->out = out;
    decoder->room = room;
    decoder->used = 0;
    clo_sentry_due(&decoder->sentry, UINT64_MAX, now);
    return decoder->used;
}

void clo_sentry_counted(const struct clo_sentry_decoder *decoder, struct clo_sentry_counts *counts) {
    *counts = decoder->sentry.counts;
}
