/* A tree of tokens to a deterministic automaton: a state for each set of nodes that bytes lead to together. */
#include <stdlib.h>
#include <string.h>

#include "paths.h"

enum { STATES_MAX = 1 << 17, WORK_BY_STATE = 256 };

/* Takes the bytes of a set out of their classes into new ones, unless a class is wholly in it. */
void clo_split_classes(uint8_t class_of[256], size_t *count, const struct clo_byte_set *set) {
    int inside[256];
    bool outside[256] = {false};
    memset(inside, -1, sizeof inside);
    for (unsigned byte = 0; byte < 256; byte++)
        if (!clo_set_has(set, byte)) outside[class_of[byte]] = true;
    for (unsigned byte = 0; byte < 256; byte++) {
        unsigned before = class_of[byte];
        if (!clo_set_has(set, byte) || !outside[before]) continue;
        if (inside[before] < 0) inside[before] = (int)(*count)++;
        class_of[byte] = (uint8_t)inside[before];
    }
}

static void find_classes(struct clo_making *making) {
    bool used[CLO_TOKEN_SETS + CLO_SETS_MAX] = {false};
    for (size_t i = 1; i < making->tree->n_nodes; i++) used[making->tree->nodes[i].token] = true;
    used['/'] = true;
    making->classes = 1;
    for (unsigned token = 0; token < CLO_TOKEN_SETS + CLO_SETS_MAX; token++) {
        struct clo_byte_set set = {0};
        if (!used[token] || (token >= 256 && token < CLO_TOKEN_SETS)) continue;
        if (token < 256)
            set.bits[token / 64] = 1ULL << token % 64;
        else
            set = making->sets->set[token - CLO_TOKEN_SETS];
        clo_split_classes(making->class_of, &making->classes, &set);
    }
    for (unsigned byte = 0; byte < 256; byte++) making->class_byte[making->class_of[byte]] = (uint8_t)byte;
}

static int aim(struct clo_making *making, size_t class, uint32_t node) {
    struct clo_workshop *shop = making->shop;
    struct clo_target *targets = clo_grown(shop->targets, &shop->targets_room, shop->n_targets, sizeof *targets);
    if (!targets) return -ENOMEM;
    shop->targets = targets;
    targets[shop->n_targets++] = (struct clo_target){.node = node, .next = making->targets_of[class]};
    making->targets_of[class] = (uint32_t)shop->n_targets;
    return 0;
}

/* With a node come those that need no byte more. One from which nothing goes on is left out. */
static int enter(struct clo_making *making, size_t class, uint32_t number) {
    const struct clo_node *nodes = making->tree->nodes, *node = &nodes[number];
    int status = node->child || node->at_end || node->at_once ? aim(making, class, number) : 0;
    if (!status && node->star) status = aim(making, class, node->star);
    if (!status && node->deep) status = aim(making, class, node->deep);
    if (!status && node->deep) status = enter(making, class, nodes[node->deep].child); /* AFTER has no deep of its own */
    return status;
}

static int enter_by_token(struct clo_making *making, uint32_t child) {
    unsigned token = making->tree->nodes[child].token;
    if (token < 256) return enter(making, making->class_of[token], child);
    for (size_t class = 0; class < making->classes; class++) {
        if (!clo_set_has(&making->sets->set[token - CLO_TOKEN_SETS], making->class_byte[class])) continue;
        int status = enter(making, class, child);
        if (status) return status;
    }
    return 0;
}

int clo_add_item(struct clo_workshop *shop, uint32_t item) {
    uint32_t *items = clo_grown(shop->items, &shop->items_room, shop->n_items, sizeof *items);
    if (!items) return -ENOMEM;
    shop->items = items;
    items[shop->n_items++] = item;
    return 0;
}

/* Adds the nodes of a state that stay whatever byte of a component comes, or, at a '/', those that stay then too. */
static int add_staying(struct clo_making *making, const struct clo_list *list, bool slash) {
    for (uint32_t i = 0; i < list->count; i++) {
        uint32_t number = making->shop->lists.pool[list->first + i];
        unsigned token = making->tree->nodes[number].token;
        bool stays = token == CLO_TOKEN_DEEP || (token == CLO_TOKEN_STAR && !slash);
        if (stays && clo_add_item(making->shop, number)) return -ENOMEM;
    }
    return 0;
}

/* The state of the nodes that a class of bytes leads to: its number, -ENOMEM, or -E2BIG if there are too many. */
static int64_t state_of(struct clo_making *making, size_t class) {
    struct clo_workshop *shop = making->shop;
    for (uint32_t at = making->targets_of[class]; at; at = shop->targets[at - 1].next)
        if (clo_add_item(shop, shop->targets[at - 1].node)) return -ENOMEM;
    shop->work += shop->n_items + 1;
    shop->n_items = clo_sort_unique(shop->items, shop->n_items);
    int64_t found = clo_list_add(&shop->lists, shop->items, shop->n_items);
    bool too_many = shop->lists.count > making->states_max || shop->work > making->states_max * WORK_BY_STATE;
    return found >= 0 && too_many ? -E2BIG : found;
}

/* Aims from each node of a state by each byte that it takes. */
static int aim_all(struct clo_making *making, const struct clo_list *list) {
    const struct clo_node *nodes = making->tree->nodes;
    memset(making->targets_of, 0, sizeof making->targets_of);
    making->shop->n_targets = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        const struct clo_node *node = &nodes[making->shop->lists.pool[list->first + i]];
        int status = 0;
        if (node->token == CLO_TOKEN_DEEP) {
            status = enter(making, making->class_of['/'], node->child);
        } else {
            for (uint32_t child = node->child; child && !status; child = nodes[child].sibling)
                status = enter_by_token(making, child);
        }
        if (status) return status;
    }
    return 0;
}

/* Makes a row of next for a state. */
static int add_row(struct clo_making *making, uint32_t state) {
    struct clo_workshop *shop = making->shop;
    size_t slash = making->class_of['/'], classes = making->classes;
    int status = aim_all(making, &shop->lists.list[state]);
    if (status) return status;
    while (shop->next_room < (shop->n_rows + 1) * classes) {
        uint32_t *next = clo_grown(shop->next, &shop->next_room, shop->next_room, sizeof *next);
        if (!next) return -ENOMEM;
        shop->next = next;
    }
    int64_t other = -1; /* the state that every class without targets of its own leads to */
    for (size_t class = 0; class < classes; class++) {
        bool own = class == slash || making->targets_of[class];
        int64_t found = other;
        if (own || other < 0) {
            shop->n_items = 0;
            if (add_staying(making, &shop->lists.list[state], class == slash)) return -ENOMEM;
            found = state_of(making, class);
        }
        if (found < 0) return (int)found;
        if (!own) other = found;
        shop->next[shop->n_rows * classes + class] = (uint32_t)found;
    }
    shop->states[state].row = (uint32_t)shop->n_rows++;
    return shop->n_rows * (classes + CLO_ROW_EXTRA) * sizeof(uint32_t) > making->bytes_max ? -E2BIG : 0;
}

static void begin(struct clo_making *making) {
    struct clo_workshop *shop = making->shop;
    clo_lists_clear(&shop->lists);
    clo_lists_clear(&shop->bits);
    shop->work = shop->n_targets = shop->n_items = shop->n_rests = shop->n_text = shop->n_rows = 0;
    find_classes(making);
    if (making->states_max > STATES_MAX) making->states_max = STATES_MAX;
}

/* Makes the automaton of a tree, to be freed with free(). -ENOMEM, or -E2BIG if it has more states, takes more bytes or
 * much more work than asked for: nothing is made then. */
int clo_automaton_make(struct clo_making *making, struct clo_automaton **out) {
    struct clo_workshop *shop = making->shop;
    begin(making);
    if (clo_list_add(&shop->bits, NULL, 0) < 0 || enter(making, 0, 0)) return -ENOMEM;
    int64_t start = state_of(making, 0);
    int status = start < 0 ? (int)start : 0;
    for (uint32_t state = 0; !status && state < shop->lists.count; state++) {
        status = clo_state_describe(making, state);
        if (!status && shop->states[state].rest == CLO_NO_REST) status = add_row(making, state);
    }
    return status ? status : clo_table_make(making, out);
}

void clo_workshop_free(struct clo_workshop *shop) {
    clo_lists_free(&shop->lists);
    clo_lists_free(&shop->bits);
    free(shop->states);
    free(shop->targets);
    free(shop->rests);
    free(shop->text);
    free(shop->items);
    free(shop->next);
}
