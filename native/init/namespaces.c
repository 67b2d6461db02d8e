/* What a box that was entered directly still lacks: ids, and a network namespace.
 *
 * The kernel takes some 400 microseconds to make a network namespace, as long as all else that is set up here takes. So
 * a helper makes it meanwhile, on another CPU if there is one, and this process then enters it. */

#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel.h"

enum { STACK_SIZE = 16384, SPINS = 1000 };

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
static int loopback_up(struct clo_failure *failure)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), error = 0;

    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request))
        error = errno;
    if (fd >= 0)
        close(fd);
    return error ? clo_fail(failure, error, "network: loopback") : 0;
}

/* Runs in this process's memory, beside it. It can disturb errno only when it fails, and then so does the setup. It
 * stops when it is done, for who sleeps until then, and is entered and killed so. */
static int make_network(void *argument)
{
    struct clo_network *network = argument;

    network->error = unshare(CLONE_NEWNET) ? errno : 0;
    __atomic_store_n(&network->made, true, __ATOMIC_RELEASE);
    kill(getpid(), SIGSTOP);
    return 1;
}

/* Sends the helper to another CPU, if this process may use one: left alone it stays here half of the time, and runs
 * when we wait for it. That is all there is to lose, so what fails here is no failure. */
static void send_away(pid_t helper)
{
    cpu_set_t cpus;
    int here = sched_getcpu();

    if (here < 0 || sched_getaffinity(0, sizeof cpus, &cpus))
        return;
    CPU_CLR((size_t)here, &cpus);
    if (CPU_COUNT(&cpus))
        (void)sched_setaffinity(helper, sizeof cpus, &cpus);
}

int clo_start_network(const struct clo_setup *setup, struct clo_network *network, struct clo_failure *failure)
{
    static char stack[STACK_SIZE] __attribute__((aligned(16)));

    if (!(setup->flags & CLO_SETUP_NETWORK))
        return 0;
    network->helper = clone(make_network, stack + sizeof stack, CLONE_VM | CLONE_PIDFD | SIGCHLD, network, &network->pidfd);
    if (network->helper < 0)
        return clo_fail(failure, errno, "network: clone");
    send_away(network->helper);
    return 0;
}

/* Waits for the helper, awake for a while: it is nearly done, and waking up takes as long. */
static int await_network(const struct clo_network *network)
{
    int status;

    for (int i = 0; i < SPINS; i++) {
        if (__atomic_load_n(&network->made, __ATOMIC_ACQUIRE))
            return network->error;
        sched_yield();
    }
    if (waitpid(network->helper, &status, WUNTRACED) < 0 || !WIFSTOPPED(status))
        return ECHILD;
    return network->error;
}

int clo_enter_network(const struct clo_setup *setup, struct clo_network *network, struct clo_failure *failure)
{
    if (setup->flags & CLO_SETUP_NETWORK) {
        int error = await_network(network);
        if (!error && setns(network->pidfd, CLONE_NEWNET))
            error = errno;
        kill(network->helper, SIGKILL);
        waitpid(network->helper, NULL, 0);
        close(network->pidfd);
        if (error)
            return clo_fail(failure, error, "network: a namespace of its own");
    }
    return setup->flags & CLO_SETUP_LOOPBACK ? loopback_up(failure) : 0;
}
