/* What makes one JSON value of another, as the text of a JSON Patch (RFC 6902). */
#include "diff.h"

#include <stdlib.h>
#include <string.h>

static bool is_container(uint8_t byte) { return byte == '{' || byte == '['; }

bool clo_json_diff_same(const struct clo_json_diff *diff, const struct clo_json_item *old,
                        const struct clo_json_item *new) {
    const struct clo_json_value *one = &old->child.value, *other = &new->child.value;
    size_t size = one->end - one->begin;
    return size == other->end - other->begin &&
           !memcmp(diff->side[OLD].view->text + one->begin, diff->side[NEW].view->text + other->begin, size);
}

static void diff_containers(struct clo_json_diff *diff, const struct clo_json_value *old, const struct clo_json_value *new,
                            size_t known) {
    struct clo_json_mark mark = clo_json_diff_mark(diff);
    size_t most = clo_json_diff_cost(diff, new), limit = diff->limit;
    struct clo_json_odd odd = clo_json_diff_align(diff, old, new, known);
    if (limit > mark.size + most) diff->limit = mark.size + most;
    bool worth = !odd.replaced;
    if (diff->side[OLD].view->text[old->begin] == '{')
        clo_json_diff_object(diff, odd);
    else if (worth)
        worth = clo_json_diff_array(diff, odd);
    diff->limit = limit;
    diff->side[OLD].odd.used = odd.gone;
    diff->side[NEW].odd.used = odd.fresh;
    if (worth && diff->patch.size - mark.size <= most) return;
    clo_json_diff_give_up(diff, mark);
    clo_json_diff_replace(diff, new);
}

/* Write what makes the one of the other, at the path as it is. The first `known` bytes of both are the same. */
void clo_json_diff_values(struct clo_json_diff *diff, const struct clo_json_value *old, const struct clo_json_value *new,
                          size_t known) {
    const uint8_t *one = diff->side[OLD].view->text + old->begin, *other = diff->side[NEW].view->text + new->begin;
    size_t size = old->end - old->begin, new_size = new->end - new->begin, shorter = size < new_size ? size : new_size;
    if (diff->failed) return;
    if (known < shorter) known += clo_json_same(one + known, other + known, shorter - known);
    if (size == new_size && known >= size) return;
    if (is_container(*one) && *one == *other)
        diff_containers(diff, old, new, known);
    else if (!diff->splice || *one != '"' || *other != '"' || !clo_json_diff_strings(diff, old, new))
        clo_json_diff_replace(diff, new);
}

/* Appends to `patch` the operations that make the one of the other; their first `same` bytes are equal. 0, or CLO_JSON_MEMORY. */
int clo_json_diff_views(const struct clo_json_view *old, const struct clo_json_view *new, size_t same,
                        uint32_t how, struct clo_json_out *patch) {
    struct clo_json_value from = clo_json_root(old), to = clo_json_root(new);
    struct clo_json_diff diff = {.limit = SIZE_MAX, .waste = (old->size + new->size) / 8 + 16384, .patch = *patch};
    diff.splice = how & CLO_JSON_SPLICE;
    diff.side[OLD].view = old;
    diff.side[NEW].view = new;
    if (clo_json_put(&diff.patch, "[", 1)) diff.failed = true;
    clo_json_diff_values(&diff, &from, &to, same);
    if (clo_json_put(&diff.patch, "]", 1)) diff.failed = true;
    *patch = diff.patch;
    for (int side = OLD; side <= NEW; side++) {
        free(diff.side[side].odd.data);
        free(diff.side[side].near.data);
    }
    clo_json_out_free(&diff.path);
    return diff.failed ? CLO_JSON_MEMORY : 0;
}

int clo_json_diff(const struct clo_json *old, const struct clo_json *new, uint32_t how, struct clo_json_out *patch) {
    struct clo_json_view before = clo_json_view(old), after = clo_json_view(new);
    return clo_json_diff_views(&before, &after, 0, how, patch);
}
