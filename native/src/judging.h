/* Judging what one box does by a program of rules, by one thread. */
#ifndef CLOCHE_JUDGING_H
#define CLOCHE_JUDGING_H

#include <stdbool.h>

#include "cloche_native.h"

struct clo_judging;

/* NULL stands for no rules, wherever one is asked. */
struct clo_judging *clo_judging_new(struct clo_program *program);
void clo_judging_free(struct clo_judging *judging);
bool clo_judging_looks(const struct clo_judging *judging, uint64_t acts);
bool clo_judging_needs_texts(const struct clo_judging *judging, uint32_t act);
bool clo_judging_needs_paths(const struct clo_judging *judging, uint32_t act);
bool clo_judging_needs_resolved(const struct clo_judging *judging, uint32_t act);
int clo_judging_ask(struct clo_judging *judging, const struct clo_event *event, bool *matched);
const struct clo_match *clo_judging_match(struct clo_judging *judging, uint64_t number);
uint64_t clo_judging_matched(const struct clo_judging *judging, uint32_t rule);

#endif
