/* How the bounds of execs are changed while they run. */

#include "server.h"

#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

enum { ROUNDS = 64 };

static bool change(pid_t pid, uint32_t resource, uint64_t soft, uint64_t hard)
{
    const struct rlimit limit = {soft, hard};

    return prlimit(pid, (int)resource, &limit, NULL) == 0 || errno == ESRCH;
}

static bool change_one(const struct server *server, const struct clo_setup *asked, pid_t pid)
{
    struct clo_rlimit_asked limit;
    size_t at = 0;
    bool done = true;

    while (clo_next_rlimit(asked, &at, &limit))
        done &= change(pid, limit.resource, limit.soft, limit.hard);
    if (asked->limits_pids)
        done &= change(pid, RLIMIT_NPROC, clo_count_processes(server), clo_count_processes(server));
    return done;
}

static enum clo_verdict judge(const void *whose, pid_t pid)
{
    for (const struct exec *exec = ((const struct server *)whose)->execs; exec; exec = exec->next)
        if (exec->shepherd == pid)
            return CLO_PASS;
    return CLO_TAKE;
}

/* A child that is forked meanwhile has the old limits or the new ones, as its parent had: so until nobody new is met.
 * Whether all could be changed: raising a hard limit takes a privilege that nobody here has (prlimit(2)). */
static bool change_running(const struct server *server, const struct clo_setup *asked)
{
    static struct clo_tree tree;
    bool done = true;
    size_t found;

    clo_tree_start(&tree, server->box.proc, judge, server);
    for (int round = 0; round < ROUNDS; round++) {
        clo_tree_walk(&tree);
        found = clo_tree_only_new(&tree);
        for (size_t i = 0; i < found; i++)
            done &= change_one(server, asked, tree.list[i]);
        if (!found)
            return done && !tree.blind && !tree.full;
    }
    return false;
}

int clo_order_limits(struct server *server, const struct clo_packet *packet)
{
    struct clo_setup asked;
    int32_t error;

    if (clo_parse_limits(packet->body, packet->size, &asked))
        return -EBADMSG;
    error = -clo_change_bounds(&server->box.bounds, &asked);
    if (!error) {
        clo_retire_idle(server);
        server->look = 0;
        error = change_running(server, &asked) ? 0 : EPERM;
    }
    return clo_send(server->box.control, CLO_MSG_DONE, packet->head.id, &error, sizeof error, -1);
}
