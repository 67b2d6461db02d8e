#include "patch.h"

#include <stdlib.h>

static uint64_t default_most(uint64_t most, size_t size, size_t patch_size) {
    if (most) return most;
    uint64_t given = (uint64_t)size + patch_size;
    uint64_t times = given < UINT64_MAX / CLO_PATCH_TIMES ? given * CLO_PATCH_TIMES : UINT64_MAX;
    return times > CLO_PATCH_MOST ? times : CLO_PATCH_MOST;
}

/* A canonical text is used where it stands, until the call ends; of another one a copy is made. */
static int borrow(struct clo_text text, uint32_t depth, struct clo_json *json, struct clo_json_error *error) {
    struct clo_json_builder builder;
    size_t at = 0;
    *json = (struct clo_json){0};
    bool usable = !clo_json_builder_init(&builder, depth) && clo_json_utf8(text.data, text.size) == text.size &&
                  !clo_json_parse(&builder, text.data, text.size, &at) && at == text.size;
    if (usable) {
        clo_json_finish(&builder);
        *json = (struct clo_json){
            .text = (uint8_t *)text.data, .size = text.size, .index = builder.index, .depth = depth};
        builder.index = (struct clo_json_entries){0};
    }
    clo_json_builder_free(&builder);
    return usable ? CLO_JSON_FINE : clo_json_read(text.data, text.size, depth, json, error);
}

static void give_back(struct clo_json *json, struct clo_text text) {
    if (json->text == text.data) json->text = NULL;
    clo_json_drop(json);
}

/* What comes of the document, into `out` and `builder`. */
static int change(clo_patch_change *how, const struct clo_json *document, const struct clo_json *patch, uint64_t most,
                  struct clo_json_out *out, struct clo_json_builder *builder, struct clo_patch_error *error) {
    struct clo_json_view view = clo_json_view(document), patch_view = clo_json_view(patch);
    struct clo_edit edit;
    clo_edit_init(&edit, &view, document->depth, default_most(most, document->size, patch->size));
    int kind = how(&edit, &patch_view, error);
    if (kind) clo_pointer_blame(&edit, error);
    else kind = clo_edit_write(&edit, out, builder);
    clo_edit_free(&edit);
    return kind;
}

int clo_patch_texts(clo_patch_change *how, uint32_t more, struct clo_text document, struct clo_text patch,
                    uint32_t depth, uint64_t most, struct clo_json_out *out, struct clo_patch_error *error) {
    struct clo_json read = {0}, read_patch = {0};
    int kind = CLO_PATCH_FINE;
    *error = (struct clo_patch_error){.operation = -1};
    if (borrow(document, depth, &read, &error->text)) kind = CLO_PATCH_DOCUMENT;
    else if (borrow(patch, depth + more, &read_patch, &error->text)) kind = CLO_PATCH_TEXT;
    else kind = change(how, &read, &read_patch, most, out, NULL, error);
    give_back(&read, document);
    give_back(&read_patch, patch);
    error->kind = (uint32_t)kind;
    return kind;
}

/* No more room than there is use for. */
static void fit(struct clo_json_entries *index) {
    if (!index->used) {
        free(index->data);
        *index = (struct clo_json_entries){0};
        return;
    }
    void *fitting = realloc(index->data, index->used * sizeof *index->data);
    if (!fitting) return;
    index->data = fitting;
    index->room = index->used;
}

/* The document's text and index become those; what it had is freed. */
static void become(struct clo_json *document, struct clo_json_out *out, struct clo_json_builder *builder) {
    struct clo_json changed = {.text = out->data,
                               .size = out->size,
                               .room = out->room,
                               .index = builder->index,
                               .depth = document->depth};
    fit(&changed.index);
    clo_json_drop(document);
    *document = changed;
    *out = (struct clo_json_out){0};
    builder->index = (struct clo_json_entries){0};
}

int clo_patch_document(clo_patch_change *how, uint32_t more, struct clo_json *document, struct clo_text patch,
                       uint64_t most, struct clo_patch_error *error) {
    struct clo_json read = {0};
    struct clo_json_out out = {0};
    struct clo_json_builder builder;
    int kind = CLO_PATCH_TEXT;
    *error = (struct clo_patch_error){.operation = -1};
    if (!borrow(patch, document->depth + more, &read, &error->text)) {
        kind = clo_json_builder_init(&builder, document->depth) ? CLO_PATCH_MEMORY : CLO_PATCH_FINE;
        if (!kind) kind = change(how, document, &read, most, &out, &builder, error);
        if (!kind) become(document, &out, &builder);
        clo_json_builder_free(&builder);
    }
    clo_json_out_free(&out);
    give_back(&read, patch);
    error->kind = (uint32_t)kind;
    return kind;
}
