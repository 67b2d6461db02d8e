/* Fields of a protobuf message, one after another. Nothing is nested here: what a text holds is its reader's to say, so
 * that no message can make this go deep. Groups, which proto3 has not, are an error. */
#include "protobuf.h"

enum { VARINT_MAX = 10, LAST_BYTE_MAX = 1 /* of the tenth: bit 63 */ };

/* A number of 64 bits: FIELD, or CUT at the end of the message. */
static enum clo_protobuf_next read_number(struct clo_protobuf *message, uint64_t *value) {
    const uint8_t *at = message->at;
    *value = 0;
    for (unsigned n = 0; n < VARINT_MAX; n++) {
        if (at == message->end) return CLO_PROTOBUF_CUT;
        uint8_t byte = *at++;
        if (n == VARINT_MAX - 1 && byte > LAST_BYTE_MAX) return CLO_PROTOBUF_BAD;
        *value |= (uint64_t)(byte & 0x7f) << 7 * n;
        if (byte < 0x80) {
            message->at = at;
            return CLO_PROTOBUF_FIELD;
        }
    }
    return CLO_PROTOBUF_BAD;
}

static enum clo_protobuf_next read_text(struct clo_protobuf *message, struct clo_protobuf_field *field, uint64_t size) {
    size_t left = (size_t)(message->end - message->at);
    field->cut = size > left;
    if (field->cut && !message->cut) return CLO_PROTOBUF_BAD;
    field->text = message->at;
    field->size = field->cut ? left : (size_t)size;
    message->at += field->size;
    return CLO_PROTOBUF_FIELD;
}

static enum clo_protobuf_next next(struct clo_protobuf *message, struct clo_protobuf_field *field) {
    uint64_t key, size;
    enum clo_protobuf_next status = read_number(message, &key);
    if (status != CLO_PROTOBUF_FIELD) return status;
    if (key >> 3 < 1 || key >> 3 >= 1 << 29) return CLO_PROTOBUF_BAD;
    field->number = (uint32_t)(key >> 3);
    field->wire = (uint32_t)key & 7;
    field->cut = false;
    switch (field->wire) {
    case CLO_WIRE_NUMBER: return read_number(message, &field->value);
    case CLO_WIRE_FIXED64: return read_text(message, field, 8);
    case CLO_WIRE_FIXED32: return read_text(message, field, 4);
    case CLO_WIRE_TEXT:
        status = read_number(message, &size);
        return status == CLO_PROTOBUF_FIELD ? read_text(message, field, size) : status;
    default: return CLO_PROTOBUF_BAD;
    }
}

/* The next field; END after the last. CUT instead of BAD for what runs over the end of a message that was cut; a text that
 * does is given as far as it goes, with field->cut. Thread safe. */
enum clo_protobuf_next clo_protobuf_next(struct clo_protobuf *message, struct clo_protobuf_field *field) {
    if (message->at == message->end) return message->cut ? CLO_PROTOBUF_CUT : CLO_PROTOBUF_END;
    enum clo_protobuf_next status = next(message, field);
    return status == CLO_PROTOBUF_CUT && !message->cut ? CLO_PROTOBUF_BAD : status;
}
