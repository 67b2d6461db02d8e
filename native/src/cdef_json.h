/* JSON texts and retained documents (json/). cffi reads this.
 *
 * A document keeps its text in canonical form: no white space between tokens, strings with the shortest escapes, so that
 * two strings are equal where their bytes are; numbers stay as they were written. Not for two threads at once. */
struct clo_json;

enum { CLO_JSON_DEPTH = 1024, CLO_JSON_DEPTH_MAX = 4096 };

enum clo_json_kind {
    CLO_JSON_FINE,
    CLO_JSON_MEMORY,    /* the host has none left */
    CLO_JSON_TRUNCATED, /* the text ends inside a value */
    CLO_JSON_SYNTAX,    /* a byte that the grammar has no place for */
    CLO_JSON_TRAILING,  /* something after the value */
    CLO_JSON_UTF8,      /* bytes that are no UTF-8 */
    CLO_JSON_CONTROL,   /* a control character in a string that is not escaped */
    CLO_JSON_ESCAPE,    /* an escape that JSON does not have */
    CLO_JSON_SURROGATE, /* half of a pair */
    CLO_JSON_NUMBER,    /* a number that JSON does not have: 01, 1., +1, .5 */
    CLO_JSON_RANGE,     /* a number beyond the range of a double */
    CLO_JSON_DEEP,      /* more levels than allowed */
    CLO_JSON_DUPLICATE  /* a key that the object has already */
};

/* What is wrong, and at which byte of the text as it was given. */
struct clo_json_error {
    uint64_t position;
    uint32_t kind; /* enum clo_json_kind */
    uint32_t spare;
};

/* Bytes that a call gives back; the caller frees them, also after an error. */
struct clo_json_out {
    uint8_t *data;
    size_t size, room;
};

void clo_json_out_free(struct clo_json_out *out);

int clo_json_new(const void *text, size_t size, uint32_t depth, struct clo_json **json, struct clo_json_error *error);
void clo_json_free(struct clo_json *json);
const uint8_t *clo_json_text(const struct clo_json *json);
size_t clo_json_size(const struct clo_json *json);
size_t clo_json_memory(const struct clo_json *json);
uint64_t clo_json_hash(const struct clo_json *json);
int clo_json_equal(const struct clo_json *one, const struct clo_json *other);
/* Whether the bytes "null" stand anywhere in a text: 1 or 0. */
int clo_json_holds_null(const void *text, size_t size);

/* The ways in which texts are scanned; each gives the same answers. */
enum clo_json_cpu { CLO_JSON_PLAIN, CLO_JSON_VECTOR, CLO_JSON_AVX2 };
enum clo_json_cpu clo_json_best(void);
/* Parse a text in one of them (a better one than the machine has: in the best) and give a hash of its index. */
int clo_json_check(const void *text, size_t size, uint32_t depth, enum clo_json_cpu cpu, uint64_t *hash,
                   struct clo_json_error *error);
