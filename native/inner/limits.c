/* How the bounds of execs are changed while they run. */

#include "inner.h"

#include <errno.h>
#include <sys/resource.h>

enum { ROUNDS = 64 };

/* One round over everybody. */
struct round {
    const struct clo_setup *asked;
    bool met; /* somebody who still had old limits */
    bool failed;
};

static void change(struct round *round, pid_t pid, uint32_t resource, uint64_t soft, uint64_t hard)
{
    const struct rlimit limit = {soft, hard};
    struct rlimit old;

    if (prlimit(pid, (int)resource, &limit, &old))
        round->failed |= errno != ESRCH;
    else
        round->met |= old.rlim_cur != soft || old.rlim_max != hard;
}

static void change_one(void *what, pid_t pid)
{
    struct round *round = what;
    struct clo_rlimit_asked limit;
    size_t at = 0;

    while (clo_next_rlimit(round->asked, &at, &limit))
        change(round, pid, limit.resource, limit.soft, limit.hard);
    if (round->asked->limits_pids)
        change(round, pid, RLIMIT_NPROC, round->asked->pids, round->asked->pids);
}

/* A child that is forked meanwhile has the old limits or the new ones, as its parent had: so until nobody with the old
 * ones is met. Whether all could be changed. */
static bool change_running(const struct clo_inner *inner, const struct clo_setup *asked)
{
    struct round round = {.asked = asked, .met = true};

    for (int rounds = 0; round.met && rounds < ROUNDS; rounds++) {
        round.met = false;
        for (struct clo_inner_exec *exec = inner->execs; exec; exec = exec->next) {
            if (!exec->id || exec->killing)
                continue;
            round.failed |= clo_group_each(&exec->group, change_one, &round) < 0;
            if (asked->limits_pids)
                round.failed |= clo_group_limit(inner, &exec->group, asked->pids) < 0;
        }
    }
    return !round.met && !round.failed;
}

int clo_inner_order_limits(struct clo_inner *inner, const struct clo_packet *packet)
{
    struct clo_setup asked;
    int32_t error;

    if (clo_parse_limits(packet->body, packet->size, &asked))
        return -EBADMSG;
    error = -clo_change_bounds(&inner->bounds, &asked);
    if (!error) {
        clo_inner_retire(inner);
        error = change_running(inner, &asked) ? 0 : EPERM;
    }
    return clo_send(CLO_INNER_CONTROL, CLO_MSG_DONE, packet->head.id, &error, sizeof error, -1);
}
