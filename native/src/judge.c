/* Judging: which rules an event matches, and what that makes of it. */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "program.h"

enum { TABLE_MAX = 1 << 20 };
static const uint64_t NOW_MAX = 1ull << 62; /* later is taken for this, so that sums of times stay right */

static size_t entries(uint32_t asked, uint32_t usual) {
    size_t size = 8;
    if (!asked) asked = usual;
    while (size < asked && size < TABLE_MAX) size *= 2;
    return size;
}

static int new_tables(struct clo_state *state, const struct clo_blob *head, const struct clo_state_sizes *sizes) {
    size_t windows = entries(sizes->windows, 1024), distinct = entries(sizes->distinct, 64);
    size_t sequences = entries(sizes->sequences, 256), novelties = entries(sizes->novelties, 256);
    state->masks[CLO_TABLE_WINDOWS] = windows - 1;
    state->masks[CLO_TABLE_DISTINCT] = distinct - 1;
    state->masks[CLO_TABLE_SEQUENCES] = sequences - 1;
    state->masks[CLO_TABLE_NOVELTIES] = novelties - 1;
    state->matches = calloc(head->rules + 1, sizeof *state->matches);
    state->blind_until = calloc(head->sequences + 1, sizeof *state->blind_until);
    state->window_last = calloc(head->windows + 1, sizeof *state->window_last);
    if (head->windows) state->windows = calloc(windows, sizeof *state->windows);
    if (head->windows) state->distinct = calloc(distinct, sizeof *state->distinct);
    if (head->sequences) state->sequences = calloc(sequences, sizeof *state->sequences);
    if (head->novelties) state->novelties = calloc(novelties, sizeof *state->novelties);
    if (state->program->paths) state->cache = clo_path_cache_new(state->program->paths);
    bool all = state->matches && state->blind_until && state->window_last && (!head->windows || (state->windows && state->distinct)) &&
               (!head->sequences || state->sequences) && (!head->novelties || state->novelties) &&
               (!state->program->paths || state->cache);
    return all ? 0 : -ENOMEM;
}

/* What a program remembers of one sandbox, with nothing in it; keeps the program. NULL: no memory, or no random seed. */
struct clo_state *clo_state_new(struct clo_program *program, const struct clo_state_sizes *sizes) {
    struct clo_state *state = calloc(1, sizeof *state);
    if (!state) return NULL;
    clo_program_keep(program);
    state->program = program;
    state->seed = sizes->seed;
    bool seeded = state->seed || getrandom(&state->seed, sizeof state->seed, 0) == (ssize_t)sizeof state->seed;
    if (!seeded || new_tables(state, program->blob.head, sizes) < 0) {
        clo_state_free(state);
        return NULL;
    }
    return state;
}

/* Frees it and lets go of its program. NULL is let be. */
void clo_state_free(struct clo_state *state) {
    if (!state) return;
    clo_path_cache_free(state->cache);
    free(state->novelties);
    free(state->sequences);
    free(state->distinct);
    free(state->windows);
    free(state->window_last);
    free(state->blind_until);
    free(state->matches);
    clo_program_drop(state->program);
    free(state);
}

/* How many events a rule matched; 0 for a rule that there is not. */
uint64_t clo_state_matches(const struct clo_state *state, uint32_t rule) {
    return rule < state->program->blob.head->rules ? state->matches[rule] : 0;
}

/* How often a key had no room in a table (clo_table), which then counted as a match. */
uint64_t clo_state_lost(const struct clo_state *state, uint32_t table) {
    return table < CLO_TABLES ? state->lost[table] : 0;
}

/* Adds to the candidates those that ask for one of the sets a text of the event is in. */
static void add_by_path(struct look *look, const struct act_plan *plan, uint64_t *candidates) {
    const struct clo_program *program = look->program;
    uint64_t sets[SET_WORDS], any = 0;
    size_t words = program->condition_words;
    for (uint32_t n = 0; n < program->set_words; n++) sets[n] = 0;
    for (uint32_t texts = plan->texts; texts; texts &= texts - 1) {
        uint32_t which = (uint32_t)__builtin_ctz(texts);
        if (!look->event->text[which]) continue;
        clo_look_sets(look, which);
        const uint64_t *in = look->sets[which];
        for (uint32_t n = 0; n < program->set_words; n++) any |= sets[n] |= in[n] & plan->sets[n];
    }
    if (!any) return;
    const uint64_t *by_path = program->by_path[look->event->act];
    for (uint32_t n = 0; n < program->set_words; n++)
        for (uint64_t bits = sets[n]; bits; bits &= bits - 1) {
            const uint64_t *asking = program->by_set + (n * 64 + (size_t)__builtin_ctzll(bits)) * words;
            for (size_t m = 0; m < words; m++) candidates[m] |= asking[m] & by_path[m];
        }
}

static bool more_holds(struct look *look, const struct clo_rule *rule, struct clo_evidence *evidence) {
    switch (rule->more) {
    case CLO_MORE_WINDOW: return clo_window_over(look, rule->item, evidence);
    case CLO_MORE_SEQUENCE: return clo_sequence_done(look, rule->item, evidence);
    case CLO_MORE_NOVELTY: return clo_novelty_over(look, rule->item, evidence);
    default: return true;
    }
}

static void add_match(struct look *look, uint32_t number, const struct clo_evidence *why, struct clo_judged *verdict) {
    const struct clo_rule *rule = &look->program->blob.rules[number];
    if (!verdict->count++) memset(verdict->rules, 0, look->program->rule_words * sizeof *verdict->rules);
    verdict->rules[number / 64] |= 1ull << number % 64;
    look->state->matches[number]++;
    bool first = verdict->rule == CLO_NO_RULE, answers = rule->answer && !verdict->answer;
    if (first || answers || (!verdict->answer && rule->respond > verdict->respond)) {
        verdict->rule = number;
        verdict->evidence = *why;
        clo_look_evidence(look, number, &verdict->evidence);
    }
    if (answers) verdict->answer = -(int32_t)rule->answer;
    if (rule->respond > verdict->respond) verdict->respond = rule->respond;
}

static void try_condition(struct look *look, uint32_t number, struct clo_judged *verdict) {
    const struct blob_view *blob = &look->program->blob;
    if (!clo_condition_met(look, number)) return;
    if (number >= blob->head->rules) {
        clo_sequence_step(look, &look->program->steps[number - blob->head->rules]);
        return;
    }
    struct clo_evidence why = {.more = blob->rules[number].more};
    if (more_holds(look, &blob->rules[number], &why)) add_match(look, number, &why, verdict);
}

/* Judges look->event. Time never goes back: an event with an earlier time than one before counts as at that one's. */
static void judge(struct look *look, struct clo_judged *verdict) {
    const struct clo_program *program = look->program;
    const struct clo_event *event = look->event;
    uint64_t time = event->time_ns < NOW_MAX ? event->time_ns : NOW_MAX;
    if (time > look->state->now) look->state->now = time;
    look->state->events++;
    verdict->count = 0;
    if (event->act >= ACTS || !(program->acts >> event->act & 1)) return;
    uint64_t candidates[CONDITION_WORDS];
    for (uint32_t word = 0; word < program->condition_words; word++) candidates[word] = program->always[event->act][word];
    const struct act_plan *plan = &program->plans[event->act];
    look->normal = look->looked = 0;
    look->spaced = false;
    if (plan->texts) add_by_path(look, plan, candidates);
    verdict->rule = CLO_NO_RULE;
    verdict->answer = 0;
    verdict->respond = 0;
    for (uint32_t word = 0; word < program->condition_words; word++)
        for (uint64_t bits = candidates[word]; bits; bits &= bits - 1)
            try_condition(look, word * 64 + (uint32_t)__builtin_ctzll(bits), verdict);
}

/* Judges one record, which was checked or packed here: 1 if a rule matched, else 0; -EINVAL when the state is not of
 * this program. */
int clo_judge(const struct clo_program *program, struct clo_state *state, const struct clo_event *event,
              struct clo_judged *verdict) {
    struct look look;
    if (state->program != program) return -EINVAL;
    look.program = program;
    look.state = state;
    look.event = event;
    verdict->rule = CLO_NO_RULE;
    verdict->answer = 0;
    verdict->respond = 0;
    judge(&look, verdict);
    if (verdict->count) return 1;
    memset(verdict->rules, 0, program->rule_words * sizeof *verdict->rules);
    memset(&verdict->evidence, 0, sizeof verdict->evidence);
    return 0;
}

static bool inside(const struct clo_event *event) {
    uint32_t texts = 0;
    for (int n = 0; n < CLO_TEXTS; n++) {
        if (event->text[n] > CLO_TEXT_MAX) return false;
        texts += event->text[n];
    }
    return texts <= event->size - CLO_EVENT_HEAD;
}

/* Judges a batch, whose records need not have been checked: 0; -ENOSPC when `room` hits are full and *next is the record
 * to go on with; -EBADMSG when *next is no record within the batch; -EINVAL when the batch is not aligned to 8 or the
 * state is of another program. `words` has room * clo_program_words(); *used hits were written in any case. */
int clo_judge_batch(const struct clo_program *program, struct clo_state *state, const void *records, size_t size,
                    struct clo_hit *hits, uint64_t *words, size_t room, size_t *used, size_t *next) {
    struct look look;
    struct clo_judged verdict = {.count = 0};
    size_t offset = *used = *next = 0;
    if (state->program != program || (uintptr_t)records % 8) return -EINVAL;
    look.program = program;
    look.state = state;
    for (; offset < size; offset += look.event->size) {
        look.event = (const struct clo_event *)(const void *)((const char *)records + offset);
        *next = offset;
        size_t left = size - offset;
        if (left < CLO_EVENT_HEAD) return -EBADMSG;
        uint32_t whole = look.event->size;
        if (whole < CLO_EVENT_HEAD || whole > left || whole % 8) return -EBADMSG;
        if (look.event->act < ACTS && program->acts >> look.event->act & 1 && !inside(look.event)) return -EBADMSG;
        if (*used == room) return -ENOSPC;
        verdict.rules = words + *used * program->rule_words;
        judge(&look, &verdict);
        if (!verdict.count) continue;
        hits[*used] = (struct clo_hit){.offset = offset, .word = *used * program->rule_words, .count = verdict.count,
                                       .rule = verdict.rule, .respond = verdict.respond, .answer = verdict.answer,
                                       .evidence = verdict.evidence};
        ++*used;
    }
    *next = size;
    return 0;
}

/* The floor of what judging costs: goes over the heads of a batch that was checked, and adds up their acts. */
uint64_t clo_event_walk(const void *records, size_t size) {
    uint64_t sum = 0;
    for (size_t offset = 0; offset < size;) {
        const struct clo_event *event = (const struct clo_event *)(const void *)((const char *)records + offset);
        sum += event->act;
        offset += event->size;
    }
    return sum;
}
