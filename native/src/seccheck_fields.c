/* Which fields of which message are read, and what of a value can't be. */
#include "seccheck.h"

#include <string.h>

#include "protobuf.h"

enum what {
    NOTHING,
    CONTEXT, EXIT,        /* messages within */
    CALL, ID3, ID4,       /* numbers that are process ids or call numbers: ID3 is number[0], ID4 number[1] */
    N0, N1, N2, N3, N4, N5,
    PATH, BESIDE, ADDRESS, ARGV, ENV,
    CWD, NAME, TID, PID, RESULT, ERRNO
};
enum { FIELDS = 11, ERRNO_MAX = 4095, NUMBER_MAX = INT32_MAX };

#define OF_CALL [1] = CONTEXT, [2] = EXIT, [3] = CALL
static const uint8_t plain[FIELDS] = {OF_CALL};
static const uint8_t context[FIELDS] = {[2] = TID, [4] = PID, [8] = CWD, [9] = NAME};
static const uint8_t ending[FIELDS] = {[1] = RESULT, [2] = ERRNO};

static const uint8_t table[CLO_MESSAGES][FIELDS] = {
    [CLO_MESSAGE_START] = {[1] = CONTEXT},
    [CLO_MESSAGE_CLONED] = {[1] = CONTEXT, [3] = ID3, [4] = ID4, [6] = N2},
    [CLO_MESSAGE_EXECUTED] = {[1] = CONTEXT, [2] = PATH, [3] = ARGV, [4] = ENV},
    [CLO_MESSAGE_EXITED] = {[1] = CONTEXT, [2] = N0},
    [5] = {[1] = CONTEXT},
    [CLO_MESSAGE_RAW] = {[1] = CONTEXT, [2] = EXIT, [4] = CALL, [5] = N0, [6] = N1, [7] = N2, [8] = N3, [9] = N4, [10] = N5},
    [CLO_MESSAGE_OPEN] = {OF_CALL, [4] = N0, [5] = BESIDE, [6] = PATH, [7] = N1, [8] = N2},
    [CLO_MESSAGE_READ] = {OF_CALL, [4] = N0, [5] = BESIDE, [6] = N1},
    [CLO_MESSAGE_WRITE] = {OF_CALL, [4] = N0, [5] = BESIDE, [6] = N1},
    [CLO_MESSAGE_CONNECT] = {OF_CALL, [6] = ADDRESS},
    [CLO_MESSAGE_BIND] = {OF_CALL, [6] = ADDRESS},
    [CLO_MESSAGE_ACCEPT] = {OF_CALL, [6] = ADDRESS},
    [CLO_MESSAGE_EXECVE] = {OF_CALL, [4] = N0, [5] = BESIDE, [6] = PATH, [7] = ARGV, [8] = ENV, [9] = N1},
    [CLO_MESSAGE_SOCKET] = {OF_CALL, [4] = N0, [5] = N1, [6] = N2},
    [CLO_MESSAGE_CHDIR] = {OF_CALL, [4] = N0, [5] = BESIDE, [6] = PATH},
    [CLO_MESSAGE_SETID] = {OF_CALL, [4] = N0},
    [CLO_MESSAGE_SETRESID] = {OF_CALL, [4] = N0, [5] = N1, [6] = N2},
    [CLO_MESSAGE_PRLIMIT] = {OF_CALL, [4] = N0, [5] = N1},
    [CLO_MESSAGE_CHROOT] = {OF_CALL, [4] = PATH},
    [CLO_MESSAGE_CLONE] = {OF_CALL, [4] = N0},
    [CLO_MESSAGE_MMAP] = {OF_CALL, [6] = N0, [7] = N1, [8] = N2},
    [CLO_MESSAGE_PTRACE] = {OF_CALL, [4] = N0, [5] = N1},
};

static const uint8_t *fields_of(uint32_t kind) { return table[kind][1] ? table[kind] : plain; }

static int take_number(enum what what, uint64_t value, struct clo_message *message, uint64_t *error) {
    switch (what) {
    case TID: case PID: case CALL: case ID3: case ID4:
        if (value > NUMBER_MAX) return -EBADMSG;
        break;
    case ERRNO:
        if (value > ERRNO_MAX) return -EBADMSG;
        break;
    case RESULT: case N0: case N1: case N2: case N3: case N4: case N5: break;
    default: return -EBADMSG; /* a text or a message would be there */
    }
    switch (what) {
    case TID: message->tid = (int32_t)value; break;
    case PID: message->pid = (int32_t)value; break;
    case CALL: message->call = (uint32_t)value; break;
    case ID3: message->number[0] = value; break;
    case ID4: message->number[1] = value; break;
    case RESULT: message->result = (int64_t)value; break;
    case ERRNO: *error = value; break;
    default: message->number[what - N0] = value; break;
    }
    return 0;
}

/* A text of the message; addresses alone may hold a NUL. */
static int take_text(struct clo_sentry *sentry, enum what what, const struct clo_protobuf_field *field, struct clo_message *message) {
    struct clo_span span = {(const char *)field->text, field->size};
    if (what != ADDRESS && span.size && memchr(span.text, 0, span.size)) return -EBADMSG;
    switch (what) {
    case PATH: message->path = span; return 0;
    case BESIDE: message->beside = span; return 0;
    case ADDRESS: message->address = span; return 0;
    case CWD: message->cwd = span; return 0;
    case NAME: message->name = span; return 0;
    case ARGV: clo_program_argument(sentry, message, span.text, span.size); return 0;
    case ENV: clo_program_entry(sentry, message, span.text, span.size); return 0;
    default: return -EBADMSG; /* a number would be there */
    }
}

struct reading { struct clo_message *message; uint64_t error; size_t entries; };

static int read_fields(struct clo_sentry *sentry, struct clo_protobuf *from, const uint8_t *fields, struct reading *reading);

static int read_within(struct clo_sentry *sentry, const struct clo_protobuf_field *field, const uint8_t *fields,
                       struct reading *reading) {
    struct clo_protobuf within = {field->text, field->text + field->size, field->cut};
    return read_fields(sentry, &within, fields, reading);
}

static int take(struct clo_sentry *sentry, enum what what, const struct clo_protobuf_field *field, struct reading *reading) {
    if (what == NOTHING) return 0;
    if (field->wire == CLO_WIRE_NUMBER) return take_number(what, field->value, reading->message, &reading->error);
    if (field->wire != CLO_WIRE_TEXT) return -EBADMSG;
    if (what == EXIT) reading->message->exits = true;
    if (what == CONTEXT) return read_within(sentry, field, context, reading);
    if (what == EXIT) return read_within(sentry, field, ending, reading);
    if (what == ENV && reading->entries++ >= CLO_STEER_LOOKED) {
        reading->message->program_cut = true;
        return field->size && memchr(field->text, 0, field->size) ? -EBADMSG : 0;
    }
    return take_text(sentry, what, field, reading->message);
}

/* 0, 1 when what there was is read but it was cut, -EBADMSG. */
static int read_fields(struct clo_sentry *sentry, struct clo_protobuf *from, const uint8_t *fields, struct reading *reading) {
    struct clo_protobuf_field field;
    for (;;) {
        switch (clo_protobuf_next(from, &field)) {
        case CLO_PROTOBUF_END: return 0;
        case CLO_PROTOBUF_CUT: return 1;
        case CLO_PROTOBUF_BAD: return -EBADMSG;
        case CLO_PROTOBUF_FIELD: break;
        }
        int status = take(sentry, field.number < FIELDS ? fields[field.number] : NOTHING, &field, reading);
        if (status) return status;
        if (field.cut) return 1;
    }
}

/* Reads a message of a known kind: 0, or -EBADMSG. It may say anything; texts of a program are kept in the decoder. */
int clo_message_read(struct clo_sentry *sentry, uint32_t kind, const uint8_t *payload, size_t size, bool cut,
                     struct clo_message *message) {
    struct clo_protobuf from = {payload, payload + size, cut};
    struct reading reading = {.message = message};
    *message = (struct clo_message){.kind = kind};
    int status = read_fields(sentry, &from, fields_of(kind), &reading);
    if (status < 0) return status;
    message->cut = status;
    if (reading.error) message->result = -(int64_t)reading.error;
    return 0;
}
