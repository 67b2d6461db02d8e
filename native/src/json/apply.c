/* JSON Patch (RFC 6902), and one operation more: splice, which changes a part of a string.
 *
 * Theory of operation. The patch is read as any text is. Its operations change an edit of the document, one after the
 * other; values of the patch go into it as the stretches that they are. Only when all are done is the new document
 * written, so one that can't be done leaves nothing behind. */
#include "patch.h"

enum field { OP, PATH, FROM, VALUE, AT, REMOVE, INSERT, LENGTH, HASH, FIELDS };

/* Of one operation: text is NULL where there is none. */
struct operation {
    struct clo_edit_value fields[FIELDS];
};

static bool is(const uint8_t *text, size_t size, const char *literal) {
    return strlen(literal) == size && !memcmp(text, literal, size);
}

static void read_fields(const struct clo_json_view *view, const struct clo_json_value *object, uint32_t levels,
                        struct operation *operation) {
    static const char *const names[FIELDS] = {"\"op\"",     "\"path\"",   "\"from\"",   "\"value\"", "\"at\"",
                                              "\"remove\"", "\"insert\"", "\"length\"", "\"hash\""};
    *operation = (struct operation){0};
    struct clo_json_walk walk = clo_json_walk(view, object);
    for (struct clo_json_child child; clo_json_next(&walk, &child);)
        for (int i = 0; i < FIELDS; i++)
            if (is(view->text + child.key_begin, child.key_end - child.key_begin, names[i]))
                operation->fields[i] = clo_edit_take(view, &child.value, levels);
}

static bool is_string(const struct clo_edit_value *value) { return value->text && *value->text == '"'; }

static int read_pointer(struct clo_edit *edit, const struct clo_edit_value *field, struct clo_pointer *pointer) {
    if (!is_string(field)) return CLO_PATCH_FIELD;
    return clo_pointer_read(edit, field->text + 1, field->size - 2, pointer);
}

/* Both have the same tokens as far as the first goes. */
static bool within(const struct clo_pointer *outer, const struct clo_pointer *inner) {
    if (outer->count > inner->count) return false;
    for (size_t i = 0; i < outer->count; i++) {
        const struct clo_token *one = &outer->tokens[i], *other = &inner->tokens[i];
        if (one->size != other->size || memcmp(one->key, other->key, one->size)) return false;
    }
    return true;
}

static int move(struct clo_edit *edit, const struct operation *operation, const struct clo_pointer *path) {
    struct clo_pointer from;
    struct clo_edit_value value;
    int kind = read_pointer(edit, &operation->fields[FROM], &from);
    if (!kind) kind = clo_pointer_look(edit, &from, &value);
    if (kind) return kind;
    if (within(&from, path)) return from.count == path->count ? CLO_PATCH_FINE : CLO_PATCH_ITSELF;
    kind = clo_pointer_remove(edit, &from);
    if (kind) return kind;
    clo_pointer_use(edit, path);
    return clo_pointer_add(edit, path, &value);
}

static int copy(struct clo_edit *edit, const struct operation *operation, const struct clo_pointer *path) {
    struct clo_pointer from;
    struct clo_edit_value value, copied;
    int kind = read_pointer(edit, &operation->fields[FROM], &from);
    if (!kind) kind = clo_pointer_look(edit, &from, &value);
    if (!kind) kind = clo_edit_copy(edit, &value, &copied);
    if (kind) return kind;
    clo_pointer_use(edit, path);
    return clo_pointer_add(edit, path, &copied);
}

static int test(struct clo_edit *edit, const struct operation *operation, const struct clo_pointer *path) {
    struct clo_edit_value value;
    if (!operation->fields[VALUE].text) return CLO_PATCH_FIELD;
    int kind = clo_pointer_look(edit, path, &value);
    return kind ? kind : clo_edit_equal(edit, &value, &operation->fields[VALUE]);
}

static int splice(struct clo_edit *edit, const struct operation *operation, const struct clo_pointer *path) {
    const struct clo_edit_value *fields = operation->fields;
    struct clo_splice splice = {.insert = fields[INSERT]};
    struct clo_edit_value value;
    if (!is_string(&fields[INSERT]) || !clo_splice_number(&fields[AT], &splice.at) ||
        !clo_splice_number(&fields[REMOVE], &splice.remove))
        return CLO_PATCH_FIELD;
    splice.has_length = fields[LENGTH].text;
    splice.has_hash = fields[HASH].text;
    if (splice.has_length && !clo_splice_number(&fields[LENGTH], &splice.length)) return CLO_PATCH_FIELD;
    if (splice.has_hash && !clo_splice_hash(&fields[HASH], &splice.hash)) return CLO_PATCH_FIELD;
    int kind = clo_pointer_look(edit, path, &value);
    if (!kind) kind = clo_splice(edit, &splice, &value);
    return kind ? kind : clo_pointer_replace(edit, path, &value);
}

static int perform(struct clo_edit *edit, struct operation *operation) {
    const struct clo_edit_value *op = &operation->fields[OP], *value = &operation->fields[VALUE];
    static const char *const names[] = {"\"add\"",  "\"replace\"", "\"remove\"", "\"move\"",
                                        "\"copy\"", "\"test\"",    "\"splice\""};
    enum { ADD, REPLACE, TAKE, MOVE, COPY, TEST, SPLICE, NONE };
    int name = op->text ? ADD : NONE;
    while (name < NONE && !is(op->text, op->size, names[name])) name++;
    if (name == NONE) return CLO_PATCH_OPERATION;
    if (name != SPLICE) edit->spliced = NULL; /* it may be copied */
    struct clo_pointer path;
    int kind = read_pointer(edit, &operation->fields[PATH], &path);
    if (kind) return kind;
    if (name == MOVE) return move(edit, operation, &path);
    if (name == COPY) return copy(edit, operation, &path);
    if (name == TEST) return test(edit, operation, &path);
    if (name == SPLICE) return splice(edit, operation, &path);
    if (name == TAKE) return clo_pointer_remove(edit, &path);
    if (!value->text) return CLO_PATCH_FIELD;
    struct clo_edit_value taken = *value;
    return name == ADD ? clo_pointer_add(edit, &path, &taken) : clo_pointer_replace(edit, &path, &taken);
}

static int apply(struct clo_edit *edit, const struct clo_json_view *patch, struct clo_patch_error *error) {
    struct clo_json_value all = clo_json_root(patch);
    if (*patch->text != '[') return CLO_PATCH_SHAPE;
    struct clo_json_walk walk = clo_json_walk(patch, &all);
    error->operation = 0;
    for (struct clo_json_child child; clo_json_next(&walk, &child); error->operation++) {
        struct operation operation;
        edit->blamed = NULL;
        if (patch->text[child.value.begin] != '{') return CLO_PATCH_SHAPE;
        read_fields(patch, &child.value, edit->depth, &operation);
        int kind = perform(edit, &operation);
        if (kind) return kind;
    }
    error->operation = -1;
    edit->blamed = NULL;
    return CLO_PATCH_FINE;
}

int clo_json_apply(const void *document, size_t size, const void *patch, size_t patch_size, uint32_t depth,
                   uint64_t most, struct clo_json_out *out, struct clo_patch_error *error) {
    return clo_patch_texts(apply, CLO_PATCH_LEVELS, (struct clo_text){document, size},
                           (struct clo_text){patch, patch_size}, depth, most, out, error);
}

int clo_json_apply_to(struct clo_json *document, const void *patch, size_t size, uint64_t most,
                      struct clo_patch_error *error) {
    return clo_patch_document(apply, CLO_PATCH_LEVELS, document, (struct clo_text){patch, size}, most, error);
}
