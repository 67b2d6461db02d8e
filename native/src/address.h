/* Socket addresses as a guest gave them, for events. */
#ifndef CLOCHE_ADDRESS_H
#define CLOCHE_ADDRESS_H

#include <stddef.h>
#include <stdint.h>

enum { CLO_SOCKADDR_MAX = 128, CLO_ADDRESS_TEXT = 132 };

enum clo_address_kind { CLO_ADDRESS_NONE, CLO_ADDRESS_TEXT_IS, CLO_ADDRESS_PATH };

struct clo_address {
    uint16_t family, port;
    enum clo_address_kind kind;
    size_t size;                 /* of text */
    char text[CLO_ADDRESS_TEXT]; /* not ended by a NUL, and may hold some: "192.0.2.1", "@abstract"; or a path */
};

int clo_address_read(const void *raw, size_t size, struct clo_address *address);

#endif
