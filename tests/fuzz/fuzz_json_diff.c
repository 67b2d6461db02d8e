/* sources: native/src/json/diff.c native/src/json/diff_align.c native/src/json/diff_array.c native/src/json/diff_cover.c native/src/json/diff_match.c native/src/json/diff_mate.c native/src/json/diff_object.c native/src/json/diff_patch.c native/src/json/diff_splice.c native/src/json/follow.c native/src/json/pass.c native/src/json/update.c native/src/json/apply.c native/src/json/edit.c native/src/json/edit_array.c native/src/json/edit_write.c native/src/json/patch.c native/src/json/pointer.c native/src/json/splice.c native/src/json/builder.c native/src/json/bytes.c native/src/json/canonical.c native/src/json/document.c native/src/json/keys.c native/src/json/number.c native/src/json/out.c native/src/json/parse.c native/src/json/parse_avx2.c native/src/json/utf8.c native/src/json/values.c native/src/json/walk.c
 *
 * Two texts with a zero byte between them: a document of the first that becomes the second says of it what reading it
 * says; then it has the same text and the same index as one that was read, and the patch, which is no longer than it may
 * be, makes a document of the first that differs in nothing from the second. */
#include <stdlib.h>
#include <string.h>

#include "json/diff.h"
#include "cdef_json_apply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds) {
    if (!holds) abort();
}

static void check_same(const struct clo_json *one, const struct clo_json *other) {
    struct clo_json_view left = clo_json_view(one), right = clo_json_view(other);
    check(left.size == right.size && !memcmp(left.text, right.text, left.size) && left.used == right.used);
    check(!left.used || !memcmp(left.entries, right.entries, left.used * sizeof *left.entries));
}

/* `old` is made of the patch what it is for. */
static void check_patch(struct clo_json *old, const struct clo_json *new, const struct clo_json_out *patch) {
    struct clo_patch_error error;
    struct clo_json_out rest = {0};
    check(patch->size <= clo_json_size(new) + 64);
    check(!clo_json_apply_to(old, patch->data, patch->size, UINT64_MAX, &error));
    check(!clo_json_diff(old, new, 0, &rest) && rest.size == 2);
    clo_json_out_free(&rest);
}

/* The document, which is of text `before`, becomes the text, with a patch or without a change. */
static void check_update(struct clo_json *json, const uint8_t *before, size_t before_size, const uint8_t *text,
                         size_t size, uint32_t how) {
    struct clo_json_error error, expected;
    struct clo_json *fresh = NULL, *old = NULL;
    struct clo_json_out out = {0};
    int kind = clo_json_new(text, size, 64, &fresh, &expected);
    check(clo_json_update(json, text, size, how, &out, &error) == kind);
    if (kind) {
        check(error.position == expected.position && error.kind == expected.kind && !out.size);
    } else {
        check_same(json, fresh);
        check(!clo_json_new(before, before_size, 64, &old, &error));
        check_patch(old, json, &out);
        clo_json_free(old);
        clo_json_free(fresh);
    }
    clo_json_out_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *zero = memchr(data, 0, size);
    struct clo_json *json;
    struct clo_json_error error;
    if (!zero || clo_json_new(data, (size_t)(zero - data), 64, &json, &error)) return 0;
    size_t head = (size_t)(zero - data), tail = size - head - 1;
    uint32_t how = size & 1 ? CLO_JSON_SPLICE : 0;
    check_update(json, data, head, zero + 1, tail, how);
    clo_json_free(json);
    if (clo_json_new(zero + 1, tail, 64, &json, &error)) return 0;
    check_update(json, zero + 1, tail, data, head, how);
    clo_json_free(json);
    return 0;
}
