/* The states of an automaton, as nodes of a tree, to the table that paths are matched by. */
#include <stdlib.h>
#include <string.h>

#include "paths.h"

/* ---- What a state tells. ---- */

/* The sets of patterns that nodes tell of: their number among all such, 0 for none; or -ENOMEM. */
static int64_t bits_of(struct clo_making *making, const struct clo_list *list, bool at_once) {
    struct clo_workshop *shop = making->shop;
    const struct clo_mark *marks = making->tree->marks;
    shop->n_items = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        const struct clo_node *node = &making->tree->nodes[shop->lists.pool[list->first + i]];
        for (uint32_t mark = at_once ? node->at_once : node->at_end; mark; mark = marks[mark].next)
            if (clo_add_item(shop, marks[mark].set)) return -ENOMEM;
    }
    return clo_list_add(&shop->bits, shop->items, clo_sort_unique(shop->items, shop->n_items));
}

static int64_t bits_of_marks(struct clo_making *making, uint32_t mark) {
    struct clo_workshop *shop = making->shop;
    shop->n_items = 0;
    for (; mark; mark = making->tree->marks[mark].next)
        if (clo_add_item(shop, making->tree->marks[mark].set)) return -ENOMEM;
    return clo_list_add(&shop->bits, shop->items, clo_sort_unique(shop->items, shop->n_items));
}

static bool has_marks(const struct clo_node *node) { return node->at_end || node->at_once; }

/* Whether a single byte leads on from a node, and nothing else. */
static bool is_link(const struct clo_node *nodes, const struct clo_node *node) {
    const struct clo_node *child = &nodes[node->child];
    return node->child && !child->sibling && child->token < 256 && !has_marks(node) && !node->star && !node->deep;
}

/* Whether nothing leads on from a node, or only a '/' to where all below is told. */
static bool is_last(const struct clo_node *nodes, const struct clo_node *node) {
    const struct clo_node *child = &nodes[node->child];
    if (node->star || node->deep) return false;
    if (!node->child) return true;
    return child->token == '/' && !child->sibling && child->at_once && !child->at_end && !child->child && !child->star &&
           !child->deep;
}

/* 1: from a node on there are only single bytes, which become a rest. 0: there is more. -ENOMEM. */
static int add_rest(struct clo_making *making, uint32_t number) {
    struct clo_workshop *shop = making->shop;
    const struct clo_node *nodes = making->tree->nodes, *node = &nodes[number];
    struct clo_rest rest = {.first = (uint32_t)shop->n_text};
    if (node->token == CLO_TOKEN_STAR || node->token == CLO_TOKEN_DEEP) return 0;
    for (; is_link(nodes, node); node = &nodes[node->child]) rest.size++;
    if (!is_last(nodes, node)) return 0;
    for (node = &nodes[number]; is_link(nodes, node); node = &nodes[node->child]) {
        char *text = clo_grown(shop->text, &shop->text_room, shop->n_text, 1);
        if (!text) return -ENOMEM;
        shop->text = text;
        text[shop->n_text++] = (char)nodes[node->child].token;
    }
    int64_t at_end = bits_of_marks(making, node->at_end), at_once = bits_of_marks(making, node->at_once);
    int64_t at_slash = bits_of_marks(making, nodes[node->child].at_once); /* node 0 has none */
    struct clo_rest *rests = clo_grown(shop->rests, &shop->rests_room, shop->n_rests, sizeof *rests);
    if (!rests || at_end < 0 || at_once < 0 || at_slash < 0) return -ENOMEM;
    rest.at_end = (uint32_t)at_end;
    rest.at_once = (uint32_t)at_once;
    rest.at_slash = (uint32_t)at_slash;
    shop->rests = rests;
    rests[shop->n_rests++] = rest;
    return 1;
}

/* Finds what a state tells and whether it is a rest; the next state without a description. 0 or -ENOMEM. */
int clo_state_describe(struct clo_making *making, uint32_t state) {
    struct clo_workshop *shop = making->shop;
    struct clo_state *states = clo_grown(shop->states, &shop->states_room, state, sizeof *states);
    if (!states) return -ENOMEM;
    shop->states = states;
    states[state] = (struct clo_state){.rest = CLO_NO_REST};
    const struct clo_list list = shop->lists.list[state];
    /* The first state has a row always: it is where a path begins. */
    int rest = state && list.count == 1 ? add_rest(making, shop->lists.pool[list.first]) : 0;
    if (rest > 0) states[state].rest = (uint32_t)shop->n_rests - 1;
    if (rest) return rest < 0 ? rest : 0;
    int64_t at_end = bits_of(making, &list, false), at_once = bits_of(making, &list, true);
    if (at_end < 0 || at_once < 0) return -ENOMEM;
    states[state].at_end = (uint32_t)at_end;
    states[state].at_once = (uint32_t)at_once;
    return 0;
}

/* ---- The table. ---- */

enum place { ORDINARY, IDLE, TELLING, DEAD, PLACES };

/* Where a state's row stands among the others. */
static enum place place_of(const struct clo_making *making, uint32_t state) {
    const struct clo_workshop *shop = making->shop;
    const uint32_t *row = shop->next + shop->states[state].row * making->classes;
    if (!shop->lists.list[state].count) return DEAD;
    if (shop->states[state].at_once) return TELLING;
    for (size_t class = 0; class < making->classes; class++)
        if (row[class] != state && class != making->class_of['/']) return ORDINARY;
    return IDLE;
}

static void number_states(const struct clo_making *making, struct clo_automaton *automaton, uint32_t *number) {
    const struct clo_workshop *shop = making->shop;
    uint32_t size = (uint32_t)making->classes + CLO_ROW_EXTRA, used = 0;
    for (enum place place = ORDINARY; place < PLACES; place++) {
        if (place == IDLE) automaton->idle = used;
        if (place == TELLING) automaton->telling = used;
        if (place == DEAD) automaton->dead = used;
        for (uint32_t state = 0; state < shop->lists.count; state++) {
            if (shop->states[state].rest != CLO_NO_REST || place_of(making, state) != place) continue;
            number[state] = used;
            used += size;
        }
    }
    automaton->first_rest = automaton->dead + size; /* room for a dead one, though there be none */
    for (uint32_t state = 0; state < shop->lists.count; state++)
        if (shop->states[state].rest != CLO_NO_REST) number[state] = automaton->first_rest + shop->states[state].rest;
    automaton->start = number[0];
}

static void fill_rows(const struct clo_making *making, struct clo_automaton *automaton, const uint32_t *number) {
    const struct clo_workshop *shop = making->shop;
    size_t classes = making->classes;
    for (uint32_t state = 0; state < shop->lists.count; state++) {
        if (shop->states[state].rest != CLO_NO_REST) continue;
        const uint32_t *from = shop->next + shop->states[state].row * classes;
        uint32_t *row = automaton->next + number[state];
        for (size_t class = 0; class < classes; class++) row[class] = number[from[class]];
        row[classes] = shop->states[state].at_end;
        row[classes + 1] = shop->states[state].at_once;
    }
}

static void fill_bits(const struct clo_making *making, struct clo_automaton *automaton) {
    const struct clo_lists *bits = &making->shop->bits;
    for (size_t i = 0; i < bits->count; i++) {
        for (uint32_t at = 0; at < bits->list[i].count; at++) {
            uint32_t set = bits->pool[bits->list[i].first + at];
            automaton->bits[i * making->words + set / 64] |= 1ULL << set % 64;
        }
    }
}

/* A path that is read backwards is compared forwards all the same. */
static void fill_rests(const struct clo_making *making, struct clo_automaton *automaton) {
    const struct clo_workshop *shop = making->shop;
    if (shop->n_rests) memcpy(automaton->rests, shop->rests, shop->n_rests * sizeof *shop->rests);
    for (size_t i = 0; i < shop->n_rests; i++) {
        const struct clo_rest *rest = &shop->rests[i];
        for (size_t at = 0; at < rest->size; at++)
            automaton->text[rest->first + at] = shop->text[rest->first + (making->backwards ? rest->size - 1 - at : at)];
    }
}

/* Makes the automaton from its states and rows. 0, -ENOMEM, or -E2BIG. */
int clo_table_make(const struct clo_making *making, struct clo_automaton **out) {
    const struct clo_workshop *shop = making->shop;
    size_t bits = shop->bits.count * making->words, next = shop->n_rows * (making->classes + CLO_ROW_EXTRA);
    size_t bytes = sizeof **out + bits * sizeof(uint64_t) + next * sizeof(uint32_t) +
                   shop->n_rests * sizeof(struct clo_rest) + shop->n_text;
    if (bytes > making->bytes_max) return -E2BIG;
    struct clo_automaton *automaton = calloc(1, bytes);
    uint32_t *number = malloc(shop->lists.count * sizeof *number);
    if (!automaton || !number) {
        free(automaton);
        free(number);
        return -ENOMEM;
    }
    automaton->bytes = bytes;
    automaton->classes = (uint32_t)making->classes;
    automaton->states = (uint32_t)shop->lists.count;
    automaton->backwards = making->backwards;
    automaton->bits = (uint64_t *)(automaton + 1);
    automaton->next = (uint32_t *)(automaton->bits + bits);
    automaton->rests = (struct clo_rest *)(automaton->next + next);
    automaton->text = (char *)(automaton->rests + shop->n_rests);
    memcpy(automaton->class_of, making->class_of, sizeof automaton->class_of);
    number_states(making, automaton, number);
    fill_rows(making, automaton, number);
    fill_bits(making, automaton);
    fill_rests(making, automaton);
    free(number);
    *out = automaton;
    return 0;
}
