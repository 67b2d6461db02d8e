/* A merge patch (RFC 7396) made from two documents.
 *
 * Both are opened as edits are, for the look-ups by key; nothing in them changes. Values count as the same if they are
 * written the same but for the order of members. */
#include "patch.h"

struct making {
    struct clo_edit *edit;
    struct clo_json_out *out, path; /* `path`: the pointer to what is compared, as a canonical string without its end */
};

static bool is_object(const struct clo_edit_value *value) { return clo_edit_kind(value) == '{'; }

static bool same_text(const struct clo_edit_value *old, const struct clo_edit_value *new) {
    return !old->open && !new->open && old->size == new->size && !memcmp(old->text, new->text, old->size);
}

/* CLO_PATCH_FINE: they are; CLO_PATCH_TEST: they are not. */
static int same(struct clo_edit *edit, struct clo_edit_value *old, struct clo_edit_value *new);

static int same_objects(struct clo_edit *edit, struct clo_edit_value *old, struct clo_edit_value *new) {
    int kind = clo_edit_open(edit, old);
    if (!kind) kind = clo_edit_open(edit, new);
    if (!kind && old->open->used != new->open->used) return CLO_PATCH_TEST;
    for (size_t i = 0; !kind && i < new->open->used; i++) {
        struct clo_edit_member *member = &new->open->of.members[i];
        struct clo_edit_member *before = clo_edit_member(edit, old->open, member->key, member->key_size);
        kind = before ? same(edit, &before->value, &member->value) : CLO_PATCH_TEST;
    }
    return kind;
}

static int same_arrays(struct clo_edit *edit, const struct clo_edit_value *old, const struct clo_edit_value *new) {
    struct clo_json_view view = clo_edit_view(old), new_view = clo_edit_view(new);
    struct clo_json_value whole = clo_edit_whole(old), new_whole = clo_edit_whole(new);
    if (clo_json_count(&view, &whole) != clo_json_count(&new_view, &new_whole)) return CLO_PATCH_TEST;
    struct clo_json_walk walk = clo_json_walk(&view, &whole), new_walk = clo_json_walk(&new_view, &new_whole);
    int kind = CLO_PATCH_FINE;
    for (struct clo_json_child child, new_child;
         !kind && clo_json_next(&walk, &child) && clo_json_next(&new_walk, &new_child);) {
        struct clo_edit_value value = clo_edit_take(&view, &child.value, old->levels - 1);
        struct clo_edit_value with = clo_edit_take(&new_view, &new_child.value, new->levels - 1);
        kind = same(edit, &value, &with);
    }
    return kind;
}

static int same(struct clo_edit *edit, struct clo_edit_value *old, struct clo_edit_value *new) {
    if (same_text(old, new)) return CLO_PATCH_FINE;
    uint8_t kind = clo_edit_kind(old);
    if (kind != clo_edit_kind(new)) return CLO_PATCH_TEST;
    if (kind == '{') return same_objects(edit, old, new);
    return kind == '[' ? same_arrays(edit, old, new) : CLO_PATCH_TEST;
}

/* Adds "/key" to the path. */
static int descend(struct making *making, const struct clo_edit_member *member) {
    int failed = clo_json_put(&making->path, "/", 1);
    for (size_t i = 1; !failed && i + 1 < member->key_size; i++) {
        uint8_t byte = member->key[i];
        if (byte == '~') failed = clo_json_put(&making->path, "~0", 2);
        else if (byte == '/') failed = clo_json_put(&making->path, "~1", 2);
        else failed = clo_json_put(&making->path, &byte, 1);
    }
    return failed ? CLO_PATCH_MEMORY : CLO_PATCH_FINE;
}

/* Puts a value where the old document has no object: a null in it would be taken for a removal. */
static int check_nulls(struct making *making, struct clo_edit_value *value) {
    if (!is_object(value)) return clo_edit_kind(value) == 'n' ? CLO_PATCH_NULL : CLO_PATCH_FINE;
    if (!value->open && !memmem(value->text, value->size, "null", 4)) return CLO_PATCH_FINE;
    int kind = clo_edit_open(making->edit, value);
    size_t path = making->path.size;
    for (size_t i = 0; !kind && i < value->open->used; i++) {
        making->path.size = path;
        kind = descend(making, &value->open->of.members[i]);
        if (!kind) kind = check_nulls(making, &value->open->of.members[i].value);
    }
    if (!kind) making->path.size = path;
    return kind;
}

static int put(struct making *making, const void *bytes, size_t size) {
    return clo_json_put(making->out, bytes, size) ? CLO_PATCH_MEMORY : CLO_PATCH_FINE;
}

static int put_key(struct making *making, const struct clo_edit_member *member, size_t begin) {
    if (making->out->size > begin && put(making, ",", 1)) return CLO_PATCH_MEMORY;
    return put(making, member->key, member->key_size) || put(making, ":", 1) ? CLO_PATCH_MEMORY : CLO_PATCH_FINE;
}

static int compare_objects(struct making *making, struct clo_edit_value *old, struct clo_edit_value *new);

/* Puts what differs within two objects; nothing if that is nothing. */
static int put_differences(struct making *making, struct clo_edit_member *before, struct clo_edit_member *member,
                           size_t begin) {
    size_t size = making->out->size;
    int kind = put_key(making, member, begin);
    size_t value = making->out->size;
    if (!kind) kind = compare_objects(making, &before->value, &member->value);
    if (!kind && making->out->size == value + 2) making->out->size = size;
    return kind;
}

static int put_value(struct making *making, struct clo_edit_member *member, size_t begin) {
    struct clo_edit_value checked = member->value;
    int kind = check_nulls(making, &checked);
    if (!kind) kind = put_key(making, member, begin);
    return kind ? kind : clo_edit_write_value(&member->value, making->out, NULL);
}

/* A member of the new document; nothing is put if it is the same in the old one. */
static int compare_member(struct making *making, struct clo_edit_value *old, struct clo_edit_member *member,
                          size_t begin) {
    struct clo_edit_member *before = clo_edit_member(making->edit, old->open, member->key, member->key_size);
    if (before && same_text(&before->value, &member->value)) return CLO_PATCH_FINE;
    bool objects = before && is_object(&before->value) && is_object(&member->value);
    int kind = before && !objects ? same(making->edit, &before->value, &member->value) : CLO_PATCH_TEST;
    if (kind != CLO_PATCH_TEST) return kind;
    size_t path = making->path.size;
    kind = descend(making, member);
    if (!kind && objects) kind = put_differences(making, before, member, begin);
    else if (!kind) kind = put_value(making, member, begin);
    if (!kind) making->path.size = path;
    return kind;
}

static int compare_objects(struct making *making, struct clo_edit_value *old, struct clo_edit_value *new) {
    int kind = clo_edit_open(making->edit, old);
    if (!kind) kind = clo_edit_open(making->edit, new);
    if (!kind) kind = put(making, "{", 1);
    size_t begin = making->out->size;
    for (size_t i = 0; !kind && i < new->open->used; i++)
        kind = compare_member(making, old, &new->open->of.members[i], begin);
    for (size_t i = 0; !kind && i < old->open->used; i++) {
        const struct clo_edit_member *member = &old->open->of.members[i];
        if (clo_edit_member(making->edit, new->open, member->key, member->key_size)) continue;
        kind = put_key(making, member, begin);
        if (!kind) kind = put(making, "null", 4);
    }
    return kind ? kind : put(making, "}", 1);
}

static int make(struct making *making, struct clo_edit_value *old, struct clo_edit_value *new) {
    if (is_object(old) && is_object(new)) return compare_objects(making, old, new);
    struct clo_edit_value checked = *new;
    int kind = is_object(new) ? check_nulls(making, &checked) : CLO_PATCH_FINE;
    return kind ? kind : clo_edit_write_value(new, making->out, NULL);
}

/* `edit` is of the old document. */
static int diff(struct clo_edit *edit, const struct clo_json_view *new, struct clo_json_out *out,
                struct clo_patch_error *error) {
    struct clo_json_value root = clo_json_root(new);
    struct clo_edit_value value = clo_edit_take(new, &root, edit->depth);
    struct making making = {.edit = edit, .out = out};
    int kind = clo_json_put(&making.path, "\"", 1) ? CLO_PATCH_MEMORY : CLO_PATCH_FINE;
    if (!kind) kind = make(&making, &edit->root, &value);
    if (kind == CLO_PATCH_NULL && !clo_json_put(&making.path, "\"", 1)) {
        edit->blamed = making.path.data + 1;
        edit->blamed_size = making.path.size - 2;
        clo_pointer_blame(edit, error);
    }
    clo_json_out_free(&making.path);
    return kind;
}

int clo_json_merge_diff(const void *old, size_t size, const void *changed, size_t changed_size, uint32_t depth,
                        struct clo_json_out *out, struct clo_patch_error *error) {
    struct clo_json read = {0}, read_changed = {0};
    int kind = CLO_PATCH_DOCUMENT;
    *error = (struct clo_patch_error){.operation = -1};
    if (!clo_json_read(old, size, depth, &read, &error->text)) {
        kind = CLO_PATCH_TEXT;
        if (!clo_json_read(changed, changed_size, depth, &read_changed, &error->text)) {
            struct clo_json_view view = clo_json_view(&read), with = clo_json_view(&read_changed);
            struct clo_edit edit;
            clo_edit_init(&edit, &view, depth, 0);
            kind = diff(&edit, &with, out, error);
            clo_edit_free(&edit);
        }
    }
    clo_json_drop(&read);
    clo_json_drop(&read_changed);
    error->kind = (uint32_t)kind;
    return kind;
}
