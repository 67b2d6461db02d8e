/* Paths: their normal form, and the sets of patterns they are in. What others call is declared in cdef.h.
 *
 * Theory. A pattern becomes tokens (paths_parse.c). Patterns of one kind become a tree of tokens, in which equal
 * beginnings are one, and that a deterministic automaton over classes of bytes (paths_tree.c, paths_automaton.c). There
 * are four kinds, since each alone stays small and their product does not: anchored at the root; at any depth, read from
 * the end of a path backwards; a folder at any depth and all below; and the rest. "All below" and "at any depth" need no
 * states to remember what was met: the bits are set when the automaton passes such a state. What grows beyond bounds all
 * the same is halved, and a single pattern that does is matched by itself (paths_direct.c). docs/decisions/0030. */
#ifndef CLOCHE_PATHS_H
#define CLOCHE_PATHS_H

#include <stdbool.h>

#include "cloche_native.h"

enum {
    CLO_TOKEN_STAR = 256, /* any bytes but '/' */
    CLO_TOKEN_DEEP = 257, /* after a '/': any number of components, each with its '/' */
    CLO_TOKEN_AFTER = 258, /* in a tree, after DEEP: where a component begins */
    CLO_TOKEN_SETS = 259, /* and above: one byte of a set; below 256: that byte. The first set: any but '/' */
    CLO_TOKEN_ONE = CLO_TOKEN_SETS,
    CLO_SETS_MAX = 512,
    CLO_TOKENS_MAX = CLO_PATTERN_MAX / 2 * 3 + 4 /* a component of one star is two tokens */
};

struct clo_byte_set { uint64_t bits[4]; };

struct clo_byte_sets {
    struct clo_byte_set set[CLO_SETS_MAX];
    size_t count;
};

enum clo_kind { CLO_KIND_ANCHORED, CLO_KIND_TAIL, CLO_KIND_INSIDE, CLO_KIND_MIXED, CLO_KINDS };

struct clo_tokens {
    uint16_t token[CLO_TOKENS_MAX];
    size_t count;
    bool below; /* and all below */
    enum clo_kind kind;
};

/* How a match is told at the end of tokens: when the path ends there; when it is reached, whatever follows. */
enum { CLO_AT_END = 1, CLO_AT_ONCE = 2 };

static inline bool clo_set_has(const struct clo_byte_set *set, unsigned byte) {
    return set->bits[byte / 64] >> byte % 64 & 1;
}

void clo_split_classes(uint8_t class_of[256], size_t *count, const struct clo_byte_set *set);
int clo_pattern_parse(const char *text, size_t size, struct clo_byte_sets *sets, struct clo_tokens *tokens);
void clo_tokens_reverse(struct clo_tokens *tokens);

/* A tree of tokens. Node 0 is before the first byte; a child's number is greater than its parent's. */
struct clo_node {
    uint32_t child, sibling; /* that take a byte; 0: none */
    uint32_t star, deep;     /* that are reached without one */
    uint32_t at_end, at_once; /* first in marks, 0: none */
    uint16_t token;          /* by which it is reached from its parent */
};

struct clo_mark { uint32_t next, set; };

struct clo_tree {
    struct clo_node *nodes;
    struct clo_mark *marks;
    size_t n_nodes, n_marks, nodes_room, marks_room;
};

void *clo_grown(void *items, size_t *room, size_t used, size_t size);
int clo_tree_add(struct clo_tree *tree, const struct clo_tokens *tokens, uint32_t set);
int clo_tree_clear(struct clo_tree *tree);
void clo_tree_free(struct clo_tree *tree);

/* Where only single bytes are left they are compared: no states. What is told then: at the path's end, at a '/', at once. */
struct clo_rest { uint32_t first, size, at_end, at_slash, at_once; };

/* A row of next has for each class of bytes the state that follows, then the numbers of the bits that are told at the
 * path's end and at once. A state is the place of its row; one beyond the rows is the number of a rest. */
struct clo_automaton {
    uint32_t *next;
    uint64_t *bits;          /* [number][words]; number 0 is empty */
    struct clo_rest *rests;
    char *text;              /* of rests */
    size_t bytes;            /* of memory, in one piece that begins with this struct */
    uint32_t start, classes, states;
    uint32_t idle;           /* from this state on only a '/' leads elsewhere, */
    uint32_t telling;        /* from this on something is told at once, */
    uint32_t dead;           /* from this on it ends: nothing more can match, */
    uint32_t first_rest;     /* or a rest decides */
    bool backwards;          /* paths are read from their end */
    uint8_t class_of[256];
};

/* Lists of numbers, each kept once. */
struct clo_lists {
    uint32_t *pool, *slots; /* slots: number of a list + 1, by hash */
    struct clo_list { uint32_t first, count, hash; } *list;
    size_t used, pool_room, count, list_room, n_slots;
};

size_t clo_sort_unique(uint32_t *items, size_t count);
int64_t clo_list_add(struct clo_lists *lists, const uint32_t *items, size_t count);
void clo_lists_clear(struct clo_lists *lists);
void clo_lists_free(struct clo_lists *lists);

/* What a state is, besides its nodes: its row, or a rest. */
enum { CLO_NO_REST = UINT32_MAX };
struct clo_state { uint32_t row, rest, at_end, at_once; };

/* What making one automaton after another needs; all zeros at first. */
struct clo_workshop {
    struct clo_lists lists, bits; /* lists: of nodes, a state each; bits: sets of patterns */
    struct clo_state *states;
    struct clo_target { uint32_t node, next; } *targets;
    struct clo_rest *rests;
    char *text;
    uint32_t *items, *next;
    size_t states_room, targets_room, n_targets, rests_room, n_rests, text_room, n_text;
    size_t items_room, n_items, next_room, n_rows, work;
};

/* The making of one automaton. */
struct clo_making {
    struct clo_workshop *shop;
    const struct clo_tree *tree;
    const struct clo_byte_sets *sets;
    size_t words, states_max, bytes_max;
    bool backwards;
    /* Bytes that no pattern of the tree tells apart are one class. */
    size_t classes;
    uint8_t class_of[256], class_byte[256]; /* class_byte: one of its bytes */
    uint32_t targets_of[256];               /* by class: first of its targets + 1 */
};

enum { CLO_ROW_EXTRA = 2 };

int clo_automaton_make(struct clo_making *making, struct clo_automaton **out);
int clo_add_item(struct clo_workshop *shop, uint32_t item);
int clo_state_describe(struct clo_making *making, uint32_t state);
int clo_table_make(const struct clo_making *making, struct clo_automaton **out);
void clo_workshop_free(struct clo_workshop *shop);
void clo_automata_run(struct clo_automaton *const *automata, size_t count, size_t words, const char *path, size_t size,
                      uint64_t *bits);

/* One pattern by itself. */
struct clo_direct {
    size_t bytes;        /* of memory, in one piece that begins with this struct */
    uint32_t set, words; /* words of a set of positions */
    uint32_t n_tokens;
    bool below;
    uint8_t class_of[256];
    const uint64_t *star, *deep; /* positions before such a token, in take too */
    uint64_t take[];     /* [class][words]: positions that are reached by such a byte */
};

int clo_direct_make(const struct clo_tokens *tokens, const struct clo_byte_sets *sets, uint32_t set, struct clo_direct **out);
bool clo_direct_match(const struct clo_direct *direct, const char *path, size_t size);

#endif
