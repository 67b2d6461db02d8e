/* Shepherds hired before there is work for them.
 *
 * A fork costs a few hundred microseconds, most of them page faults that come after it. So there is always one shepherd
 * more than there are execs. It is made when cloche-init has nothing better to do (once the box is ready, and when
 * nothing has happened for a moment), waits for its work on its socket, and gets it as the packet that came from the
 * host, descriptors and all. Making the next one at once would take the CPU from the one that has just got work. */

#include "server.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { OWN = 3 }; /* cloche-init, the shepherd of the exec itself, and the one that waits */

void clo_dismiss(struct server *server, const struct exec *gone)
{
    struct exec **at = &server->execs;

    while (*at && *at != gone)
        at = &(*at)->next;
    if (!*at)
        return;
    *at = gone->next;
    close(gone->orders);
    free((void *)gone);
}

static struct exec *find_idle(const struct server *server)
{
    struct exec *exec = server->execs;

    while (exec && (exec->id || exec->lost || exec->retired))
        exec = exec->next;
    return exec;
}

/* Whoever killed one shepherd may have killed the one that waits too, which need not show yet: it gets no work. */
void clo_distrust_idle(struct server *server)
{
    struct exec *idle = find_idle(server);

    if (!idle)
        return;
    idle->lost = true;
    kill(idle->shepherd, SIGKILL);
}

/* Without orders to come it ends, and is reaped like one whose work is done. */
void clo_retire_idle(struct server *server)
{
    struct exec *idle = find_idle(server);

    if (!idle)
        return;
    idle->retired = true;
    shutdown(idle->orders, SHUT_RDWR);
    server->vacant = true;
}

/* In the fork: becomes the shepherd. */
static _Noreturn void become_shepherd(struct server *server, const int *ends)
{
    close(ends[0]);
    for (struct exec *exec = server->execs; exec; exec = exec->next)
        close(exec->orders);
    clo_shepherd(&server->box, &server->tree, ends[1], server->buffer);
}

int clo_hire(struct server *server)
{
    struct exec *exec;
    int ends[2], error;

    if (find_idle(server))
        return 0;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
        return -errno;
    exec = malloc(sizeof *exec);
    if (exec) {
        *exec = (struct exec){.next = server->execs, .orders = ends[0], .shepherd = fork()};
        if (exec->shepherd == 0)
            become_shepherd(server, ends);
    }
    error = exec && exec->shepherd > 0 ? 0 : -errno;
    close(ends[1]);
    if (!error) {
        server->execs = exec;
        return 0;
    }
    close(ends[0]);
    free(exec);
    return error;
}

/* RLIMIT_NPROC of an exec: what it may have itself, and what the kernel counts beside it. */
uint32_t clo_count_processes(const struct server *server)
{
    uint32_t count = server->box.bounds.pids;

    count = count > UINT32_MAX - OWN ? UINT32_MAX : count + OWN;
    for (const struct exec *exec = server->execs; exec && count < UINT32_MAX; exec = exec->next)
        count += exec->id && !exec->lost;
    return count;
}

/* Gives a request to a shepherd; -errno with the stage that failed. One that has been killed meanwhile is seen when it
 * is reaped; here another takes its place. */
int clo_hand_over(struct server *server, const struct clo_packet *packet, enum clo_stage *stage)
{
    const struct clo_order first = {CLO_MSG_EXEC, packet->head.id, clo_count_processes(server)};
    int error = 0;

    for (int tries = 0; tries < 2; tries++) {
        struct exec *exec;
        *stage = CLO_STAGE_FORK;
        if ((error = clo_hire(server)))
            return error;
        exec = find_idle(server);
        exec->id = packet->head.id;
        *stage = CLO_STAGE_REQUEST;
        if (send(exec->orders, &first, sizeof first, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            error = -errno;
        if (!error)
            error = clo_forward(exec->orders, packet);
        if (!error)
            return 0;
        exec->id = 0;
        clo_distrust_idle(server);
    }
    return error;
}
