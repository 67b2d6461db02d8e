/* Operations on the members of one object. Their order is: what is inside of members that stay, what gets another key,
 * what goes, what comes. So each finds what those before it have left. */
#include "diff.h"

static size_t into(struct clo_json_diff *diff, int side, const struct clo_json_item *item) {
    const struct clo_json_child *child = &item->child;
    return clo_json_diff_into_key(diff, diff->side[side].view->text + child->key_begin, child->key_end - child->key_begin);
}

static bool has_alone(const struct clo_json_items *items, size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++)
        if (!items->data[i].mate) return true;
    return false;
}

static void change_values(struct clo_json_diff *diff, struct clo_json_odd odd) {
    for (size_t i = odd.gone; i < odd.gone_end && diff->patch.size <= diff->limit; i++) {
        struct clo_json_item *gone = &diff->side[OLD].odd.data[i];
        if (!gone->mate) continue;
        struct clo_json_item *fresh = &diff->side[NEW].odd.data[gone->mate - 1];
        struct clo_json_value old = gone->child.value, new = fresh->child.value;
        gone->done = fresh->done = true;
        size_t path = into(diff, OLD, gone), known = gone->known; /* the lists move as it goes deeper */
        clo_json_diff_values(diff, &old, &new, known);
        clo_json_diff_out_of(diff, path);
    }
}

static void change_keys(struct clo_json_diff *diff, struct clo_json_odd odd) {
    for (size_t i = odd.gone; i < odd.gone_end; i++) {
        struct clo_json_item *gone = &diff->side[OLD].odd.data[i];
        if (gone->done || !gone->mate) continue;
        struct clo_json_item *fresh = &diff->side[NEW].odd.data[gone->mate - 1];
        gone->done = fresh->done = true;
        size_t path = into(diff, OLD, gone);
        clo_json_diff_move_from(diff);
        clo_json_diff_out_of(diff, path);
        path = into(diff, NEW, fresh);
        clo_json_diff_move_to(diff);
        clo_json_diff_out_of(diff, path);
    }
}

static void remove_and_add(struct clo_json_diff *diff, struct clo_json_odd odd) {
    for (size_t i = odd.gone; i < odd.gone_end; i++) {
        if (diff->side[OLD].odd.data[i].done) continue;
        size_t path = into(diff, OLD, &diff->side[OLD].odd.data[i]);
        clo_json_diff_remove(diff);
        clo_json_diff_out_of(diff, path);
    }
    for (size_t i = odd.fresh; i < odd.fresh_end && diff->patch.size <= diff->limit; i++) {
        const struct clo_json_item *fresh = &diff->side[NEW].odd.data[i];
        if (fresh->done) continue;
        size_t path = into(diff, NEW, fresh);
        clo_json_diff_add(diff, &fresh->child.value);
        clo_json_diff_out_of(diff, path);
    }
}

void clo_json_diff_object(struct clo_json_diff *diff, struct clo_json_odd odd) {
    const struct clo_json_items *gone = &diff->side[OLD].odd, *fresh = &diff->side[NEW].odd;
    if (has_alone(gone, odd.gone, odd.gone_end) && has_alone(fresh, odd.fresh, odd.fresh_end))
        clo_json_diff_mate_keys(diff, odd);
    if (diff->failed) return;
    change_values(diff, odd);
    if (has_alone(gone, odd.gone, odd.gone_end) && has_alone(fresh, odd.fresh, odd.fresh_end))
        clo_json_diff_mate_values(diff, odd);
    if (diff->failed) return;
    change_keys(diff, odd);
    remove_and_add(diff, odd);
}
