/* What of one container is gone and fresh at once, whatever the order: members by their keys, values by their bytes. */
#include <stdlib.h>
#include <string.h>

#include "diff.h"
#include "diff_table.h"

/* To sort by. */
struct key {
    const uint8_t *text;
    size_t size, index;
};

static int compare_keys(const void *one, const void *other) {
    const struct key *left = one, *right = other;
    if (left->size != right->size) return left->size < right->size ? -1 : 1;
    return memcmp(left->text, right->text, left->size);
}

static size_t sort_keys(const struct clo_json_side *side, size_t begin, size_t end, struct key *keys) {
    size_t count = 0;
    for (size_t i = begin; i < end; i++) {
        const struct clo_json_child *child = &side->odd.data[i].child;
        if (side->odd.data[i].mate) continue;
        keys[count++] = (struct key){side->view->text + child->key_begin, child->key_end - child->key_begin, i};
    }
    qsort(keys, count, sizeof *keys, compare_keys);
    return count;
}

static void mate(struct clo_json_diff *diff, size_t gone, size_t fresh) {
    diff->side[OLD].odd.data[gone].mate = fresh + 1;
    diff->side[NEW].odd.data[fresh].mate = gone + 1;
}

/* Exact, for what has a key on both sides must not be taken for gone. */
void clo_json_diff_mate_keys(struct clo_json_diff *diff, struct clo_json_odd odd) {
    size_t count = odd.gone_end - odd.gone, new_count = odd.fresh_end - odd.fresh;
    struct key *old = malloc((count + new_count) * sizeof *old), *new = old + count;
    if (!old) {
        diff->failed = true;
        return;
    }
    count = sort_keys(&diff->side[OLD], odd.gone, odd.gone_end, old);
    new_count = sort_keys(&diff->side[NEW], odd.fresh, odd.fresh_end, new);
    for (size_t i = 0, j = 0; i < count && j < new_count;) {
        int order = compare_keys(&old[i], &new[j]);
        if (!order) mate(diff, old[i].index, new[j].index);
        i += order <= 0;
        j += order >= 0;
    }
    free(old);
}

/* The gone ones without a mate, by print; of those with the same print each knows the next. */
struct alone {
    struct clo_json_table table;
    uint64_t *prints;
    uint32_t *next, *last; /* numbers + 1; `last` of the first of a row */
};

static uint64_t print_of(const struct clo_json_side *side, size_t i) {
    const struct clo_json_value *value = &side->odd.data[i].child.value;
    return clo_json_diff_print(side->view->text + value->begin, value->end - value->begin);
}

static void gather(const struct clo_json_side *side, size_t begin, size_t end, struct alone *alone) {
    for (size_t i = begin; i < end; i++) {
        if (side->odd.data[i].mate) continue;
        uint32_t number = (uint32_t)(i - begin) + 1;
        alone->prints[number - 1] = print_of(side, i);
        uint32_t *slot = clo_json_table_find(&alone->table, alone->prints, alone->prints[number - 1]);
        if (!slot) continue;
        if (*slot)
            alone->next[alone->last[*slot - 1] - 1] = number;
        else
            *slot = number;
        alone->last[*slot - 1] = number;
    }
}

static void find_mates(struct clo_json_diff *diff, struct clo_json_odd odd, struct alone *alone) {
    for (size_t j = odd.fresh; j < odd.fresh_end; j++) {
        const struct clo_json_item *fresh = &diff->side[NEW].odd.data[j];
        if (fresh->mate) continue;
        uint32_t *slot = clo_json_table_find(&alone->table, alone->prints, print_of(&diff->side[NEW], j));
        if (!slot || !*slot) continue;
        size_t i = odd.gone + *slot - 1;
        if (!clo_json_diff_same(diff, &diff->side[OLD].odd.data[i], fresh)) continue;
        mate(diff, i, j);
        if (alone->next[*slot - 1]) {
            alone->last[alone->next[*slot - 1] - 1] = alone->last[*slot - 1];
            *slot = alone->next[*slot - 1];
        } else {
            alone->prints[*slot - 1] = ~alone->prints[*slot - 1]; /* the slot stays, but nothing more is found there */
        }
    }
}

/* Not exact: of very many with the same print some are not found. */
void clo_json_diff_mate_values(struct clo_json_diff *diff, struct clo_json_odd odd) {
    size_t count = odd.gone_end - odd.gone;
    if (!count || odd.fresh == odd.fresh_end || count >= UINT32_MAX / 4) return;
    struct alone alone = {0};
    bool has_table = clo_json_table_init(&alone.table, count);
    alone.prints = malloc(count * sizeof *alone.prints);
    alone.next = calloc(count, 2 * sizeof *alone.next);
    if (has_table && alone.prints && alone.next) {
        alone.last = alone.next + count;
        gather(&diff->side[OLD], odd.gone, odd.gone_end, &alone);
        find_mates(diff, odd, &alone);
    } else {
        diff->failed = true;
    }
    free(alone.table.slots);
    free(alone.prints);
    free(alone.next);
}
