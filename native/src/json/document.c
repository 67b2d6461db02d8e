/* Documents: a text made canonical, and its index. One thread at a time for each. */
#include "parse.h"

#include <stdlib.h>

static int parse_whole(struct clo_json_builder *builder, const uint8_t *text, size_t size, size_t *at) {
    *at = 0;
    int kind = clo_json_parse(builder, text, size, at);
    if (kind || *at == size) return kind;
    return clo_json_is_space(text[*at]) ? CLO_JSON_FOREIGN : CLO_JSON_TRAILING;
}

/* A text that is not canonical: its canonical form, which is the caller's to free, is parsed instead. */
static int parse_foreign(struct clo_json_builder *builder, const uint8_t *text, size_t size, struct clo_json *json,
                         size_t *at) {
    json->text = malloc(size);
    if (!json->text) return CLO_JSON_MEMORY;
    json->size = clo_json_canonical(text, size, json->text);
    clo_json_builder_reset(builder);
    int kind = parse_whole(builder, json->text, json->size, at);
    if (kind == CLO_JSON_FOREIGN) kind = builder->level ? CLO_JSON_SYNTAX : CLO_JSON_TRAILING; /* a space that stayed */
    if (kind) *at = clo_json_canonical_from(text, size, json->text, *at);
    return kind;
}

static int keep(struct clo_json_builder *builder, const uint8_t *text, size_t size, struct clo_json *json) {
    if (!json->text) {
        json->text = malloc(size);
        if (!json->text) return CLO_JSON_MEMORY;
        memcpy(json->text, text, size);
        json->size = json->room = size;
    } else {
        uint8_t *shorter = realloc(json->text, json->size);
        if (shorter) json->text = shorter;
        json->room = json->size;
    }
    clo_json_finish(builder);
    json->index = builder->index;
    builder->index = (struct clo_json_entries){0};
    size_t used = json->index.used;
    void *fitting = used ? realloc(json->index.data, used * sizeof *json->index.data) : NULL;
    if (fitting) {
        json->index.data = fitting;
        json->index.room = used;
    } else if (!used) {
        free(json->index.data);
        json->index = (struct clo_json_entries){0};
    }
    return CLO_JSON_FINE;
}

static int read_with(struct clo_json_builder *builder, const uint8_t *text, size_t size, struct clo_json *json,
                     struct clo_json_error *error) {
    size_t at = clo_json_utf8_in(text, size, builder->cpu);
    int kind = at < size ? CLO_JSON_UTF8 : parse_whole(builder, text, size, &at);
    if (kind == CLO_JSON_FOREIGN) kind = parse_foreign(builder, text, size, json, &at);
    if (!kind) kind = keep(builder, text, size, json);
    if (kind) {
        free(json->text);
        *json = (struct clo_json){0};
        *error = (struct clo_json_error){.position = at, .kind = (uint32_t)kind};
    }
    return kind;
}

int clo_json_read(const uint8_t *text, size_t size, uint32_t depth, struct clo_json *json,
                  struct clo_json_error *error) {
    struct clo_json_builder builder;
    *json = (struct clo_json){0};
    int kind = clo_json_builder_init(&builder, depth);
    if (kind) {
        *error = (struct clo_json_error){.kind = (uint32_t)kind};
        return kind;
    }
    kind = read_with(&builder, text, size, json, error);
    json->depth = depth;
    clo_json_builder_free(&builder);
    return kind;
}

void clo_json_drop(struct clo_json *json) {
    free(json->text);
    free(json->index.data);
    *json = (struct clo_json){0};
}

int clo_json_new(const void *text, size_t size, uint32_t depth, struct clo_json **out, struct clo_json_error *error) {
    struct clo_json *json = malloc(sizeof *json);
    *error = (struct clo_json_error){.kind = CLO_JSON_MEMORY};
    if (!json) return CLO_JSON_MEMORY;
    int kind = clo_json_read(text, size, depth, json, error);
    if (kind) {
        free(json);
    } else {
        error->kind = CLO_JSON_FINE;
        *out = json;
    }
    return kind;
}

void clo_json_free(struct clo_json *json) {
    if (!json) return;
    clo_json_drop(json);
    free(json);
}

const uint8_t *clo_json_text(const struct clo_json *json) { return json->text; }

size_t clo_json_size(const struct clo_json *json) { return json->size; }

size_t clo_json_memory(const struct clo_json *json) {
    return sizeof *json + json->room + json->index.room * sizeof *json->index.data;
}

uint64_t clo_json_hash(const struct clo_json *json) {
    struct clo_json_view view = clo_json_view(json);
    struct clo_json_value root = clo_json_root(&view);
    return clo_json_hash_value(&view, &root);
}

int clo_json_equal(const struct clo_json *one, const struct clo_json *other) {
    struct clo_json_view view = clo_json_view(one), with = clo_json_view(other);
    struct clo_json_value root = clo_json_root(&view), other_root = clo_json_root(&with);
    return clo_json_equal_values(&view, &root, &with, &other_root);
}

int clo_json_check(const void *text, size_t size, uint32_t depth, enum clo_json_cpu cpu, uint64_t *hash,
                   struct clo_json_error *error) {
    struct clo_json_builder builder;
    struct clo_json json = {0};
    int kind = clo_json_builder_init(&builder, depth);
    if (kind) return kind;
    if (cpu < builder.cpu) builder.cpu = cpu;
    kind = read_with(&builder, text, size, &json, error);
    if (!kind) {
        uint64_t entries = clo_json_hash_bytes((const uint8_t *)json.index.data, json.index.used * sizeof *json.index.data);
        *hash = clo_json_mix(entries, clo_json_hash_bytes(json.text, json.size));
        *error = (struct clo_json_error){0};
    }
    clo_json_drop(&json);
    clo_json_builder_free(&builder);
    return kind;
}
