/* Judging a box's calls by a program of rules, which may be changed while the box lives. */
#include "supervisor.h"

static int swap(struct clo_supervisor *supervisor, struct clo_observed *box, void *with) {
    struct clo_judging **given = with, *before = box->judging;
    (void)supervisor;
    box->judging = *given;
    *given = before;
    return 0;
}

/* Judges by this program from now on, by none if it is NULL; what was remembered for the one before is forgotten. When
 * this returns no call is judged by that any more. 0, -ENOMEM or -ESRCH. The program may be dropped by the caller. */
int clo_observed_judge(struct clo_observed *box, struct clo_program *program) {
    struct clo_judging *judging = program ? clo_judging_new(program) : NULL;
    if (program && !judging) return -ENOMEM;
    int status = box->supervisor ? clo_supervisor_do(box->supervisor, swap, box, &judging) : 0;
    clo_judging_free(judging);
    return status;
}

struct figures { uint64_t *counts; size_t room; };

static int ask(struct clo_supervisor *supervisor, struct clo_observed *box, void *with) {
    const struct figures *figures = with;
    (void)supervisor;
    for (size_t rule = 0; rule < figures->room; rule++)
        figures->counts[rule] = clo_judging_matched(box->judging, (uint32_t)rule);
    return 0;
}

/* How many events each of the first `room` rules of the program matched. Exact. 0 or -ESRCH. */
int clo_observed_matched(struct clo_observed *box, uint64_t *counts, size_t room) {
    struct figures figures = {counts, room};
    return box->supervisor ? clo_supervisor_do(box->supervisor, ask, box, &figures) : ask(NULL, box, &figures);
}
