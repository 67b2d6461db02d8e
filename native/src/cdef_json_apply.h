/* Patches applied to JSON (json/apply.c, merge.c, pointer.c). cffi reads this.
 *
 * Texts may have any form; what is given back is canonical. Nothing of a document changes where a call fails. */
enum { CLO_PATCH_POINTER_MAX = 480, CLO_PATCH_MOST = 67108864, CLO_PATCH_TIMES = 16 };

enum clo_patch_kind {
    CLO_PATCH_FINE,
    CLO_PATCH_MEMORY,    /* the host has none left */
    CLO_PATCH_DOCUMENT,  /* the document is no JSON: `text` says why */
    CLO_PATCH_TEXT,      /* the patch is no JSON: `text` says why */
    CLO_PATCH_SHAPE,     /* the patch is no array, or an operation is no object */
    CLO_PATCH_OPERATION, /* "op" is missing, or not one of those there are */
    CLO_PATCH_FIELD,     /* a member that the operation needs is missing, or of another type */
    CLO_PATCH_MALFORMED, /* a text that is no pointer */
    CLO_PATCH_MISSING,   /* there is nothing at that place */
    CLO_PATCH_INDEX,     /* no index of that array */
    CLO_PATCH_TEST,      /* the value there is another */
    CLO_PATCH_ITSELF,    /* a move into what is moved */
    CLO_PATCH_ROOT,      /* the whole document can't be removed */
    CLO_PATCH_DEEP,      /* the result has more levels than allowed */
    CLO_PATCH_LARGE,     /* the result, or what is copied on the way, has more bytes than allowed */
    CLO_PATCH_SPLICE,    /* no string, or not the one that the splice was made for, or a place outside of it */
    CLO_PATCH_NULL       /* a merge patch can't say that a member is null */
};

struct clo_patch_error {
    struct clo_json_error text;
    int64_t operation;     /* counted from 0; -1: the patch as a whole */
    uint32_t kind;         /* enum clo_patch_kind */
    uint32_t pointer_size; /* bytes of UTF-8; a pointer that is longer is cut */
    uint8_t pointer[CLO_PATCH_POINTER_MAX];
};

/* `most`: bytes that the result, and all that is copied on the way, may have; 0: the larger of CLO_PATCH_MOST and
 * CLO_PATCH_TIMES times both texts. All give 0 or an enum clo_patch_kind, and then `error` says more. */
int clo_json_apply(const void *document, size_t size, const void *patch, size_t patch_size, uint32_t depth,
                   uint64_t most, struct clo_json_out *out, struct clo_patch_error *error);
int clo_json_apply_to(struct clo_json *document, const void *patch, size_t size, uint64_t most,
                      struct clo_patch_error *error);
int clo_json_merge(const void *target, size_t size, const void *patch, size_t patch_size, uint32_t depth,
                   uint64_t most, struct clo_json_out *out, struct clo_patch_error *error);
int clo_json_merge_to(struct clo_json *target, const void *patch, size_t size, uint64_t most,
                      struct clo_patch_error *error);
int clo_json_merge_diff(const void *old, size_t size, const void *changed, size_t changed_size, uint32_t depth,
                        struct clo_json_out *out, struct clo_patch_error *error);
/* `pointer`: UTF-8, not escaped as a string. `*value` is within the document's text, as long as that does not change. */
int clo_json_get(const struct clo_json *document, const void *pointer, size_t size, const uint8_t **value,
                 size_t *value_size, struct clo_patch_error *error);
int clo_json_get_from(const void *document, size_t size, uint32_t depth, const void *pointer, size_t pointer_size,
                      struct clo_json_out *out, struct clo_patch_error *error);
