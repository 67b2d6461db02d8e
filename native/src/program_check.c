/* A blob from anywhere is looked through wholly before anything is made of it. */
#include <string.h>

#include "program.h"

_Static_assert(sizeof(struct clo_blob) == 56 && sizeof(struct clo_rule) == 16 && sizeof(struct clo_condition) == 24 &&
                   sizeof(struct clo_number_test) == 24 && sizeof(struct clo_text_test) == 24 && sizeof(struct clo_window) == 24 &&
                   sizeof(struct clo_sequence) == 24 && sizeof(struct clo_novelty) == 32 &&
                   sizeof(struct clo_blob_pattern) == 16,
               "arrays follow one another, each aligned to 8");

enum { PER_NS_MIN = 8, TEXTS_ALL = (1 << CLO_TEXTS) - 1, ERRNO_MAX = 4095, RESPOND_MAX = 255 };
static const uint64_t NS_MAX = 1ull << 56; /* two years; sums of two times stay far from the end */
static const uint64_t ACTS_KNOWN = ((2ull << CLO_ACT_SEND) - 1) | (((1ull << CLO_ACTS) - 1) & ~((1ull << CLO_ACT_CREATED) - 1));

/* The checking of one blob: the first fault is kept. */
struct checking {
    const char *start;
    const struct blob_view *view;
    const void *fault;
};

static void require(struct checking *checking, const void *at, bool held) {
    if (!held && !checking->fault) checking->fault = at;
}

static bool within(uint32_t first, uint32_t count, uint32_t all) { return first <= all && count <= all - first; }

static bool bounded(const struct clo_blob *head) {
    return head->magic == CLO_BLOB_MAGIC && head->version == CLO_BLOB_VERSION && head->rules <= CLO_RULES_MAX &&
           head->conditions >= head->rules && head->conditions <= CLO_CONDITIONS_MAX && head->tests <= CLO_BLOB_TESTS_MAX &&
           head->texts <= CLO_BLOB_TESTS_MAX && head->windows <= head->rules && head->sequences <= head->rules &&
           head->novelties <= head->rules && head->patterns <= CLO_PATTERNS_MAX && head->sets <= CLO_PATTERN_SETS &&
           head->grams <= CLO_GRAMS_MAX && head->numbers <= CLO_NUMBERS_MAX && head->bytes <= CLO_BLOB_MAX;
}

/* What of the blob is not laid out yet. */
struct rest { const char *at; size_t left; bool missing; };

static const void *take(struct rest *rest, size_t count, size_t size) {
    const char *begin = rest->at;
    if (count > rest->left / size) {
        rest->missing = true;
        return begin;
    }
    rest->at += count * size;
    rest->left -= count * size;
    return begin;
}

/* Lays the arrays out, and says whether they fill the blob exactly. */
static bool laid_out(const void *blob, size_t size, struct blob_view *view) {
    const struct clo_blob *head = blob;
    struct rest rest = {.at = blob, .left = size};
    view->head = take(&rest, 1, sizeof *head);
    view->rules = take(&rest, head->rules, sizeof *view->rules);
    view->conditions = take(&rest, head->conditions, sizeof *view->conditions);
    view->tests = take(&rest, head->tests, sizeof *view->tests);
    view->texts = take(&rest, head->texts, sizeof *view->texts);
    view->windows = take(&rest, head->windows, sizeof *view->windows);
    view->sequences = take(&rest, head->sequences, sizeof *view->sequences);
    view->novelties = take(&rest, head->novelties, sizeof *view->novelties);
    view->patterns = take(&rest, head->patterns, sizeof *view->patterns);
    view->grams = take(&rest, head->grams, sizeof *view->grams);
    view->numbers = take(&rest, head->numbers, sizeof *view->numbers);
    view->bytes = take(&rest, head->bytes, 1);
    return !rest.missing && !rest.left;
}

static void check_conditions(struct checking *checking) {
    const struct blob_view *view = checking->view;
    const struct clo_blob *head = view->head;
    size_t tests = 0, texts = 0, numbers = 0; /* in all: ranges that overlap may not make much of little */
    for (uint32_t n = 0; n < head->conditions; n++) {
        const struct clo_condition *one = &view->conditions[n];
        require(checking, one, one->acts && !(one->acts & ~ACTS_KNOWN));
        require(checking, one, within(one->first_test, one->tests, head->tests));
        require(checking, one, within(one->first_text, one->texts, head->texts));
        require(checking, one, (tests += one->tests) <= head->tests && (texts += one->texts) <= head->texts);
    }
    for (uint32_t n = 0; n < head->tests; n++) {
        const struct clo_number_test *one = &view->tests[n];
        require(checking, one, one->field < CLO_FIELDS && (one->op & ~(uint32_t)CLO_OR_NEXT) < CLO_IS_COUNT);
    }
    for (uint32_t n = 0; n < head->texts; n++) {
        const struct clo_text_test *one = &view->texts[n];
        bool sets = one->how <= CLO_TEXT_OUTSIDE;
        require(checking, one, one->how < CLO_TEXT_HOWS && one->options <= (sets ? 0u : (uint32_t)CLO_TEXT_OPTIONS) && one->or_next <= 1);
        require(checking, one, one->texts && one->texts <= TEXTS_ALL && (sets || !(one->texts & (one->texts - 1))));
        require(checking, one, !(one->options & CLO_TEXT_SPACED) || one->texts == 1u << CLO_TEXT_TARGET);
        require(checking, one, within(one->first, one->count, sets ? head->numbers : head->bytes) && (!sets || one->count));
        require(checking, one, !sets || (numbers += one->count) <= head->numbers);
    }
}

static void check_patterns(struct checking *checking) {
    const struct blob_view *view = checking->view;
    const struct clo_blob *head = view->head;
    for (uint32_t n = 0; n < head->numbers; n++) require(checking, &view->numbers[n], view->numbers[n] < head->sets);
    for (uint32_t n = 0; n < head->patterns; n++) {
        const struct clo_blob_pattern *one = &view->patterns[n];
        require(checking, one, one->set < head->sets && !one->zero && within(one->first, one->count, head->bytes));
    }
    require(checking, head, !head->sets == !head->patterns);
    for (uint32_t n = 0; n < head->grams; n++) require(checking, &view->grams[n], view->grams[n] < 1ull << 36);
}

static bool is_key(uint32_t key) { return !(key & ~(uint32_t)CLO_KEYS); }

static void check_items(struct checking *checking) {
    const struct blob_view *view = checking->view;
    const struct clo_blob *head = view->head;
    for (uint32_t n = 0; n < head->windows; n++) {
        const struct clo_window *one = &view->windows[n];
        require(checking, one, one->per_ns >= PER_NS_MIN && one->per_ns <= NS_MAX && !one->zero);
        require(checking, one, is_key(one->key) && is_key(one->distinct));
        require(checking, one, !one->distinct || one->limit < CLO_DISTINCT_MAX);
    }
    uint32_t steps = head->rules;
    size_t grams = 0;
    for (uint32_t n = 0; n < head->sequences; n++) {
        const struct clo_sequence *one = &view->sequences[n];
        require(checking, one, one->within_ns && one->within_ns <= NS_MAX && is_key(one->key) && !one->zero);
        require(checking, one, one->first == steps && one->count >= 1 && one->count < CLO_STEPS_MAX);
        require(checking, one, within(one->first, one->count, head->conditions));
        if (checking->fault) return;
        steps += one->count;
    }
    require(checking, head, steps == head->conditions);
    for (uint32_t n = 0; n < head->novelties; n++) {
        const struct clo_novelty *one = &view->novelties[n];
        require(checking, one, one->forget_ns && one->forget_ns <= NS_MAX && is_key(one->key) && !one->zero);
        require(checking, one, one->length >= 3 && one->length <= 6 && one->least >= 1 && one->least <= 64);
        require(checking, one, within(one->first, one->count, head->grams) && (grams += one->count) <= head->grams);
    }
}

/* Windows, sequences and novelties are given out in the order of the rules, each once; a window again to later rules. */
static void check_rules(struct checking *checking) {
    const struct clo_blob *head = checking->view->head;
    uint32_t given[] = {0, 0, 0, 0};
    for (uint32_t n = 0; n < head->rules; n++) {
        const struct clo_rule *one = &checking->view->rules[n];
        require(checking, one, one->answer <= ERRNO_MAX && one->respond <= RESPOND_MAX && one->more <= CLO_MORE_NOVELTY);
        if (checking->fault) return;
        if (one->more == CLO_MORE_WINDOW && one->item < given[one->more]) continue;
        require(checking, one, one->item == (one->more ? given[one->more]++ : 0));
    }
    require(checking, head, given[CLO_MORE_WINDOW] == head->windows && given[CLO_MORE_SEQUENCE] == head->sequences &&
                                given[CLO_MORE_NOVELTY] == head->novelties);
}

int clo_blob_check(const void *blob, size_t size, struct blob_view *view, uint32_t *at) {
    *at = 0;
    if (size < sizeof(struct clo_blob) || size > CLO_BLOB_MAX || !bounded(blob) || !laid_out(blob, size, view)) return -EBADMSG;
    struct checking checking = {.start = blob, .view = view};
    check_conditions(&checking);
    check_patterns(&checking);
    check_items(&checking);
    check_rules(&checking);
    if (!checking.fault) return 0;
    *at = (uint32_t)((const char *)checking.fault - checking.start);
    return -EBADMSG;
}
