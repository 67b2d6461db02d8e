/* Patterns as a tree of tokens. */
#include <stdlib.h>

#include "paths.h"

/* Room for one more item: the items, maybe elsewhere; NULL: no memory, and they stay as they are. */
void *clo_grown(void *items, size_t *room, size_t used, size_t size) {
    if (used < *room) return items;
    size_t wanted = *room ? *room * 2 : 256;
    void *larger = realloc(items, wanted * size);
    if (larger) *room = wanted;
    return larger;
}

/* A new node; 0: no memory. */
static uint32_t add_node(struct clo_tree *tree, uint16_t token) {
    struct clo_node *nodes = clo_grown(tree->nodes, &tree->nodes_room, tree->n_nodes, sizeof *nodes);
    if (!nodes) return 0;
    tree->nodes = nodes;
    nodes[tree->n_nodes] = (struct clo_node){.token = token};
    return (uint32_t)tree->n_nodes++;
}

/* The node that a token leads to from a node, a new one if there is none; 0: no memory. */
static uint32_t follow(struct clo_tree *tree, uint32_t parent, uint16_t token) {
    const struct clo_node *nodes = tree->nodes;
    uint32_t found = token == CLO_TOKEN_STAR   ? nodes[parent].star
                     : token == CLO_TOKEN_DEEP ? nodes[parent].deep
                                               : nodes[parent].child;
    if (token != CLO_TOKEN_STAR && token != CLO_TOKEN_DEEP)
        while (found && nodes[found].token != token) found = nodes[found].sibling;
    if (found) return found;
    found = add_node(tree, token);
    if (!found) return 0;
    struct clo_node *from = &tree->nodes[parent];
    if (token == CLO_TOKEN_STAR) {
        from->star = found;
    } else if (token == CLO_TOKEN_DEEP) {
        from->deep = found;
    } else {
        tree->nodes[found].sibling = from->child;
        from->child = found;
    }
    return found;
}

static void mark(struct clo_tree *tree, uint32_t *first, uint32_t set) {
    tree->marks[tree->n_marks] = (struct clo_mark){.next = *first, .set = set};
    *first = (uint32_t)tree->n_marks++;
}

/* Adds a pattern, of kind TAIL turned around; 0 or -ENOMEM. */
int clo_tree_add(struct clo_tree *tree, const struct clo_tokens *tokens, uint32_t set) {
    size_t count = tokens->count;
    bool at_once = tokens->kind == CLO_KIND_TAIL;
    if (tokens->below && count && tokens->token[count - 1] == CLO_TOKEN_STAR) {
        at_once = true; /* the star and all below are any bytes at all */
        count--;
    }
    uint32_t node = 0;
    for (size_t i = 0; i < count; i++) {
        node = follow(tree, node, tokens->token[i]);
        if (node && tokens->token[i] == CLO_TOKEN_DEEP) node = follow(tree, node, CLO_TOKEN_AFTER);
        if (!node) return -ENOMEM;
    }
    struct clo_mark *marks = clo_grown(tree->marks, &tree->marks_room, tree->n_marks + 1, sizeof *marks);
    if (!marks) return -ENOMEM;
    tree->marks = marks;
    if (!at_once) mark(tree, &tree->nodes[node].at_end, set);
    if (at_once || !tokens->below) {
        if (at_once) mark(tree, &tree->nodes[node].at_once, set);
        return 0;
    }
    node = follow(tree, node, '/');
    if (!node) return -ENOMEM;
    mark(tree, &tree->nodes[node].at_once, set);
    return 0;
}

/* Makes it empty, or ready for use the first time; memory is kept. 0 or -ENOMEM. */
int clo_tree_clear(struct clo_tree *tree) {
    tree->n_nodes = 0;
    tree->n_marks = 1; /* 0 is none */
    add_node(tree, 0);
    return tree->n_nodes ? 0 : -ENOMEM;
}

void clo_tree_free(struct clo_tree *tree) {
    free(tree->nodes);
    free(tree->marks);
}
