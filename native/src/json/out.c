/* Bytes that grow while they are written. A block belongs to its caller; nothing here is shared. */
#include "json.h"

#include <stdlib.h>
#include <string.h>

int clo_json_out_room(struct clo_json_out *out, size_t more) {
    if (more <= out->room - out->size) return CLO_JSON_FINE;
    if (more > SIZE_MAX / 2 - out->size) return CLO_JSON_MEMORY;
    size_t room = (out->size + more) * 2;
    if (room < 256) room = 256;
    uint8_t *data = realloc(out->data, room);
    if (!data) return CLO_JSON_MEMORY;
    out->data = data;
    out->room = room;
    return CLO_JSON_FINE;
}

int clo_json_put(struct clo_json_out *out, const void *bytes, size_t size) {
    if (size > out->room - out->size) {
        int kind = clo_json_out_room(out, size);
        if (kind) return kind;
    }
    if (size) memcpy(out->data + out->size, bytes, size);
    out->size += size;
    return CLO_JSON_FINE;
}

int clo_json_put_number(struct clo_json_out *out, uint64_t number) {
    char digits[20];
    size_t at = sizeof digits;
    do digits[--at] = (char)('0' + number % 10);
    while (number /= 10);
    return clo_json_put(out, digits + at, sizeof digits - at);
}

void clo_json_out_free(struct clo_json_out *out) {
    free(out->data);
    *out = (struct clo_json_out){0};
}
