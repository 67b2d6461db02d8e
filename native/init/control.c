/* Packets to and from the host. Also part of cloche-inner. */

#include "init.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

int clo_send(int control, enum clo_msg type, uint32_t id, const void *body, size_t size, int fd)
{
    struct clo_head head = {.type = (uint16_t)type, .id = id};
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)body, size}};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } extra = {0};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = size ? 2 : 1};

    if (fd >= 0) {
        extra.header.cmsg_len = CMSG_LEN(sizeof fd);
        extra.header.cmsg_level = SOL_SOCKET;
        extra.header.cmsg_type = SCM_RIGHTS;
        memcpy(CMSG_DATA(&extra.header), &fd, sizeof fd);
        message.msg_control = &extra;
        message.msg_controllen = sizeof extra.space;
    }
    while (sendmsg(control, &message, MSG_NOSIGNAL) < 0) {
        if (errno == EAGAIN)
            poll(&(struct pollfd){.fd = control, .events = POLLOUT}, 1, -1);
        else if (errno != EINTR)
            return -errno;
    }
    return 0;
}

int clo_send_refused(int control, uint32_t id, int error, enum clo_stage stage)
{
    const struct {
        int32_t error;
        uint32_t stage;
    } body = {error, stage};

    return clo_send(control, CLO_MSG_REFUSED, id, &body, sizeof body, -1);
}

/* Takes the passed descriptors out of a message: the memfd into *body, the others into the packet. */
static int take_descriptors(struct msghdr *message, struct clo_packet *packet, int *body)
{
    int fds[CLO_PASSED_MAX + 1], count = 0;
    const int own = packet->head.flags & CLO_HEAD_MEMFD ? 1 : 0;

    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        count = (int)((part->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(part), (size_t)count * sizeof(int));
    }
    for (int i = 0; i < count; i++) {
        if (i < own)
            *body = fds[i];
        else if (i - own < CLO_PASSED_MAX)
            packet->fds[packet->count++] = fds[i];
        else
            close(fds[i]);
    }
    return count - own > CLO_PASSED_MAX ? -EBADMSG : 0;
}

int clo_forward(int socket, const struct clo_packet *packet)
{
    struct iovec parts[2] = {{(void *)&packet->head, sizeof packet->head}, {(void *)packet->body, packet->size}};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE((CLO_PASSED_MAX + 1) * sizeof(int))];
    } extra = {0};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = packet->memfd < 0 ? 2 : 1};
    int fds[CLO_PASSED_MAX + 1], count = 0;

    if (packet->memfd >= 0)
        fds[count++] = packet->memfd;
    for (int i = 0; i < packet->count; i++)
        fds[count++] = packet->fds[i];
    if (count) {
        extra.header = (struct cmsghdr){
            .cmsg_len = CMSG_LEN((size_t)count * sizeof *fds), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&extra.header), fds, (size_t)count * sizeof *fds);
        message.msg_control = &extra;
        message.msg_controllen = CMSG_SPACE((size_t)count * sizeof *fds);
    }
    return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

int clo_receive(int control, char *buffer, struct clo_packet *packet)
{
    struct iovec parts[2] = {{&packet->head, sizeof packet->head}, {buffer, CLO_WIRE_INLINE}};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE((CLO_PASSED_MAX + 1) * sizeof(int))];
    } extra;
    struct msghdr message = {
        .msg_iov = parts, .msg_iovlen = 2, .msg_control = &extra, .msg_controllen = sizeof extra.space};
    int error;
    ssize_t got;

    *packet = (struct clo_packet){.body = buffer, .memfd = -1};
    while ((got = recvmsg(control, &message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
        ;
    if (got <= 0)
        return got ? -errno : 0;
    error = take_descriptors(&message, packet, &packet->memfd);
    packet->lost = message.msg_flags & MSG_CTRUNC;
    if ((size_t)got < sizeof packet->head || message.msg_flags & MSG_TRUNC || packet->head.flags & ~CLO_HEAD_MEMFD)
        error = -EBADMSG;
    packet->size = (size_t)got - sizeof packet->head;
    if (!error && packet->head.flags & CLO_HEAD_MEMFD && !packet->lost)
        error = packet->size ? -EBADMSG : clo_map_body(packet->memfd, packet);
    if (error)
        clo_packet_free(packet);
    return error ? error : 1;
}

void clo_packet_free(struct clo_packet *packet)
{
    for (int i = 0; i < packet->count; i++)
        close(packet->fds[i]);
    if (packet->map)
        munmap(packet->map, packet->size);
    if (packet->memfd >= 0)
        close(packet->memfd);
    packet->count = 0;
    packet->map = NULL;
    packet->memfd = -1;
}
