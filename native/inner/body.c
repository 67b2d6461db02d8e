/* The body of a packet that is too long to be in it. In this guest a memfd of the host can neither be asked for its
 * seals nor need it: nobody but the host has it. */

#include "../init/init.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int clo_map_body(int fd, struct clo_packet *packet)
{
    struct stat status;
    size_t size = 0;
    ssize_t got = 1;
    char *map;

    if (fstat(fd, &status))
        return -errno;
    if (!S_ISREG(status.st_mode) || status.st_size <= CLO_WIRE_INLINE || status.st_size > CLO_WIRE_BODY_MAX)
        return -EBADMSG;
    map = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return -errno;
    packet->map = map;
    packet->body = map;
    packet->size = (size_t)status.st_size;
    for (; size < packet->size && got > 0; size += (size_t)(got > 0 ? got : 0))
        got = pread(fd, map + size, packet->size - size, (off_t)size);
    return size == packet->size ? 0 : -EBADMSG;
}
