/* Networks of a box's own: two new network namespaces with a cable (veth) between them, and sockets in such.
 *
 * A namespace is a descriptor and nothing more: with the last descriptor and the last process in it the kernel takes it
 * down, and the cable with it. Nothing has a name that could be left behind. A thread that lives just for this enters
 * the namespaces (setns(2) is for one thread), so that no other thread of this process is ever elsewhere. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cloche_native.h"

enum { MESSAGE_SIZE = 512, LOOPBACK = 1 };

union message {
    struct nlmsghdr head;
    char room[MESSAGE_SIZE];
};

/* Begins a message with its fixed part; what follows are attributes. */
static void begin(union message *message, uint16_t type, uint16_t flags, const void *fixed, size_t size) {
    memset(message, 0, sizeof *message);
    message->head.nlmsg_type = type;
    message->head.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
    message->head.nlmsg_len = (uint32_t)NLMSG_LENGTH(size);
    memcpy(NLMSG_DATA(&message->head), fixed, size);
}

/* Adds an attribute and gives it; one without data is closed by `end`, once those in it were added. All that is ever
 * added here is a few names and numbers: it fits. */
static struct rtattr *add(union message *message, uint16_t type, const void *data, size_t size) {
    struct rtattr *attribute = (struct rtattr *)(message->room + NLMSG_ALIGN(message->head.nlmsg_len));
    attribute->rta_type = type;
    attribute->rta_len = (uint16_t)RTA_LENGTH(size);
    if (size) memcpy(RTA_DATA(attribute), data, size);
    message->head.nlmsg_len = NLMSG_ALIGN(message->head.nlmsg_len) + RTA_ALIGN(attribute->rta_len);
    return attribute;
}

static void end(union message *message, struct rtattr *attribute) {
    attribute->rta_len = (uint16_t)(message->room + message->head.nlmsg_len - (char *)attribute);
}

/* Sends a message in the namespace of this thread; 0 or the kernel's negative errno. */
static int ask(const union message *message) {
    struct { struct nlmsghdr head; struct nlmsgerr error; char rest[MESSAGE_SIZE + 64]; } answer;
    int line = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (line < 0) return -errno;
    ssize_t got = send(line, message->room, message->head.nlmsg_len, 0) < 0 ? -1 : recv(line, &answer, sizeof answer, 0);
    int result = got < 0 ? -errno : -EPROTO;
    if (got >= (ssize_t)NLMSG_LENGTH(sizeof answer.error) && answer.head.nlmsg_type == NLMSG_ERROR)
        result = answer.error.error;
    close(line);
    return result;
}

static int bring_up(int index) {
    union message message;
    struct ifinfomsg link = {.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    begin(&message, RTM_NEWLINK, 0, &link, sizeof link);
    return ask(&message);
}

/* A cable with one end here and the other, `far`, in the namespace `there`. */
static int add_cable(const char *near, const char *far, int there) {
    union message message;
    struct ifinfomsg link = {0};
    uint32_t fd = (uint32_t)there;
    begin(&message, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link, sizeof link);
    add(&message, IFLA_IFNAME, near, strlen(near) + 1);
    struct rtattr *info = add(&message, IFLA_LINKINFO, NULL, 0);
    add(&message, IFLA_INFO_KIND, "veth", 4);
    struct rtattr *data = add(&message, IFLA_INFO_DATA, NULL, 0);
    struct rtattr *peer = add(&message, VETH_INFO_PEER, &link, sizeof link);
    add(&message, IFLA_IFNAME, far, strlen(far) + 1);
    add(&message, IFLA_NET_NS_FD, &fd, sizeof fd);
    end(&message, peer);
    end(&message, data);
    end(&message, info);
    return ask(&message);
}

static int add_address(int index, uint32_t address, uint8_t prefix) {
    union message message;
    struct ifaddrmsg fixed = {.ifa_family = AF_INET, .ifa_prefixlen = prefix, .ifa_index = (uint32_t)index};
    begin(&message, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &fixed, sizeof fixed);
    add(&message, IFA_LOCAL, &address, sizeof address);
    add(&message, IFA_ADDRESS, &address, sizeof address);
    return ask(&message);
}

/* Gives the interface `name` of this namespace an address, and brings it and the loopback up. */
static int set_up(const char *name, uint32_t address, uint8_t prefix) {
    int index = (int)if_nametoindex(name);
    if (!index) return -errno;
    int error = add_address(index, address, prefix);
    if (!error) error = bring_up(LOOPBACK);
    return error ? error : bring_up(index);
}

/* Puts this thread into a new namespace, and gives it as a descriptor. */
static int new_namespace(void) {
    if (unshare(CLONE_NEWNET)) return -errno;
    int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int make_cable(struct clo_cable *cable) {
    if ((cable->outside = new_namespace()) < 0) return cable->outside;
    if ((cable->inside = new_namespace()) < 0) return cable->inside;
    int error = add_cable("eth0", "box0", cable->outside);
    if (!error) error = set_up("eth0", cable->inside_address, cable->prefix);
    if (!error && setns(cable->outside, CLONE_NEWNET)) error = -errno;
    return error ? error : set_up("box0", cable->outside_address, cable->prefix);
}

static void *cable_thread(void *argument) {
    struct clo_cable *cable = argument;
    cable->error = make_cable(cable);
    return NULL;
}

static int in_thread(void *(*body)(void *), void *argument) {
    pthread_t thread;
    int error = -pthread_create(&thread, NULL, body, argument);
    return error ? error : -pthread_join(thread, NULL);
}

/* Makes two namespaces and the cable between them; the addresses (network byte order) and the prefix are given, the
 * descriptors are the caller's to close. 0 or a negative errno, and then there is nothing. Needs CAP_SYS_ADMIN. */
int clo_cable(struct clo_cable *cable) {
    cable->inside = cable->outside = -1;
    int error = in_thread(cable_thread, cable);
    if (!error) error = cable->error;
    if (error && cable->inside >= 0) close(cable->inside);
    if (error && cable->outside >= 0) close(cable->outside);
    return error;
}

struct socket_there { int space, family, type, result; };

static void *socket_thread(void *argument) {
    struct socket_there *asked = argument;
    asked->result = setns(asked->space, CLONE_NEWNET) ? -1 : socket(asked->family, asked->type | SOCK_CLOEXEC, 0);
    if (asked->result < 0) asked->result = -errno;
    return NULL;
}

/* A new socket of the network namespace `space`, the caller's to close; or a negative errno. Needs CAP_SYS_ADMIN. */
int clo_socket_in(int space, int family, int type) {
    struct socket_there asked = {.space = space, .family = family, .type = type};
    int error = in_thread(socket_thread, &asked);
    return error ? error : asked.result;
}
