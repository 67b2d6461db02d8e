/* sources: native/src/json/bytes.c native/src/json/builder.c native/src/json/canonical.c native/src/json/document.c native/src/json/keys.c native/src/json/number.c native/src/json/out.c native/src/json/parse.c native/src/json/parse_avx2.c native/src/json/utf8.c native/src/json/values.c native/src/json/walk.c */
/* Any bytes as a JSON text: each way of scanning gives the same verdict; what is accepted becomes a canonical text that
 * is its own canonical text, with an index that has what its rule says and leads to what a scan finds. */
#include <stdlib.h>
#include <string.h>

#include "json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int held) {
    if (!held) abort();
}

/* Bytes of the value that are in no container with an entry; checks all that is below it. */
static size_t check_value(const struct clo_json_view *view, const struct clo_json_value *value, size_t *entry,
                          size_t origin, size_t *after) {
    const uint8_t *text = view->text;
    size_t bytes = value->end - value->begin, slot = *entry, count = 0;
    *after = origin;
    check(clo_json_skip(text, value->begin, view->size) == value->end);
    if (text[value->begin] != '{' && text[value->begin] != '[') {
        check(value->first == value->last);
        return bytes;
    }
    check(value->first == slot);
    bool own = slot < view->used && origin + view->entries[slot].gap == value->begin;
    if (own) *entry += 1;
    size_t inner = own ? value->begin : origin, outside = bytes;
    struct clo_json_walk walk = clo_json_walk(view, value);
    struct clo_json_child child;
    for (; clo_json_next(&walk, &child); count++) {
        size_t part = child.value.end - child.value.begin;
        outside -= part - check_value(view, &child.value, entry, inner, &inner);
    }
    check(clo_json_count(view, value) == count && value->last == *entry && own == (outside >= CLO_JSON_OWN));
    if (!own) {
        *after = inner;
        return outside;
    }
    const struct clo_json_entry *made = &view->entries[slot];
    check(made->size == bytes && made->inside == *entry - slot - 1 && made->count == count);
    *after = value->end;
    return 0;
}

static void check_accepted(const struct clo_json *json) {
    struct clo_json again;
    struct clo_json_error error;
    struct clo_json_out plain = {0}, escaped = {0};
    struct clo_json_view view = clo_json_view(json);
    struct clo_json_value root = clo_json_root(&view);
    size_t entry = 0, after;
    check_value(&view, &root, &entry, 0, &after);
    check(entry == view.used && view.used * sizeof *view.entries <= json->size / 2);
    check(!clo_json_read(json->text, json->size, CLO_JSON_DEPTH, &again, &error));
    check(again.size == json->size && !memcmp(again.text, json->text, json->size));
    check(again.index.used == view.used);
    check(!view.used || !memcmp(again.index.data, view.entries, view.used * sizeof *view.entries));
    check(clo_json_equal(json, &again) == 1 && clo_json_hash(json) == clo_json_hash(&again));
    if (*json->text == '"') {
        check(!clo_json_unescape(json->text, json->size, &plain) && !clo_json_escape(plain.data, plain.size, &escaped));
        check(escaped.size == json->size && !memcmp(escaped.data, json->text, json->size));
    }
    clo_json_out_free(&plain);
    clo_json_out_free(&escaped);
    clo_json_drop(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *text = malloc(size + 1); /* not one byte beyond it may be read */
    struct clo_json_error error[3];
    uint64_t hash[3] = {0};
    int kind[3];
    memcpy(text, data, size);
    text = realloc(text, size ? size : 1);
    for (int cpu = 0; cpu < 3; cpu++) {
        kind[cpu] = clo_json_check(text, size, CLO_JSON_DEPTH, (enum clo_json_cpu)cpu, &hash[cpu], &error[cpu]);
        check(kind[cpu] == kind[0] && hash[cpu] == hash[0] && error[cpu].position == error[0].position);
    }
    check(kind[0] >= 0 && error[0].position <= size);
    if (!kind[0]) {
        struct clo_json *json;
        check(!clo_json_new(text, size, CLO_JSON_DEPTH, &json, &error[0]));
        check(json->size <= size);
        check_accepted(json);
        clo_json_free(json);
    }
    free(text);
    return 0;
}
