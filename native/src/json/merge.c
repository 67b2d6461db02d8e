/* JSON Merge Patch (RFC 7396): applied, and made from two documents. */
#include "patch.h"

#include <stdlib.h>

static int merge_object(struct clo_edit *edit, const struct clo_json_view *patch, const struct clo_json_value *with,
                        uint32_t levels, struct clo_edit_value *target);

static bool is_null(const struct clo_edit_value *value) { return *value->text == 'n'; }

/* An object of the patch where the target has none: merged into an empty one, for its nulls must go. */
static int merge_fresh(struct clo_edit *edit, const struct clo_json_view *patch, const struct clo_json_value *with,
                       uint32_t levels, struct clo_edit_value *made) {
    *made = (struct clo_edit_value){.open = clo_edit_empty(edit, true, levels)};
    return made->open ? merge_object(edit, patch, with, levels, made) : CLO_PATCH_MEMORY;
}

static int merge_member(struct clo_edit *edit, const struct clo_json_view *patch, const struct clo_json_child *child,
                        uint32_t levels, struct clo_edit_open *target) {
    const uint8_t *key = patch->text + child->key_begin;
    size_t size = child->key_end - child->key_begin;
    struct clo_edit_value value = clo_edit_take(patch, &child->value, levels);
    if (is_null(&value)) {
        struct clo_edit_member *member = clo_edit_member(edit, target, key, size);
        if (member) clo_edit_drop(target, member);
        return CLO_PATCH_FINE;
    }
    if (*value.text == '{') {
        struct clo_edit_member *member = clo_edit_member(edit, target, key, size);
        if (member && clo_edit_kind(&member->value) == '{') {
            member->original = false;
            return merge_object(edit, patch, &child->value, levels, &member->value);
        }
        int kind = merge_fresh(edit, patch, &child->value, levels, &value);
        if (kind) return kind;
    }
    return clo_edit_put(edit, target, key, size, &value);
}

static int merge_object(struct clo_edit *edit, const struct clo_json_view *patch, const struct clo_json_value *with,
                        uint32_t levels, struct clo_edit_value *target) {
    int kind = clo_edit_open(edit, target);
    struct clo_json_walk walk = clo_json_walk(patch, with);
    for (struct clo_json_child child; !kind && clo_json_next(&walk, &child);)
        kind = merge_member(edit, patch, &child, levels - 1, target->open);
    return kind;
}

static int merge(struct clo_edit *edit, const struct clo_json_view *patch, struct clo_patch_error *error) {
    (void)error;
    struct clo_json_value with = clo_json_root(patch);
    if (*patch->text != '{') {
        edit->root = clo_edit_take(patch, &with, edit->depth);
        return CLO_PATCH_FINE;
    }
    if (clo_edit_kind(&edit->root) == '{') return merge_object(edit, patch, &with, edit->depth, &edit->root);
    return merge_fresh(edit, patch, &with, edit->depth, &edit->root);
}

int clo_json_merge(const void *target, size_t size, const void *patch, size_t patch_size, uint32_t depth,
                   uint64_t most, struct clo_json_out *out, struct clo_patch_error *error) {
    return clo_patch_texts(merge, 0, (struct clo_text){target, size}, (struct clo_text){patch, patch_size}, depth, most,
                           out, error);
}

int clo_json_merge_to(struct clo_json *target, const void *patch, size_t size, uint64_t most,
                      struct clo_patch_error *error) {
    return clo_patch_document(merge, 0, target, (struct clo_text){patch, size}, most, error);
}
