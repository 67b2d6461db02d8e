/* struct sockaddr of any family and any size: what is told of it. */
#include "address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

_Static_assert(CLO_ADDRESS_TEXT >= INET6_ADDRSTRLEN, "an address is written out");

/* An IPv4 address in an IPv6 one is told as the former, or rules would have to know both ways to write it. */
static void set_internet(struct clo_address *address, int family, const uint8_t *bytes) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (family == AF_INET6 && !memcmp(bytes, mapped, sizeof mapped)) {
        family = AF_INET;
        bytes += sizeof mapped;
    }
    if (!inet_ntop(family, bytes, address->text, sizeof address->text)) return;
    address->kind = CLO_ADDRESS_TEXT_IS;
    address->size = strlen(address->text);
}

static void set_local(struct clo_address *address, const char *path, size_t size) {
    if (!size) return; /* unnamed */
    address->kind = path[0] ? CLO_ADDRESS_PATH : CLO_ADDRESS_TEXT_IS;
    address->size = path[0] ? strnlen(path, size) : size;
    memcpy(address->text, path, address->size);
    if (!path[0]) address->text[0] = '@';
}

/* Reads the first CLO_SOCKADDR_MAX bytes at most; what the kernel would refuse for its size is given as far as it goes.
 * -EINVAL: there is not even a family. Thread safe. */
int clo_address_read(const void *raw, size_t size, struct clo_address *address) {
    union { char bytes[CLO_SOCKADDR_MAX]; sa_family_t family; struct sockaddr_in in; struct sockaddr_in6 in6; } given;
    if (size > sizeof given) size = sizeof given;
    if (size < sizeof given.family) return -EINVAL;
    memset(&given, 0, sizeof given);
    memcpy(&given, raw, size);
    address->family = given.family;
    address->port = 0;
    address->kind = CLO_ADDRESS_NONE;
    address->size = 0;
    switch (given.family) {
    case AF_INET:
        address->port = ntohs(given.in.sin_port);
        set_internet(address, AF_INET, (const uint8_t *)&given.in.sin_addr);
        break;
    case AF_INET6:
        address->port = ntohs(given.in6.sin6_port);
        set_internet(address, AF_INET6, (const uint8_t *)&given.in6.sin6_addr);
        break;
    case AF_UNIX:
        set_local(address, given.bytes + sizeof given.family, size - sizeof given.family);
        break;
    default: break;
    }
    return 0;
}
