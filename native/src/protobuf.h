/* Reading the fields of a protobuf message that anybody may have made. */
#ifndef CLOCHE_PROTOBUF_H
#define CLOCHE_PROTOBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum clo_wire { CLO_WIRE_NUMBER = 0, CLO_WIRE_FIXED64 = 1, CLO_WIRE_TEXT = 2, CLO_WIRE_FIXED32 = 5 };

/* What is still to be read. `cut`: the message went on, but is not had. */
struct clo_protobuf { const uint8_t *at, *end; bool cut; };

struct clo_protobuf_field {
    uint32_t number, wire;
    uint64_t value;       /* of a NUMBER */
    const uint8_t *text;  /* of a TEXT; within the message */
    size_t size;
    bool cut;             /* the text went on */
};

enum clo_protobuf_next { CLO_PROTOBUF_BAD = -1, CLO_PROTOBUF_END = 0, CLO_PROTOBUF_FIELD = 1, CLO_PROTOBUF_CUT = 2 };

enum clo_protobuf_next clo_protobuf_next(struct clo_protobuf *message, struct clo_protobuf_field *field);

#endif
