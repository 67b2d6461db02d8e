/* Values of a canonical text, found by its index and short scans. A view must stay as it is while it is walked. */
#include "scan.h"

struct clo_json_view clo_json_view(const struct clo_json *json) {
    return (struct clo_json_view){json->text, json->size, json->index.data, json->index.used};
}

struct clo_json_value clo_json_root(const struct clo_json_view *view) {
    return (struct clo_json_value){.end = view->size, .last = view->used};
}

/* Whether the entry is the value's own. */
static bool has_entry(const struct clo_json_view *view, const struct clo_json_value *value) {
    return value->first < value->last && value->origin + view->entries[value->first].gap == value->begin;
}

struct clo_json_walk clo_json_walk(const struct clo_json_view *view, const struct clo_json_value *value) {
    struct clo_json_walk walk = {
        .view = view, .at = value->begin + 1, .end = value->end - 1, .entry = value->first, .last = value->last,
        .origin = value->origin, .object = view->text[value->begin] == '{',
    };
    if (has_entry(view, value)) {
        walk.entry++;
        walk.origin = value->begin;
    }
    return walk;
}

/* Past the container at `at` if the walk's next entry is that container's; false: it is not. */
static bool hop(struct clo_json_walk *walk, size_t *at) {
    if (walk->entry == walk->last) return false;
    const struct clo_json_entry *entry = &walk->view->entries[walk->entry];
    if (walk->origin + entry->gap != *at) return false;
    walk->entry += 1 + entry->inside;
    walk->origin = *at += entry->size;
    return true;
}

/* Past the value at `at`, and past the entries in it. */
static size_t pass(struct clo_json_walk *walk, size_t at) {
    const uint8_t *text = walk->view->text;
    size_t size = walk->view->size;
    if (text[at] == '"') return clo_json_string_end(text, at, size);
    if (text[at] != '{' && text[at] != '[') return clo_json_word_end(text, at, size);
    if (hop(walk, &at)) return at;
    size_t level = 0;
    do {
        switch (text[at]) {
        case '"':
            at = clo_json_string_end(text, at, size);
            break;
        case '{':
        case '[':
            if (hop(walk, &at)) break;
            level++;
            at++;
            break;
        case '}':
        case ']':
            level--;
            at++;
            break;
        default:
            at++;
        }
    } while (level);
    return at;
}

bool clo_json_next(struct clo_json_walk *walk, struct clo_json_child *child) {
    if (walk->at >= walk->end) return false;
    size_t at = walk->at;
    child->key_begin = child->key_end = at;
    if (walk->object) {
        child->key_end = clo_json_string_end(walk->view->text, at, walk->view->size);
        at = child->key_end + 1;
    }
    child->value = (struct clo_json_value){.begin = at, .first = walk->entry, .origin = walk->origin};
    child->value.end = pass(walk, at);
    child->value.last = walk->entry;
    walk->at = child->value.end + (child->value.end < walk->end);
    return true;
}

bool clo_json_element(const struct clo_json_view *view, const struct clo_json_value *array, size_t number,
                      struct clo_json_value *found) {
    if (has_entry(view, array) && number >= view->entries[array->first].count) return false;
    struct clo_json_walk walk = clo_json_walk(view, array);
    struct clo_json_child child;
    do {
        if (!clo_json_next(&walk, &child)) return false;
    } while (number--);
    *found = child.value;
    return true;
}

bool clo_json_member(const struct clo_json_view *view, const struct clo_json_value *object, const uint8_t *key,
                     size_t size, struct clo_json_child *found) {
    struct clo_json_walk walk = clo_json_walk(view, object);
    while (clo_json_next(&walk, found)) {
        if (found->key_end - found->key_begin == size && !memcmp(view->text + found->key_begin, key, size)) return true;
    }
    return false;
}

size_t clo_json_count(const struct clo_json_view *view, const struct clo_json_value *container) {
    if (has_entry(view, container)) return view->entries[container->first].count;
    struct clo_json_walk walk = clo_json_walk(view, container);
    struct clo_json_child child;
    size_t count = 0;
    while (clo_json_next(&walk, &child)) count++;
    return count;
}

size_t clo_json_skip(const uint8_t *text, size_t at, size_t size) {
    struct clo_json_view view = {.text = text, .size = size};
    struct clo_json_walk walk = {.view = &view};
    return pass(&walk, at);
}
