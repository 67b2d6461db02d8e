/* Patterns in groups that stay small as automata, and all of them on one path. */
#include <stdlib.h>
#include <string.h>

#include "paths.h"

enum {
    STATES_LEAST = 512, STATES_BY_NODE = 8, /* an automaton with more states than this grows by products, not by sums */
    BYTES_MAX = 16 << 20, /* of all automata, and again of all patterns by themselves */
    WORK_MAX = 1 << 24,   /* nodes put into states, some 20 ns each: after that patterns are matched by themselves */
    DEPTH = 20            /* halves of halves of CLO_PATTERNS_MAX */
};

struct clo_paths {
    struct clo_automaton **automata;
    struct clo_direct **direct;
    size_t words, automata_bytes, direct_bytes;
    uint32_t n_automata, n_direct, patterns, sets, states;
};

struct building {
    const struct clo_pattern_asked *asked;
    const uint32_t *order; /* indices into asked: those of one kind, sorted */
    struct clo_paths *paths;
    struct clo_byte_sets sets;
    struct clo_tokens tokens;
    struct clo_tree tree;
    struct clo_workshop shop;
    size_t automata_room, direct_room, states_max, work;
    uint32_t *bad;
};

/* What is wrong with a pattern: a clo_pattern_fault. */
int clo_pattern_fault(const char *text, size_t size) {
    struct clo_byte_sets sets = {.count = 0};
    struct clo_tokens tokens;
    return clo_pattern_parse(text, size, &sets, &tokens);
}

static int keep_automaton(struct building *building, struct clo_automaton *automaton) {
    struct clo_paths *paths = building->paths;
    struct clo_automaton **automata =
        clo_grown(paths->automata, &building->automata_room, paths->n_automata, sizeof(struct clo_automaton *));
    if (!automata) {
        free(automaton);
        return -ENOMEM;
    }
    paths->automata = automata;
    automata[paths->n_automata++] = automaton;
    paths->automata_bytes += automaton->bytes;
    paths->states += automaton->states;
    return 0;
}

static int add_direct(struct building *building, uint32_t index) {
    const struct clo_pattern_asked *asked = &building->asked[index];
    struct clo_paths *paths = building->paths;
    struct clo_direct **all = clo_grown(paths->direct, &building->direct_room, paths->n_direct, sizeof(struct clo_direct *));
    if (!all) return -ENOMEM;
    paths->direct = all;
    clo_pattern_parse(asked->text, asked->size, &building->sets, &building->tokens);
    int status = clo_direct_make(&building->tokens, &building->sets, asked->set, &all[paths->n_direct]);
    if (status) return status;
    paths->direct_bytes += all[paths->n_direct++]->bytes;
    if (paths->direct_bytes <= BYTES_MAX) return 0;
    *building->bad = index;
    return -E2BIG;
}

/* One automaton for a part of the order: 0, -ENOMEM, or -E2BIG if it grows too large. */
static int add_automaton(struct building *building, size_t first, size_t end) {
    struct clo_tokens *tokens = &building->tokens;
    if (building->work > WORK_MAX) return -E2BIG;
    if (clo_tree_clear(&building->tree)) return -ENOMEM;
    for (size_t i = first; i < end; i++) {
        const struct clo_pattern_asked *asked = &building->asked[building->order[i]];
        clo_pattern_parse(asked->text, asked->size, &building->sets, tokens);
        if (tokens->kind == CLO_KIND_TAIL) clo_tokens_reverse(tokens);
        if (clo_tree_add(&building->tree, tokens, asked->set)) return -ENOMEM;
    }
    struct clo_making making = {
        .shop = &building->shop, .tree = &building->tree, .sets = &building->sets, .words = building->paths->words,
        .states_max = STATES_LEAST + STATES_BY_NODE * building->tree.n_nodes,
        .bytes_max = BYTES_MAX - building->paths->automata_bytes, .backwards = tokens->kind == CLO_KIND_TAIL};
    if (building->states_max && building->states_max < making.states_max) making.states_max = building->states_max;
    struct clo_automaton *automaton;
    int status = clo_automaton_make(&making, &automaton);
    building->work += building->shop.work;
    return status ? status : keep_automaton(building, automaton);
}

/* Automata for a part of the order: one, or those of its halves. */
static int add_group(struct building *building, size_t first, size_t end) {
    struct { size_t first, end; } left[DEPTH] = {{first, end}};
    for (size_t n = 1; n;) {
        size_t from = left[n - 1].first, to = left[n - 1].end, middle = from + (to - from) / 2;
        n--;
        if (from == to) continue;
        int status = add_automaton(building, from, to);
        if (status == -E2BIG && to - from == 1) {
            status = add_direct(building, building->order[from]);
        } else if (status == -E2BIG) {
            left[n].first = middle;
            left[n++].end = to;
            left[n].first = from;
            left[n++].end = middle;
            status = 0;
        }
        if (status) return status;
    }
    return 0;
}

static int compare(const struct clo_pattern_asked *one, const struct clo_pattern_asked *other) {
    int order = memcmp(one->text, other->text, one->size < other->size ? one->size : other->size);
    return order ? order : (one->size > other->size) - (one->size < other->size);
}

/* Equal beginnings come together, so that halves share few (heap sort: no more time for any order). */
static void sort(const struct clo_pattern_asked *asked, uint32_t *order, size_t count) {
    for (size_t i = count / 2 + count; i-- > 1;) {
        size_t end = i < count ? i : count, root = i < count ? 0 : i - count;
        if (i < count) {
            uint32_t last = order[i];
            order[i] = order[0];
            order[0] = last;
        }
        for (size_t child; (child = 2 * root + 1) < end; root = child) {
            if (child + 1 < end && compare(&asked[order[child]], &asked[order[child + 1]]) < 0) child++;
            if (compare(&asked[order[root]], &asked[order[child]]) >= 0) break;
            uint32_t kept = order[root];
            order[root] = order[child];
            order[child] = kept;
        }
    }
}

/* 0, -EINVAL for a pattern that is none, -ERANGE for a set that there is not, -E2BIG for too much. */
static int check(struct building *building, size_t count, uint32_t sets, uint8_t *kind) {
    size_t bytes = 0;
    *building->bad = 0;
    if (count > CLO_PATTERNS_MAX) return -E2BIG;
    if (!sets || sets > CLO_PATTERN_SETS) return -ERANGE;
    for (size_t i = 0; i < count; i++) {
        const struct clo_pattern_asked *asked = &building->asked[i];
        *building->bad = (uint32_t)i;
        int fault = clo_pattern_parse(asked->text, asked->size, &building->sets, &building->tokens);
        bytes += asked->size;
        if (fault) return fault == CLO_PATTERN_MANY ? -E2BIG : -EINVAL;
        if (asked->set >= sets) return -ERANGE;
        if (bytes > CLO_PATTERNS_BYTES) return -E2BIG;
        kind[i] = (uint8_t)building->tokens.kind;
    }
    return 0;
}

static int build(struct building *building, size_t count, uint32_t sets, uint8_t *kind, uint32_t *order) {
    int status = check(building, count, sets, kind);
    building->paths->words = (sets + 63) / 64;
    building->paths->sets = sets;
    building->paths->patterns = (uint32_t)count;
    for (int wanted = 0; wanted < CLO_KINDS && !status; wanted++) {
        size_t used = 0;
        for (size_t i = 0; i < count; i++)
            if (kind[i] == wanted) order[used++] = (uint32_t)i;
        sort(building->asked, order, used);
        building->order = order;
        status = add_group(building, 0, used);
    }
    return status;
}

/* As clo_paths_build, with at most so many states in one automaton: it only becomes slower, and takes less memory. */
int clo_paths_build_within(const struct clo_pattern_asked *asked, size_t count, uint32_t sets, size_t states_max,
                           struct clo_paths **out, uint32_t *bad) {
    struct building *building = calloc(1, sizeof *building);
    uint8_t *kind = malloc(count + 1);
    uint32_t *order = malloc((count + 1) * sizeof *order);
    struct clo_paths *paths = calloc(1, sizeof *paths);
    int status = -ENOMEM;
    if (building && kind && order && paths) {
        building->asked = asked;
        building->paths = paths;
        building->bad = bad;
        building->states_max = states_max;
        status = build(building, count, sets, kind, order);
    }
    if (building) {
        clo_tree_free(&building->tree);
        clo_workshop_free(&building->shop);
    }
    free(building);
    free(kind);
    free(order);
    if (status) {
        clo_paths_free(paths);
        paths = NULL;
    }
    *out = paths;
    return status;
}

/* Makes what clo_paths_match takes, to be freed with clo_paths_free. Each pattern belongs to a set below `sets`, several
 * may to the same. -EINVAL: the pattern *bad is none (clo_pattern_fault says why); -ERANGE: its set, or `sets`, is out of
 * bounds; -E2BIG: with it there are too many, or they take too much memory; -ENOMEM. Texts are not kept. */
int clo_paths_build(const struct clo_pattern_asked *asked, size_t count, uint32_t sets, struct clo_paths **out, uint32_t *bad) {
    return clo_paths_build_within(asked, count, sets, 0, out, bad);
}

/* No thread may be in clo_paths_match with it. NULL is fine. */
void clo_paths_free(struct clo_paths *paths) {
    if (!paths) return;
    for (size_t i = 0; i < paths->n_automata; i++) free(paths->automata[i]);
    for (size_t i = 0; i < paths->n_direct; i++) free(paths->direct[i]);
    free(paths->automata);
    free(paths->direct);
    free(paths);
}

void clo_paths_info(const struct clo_paths *paths, struct clo_paths_info *info) {
    *info = (struct clo_paths_info){
        .patterns = paths->patterns, .sets = paths->sets, .automata = paths->n_automata, .states = paths->states,
        .direct = paths->n_direct, .bytes = sizeof *paths + paths->automata_bytes + paths->direct_bytes};
}

/* Sets bit n of bits, (sets + 63) / 64 words, for each set n with a pattern that matches, and clears the others. A path
 * that does not begin with '/' is in none. Any number of threads may call it at once. */
void clo_paths_match(const struct clo_paths *paths, const char *path, size_t size, uint64_t *bits) {
    memset(bits, 0, paths->words * sizeof *bits);
    if (!size || path[0] != '/') return;
    clo_automata_run(paths->automata, paths->n_automata, paths->words, path, size, bits);
    for (size_t i = 0; i < paths->n_direct; i++) {
        const struct clo_direct *direct = paths->direct[i];
        if (clo_direct_match(direct, path, size)) bits[direct->set / 64] |= 1ULL << direct->set % 64;
    }
}
