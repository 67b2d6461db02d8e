/* A program of rules, what it remembers of one box, and what of it the answers hang on. */
#include "judging.h"

#include <stdlib.h>

struct clo_judging {
    struct clo_program *program;
    struct clo_state *state;
    uint64_t looked, answered, paths, resolved; /* acts */
    struct clo_judged judged;
    union { struct clo_match match; char bytes[sizeof(struct clo_match) + CLO_RULES_MAX / 8]; } match;
};

_Static_assert(sizeof(struct clo_match) % sizeof(uint64_t) == 0, "the rules' words follow");

/* Keeps the program; NULL: no memory. */
struct clo_judging *clo_judging_new(struct clo_program *program) {
    const struct clo_state_sizes usual = {0};
    struct clo_judging *judging = calloc(1, sizeof *judging);
    if (!judging) return NULL;
    clo_program_keep(program);
    judging->program = program;
    judging->state = clo_state_new(program, &usual);
    judging->looked = clo_program_acts(program, CLO_ACTS_LOOKED);
    judging->answered = clo_program_acts(program, CLO_ACTS_ANSWERED);
    judging->paths = clo_program_acts(program, CLO_ACTS_PATHS);
    judging->resolved = clo_program_acts(program, CLO_ACTS_RESOLVED);
    judging->judged.rules = (uint64_t *)(judging->match.bytes + sizeof judging->match.match);
    judging->match.match.words = (uint16_t)clo_program_words(program);
    judging->match.match.size =
        (uint32_t)(sizeof judging->match.match + judging->match.match.words * sizeof(uint64_t));
    if (judging->state) return judging;
    clo_judging_free(judging);
    return NULL;
}

void clo_judging_free(struct clo_judging *judging) {
    if (!judging) return;
    clo_state_free(judging->state);
    clo_program_drop(judging->program);
    free(judging);
}

bool clo_judging_looks(const struct clo_judging *judging, uint64_t acts) { return judging && judging->looked & acts; }

/* Whether an act with a text that can't be read must not be done. */
bool clo_judging_needs_texts(const struct clo_judging *judging, uint32_t act) {
    return judging && judging->answered >> act & 1;
}

bool clo_judging_needs_paths(const struct clo_judging *judging, uint32_t act) {
    return judging && judging->paths >> act & 1;
}

bool clo_judging_needs_resolved(const struct clo_judging *judging, uint32_t act) {
    return judging && judging->resolved >> act & 1;
}

/* Judges a record. The answer: 0 or -errno; *matched: whether some rule did. What can't be judged is refused where a rule
 * might have refused it. */
int clo_judging_ask(struct clo_judging *judging, const struct clo_event *event, bool *matched) {
    *matched = false;
    if (!judging || !(judging->looked >> event->act & 1)) return 0;
    struct clo_judged *judged = &judging->judged;
    if (clo_judge(judging->program, judging->state, event, judged) < 0)
        return judging->answered >> event->act & 1 ? -EPERM : 0;
    *matched = judged->count;
    return judged->answer;
}

/* The rules that matched last, for the record of this number; good until the next is judged. */
const struct clo_match *clo_judging_match(struct clo_judging *judging, uint64_t number) {
    struct clo_match *match = &judging->match.match;
    match->number = number;
    match->count = judging->judged.count;
    match->rule = judging->judged.rule;
    match->respond = judging->judged.respond;
    match->answer = judging->judged.answer;
    match->evidence = judging->judged.evidence;
    return match;
}

/* How many events this rule matched. Exact. */
uint64_t clo_judging_matched(const struct clo_judging *judging, uint32_t rule) {
    return judging ? clo_state_matches(judging->state, rule) : 0;
}
