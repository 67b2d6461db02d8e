/* Differences of JSON documents (json/diff.c, json/update.c). cffi reads this. */
enum clo_json_how {
    CLO_JSON_SPLICE = 1, /* long strings may be changed by operations that RFC 6902 does not have */
    CLO_JSON_ASK = 2     /* an update whose patch holds the word null is not done: CLO_JSON_HELD */
};

enum { CLO_JSON_HELD = -2 };

/* Appends to `patch` a JSON Patch, in JSON, that makes the one of the other. Gives 0 or CLO_JSON_MEMORY. */
int clo_json_diff(const struct clo_json *old, const struct clo_json *new, uint32_t how, struct clo_json_out *patch);
/* The document becomes that text; appends to `patch` what makes it of what it was. Gives 0, or an enum clo_json_kind
 * or CLO_JSON_HELD: then nothing has changed. */
int clo_json_update(struct clo_json *json, const void *text, size_t size, uint32_t how, struct clo_json_out *patch,
                    struct clo_json_error *error);
/* For tests: `entries` is filled, up to `room` of them, as the text's index would be if it came
 * after the document's. Gives how many there are; -1: the whole text would be parsed. */
int64_t clo_json_followed(const struct clo_json *json, const void *text, size_t size, uint64_t *entries, size_t room);
/* For tests: how children are passed over that have neither brackets nor escapes. From a child's begin to the begin of the
 * first that ends at `limit` or later, or has some; adds to `count` how many stand before it. */
size_t clo_json_pass(const uint8_t *text, size_t at, size_t limit, size_t *count, enum clo_json_cpu cpu);
