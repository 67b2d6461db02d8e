/* What is the same for all that changes a document by a patch; and splices. */
#ifndef CLOCHE_JSON_PATCH_H
#define CLOCHE_JSON_PATCH_H

#include "pointer.h"

struct clo_text {
    const void *data;
    size_t size;
};

/* Changes the edit; 0 or an enum clo_patch_kind. */
typedef int clo_patch_change(struct clo_edit *edit, const struct clo_json_view *patch, struct clo_patch_error *error);

/* A value of as many levels as a document may have stands in a patch below an array and an object. */
enum { CLO_PATCH_LEVELS = 2 };

/* Both texts are read, the patch with up to `more` levels above the document's, and what comes of the document is
 * written into `out`. Nobody may change the texts meanwhile. */
int clo_patch_texts(clo_patch_change *change, uint32_t more, struct clo_text document, struct clo_text patch,
                    uint32_t depth, uint64_t most, struct clo_json_out *out, struct clo_patch_error *error);
/* The document becomes what comes of it, or stays as it is. */
int clo_patch_document(clo_patch_change *change, uint32_t more, struct clo_json *document, struct clo_text patch,
                       uint64_t most, struct clo_patch_error *error);

/* `remove` characters from the one with the number `at` on make way for those of `insert`. */
struct clo_splice {
    uint64_t at, remove, length, hash;
    bool has_length, has_hash; /* of the string before */
    struct clo_edit_value insert;
};

bool clo_splice_number(const struct clo_edit_value *value, uint64_t *number);
bool clo_splice_hash(const struct clo_edit_value *value, uint64_t *hash);
/* `value` becomes the string that results. */
int clo_splice(struct clo_edit *edit, const struct clo_splice *splice, struct clo_edit_value *value);

#endif
