/* What new namespaces lack when no launcher has prepared them: ids, and a loopback that is up. */

#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int put(const char *path, const char *text)
{
    const size_t size = strlen(text);
    int fd = open(path, O_WRONLY | O_CLOEXEC), error = 0;

    if (fd < 0)
        return -1;
    if (write(fd, text, size) != (ssize_t)size)
        error = errno;
    close(fd);
    errno = error;
    return error ? -1 : 0;
}

/* One id each, our own, which needs no privilege once groups can no longer be set: user_namespaces(7). /proc is still
 * the one that the box was started in. Root of the host is never mapped, whoever asks. */
int clo_map_ids(const struct clo_setup *setup, struct clo_failure *failure)
{
    const struct clo_ids *ids = &setup->ids;
    char text[64];

    if (!setup->maps_ids)
        return 0;
    if (!ids->outer_uid)
        return clo_fail(failure, EPERM, "ids: root of the host is not mapped into a box");
    snprintf(text, sizeof text, "%u %u 1\n", ids->uid, ids->outer_uid);
    if (put("/proc/self/setgroups", "deny") || put("/proc/self/uid_map", text))
        return clo_fail(failure, errno, "ids: uid map %s", text);
    snprintf(text, sizeof text, "%u %u 1\n", ids->gid, ids->outer_gid);
    return put("/proc/self/gid_map", text) ? clo_fail(failure, errno, "ids: gid map %s", text) : 0;
}

/* Its addresses come with it: netdevice(7). */
int clo_loopback_up(struct clo_failure *failure)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), error = 0;

    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request))
        error = errno;
    if (fd >= 0)
        close(fd);
    return error ? clo_fail(failure, error, "loopback: lo") : 0;
}
