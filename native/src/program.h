/* Rules: a program is made from a blob and then never changed; a state is what a program remembers of one sandbox. */
#ifndef CLO_PROGRAM_H
#define CLO_PROGRAM_H

#include <stdatomic.h>
#include <stdbool.h>

#include "events.h"

enum { SET_WORDS = CLO_PATTERN_SETS / 64, CONDITION_WORDS = CLO_CONDITIONS_MAX / 64, ACTS = 64 };

/* Sets of paths of one text test, as those words of the bits that are not 0. */
struct set_word { uint32_t word; uint64_t bits; };
struct set_range { uint32_t first, count; };

/* What of an act is looked at. */
struct act_plan {
    uint32_t texts;                     /* whose sets are wanted: bits 1 << clo_text */
    uint64_t sets[SET_WORDS];           /* those that any candidate by its path asks for */
};

struct step { uint32_t sequence, number; }; /* number from 0: the first to come */

/* How the bytes of a blob are laid out; all pointers lie in the copy that the program holds. */
struct blob_view {
    const struct clo_blob *head;
    const struct clo_rule *rules;
    const struct clo_condition *conditions;
    const struct clo_number_test *tests;
    const struct clo_text_test *texts;
    const struct clo_window *windows;
    const struct clo_sequence *sequences;
    const struct clo_novelty *novelties;
    const struct clo_blob_pattern *patterns;
    const uint64_t *grams;
    const uint32_t *numbers;
    const char *bytes;
};

/* A table of grams, open-addressed; 0 is empty, so what is held is the gram + 1. */
struct gram_table { uint64_t *slots; uint64_t mask; };

struct clo_program {
    atomic_uint references;
    struct blob_view blob;
    void *copy;
    struct clo_paths *paths;            /* NULL: no patterns */
    uint32_t rule_words, condition_words, set_words;
    uint64_t acts, answered, path_acts, resolved_acts;
    struct set_word *set_words_of;      /* of all text tests */
    struct set_range *sets_of;          /* by text test */
    struct step *steps;                 /* by condition, from the rules' on */
    struct gram_table *grams;           /* by novelty */
    struct act_plan plans[ACTS];
    /* Conditions, condition_words each: */
    uint64_t *always[ACTS];             /* those to look at whatever the path */
    uint64_t *by_path[ACTS];            /* those to look at only if the path is in a set they ask for */
    uint64_t *by_set;                   /* [set]: those that ask for it */
    uint64_t *masks;                    /* what the three point into */
};

static inline uint64_t clo_mix(uint64_t one, uint64_t other) {
    unsigned __int128 product = (unsigned __int128)one * other;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Where a gram, as it is held, is looked for first. */
static inline uint64_t clo_gram_slot(uint64_t held, uint64_t mask) { return clo_mix(held, 0x9e3779b97f4a7c15ull) & mask; }

struct window_slot { uint64_t key, until, epoch; uint32_t bucket[8]; };
struct distinct_slot { uint64_t key, until; uint32_t count; uint64_t value[CLO_DISTINCT_MAX], epoch[CLO_DISTINCT_MAX]; };
struct sequence_slot { uint64_t key, until; uint32_t have; uint64_t chain[CLO_STEPS_MAX - 1][CLO_STEPS_MAX - 1]; };
struct window_last { uint64_t event; uint32_t count; bool lost; };
struct novelty_slot { uint64_t key, until, row, recent; uint32_t acts; };

struct clo_state {
    struct clo_program *program;
    uint64_t seed, now;                 /* now: the latest time of any event */
    uint64_t events;                    /* how many were judged */
    uint64_t lost[CLO_TABLES];
    uint64_t *matches;                  /* by rule */
    uint64_t *blind_until;              /* by sequence: till then a first step may be missing from the full table */
    uint64_t masks[CLO_TABLES];         /* entries - 1 */
    struct window_last *window_last;    /* by window: which event was counted last, and what came of it */
    struct window_slot *windows;
    struct distinct_slot *distinct;
    struct sequence_slot *sequences;
    struct novelty_slot *novelties;
    struct clo_path_cache *cache;       /* NULL: no patterns */
};

enum { NORMAL_ROOM = 2 * CLO_TEXT_MAX + 2 };

/* One event while it is judged. Texts are put into their normal form, and into sets, when first asked for. */
struct look {
    const struct clo_program *program;
    struct clo_state *state;
    const struct clo_event *event;
    uint32_t normal, looked;            /* bits 1 << clo_text: what is known of which */
    const char *path[CLO_TEXTS];        /* in normal form; size 0: there is none */
    size_t size[CLO_TEXTS];
    const uint64_t *sets[CLO_TEXTS];    /* in `found`, maybe of another text */
    uint64_t found[CLO_TEXTS][SET_WORDS];
    bool spaced;                        /* whether `words` is the TARGET of this event */
    char words[CLO_TEXT_MAX];           /* with a space for each NUL */
    char room[CLO_TEXTS][NORMAL_ROOM];  /* for those that are not normal as they came */
};

/* program_check.c: 0 or -EBADMSG with the offset of what is wrong; `view` points into the blob, which is aligned. */
int clo_blob_check(const void *blob, size_t size, struct blob_view *view, uint32_t *at);

/* texts.c */
void clo_look_normal(struct look *look, uint32_t which);
void clo_look_sets(struct look *look, uint32_t which);
bool clo_condition_met(struct look *look, uint32_t condition);
void clo_look_evidence(struct look *look, uint32_t condition, struct clo_evidence *evidence);

/* windows.c: whether a rule whose condition is met matches. The evidence is written either way. */
uint64_t clo_look_key(struct look *look, uint32_t keys, uint64_t salt);
bool clo_window_over(struct look *look, uint32_t window, struct clo_evidence *evidence);
/* sequences.c */
bool clo_sequence_done(struct look *look, uint32_t sequence, struct clo_evidence *evidence);
void clo_sequence_step(struct look *look, const struct step *step);
bool clo_novelty_over(struct look *look, uint32_t novelty, struct clo_evidence *evidence);

#endif
