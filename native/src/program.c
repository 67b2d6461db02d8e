/* Programs of rules: made from a blob that is checked first, shared by threads, never changed. */
#include <stdlib.h>
#include <string.h>

#include "program.h"

static int load_paths(struct clo_program *program, uint32_t *at) {
    const struct blob_view *blob = &program->blob;
    uint32_t count = blob->head->patterns, bad = 0;
    if (!count) return 0;
    struct clo_pattern_asked *asked = calloc(count, sizeof *asked);
    if (!asked) return -ENOMEM;
    for (uint32_t n = 0; n < count; n++) {
        const struct clo_blob_pattern *one = &blob->patterns[n];
        asked[n] = (struct clo_pattern_asked){.text = blob->bytes + one->first, .size = one->count, .set = one->set};
    }
    int status = clo_paths_build(asked, count, blob->head->sets, &program->paths, &bad);
    if (status < 0 && bad < count) *at = (uint32_t)((const char *)&blob->patterns[bad] - (const char *)blob->head);
    free(asked);
    return status;
}

/* The sets of each text test as words of bits. */
static int load_sets(struct clo_program *program) {
    const struct blob_view *blob = &program->blob;
    uint32_t texts = blob->head->texts, used = 0;
    program->sets_of = calloc(texts + 1, sizeof *program->sets_of);
    program->set_words_of = calloc((size_t)texts * program->set_words + 1, sizeof *program->set_words_of);
    if (!program->sets_of || !program->set_words_of) return -ENOMEM;
    for (uint32_t n = 0; n < texts; n++) {
        const struct clo_text_test *one = &blob->texts[n];
        if (one->how > CLO_TEXT_OUTSIDE) continue;
        uint64_t bits[SET_WORDS] = {0};
        for (uint32_t m = 0; m < one->count; m++) {
            uint32_t set = blob->numbers[one->first + m];
            bits[set / 64] |= 1ull << set % 64;
        }
        program->sets_of[n].first = used;
        for (uint32_t word = 0; word < program->set_words; word++)
            if (bits[word]) program->set_words_of[used++] = (struct set_word){.word = word, .bits = bits[word]};
        program->sets_of[n].count = used - program->sets_of[n].first;
    }
    return 0;
}

static int load_grams(struct clo_program *program) {
    const struct blob_view *blob = &program->blob;
    program->grams = calloc(blob->head->novelties + 1, sizeof *program->grams);
    if (!program->grams) return -ENOMEM;
    for (uint32_t n = 0; n < blob->head->novelties; n++) {
        const struct clo_novelty *one = &blob->novelties[n];
        size_t room = 8;
        while (room < (size_t)one->count * 2) room *= 2;
        struct gram_table *table = &program->grams[n];
        table->slots = calloc(room, sizeof *table->slots);
        if (!table->slots) return -ENOMEM;
        table->mask = room - 1;
        for (uint32_t m = 0; m < one->count; m++) {
            uint64_t held = blob->grams[one->first + m] + 1;
            uint64_t at = clo_gram_slot(held, table->mask);
            while (table->slots[at] && table->slots[at] != held) at = (at + 1) & table->mask;
            table->slots[at] = held;
        }
    }
    return 0;
}

static int load_steps(struct clo_program *program) {
    const struct clo_blob *head = program->blob.head;
    program->steps = calloc(head->conditions - head->rules + 1, sizeof *program->steps);
    if (!program->steps) return -ENOMEM;
    for (uint32_t n = 0; n < head->sequences; n++) {
        const struct clo_sequence *one = &program->blob.sequences[n];
        for (uint32_t m = 0; m < one->count; m++)
            program->steps[one->first - head->rules + m] = (struct step){.sequence = n, .number = one->count - 1 - m};
    }
    return 0;
}

/* Which keys of a rule or step look at the path: their acts are told as looking at paths too. */
static bool key_is_path(const struct clo_program *program, uint32_t condition) {
    const struct blob_view *blob = &program->blob;
    uint32_t keys;
    if (condition >= blob->head->rules) {
        keys = blob->sequences[program->steps[condition - blob->head->rules].sequence].key;
    } else {
        const struct clo_rule *rule = &blob->rules[condition];
        keys = rule->more == CLO_MORE_WINDOW     ? blob->windows[rule->item].key | blob->windows[rule->item].distinct
               : rule->more == CLO_MORE_SEQUENCE ? blob->sequences[rule->item].key
               : rule->more == CLO_MORE_NOVELTY  ? blob->novelties[rule->item].key
                                                 : 0;
    }
    return keys & (CLO_KEY_DIR | CLO_KEY_PATH);
}

/* The first test that wants a text to be in a set, whatever the others say: what a condition is found by; -1: none. */
static int64_t found_by(const struct clo_program *program, const struct clo_condition *condition) {
    bool joined = false;
    for (uint32_t n = 0; n < condition->texts; n++) {
        const struct clo_text_test *test = &program->blob.texts[condition->first_text + n];
        if (test->how == CLO_TEXT_IN && !joined && !test->or_next) return condition->first_text + n;
        joined = test->or_next;
    }
    return -1;
}

static void plan_condition(struct clo_program *program, uint32_t number) {
    const struct blob_view *blob = &program->blob;
    const struct clo_condition *condition = &blob->conditions[number];
    uint32_t texts = 0;
    for (uint32_t n = 0; n < condition->texts; n++) texts |= blob->texts[condition->first_text + n].texts;
    int64_t by = found_by(program, condition);
    struct set_range sets = by < 0 ? (struct set_range){0, 0} : program->sets_of[by];
    program->acts |= condition->acts;
    if (texts || key_is_path(program, number)) program->path_acts |= condition->acts;
    if (texts & (1u << CLO_TEXT_RESOLVED | 1u << CLO_TEXT_TARGET_RESOLVED)) program->resolved_acts |= condition->acts;
    if (number < blob->head->rules && blob->rules[number].answer) program->answered |= condition->acts;
    for (uint64_t acts = condition->acts; acts; acts &= acts - 1) {
        int act = __builtin_ctzll(acts);
        uint64_t *mask = by < 0 ? program->always[act] : program->by_path[act];
        mask[number / 64] |= 1ull << number % 64;
        if (by >= 0) program->plans[act].texts |= blob->texts[by].texts;
        for (uint32_t n = 0; n < sets.count; n++) {
            const struct set_word *word = &program->set_words_of[sets.first + n];
            program->plans[act].sets[word->word] |= word->bits;
        }
    }
    for (uint32_t n = 0; n < sets.count; n++) {
        const struct set_word *word = &program->set_words_of[sets.first + n];
        for (uint64_t bits = word->bits; bits; bits &= bits - 1) {
            size_t set = word->word * 64 + (size_t)__builtin_ctzll(bits);
            program->by_set[set * program->condition_words + number / 64] |= 1ull << number % 64;
        }
    }
}

static int load_plans(struct clo_program *program) {
    size_t words = program->condition_words, sets = program->blob.head->sets;
    program->masks = calloc((2 * (size_t)ACTS + sets) * words + 1, sizeof *program->masks);
    if (!program->masks) return -ENOMEM;
    for (size_t act = 0; act < ACTS; act++) {
        program->always[act] = program->masks + act * words;
        program->by_path[act] = program->masks + (ACTS + act) * words;
    }
    program->by_set = program->masks + 2 * (size_t)ACTS * words;
    for (uint32_t n = 0; n < program->blob.head->conditions; n++) plan_condition(program, n);
    return 0;
}

static void free_program(struct clo_program *program) {
    if (program->grams)
        for (uint32_t n = 0; n < program->blob.head->novelties; n++) free(program->grams[n].slots);
    if (program->paths) clo_paths_free(program->paths);
    free(program->grams);
    free(program->set_words_of);
    free(program->sets_of);
    free(program->steps);
    free(program->masks);
    free(program->copy);
    free(program);
}

/* Makes a program, of which the caller has the one reference, from a blob, which may be anybody's and at any address and
 * is not needed afterwards. -EBADMSG: it is none, and *at is the offset of what is wrong; -E2BIG, -EINVAL and others are
 * clo_paths_build's about the pattern there; -ENOMEM. */
int clo_program_load(const void *blob, size_t size, struct clo_program **out, uint32_t *at) {
    *out = NULL;
    *at = 0;
    if (size > CLO_BLOB_MAX) return -EBADMSG;
    struct clo_program *program = calloc(1, sizeof *program);
    if (!program) return -ENOMEM;
    atomic_init(&program->references, 1);
    program->copy = malloc(size + 1);
    int status = program->copy ? 0 : -ENOMEM;
    if (!status) {
        memcpy(program->copy, blob, size);
        status = clo_blob_check(program->copy, size, &program->blob, at);
    }
    if (!status) {
        const struct clo_blob *head = program->blob.head;
        program->rule_words = (head->rules + 63) / 64;
        program->condition_words = (head->conditions + 63) / 64;
        program->set_words = (head->sets + 63) / 64;
        status = load_paths(program, at);
    }
    if (!status) status = load_sets(program);
    if (!status) status = load_grams(program);
    if (!status) status = load_steps(program);
    if (!status) status = load_plans(program);
    if (status < 0) {
        free_program(program);
        return status;
    }
    *out = program;
    return 0;
}

/* One more user of the program, which calls clo_program_drop when done. */
void clo_program_keep(struct clo_program *program) { atomic_fetch_add(&program->references, 1); }

/* One user less; the last one's call frees it. NULL is let be. */
void clo_program_drop(struct clo_program *program) {
    if (program && atomic_fetch_sub(&program->references, 1) == 1) free_program(program);
}

/* The set of acts that clo_program_which says; 0 for another number. */
uint64_t clo_program_acts(const struct clo_program *program, uint32_t which) {
    switch (which) {
    case CLO_ACTS_LOOKED: return program->acts;
    case CLO_ACTS_ANSWERED: return program->answered;
    case CLO_ACTS_PATHS: return program->path_acts;
    case CLO_ACTS_RESOLVED: return program->resolved_acts;
    default: return 0;
    }
}

/* How many words the bits of its rules take. */
size_t clo_program_words(const struct clo_program *program) { return program->rule_words; }
