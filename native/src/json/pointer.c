#include "pointer.h"

enum { SCANNED = 4 /* times the document */ };

/* One token with its escapes undone and quotes, so up to 2 bytes longer; its end in the pointer, 0: it is malformed. */
static size_t token(const uint8_t *text, size_t at, size_t size, uint8_t *key, struct clo_token *made) {
    size_t used = 0;
    key[used++] = '"';
    for (; at < size && text[at] != '/'; at++) {
        if (text[at] != '~') {
            key[used++] = text[at];
            continue;
        }
        if (++at == size || (text[at] != '0' && text[at] != '1')) return 0;
        key[used++] = text[at] == '0' ? '~' : '/';
    }
    key[used++] = '"';
    *made = (struct clo_token){key, used};
    return at;
}

void clo_pointer_use(struct clo_edit *edit, const struct clo_pointer *pointer) {
    edit->blamed = pointer->text;
    edit->blamed_size = pointer->size;
}

int clo_pointer_read(struct clo_edit *edit, const uint8_t *text, size_t size, struct clo_pointer *pointer) {
    *pointer = (struct clo_pointer){.text = text, .size = size};
    clo_pointer_use(edit, pointer);
    if (!size) return CLO_PATCH_FINE;
    if (*text != '/') return CLO_PATCH_MALFORMED;
    size_t count = 0;
    for (size_t i = 0; i < size; i++) count += text[i] == '/';
    if (count > edit->depth) count = (size_t)edit->depth + 1; /* there is no such place, whatever follows */
    pointer->tokens = clo_edit_room(edit, count * sizeof *pointer->tokens);
    uint8_t *keys = clo_edit_room(edit, size + count + 2);
    if (!pointer->tokens || !keys) return CLO_PATCH_MEMORY;
    for (size_t at = 0; at < size;) {
        struct clo_token read;
        at = token(text, at + 1, size, keys, &read);
        if (!at) return CLO_PATCH_MALFORMED;
        if (pointer->count == count) continue;
        pointer->tokens[pointer->count++] = read;
        keys += read.size;
    }
    return CLO_PATCH_FINE;
}

/* Below `length`; digits only, and no zero before them. */
static int index_of(const struct clo_token *token, size_t length, size_t *index) {
    const uint8_t *digits = token->key + 1;
    size_t count = token->size - 2, number = 0;
    if (!count || (count > 1 && *digits == '0')) return CLO_PATCH_INDEX;
    for (size_t i = 0; i < count; i++) {
        if (digits[i] < '0' || digits[i] > '9') return CLO_PATCH_INDEX;
        if (number > (SIZE_MAX - 9) / 10) return CLO_PATCH_INDEX;
        number = 10 * number + (size_t)(digits[i] - '0');
    }
    *index = number;
    return number < length ? CLO_PATCH_FINE : CLO_PATCH_INDEX;
}

static bool is_end(const struct clo_token *token) { return token->size == 3 && token->key[1] == '-'; }

/* A child of an open container, which may be changed in place. */
static int open_child(struct clo_edit *edit, struct clo_edit_open *open, const struct clo_token *token,
                      struct clo_edit_value **child) {
    if (open->object) {
        struct clo_edit_member *member = clo_edit_member(edit, open, token->key, token->size);
        if (!member) return CLO_PATCH_MISSING;
        member->original = false;
        *child = &member->value;
        return CLO_PATCH_FINE;
    }
    size_t index;
    int kind = index_of(token, open->children, &index);
    return kind ? kind : clo_edit_element(edit, open, index, child);
}

/* A child of a container that is not open. */
static int text_child(const struct clo_edit_value *value, const struct clo_token *token,
                      struct clo_edit_value *child) {
    struct clo_json_view view = clo_edit_view(value);
    struct clo_json_value whole = clo_edit_whole(value);
    struct clo_json_child found;
    if (clo_edit_kind(value) == '{') {
        if (!clo_json_member(&view, &whole, token->key, token->size, &found)) return CLO_PATCH_MISSING;
    } else {
        size_t index;
        int kind = index_of(token, SIZE_MAX, &index);
        if (kind) return kind;
        if (!clo_json_element(&view, &whole, index, &found.value)) return CLO_PATCH_INDEX;
    }
    *child = clo_edit_take(&view, &found.value, value->levels - 1);
    return CLO_PATCH_FINE;
}

static bool is_container(const struct clo_edit_value *value) {
    uint8_t kind = clo_edit_kind(value);
    return kind == '{' || kind == '[';
}

/* Looks through what is not open, until that was as much as opening it would be. */
static int look_in_text(struct clo_edit *edit, const struct clo_pointer *pointer, size_t at,
                        struct clo_edit_value *value) {
    for (; at < pointer->count; at++) {
        struct clo_edit_value child;
        if (!is_container(value)) return CLO_PATCH_MISSING;
        int kind = text_child(value, &pointer->tokens[at], &child);
        if (kind) return kind;
        edit->scanned += (uint64_t)(child.text - value->text);
        *value = child;
    }
    return CLO_PATCH_FINE;
}

int clo_pointer_look(struct clo_edit *edit, const struct clo_pointer *pointer, struct clo_edit_value *value) {
    struct clo_edit_value *at = &edit->root;
    for (size_t i = 0; i < pointer->count; i++) {
        if (!is_container(at)) return CLO_PATCH_MISSING;
        if (!at->open && edit->scanned <= SCANNED * edit->given) {
            *value = *at;
            return look_in_text(edit, pointer, i, value);
        }
        int kind = clo_edit_open(edit, at);
        if (!kind) kind = open_child(edit, at->open, &pointer->tokens[i], &at);
        if (kind) return kind;
    }
    *value = *at;
    return CLO_PATCH_FINE;
}

/* Opens all containers above the place; `levels` are those of what will be there. */
static int reach(struct clo_edit *edit, const struct clo_pointer *pointer, uint32_t levels,
                 struct clo_edit_open **parent) {
    struct clo_edit_value *value = &edit->root;
    for (size_t i = 0;; i++) {
        if (!is_container(value)) return CLO_PATCH_MISSING;
        int kind = clo_edit_open(edit, value);
        if (kind) return kind;
        *parent = value->open;
        uint64_t below = levels + (pointer->count - i);
        if (below > (*parent)->levels) (*parent)->levels = below < UINT32_MAX ? (uint32_t)below : UINT32_MAX;
        if (i + 1 == pointer->count) return CLO_PATCH_FINE;
        kind = open_child(edit, *parent, &pointer->tokens[i], &value);
        if (kind) return kind;
    }
}

/* `levels` of the value; too many where it goes: CLO_PATCH_DEEP. */
static int fit(const struct clo_edit *edit, const struct clo_pointer *pointer, struct clo_edit_value *value,
               uint32_t *levels) {
    if (pointer->count > edit->depth) {
        *levels = 0; /* there is no such place, which will be found out */
        return CLO_PATCH_FINE;
    }
    uint32_t enough = edit->depth - (uint32_t)pointer->count;
    *levels = clo_edit_levels(value, enough);
    return *levels > enough ? CLO_PATCH_DEEP : CLO_PATCH_FINE;
}

static int insert(struct clo_edit *edit, struct clo_edit_open *array, const struct clo_token *token,
                  const struct clo_edit_value *value) {
    size_t index = array->children;
    int kind = is_end(token) ? CLO_PATCH_FINE : index_of(token, array->children + 1, &index);
    return kind ? kind : clo_edit_insert(edit, array, index, value);
}

int clo_pointer_add(struct clo_edit *edit, const struct clo_pointer *pointer, struct clo_edit_value *value) {
    uint32_t levels;
    int deep = fit(edit, pointer, value, &levels);
    if (!pointer->count) {
        if (!deep) edit->root = *value;
        return deep;
    }
    struct clo_edit_open *parent;
    int kind = reach(edit, pointer, levels, &parent);
    if (kind || deep) return kind ? kind : deep;
    const struct clo_token *last = &pointer->tokens[pointer->count - 1];
    return parent->object ? clo_edit_put(edit, parent, last->key, last->size, value)
                          : insert(edit, parent, last, value);
}

int clo_pointer_replace(struct clo_edit *edit, const struct clo_pointer *pointer, struct clo_edit_value *value) {
    if (!pointer->count) return clo_pointer_add(edit, pointer, value);
    uint32_t levels;
    int deep = fit(edit, pointer, value, &levels);
    struct clo_edit_open *parent;
    struct clo_edit_value *there;
    int kind = reach(edit, pointer, levels, &parent);
    if (!kind) kind = open_child(edit, parent, &pointer->tokens[pointer->count - 1], &there);
    if (kind || deep) return kind ? kind : deep;
    *there = *value;
    return CLO_PATCH_FINE;
}

int clo_pointer_remove(struct clo_edit *edit, const struct clo_pointer *pointer) {
    if (!pointer->count) return CLO_PATCH_ROOT;
    const struct clo_token *last = &pointer->tokens[pointer->count - 1];
    struct clo_edit_open *parent;
    int kind = reach(edit, pointer, 0, &parent);
    if (kind) return kind;
    if (parent->object) {
        struct clo_edit_member *member = clo_edit_member(edit, parent, last->key, last->size);
        if (!member) return CLO_PATCH_MISSING;
        clo_edit_drop(parent, member);
        return CLO_PATCH_FINE;
    }
    size_t index;
    kind = index_of(last, parent->children, &index);
    return kind ? kind : clo_edit_delete(edit, parent, index);
}

void clo_pointer_blame(const struct clo_edit *edit, struct clo_patch_error *error) {
    struct clo_json_out plain = {0};
    /* Its quotes stand beside it. */
    if (edit->blamed && !clo_json_unescape(edit->blamed - 1, edit->blamed_size + 2, &plain)) {
        error->pointer_size = (uint32_t)(plain.size < CLO_PATCH_POINTER_MAX ? plain.size : CLO_PATCH_POINTER_MAX);
        if (plain.size) memcpy(error->pointer, plain.data, error->pointer_size);
    }
    clo_json_out_free(&plain);
}

static int look(struct clo_edit *edit, const struct clo_json_out *string, struct clo_edit_value *value) {
    struct clo_pointer pointer;
    int kind = clo_pointer_read(edit, string->data + 1, string->size - 2, &pointer);
    return kind ? kind : clo_pointer_look(edit, &pointer, value);
}

int clo_json_get(const struct clo_json *document, const void *pointer, size_t size, const uint8_t **value,
                 size_t *value_size, struct clo_patch_error *error) {
    struct clo_json_view view = clo_json_view(document);
    struct clo_json_out string = {0};
    struct clo_edit edit;
    struct clo_edit_value found = {0};
    int kind = CLO_PATCH_MEMORY;
    *error = (struct clo_patch_error){.operation = -1};
    clo_edit_init(&edit, &view, document->depth, 0);
    if (clo_json_utf8(pointer, size) < size) kind = CLO_PATCH_MALFORMED;
    else if (!clo_json_escape(pointer, size, &string)) kind = look(&edit, &string, &found);
    if (kind) clo_pointer_blame(&edit, error);
    clo_edit_free(&edit);
    clo_json_out_free(&string);
    *value = found.text;
    *value_size = found.size;
    error->kind = (uint32_t)kind;
    return kind;
}

int clo_json_get_from(const void *document, size_t size, uint32_t depth, const void *pointer, size_t pointer_size,
                      struct clo_json_out *out, struct clo_patch_error *error) {
    struct clo_json read = {0};
    const uint8_t *value;
    size_t value_size;
    *error = (struct clo_patch_error){.operation = -1, .kind = CLO_PATCH_DOCUMENT};
    if (clo_json_read(document, size, depth, &read, &error->text)) return CLO_PATCH_DOCUMENT;
    int kind = clo_json_get(&read, pointer, pointer_size, &value, &value_size, error);
    if (!kind && clo_json_put(out, value, value_size)) error->kind = CLO_PATCH_MEMORY;
    clo_json_drop(&read);
    return (int)error->kind;
}
