/* What execs are bounded by. Also part of cloche-inner. */

#include "init.h"

#include <errno.h>

/* The entry for a resource, a new one if there is none; NULL when there is no room for that. */
static struct clo_rlimit_asked *find(struct clo_bounds *bounds, uint32_t resource)
{
    for (size_t i = 0; i < bounds->count; i++)
        if (bounds->list[i].resource == resource)
            return &bounds->list[i];
    return bounds->count < CLO_RLIMITS_MAX ? &bounds->list[bounds->count++] : NULL;
}

int clo_change_bounds(struct clo_bounds *bounds, const struct clo_setup *asked)
{
    struct clo_bounds changed = *bounds;
    struct clo_rlimit_asked limit, *entry;
    size_t at = 0;

    while (clo_next_rlimit(asked, &at, &limit)) {
        entry = find(&changed, limit.resource);
        if (!entry)
            return -E2BIG;
        *entry = limit;
    }
    if (asked->limits_pids) {
        changed.limits_pids = true;
        changed.pids = asked->pids;
    }
    if (asked->limits_memory)
        changed.memory = asked->memory;
    *bounds = changed;
    return 0;
}
