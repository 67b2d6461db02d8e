/* The text of a patch while it is written. Nothing here fails by itself: without memory diff->failed is set. */
#include <string.h>

#include "diff.h"

#define PUT(diff, out, literal) put(diff, out, literal, sizeof(literal) - 1)

static void put(struct clo_json_diff *diff, struct clo_json_out *out, const void *bytes, size_t size) {
    if (clo_json_put(out, bytes, size)) diff->failed = true;
}

/* Go down to a member; give what clo_json_diff_out_of wants. A key is canonical: its escapes are a patch's, too. */
size_t clo_json_diff_into_key(struct clo_json_diff *diff, const uint8_t *key, size_t size) {
    size_t before = diff->path.size, done = 1;
    PUT(diff, &diff->path, "/");
    for (size_t i = 1; i + 1 < size; i++) {
        if (key[i] != '~' && key[i] != '/') continue;
        put(diff, &diff->path, key + done, i - done);
        put(diff, &diff->path, key[i] == '~' ? "~0" : "~1", 2);
        done = i + 1;
    }
    put(diff, &diff->path, key + done, size - 1 - done);
    return before;
}

size_t clo_json_diff_into_number(struct clo_json_diff *diff, size_t number) {
    size_t before = diff->path.size;
    PUT(diff, &diff->path, "/");
    if (clo_json_put_number(&diff->path, number)) diff->failed = true;
    return before;
}

void clo_json_diff_out_of(struct clo_json_diff *diff, size_t path) { diff->path.size = path; }

struct clo_json_mark clo_json_diff_mark(const struct clo_json_diff *diff) {
    return (struct clo_json_mark){diff->patch.size, diff->operations};
}

void clo_json_diff_give_up(struct clo_json_diff *diff, struct clo_json_mark mark) {
    diff->patch.size = mark.size;
    diff->operations = mark.operations;
}

/* The bytes of a replace. */
size_t clo_json_diff_cost(const struct clo_json_diff *diff, const struct clo_json_value *new) {
    return sizeof "{\"op\":\"replace\",\"path\":\"\",\"value\":}," - 1 + diff->path.size + (new->end - new->begin);
}

static void begin(struct clo_json_diff *diff, const char *name, size_t size) {
    if (diff->operations++) PUT(diff, &diff->patch, ",");
    PUT(diff, &diff->patch, "{\"op\":\"");
    put(diff, &diff->patch, name, size);
    PUT(diff, &diff->patch, "\",\"path\":\"");
    put(diff, &diff->patch, diff->path.data, diff->path.size);
}

static void put_value(struct clo_json_diff *diff, const struct clo_json_value *new) {
    PUT(diff, &diff->patch, "\",\"value\":");
    put(diff, &diff->patch, diff->side[NEW].view->text + new->begin, new->end - new->begin);
    PUT(diff, &diff->patch, "}");
}

void clo_json_diff_remove(struct clo_json_diff *diff) {
    begin(diff, "remove", 6);
    PUT(diff, &diff->patch, "\"}");
}

void clo_json_diff_add(struct clo_json_diff *diff, const struct clo_json_value *new) {
    begin(diff, "add", 3);
    put_value(diff, new);
}

void clo_json_diff_replace(struct clo_json_diff *diff, const struct clo_json_value *new) {
    begin(diff, "replace", 7);
    put_value(diff, new);
}

/* A move takes two calls: with the path of where from, and of where to. */
void clo_json_diff_move_from(struct clo_json_diff *diff) {
    if (diff->operations++) PUT(diff, &diff->patch, ",");
    PUT(diff, &diff->patch, "{\"op\":\"move\",\"from\":\"");
    put(diff, &diff->patch, diff->path.data, diff->path.size);
}

void clo_json_diff_move_to(struct clo_json_diff *diff) {
    PUT(diff, &diff->patch, "\",\"path\":\"");
    put(diff, &diff->patch, diff->path.data, diff->path.size);
    PUT(diff, &diff->patch, "\"}");
}

/* `guard`: more fields, each after a comma. */
void clo_json_diff_splice_op(struct clo_json_diff *diff, size_t at, size_t removed, const uint8_t *text, size_t size,
                             const char *guard, size_t guard_size) {
    begin(diff, "splice", 6);
    PUT(diff, &diff->patch, "\",\"at\":");
    if (clo_json_put_number(&diff->patch, at)) diff->failed = true;
    PUT(diff, &diff->patch, ",\"remove\":");
    if (clo_json_put_number(&diff->patch, removed)) diff->failed = true;
    PUT(diff, &diff->patch, ",\"insert\":\"");
    put(diff, &diff->patch, text, size);
    PUT(diff, &diff->patch, "\"");
    put(diff, &diff->patch, guard, guard_size);
    PUT(diff, &diff->patch, "}");
}
