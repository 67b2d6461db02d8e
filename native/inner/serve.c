/* cloche-inner: programs for the host in a guest that has a kernel of its own.
 *
 * Theory of operation
 *
 * This kernel has no subreaper, but process 1 gets every orphan, and control groups say whose it was. So one process is
 * enough where cloche-init needs a shepherd for each exec: it starts programs, reaps everybody, and kills by group.
 *
 * A group is killed by first forbidding births in it (pids.max), then by SIGKILL to each member until none is left.
 * So a fork bomb does not outrun it, and a daemon does not get away: no process of a guest can leave its group.
 *
 * What a guest can't do: signal this process (another uid, and all signals are blocked), look into it (not dumpable),
 * inherit its descriptors (closed before the program starts), or see the groups (no path leads there, and the files are
 * root's).
 *
 * The end of the socket is the end of the host: process 1 goes, and everything with it. So does whatever is not
 * understood, as in cloche-init. A guest that is restored from a checkpoint goes on where it was, on another socket; the
 * host says SETUP there.
 *
 * poll(2) and not epoll(7): that loses its readiness when a child changes its own descriptors, and in a restore. */

#include "inner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KILL_AGAIN_MS = 2, QUIET_MS = 5, OWN_POLLS = 2, CONTROL = 0, SIGNALS = 1 };

static void note(struct clo_failure *failure, int error, const char *what)
{
    failure->error = error;
    strncpy(failure->what, what, sizeof failure->what - 1);
}

/* ---- orders ---- */

static int answer(const struct clo_packet *packet, int32_t error)
{
    return clo_send(CLO_INNER_CONTROL, CLO_MSG_DONE, packet->head.id, &error, sizeof error, -1);
}

/* Whether a setup asks for what only cloche-init can do. */
static bool asks_for_more(const struct clo_setup *setup)
{
    struct clo_mount_asked mount;
    struct clo_rule_asked rule;

    return setup->flags || setup->hostname.size || setup->landlock || setup->watch.size
           || setup->affinity.size || clo_next_mount(setup, &(size_t){0}, &mount)
           || clo_next_rule(setup, &(size_t){0}, &rule);
}

static int keep_filter(struct clo_inner *inner, struct clo_view asked)
{
    char *copy = NULL;

    if (asked.size && !(copy = malloc(asked.size)))
        return -ENOMEM;
    if (copy)
        memcpy(copy, asked.data, asked.size);
    free((void *)inner->filter.data);
    inner->filter = (struct clo_view){.data = copy, .size = asked.size};
    return 0;
}

static int take_setup(struct clo_inner *inner, const struct clo_packet *packet, struct clo_failure *failure)
{
    struct clo_bounds bounds = {0};
    struct clo_setup setup;
    int error;

    if (clo_parse_setup(packet->body, packet->size, &setup))
        note(failure, EBADMSG, "setup: malformed");
    else if (asks_for_more(&setup))
        note(failure, EOPNOTSUPP, "setup: only ids, rlimits, pids, memory and a filter can be asked of this guest");
    else if (!setup.maps_ids || !setup.ids.uid || !setup.ids.gid)
        note(failure, EINVAL, "setup: ids: programs need a uid and a gid, other than 0");
    else if (clo_change_bounds(&bounds, &setup))
        note(failure, E2BIG, "setup: too many resource limits");
    else if ((error = clo_groups_open(inner)))
        note(failure, -error, "setup: control groups of the guest");
    else if ((error = keep_filter(inner, setup.seccomp)))
        note(failure, -error, "setup: memory for the filter");
    if (failure->error)
        return -EBADMSG;
    inner->bounds = bounds;
    inner->uid = setup.ids.uid;
    inner->gid = setup.ids.gid;
    clo_inner_retire(inner);
    return clo_send(CLO_INNER_CONTROL, CLO_MSG_READY, 0, &(uint32_t){CLO_WIRE_VERSION}, sizeof(uint32_t), -1);
}

/* 0; 1 for the end; -errno for what is not understood, or a host that is gone. */
static int handle(struct clo_inner *inner, struct clo_packet *packet, struct clo_failure *failure)
{
    if (packet->head.type != CLO_MSG_EXEC && (packet->count || packet->lost))
        return -EBADMSG;
    if (inner->groups < 0 && packet->head.type != CLO_MSG_SETUP)
        return -EBADMSG;
    switch (packet->head.type) {
    case CLO_MSG_SETUP:
        return take_setup(inner, packet, failure);
    case CLO_MSG_EXEC:
        return clo_order_exec(inner, packet);
    case CLO_MSG_SIGNAL:
        return clo_order_signal(inner, packet);
    case CLO_MSG_RESIZE:
        return clo_order_resize(inner, packet);
    case CLO_MSG_KILL:
        return packet->size ? -EBADMSG : clo_order_kill(inner, packet->head.id);
    case CLO_MSG_LIMITS:
        return clo_inner_order_limits(inner, packet);
    case CLO_MSG_QUIET:
        return packet->size ? -EBADMSG : answer(packet, clo_become_quiet(inner));
    case CLO_MSG_PAUSE:
    case CLO_MSG_RESUME:
    case CLO_MSG_WATCH:
        return answer(packet, EOPNOTSUPP);
    case CLO_MSG_QUIT:
        return packet->size ? -EBADMSG : 1;
    default:
        return -EBADMSG;
    }
}

static int take_order(struct clo_inner *inner, struct clo_failure *failure)
{
    struct clo_packet packet;
    int result = clo_receive(CLO_INNER_CONTROL, inner->buffer, &packet);

    if (result == 0)
        return 1;
    if (result > 0) {
        result = handle(inner, &packet, failure);
        clo_packet_free(&packet);
    }
    if (result == -EBADMSG && !failure->error)
        note(failure, EBADMSG, "message: not understood");
    return result;
}

/* Takes what has come by now. */
static int take_orders(struct clo_inner *inner, struct clo_failure *failure)
{
    struct pollfd control = {.fd = CLO_INNER_CONTROL, .events = POLLIN};
    int result = 0;

    while (!result && poll(&control, 1, 0) > 0)
        result = take_order(inner, failure);
    return result;
}

/* Tells the host why, and ends: with process 1 everything goes. */
static int fail(const struct clo_failure *failure)
{
    struct {
        int32_t error;
        char what[sizeof failure->what];
    } body = {.error = failure->error};

    memcpy(body.what, failure->what, sizeof body.what);
    clo_send(CLO_INNER_CONTROL, CLO_MSG_FAILED, 0, &body, sizeof body.error + strlen(body.what), -1);
    return 1;
}

/* ---- waiting ---- */

/* Lists what to wait for: its count, or -1 without memory. Those hired come in the order of the list of execs. */
static int list_polls(struct clo_inner *inner)
{
    size_t count = OWN_POLLS;
    struct pollfd *polls;

    for (const struct clo_inner_exec *exec = inner->execs; exec; exec = exec->next)
        count += exec->hired != NULL;
    for (const struct clo_terminal *terminal = inner->terminals; terminal; terminal = terminal->next)
        count += 2;
    if (count > inner->poll_room) {
        polls = realloc(inner->polls, 2 * count * sizeof *polls);
        if (!polls)
            return -1;
        inner->polls = polls;
        inner->poll_room = 2 * count;
    }
    inner->polls[CONTROL] = (struct pollfd){.fd = CLO_INNER_CONTROL, .events = POLLIN};
    inner->polls[SIGNALS] = (struct pollfd){.fd = inner->signals, .events = POLLIN};
    count = OWN_POLLS;
    for (const struct clo_inner_exec *exec = inner->execs; exec; exec = exec->next)
        if (exec->hired)
            inner->polls[count++] = (struct pollfd){.fd = exec->orders, .events = POLLIN};
    for (const struct clo_terminal *terminal = inner->terminals; terminal; terminal = terminal->next, count += 2)
        clo_terminal_polls(terminal, inner->polls + count);
    return (int)count;
}

/* Those hired never write: what can be read is the end of their socket. */
static void settle_starts(struct clo_inner *inner)
{
    size_t at = OWN_POLLS;

    for (struct clo_inner_exec *exec = inner->execs; exec; exec = exec->next)
        if (exec->hired && inner->polls[at++].revents)
            clo_settle_start(inner, exec);
}

/* How long, in milliseconds. Hiring must not take the processor from a program that has just been started: it is done
 * once nobody is at work, or nothing has happened for a moment. */
static int choose_wait(const struct clo_inner *inner, bool again)
{
    if (again)
        return KILL_AGAIN_MS;
    if (!inner->vacant)
        return -1;
    return clo_is_quiet(inner) ? 0 : QUIET_MS;
}

static int serve(struct clo_inner *inner, struct clo_failure *failure)
{
    bool again = false;
    int count, result;

    for (;;) {
        count = list_polls(inner);
        result = count < 0 ? -1 : poll(inner->polls, (nfds_t)count, choose_wait(inner, again));
        if (result < 0 && errno != EINTR) {
            note(failure, errno, "waiting");
            return -1;
        }
        if (result == 0 && inner->vacant)
            (void)clo_inner_hire(inner); /* if it can't be done now, it is tried when there is work */
        if (result < 0 || (!result && !again))
            continue;
        settle_starts(inner);
        if (inner->polls[SIGNALS].revents)
            clo_reap(inner);
        if (inner->polls[CONTROL].revents && (result = take_order(inner, failure)))
            return result;
        again = clo_tend_all(inner);
        if (!inner->terminals)
            continue;
        clo_terminals_listen(inner);
        if ((result = take_orders(inner, failure))) /* a resize comes before what was typed after it */
            return result;
        clo_terminals_pump(inner); /* last: of one that is over it takes what is left */
    }
}

/* ---- start ---- */

/* Also what every program inherits: no way to gain capabilities by execve, not even as root. */
static int own_process(struct clo_inner *inner)
{
    umask(022);
    inner->signals = clo_own_signals();
    if (inner->signals < 0 || chdir("/") || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
        || fcntl(CLO_INNER_CONTROL, F_SETFD, FD_CLOEXEC))
        return -errno;
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0))
            return -errno;
    inner->null = open("/dev/null", O_RDWR | O_CLOEXEC);
    return inner->null < 0 ? -errno : 0;
}

int clo_inner_serve(void)
{
    static struct clo_inner inner; /* large and all zero */
    struct clo_failure failure = {0};
    int error;

    inner.groups = inner.null = inner.worker_fd = -1;
    if ((error = own_process(&inner)))
        note(&failure, -error, "start: signals, descriptors, privileges or /dev/null");
    else
        error = serve(&inner, &failure);
    return failure.error ? fail(&failure) : error < 0;
}
