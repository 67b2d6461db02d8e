/* sources: native/src/json/apply.c native/src/json/edit.c native/src/json/edit_array.c native/src/json/edit_write.c native/src/json/merge.c native/src/json/merge_diff.c native/src/json/patch.c native/src/json/pointer.c native/src/json/splice.c native/src/json/bytes.c native/src/json/builder.c native/src/json/canonical.c native/src/json/document.c native/src/json/keys.c native/src/json/number.c native/src/json/out.c native/src/json/parse.c native/src/json/parse_avx2.c native/src/json/utf8.c native/src/json/values.c native/src/json/walk.c
 *
 * Two texts with a byte 0 between them: a document and a patch of either kind. Text in and text out gives the same as a
 * document that is kept, whose index is then that of its text read anew, also after a second time; what fails changes nothing. And the merge patch
 * made of two texts makes the second of the first. */
#include <stdlib.h>
#include <string.h>

#include "json/edit.h"

enum { DEPTH = 40, MOST = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct text {
    uint8_t *data;
    size_t size;
};

/* A block of exactly that size, so that one byte more is found by the sanitizer. */
static struct text copy(const void *data, size_t size) {
    struct text made = {malloc(size ? size : 1), size};
    if (size) memcpy(made.data, data, size);
    return made;
}

static void check_kept(const struct clo_json *kept) {
    struct clo_json fresh;
    struct clo_json_error error;
    if (clo_json_read(kept->text, kept->size, DEPTH, &fresh, &error)) abort();
    if (fresh.size != kept->size || memcmp(fresh.text, kept->text, kept->size)) abort();
    if (fresh.index.used != kept->index.used) abort();
    if (fresh.index.used && memcmp(fresh.index.data, kept->index.data, fresh.index.used * sizeof *fresh.index.data)) abort();
    free(fresh.text);
    free(fresh.index.data);
}

static int change(struct clo_json *document, struct text patch, int merge, struct clo_patch_error *error) {
    return merge ? clo_json_merge_to(document, patch.data, patch.size, MOST, error)
                 : clo_json_apply_to(document, patch.data, patch.size, MOST, error);
}

static void both_ways(struct text document, struct text patch, int merge) {
    struct clo_json_out out = {0};
    struct clo_patch_error error, again;
    struct clo_json_error fault;
    struct clo_json *kept = NULL;
    int kind = merge ? clo_json_merge(document.data, document.size, patch.data, patch.size, DEPTH, MOST, &out, &error)
                     : clo_json_apply(document.data, document.size, patch.data, patch.size, DEPTH, MOST, &out, &error);
    if (clo_json_new(document.data, document.size, DEPTH, &kept, &fault)) {
        if (kind != CLO_PATCH_DOCUMENT) abort();
    } else {
        struct text before = copy(clo_json_text(kept), clo_json_size(kept));
        if (change(kept, patch, merge, &again) != kind || again.operation != error.operation) abort();
        struct text expected = kind ? before : (struct text){out.data, out.size};
        if (kept->size != expected.size || memcmp(kept->text, expected.data, expected.size)) abort();
        check_kept(kept);
        change(kept, patch, merge, &again);
        check_kept(kept);
        free(before.data);
        clo_json_free(kept);
    }
    clo_json_out_free(&out);
}

static int equal(struct text one, struct text other) {
    struct clo_json *read = NULL, *with = NULL;
    struct clo_json_error error;
    if (clo_json_new(one.data, one.size, DEPTH, &read, &error)) abort();
    if (clo_json_new(other.data, other.size, DEPTH, &with, &error)) abort();
    int same = clo_json_equal(read, with);
    clo_json_free(read);
    clo_json_free(with);
    return same;
}

static void merge_diff(struct text old, struct text changed) {
    struct clo_json_out patch = {0}, made = {0};
    struct clo_patch_error error;
    if (!clo_json_merge_diff(old.data, old.size, changed.data, changed.size, DEPTH, &patch, &error)) {
        if (clo_json_merge(old.data, old.size, patch.data, patch.size, DEPTH, 0, &made, &error)) abort();
        if (!equal((struct text){made.data, made.size}, changed)) abort();
    }
    clo_json_out_free(&patch);
    clo_json_out_free(&made);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    if (!end) return 0;
    struct text document = copy(data, (size_t)(end - data));
    struct text patch = copy(end + 1, size - document.size - 1);
    both_ways(document, patch, 0);
    both_ways(document, patch, 1);
    merge_diff(document, patch);
    free(document.data);
    free(patch.data);
    return 0;
}
