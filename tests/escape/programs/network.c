/* Roads to the network, and to sockets of the host. An act is "done" if it got through; what is sent is one word. */
#include "act.h"

#include <arpa/inet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/vm_sockets.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

static const char word[] = "guest";

static int sent(int fd, const void *address, socklen_t size, int connected) {
    struct timeval soon = {2, 0};
    if (fd < 0) return 0;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon);
    if (connected && connect(fd, address, size)) return 0;
    return (connected ? send(fd, word, 5, MSG_NOSIGNAL) : sendto(fd, word, 5, MSG_NOSIGNAL, address, size)) == 5;
}

static struct sockaddr_in ipv4(char **a) {
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(a[1]))};
    inet_pton(AF_INET, a[0], &there.sin_addr);
    return there;
}

static struct sockaddr_in6 ipv6(char **a) {
    struct sockaddr_in6 there = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)atoi(a[1]))};
    inet_pton(AF_INET6, a[0], &there.sin6_addr);
    return there;
}

static int tcp4(char **a) {
    struct sockaddr_in there = ipv4(a);
    return sent(socket(AF_INET, SOCK_STREAM, 0), &there, sizeof there, 1);
}

static int udp4(char **a) {
    struct sockaddr_in there = ipv4(a);
    return sent(socket(AF_INET, SOCK_DGRAM, 0), &there, sizeof there, 0);
}

static int tcp6(char **a) {
    struct sockaddr_in6 there = ipv6(a);
    return sent(socket(AF_INET6, SOCK_STREAM, 0), &there, sizeof there, 1);
}

static int udp6(char **a) {
    struct sockaddr_in6 there = ipv6(a);
    return sent(socket(AF_INET6, SOCK_DGRAM, 0), &there, sizeof there, 0);
}

/* The connection is made by the first bytes sent, not by connect(2). */
static int fast_open(char **a) {
    struct sockaddr_in there = ipv4(a);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return fd >= 0 && sendto(fd, word, 5, MSG_FASTOPEN | MSG_NOSIGNAL, (void *)&there, sizeof there) == 5;
}

static int multipath(char **a) {
    struct sockaddr_in there = ipv4(a);
    return sent(socket(AF_INET, SOCK_STREAM, 262 /* IPPROTO_MPTCP */), &there, sizeof there, 1);
}

static int lookup(char **a) {
    static const char question[] = "\x12\x34\1\0\0\1\0\0\0\0\0\0\6secret\4data\0\0\1\0\1";
    struct sockaddr_in there = ipv4(a);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    return fd >= 0 && sendto(fd, question, sizeof question - 1, 0, (void *)&there, sizeof there) > 0;
}

static int echo_request(char **a) {
    (void)a;
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct icmphdr head = {.type = ICMP_ECHO};
    int fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
    if (fd < 0) fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    return fd >= 0 && sendto(fd, &head, sizeof head, 0, (void *)&there, sizeof there) > 0;
}

static int raw(char **a) {
    (void)a;
    return worked(socket(AF_INET, SOCK_RAW, IPPROTO_RAW));
}

static int packets(char **a) {
    (void)a;
    return worked(socket(AF_PACKET, SOCK_RAW, htons(3)));
}

/* Makes a link by netlink: a new interface of a kind that every kernel has. */
static int new_link(char **a) {
    (void)a;
    int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    if (fd < 0) return 0;
    struct {
        struct nlmsghdr head;
        struct ifinfomsg link;
    } ask = {.head = {.nlmsg_len = sizeof ask, .nlmsg_type = RTM_SETLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
             .link = {.ifi_index = 1, .ifi_flags = IFF_UP, .ifi_change = IFF_UP}};
    struct {
        struct nlmsghdr head;
        struct nlmsgerr error;
        char more[256];
    } reply;
    if (send(fd, &ask, sizeof ask, 0) < 0 || recv(fd, &reply, sizeof reply, 0) < 0) return 0;
    errno = -reply.error.error;
    return reply.error.error == 0;
}

static int vsock(char **a) {
    (void)a;
    struct sockaddr_vm host = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = 1};
    int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
    return fd >= 0 && (connect(fd, (void *)&host, sizeof host) == 0 || errno != EAFNOSUPPORT);
}

/* Every other family there is. */
static int families(char **a) {
    static const int kinds[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET};
    int made = 0, why = 0;
    for (int family = a[0] ? AF_NETLINK : 0; family < 64; family++) {
        if (!a[0] && (family == AF_UNIX || family == AF_INET || family == AF_INET6 || family == AF_NETLINK)) continue;
        for (size_t k = 0; k < 4; k++) {
            int fd = socket(family, kinds[k], 0);
            if (fd >= 0) {
                made++;
                saw("%d ", family);
                close(fd);
            } else if (errno != EAFNOSUPPORT || !why) {
                why = errno;
            }
        }
    }
    errno = why;
    return made > 0;
}

static struct sockaddr_un named(const char *name, socklen_t *size) {
    struct sockaddr_un there = {.sun_family = AF_UNIX};
    strncpy(there.sun_path + (*name == '@'), name + (*name == '@'), sizeof there.sun_path - 2);
    *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    return there;
}

static int unix_stream(char **a) {
    socklen_t size;
    struct sockaddr_un there = named(a[0], &size);
    return sent(socket(AF_UNIX, SOCK_STREAM, 0), &there, size, 1);
}

static int unix_datagram(char **a) {
    socklen_t size;
    struct sockaddr_un there = named(a[0], &size);
    return sent(socket(AF_UNIX, SOCK_DGRAM, 0), &there, size, 0);
}

/* From one end of a pair, which needs no socket(2). */
static int unix_from_pair(char **a) {
    int ends[2];
    socklen_t size;
    struct sockaddr_un there = named(a[0], &size);
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends)) return 0;
    return sent(ends[0], &there, size, 0);
}

/* Listens at a port of every address; --hold keeps it. */
static int listener(char **a) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(a[0]))};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return fd >= 0 && bind(fd, (void *)&here, sizeof here) == 0 && listen(fd, 5) == 0;
}

/* Fills the backlog of a listener of its own, and tells how many fit. */
static int backlog(char **a) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof here;
    int server = socket(AF_INET, SOCK_STREAM, 0), made = 0, wanted = atoi(a[0]);
    if (server < 0 || bind(server, (void *)&here, size) || listen(server, 1 << 20)) return 0;
    getsockname(server, (void *)&here, &size);
    while (made < wanted) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (fd < 0) break;
        if (connect(fd, (void *)&here, size) && errno != EINPROGRESS) break;
        made++;
    }
    saw("%d connections", made);
    return made == wanted;
}

static int device_up(char **a) {
    (void)a;
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    request.ifr_flags = IFF_UP;
    return fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0;
}

static const struct act acts[] = {
    {"tcp4", tcp4, SYS_socket},
    {"udp4", udp4, SYS_socket},
    {"tcp6", tcp6, SYS_socket},
    {"udp6", udp6, SYS_socket},
    {"fast-open", fast_open, SYS_socket},
    {"multipath", multipath, SYS_socket},
    {"dns", lookup, SYS_socket},
    {"icmp", echo_request, SYS_socket},
    {"raw", raw, SYS_socket},
    {"packet", packets, SYS_socket},
    {"netlink", new_link, SYS_socket},
    {"vsock", vsock, SYS_socket},
    {"families", families, SYS_socket},
    {"unix-stream", unix_stream, SYS_socket},
    {"unix-datagram", unix_datagram, SYS_socket},
    {"unix-from-pair", unix_from_pair, SYS_socketpair},
    {"listen", listener, SYS_socket},
    {"backlog", backlog, SYS_socket},
    {"device-up", device_up, SYS_socket},
};

ACT_MAIN(acts)
