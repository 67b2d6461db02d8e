/* The body of a packet that is too long to be in it. */

#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

int clo_map_body(int fd, struct clo_packet *packet)
{
    const int seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
    struct stat status;

    if ((fcntl(fd, F_GET_SEALS) & seals) != seals || fstat(fd, &status) || status.st_size <= CLO_WIRE_INLINE
        || status.st_size > CLO_WIRE_BODY_MAX)
        return -EBADMSG;
    packet->size = (size_t)status.st_size;
    packet->map = mmap(NULL, packet->size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (packet->map == MAP_FAILED) {
        packet->map = NULL;
        return -errno;
    }
    packet->body = packet->map;
    return 0;
}
