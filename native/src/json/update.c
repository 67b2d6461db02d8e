/* A document becomes another text. */
#include <stdlib.h>
#include <string.h>

#include "diff.h"
#include "follow.h"

/* Room for a text that may grow a little. The first `same` bytes are there already. */
static int take_text(struct clo_json *json, const uint8_t *text, size_t size, size_t same) {
    if (size > json->room || size < json->room / 2) {
        size_t room = size + size / 16;
        uint8_t *data = malloc(room ? room : 1);
        if (!data) return CLO_JSON_MEMORY;
        free(json->text);
        json->text = data;
        json->room = room;
        same = 0;
    }
    memcpy(json->text + same, text + same, size - same);
    json->size = size;
    return 0;
}

static void take_index(struct clo_json *json, struct clo_json_entries *index) {
    struct clo_json_entry *data = index->data;
    if (index->room > index->used + index->used / 4 + 16) {
        data = realloc(index->data, (index->used ? index->used : 1) * sizeof *data);
        if (data) index->room = index->used ? index->used : 1;
    }
    free(json->index.data);
    json->index = *index;
    if (data) json->index.data = data;
    *index = (struct clo_json_entries){0};
}

/* Whether the patch, from `begin` on, may be done. */
static int held(uint32_t how, const struct clo_json_out *patch, size_t begin) {
    if (!(how & CLO_JSON_ASK) || patch->size == begin) return 0;
    return clo_json_holds_null(patch->data + begin, patch->size - begin) ? CLO_JSON_HELD : 0;
}

/* By the index that follows from the old one. CLO_JSON_FOREIGN: there is none. */
static int update_by_following(struct clo_json *json, const uint8_t *text, size_t size, size_t same, uint32_t how,
                               struct clo_json_out *patch) {
    struct clo_json_view old = clo_json_view(json);
    struct clo_json_builder builder;
    size_t begin = patch->size;
    if (clo_json_builder_init(&builder, json->depth)) return CLO_JSON_MEMORY;
    size_t room = json->index.used + json->index.used / 8 + 16;
    builder.index.data = malloc(room * sizeof *builder.index.data);
    builder.index.room = builder.index.data ? room : 0;
    int kind = CLO_JSON_FOREIGN;
    if (clo_json_follow(&old, text, size, same, &builder)) {
        struct clo_json_view new = {text, size, builder.index.data, builder.index.used};
        kind = clo_json_diff_views(&old, &new, same, how, patch);
        if (!kind) kind = held(how, patch, begin);
        if (!kind) kind = take_text(json, text, size, same);
        if (!kind) take_index(json, &builder.index);
    }
    clo_json_builder_free(&builder);
    return kind;
}

static int update_by_reading(struct clo_json *json, const uint8_t *text, size_t size, uint32_t how,
                             struct clo_json_out *patch, struct clo_json_error *error) {
    struct clo_json fresh = {0};
    size_t begin = patch->size;
    int kind = clo_json_read(text, size, json->depth, &fresh, error);
    if (kind) return kind;
    struct clo_json_view old = clo_json_view(json), new = clo_json_view(&fresh);
    kind = clo_json_diff_views(&old, &new, 0, how, patch);
    if (!kind) kind = held(how, patch, begin);
    struct clo_json last = *json;
    if (!kind) {
        *json = fresh;
        fresh = last;
    }
    free(fresh.text);
    free(fresh.index.data);
    return kind;
}

int clo_json_update(struct clo_json *json, const void *text, size_t size, uint32_t how, struct clo_json_out *patch,
                    struct clo_json_error *error) {
    *error = (struct clo_json_error){0};
    size_t begin = patch->size, same = clo_json_same(text, json->text, size < json->size ? size : json->size);
    if (same == size && size == json->size) return clo_json_put(patch, "[]", 2);
    int kind = update_by_following(json, text, size, same, how, patch);
    if (kind == CLO_JSON_FOREIGN) kind = update_by_reading(json, text, size, how, patch, error);
    if (!kind) return 0;
    patch->size = begin;
    if (kind != CLO_JSON_HELD) error->kind = (uint32_t)kind;
    return kind;
}

_Static_assert(sizeof(struct clo_json_entry) == 4 * sizeof(uint64_t), "clo_json_followed gives entries as numbers");

int64_t clo_json_followed(const struct clo_json *json, const void *text, size_t size, uint64_t *entries, size_t room) {
    struct clo_json_view old = clo_json_view(json);
    struct clo_json_builder builder;
    int64_t count = -1;
    if (clo_json_builder_init(&builder, json->depth)) return -1;
    if (clo_json_follow(&old, text, size, 0, &builder)) {
        count = (int64_t)builder.index.used;
        size_t used = builder.index.used < room ? builder.index.used : room;
        if (used) memcpy(entries, builder.index.data, used * sizeof *builder.index.data);
    }
    clo_json_builder_free(&builder);
    return count;
}
