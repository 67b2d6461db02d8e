/* Differences of two canonical texts: what the files diff*.c share.
 *
 * At each pair of containers that differ, diff_align.c finds what of the old one is gone and what of the new one is
 * fresh; all else is the same and was only compared, byte by byte. diff_object.c and diff_array.c write operations that
 * make the one of the other, and pair what is gone with what is fresh, for which it begins anew. Where a container's
 * operations would be longer than the container itself, it is replaced. */
#ifndef CLOCHE_JSON_DIFF_H
#define CLOCHE_JSON_DIFF_H

#include "json.h"
#include "cdef_json_diff.h"

enum { OLD, NEW };

/* A child that is not the same on the other side, or was looked at to find out. */
struct clo_json_item {
    struct clo_json_child child;
    uint64_t print; /* of an element: of its size and some of its bytes; of a member: of its key */
    size_t number;  /* in its container, from 0 */
    size_t mate;    /* the item in the other list that it goes with, + 1 */
    size_t known;   /* so many bytes at its value's begin are those of the item that it was found with */
    bool done;      /* an operation is written, or none is needed */
    bool even;      /* as many elements are gone there as are fresh */
};

struct clo_json_items {
    struct clo_json_item *data;
    size_t used, room;
};

/* One of the two texts. */
struct clo_json_side {
    const struct clo_json_view *view;
    struct clo_json_items odd;  /* gone or fresh: of all containers that are open, one after the other */
    struct clo_json_items near; /* children looked at ahead; of no use once a container is aligned */
};

struct clo_json_diff {
    struct clo_json_side side[2];
    struct clo_json_out patch, path; /* the path as it stands in a patch: escaped for JSON, too */
    size_t operations;
    size_t limit;  /* a patch longer than this will be given up by an outer container */
    size_t waste;  /* bytes that may still be gone through for pairs that are then given up */
    bool splice;
    bool failed; /* no memory */
};

/* What an alignment found of one pair of containers. */
struct clo_json_odd {
    size_t gone, fresh;         /* where they begin in the lists */
    size_t gone_end, fresh_end; /* behind the last */
    bool replaced; /* there is so little in common that nothing was looked for */
};

void clo_json_diff_values(struct clo_json_diff *diff, const struct clo_json_value *old, const struct clo_json_value *new,
                          size_t known);
bool clo_json_diff_strings(struct clo_json_diff *diff, const struct clo_json_value *old, const struct clo_json_value *new);
struct clo_json_item *clo_json_diff_push(struct clo_json_diff *diff, struct clo_json_items *items);
struct clo_json_odd clo_json_diff_align(struct clo_json_diff *diff, const struct clo_json_value *old,
                                        const struct clo_json_value *new, size_t known);
void clo_json_diff_object(struct clo_json_diff *diff, struct clo_json_odd odd);
bool clo_json_diff_array(struct clo_json_diff *diff, struct clo_json_odd odd);

int clo_json_diff_views(const struct clo_json_view *old, const struct clo_json_view *new, size_t same,
                        uint32_t how, struct clo_json_out *patch);

bool clo_json_diff_is_replaced(const struct clo_json_diff *diff, const uint8_t *old, size_t size, const uint8_t *new,
                               size_t new_size, size_t whole);

/* Pair equal prints in order, so that no two pairs cross: mates of `old` are set to numbers in `new`, + 1. */
bool clo_json_diff_match(struct clo_json_item *old, size_t count, struct clo_json_item *new, size_t new_count);
/* Pair gone and fresh ones that have no mate yet, whatever their order. */
void clo_json_diff_mate_keys(struct clo_json_diff *diff, struct clo_json_odd odd);
void clo_json_diff_mate_values(struct clo_json_diff *diff, struct clo_json_odd odd);
/* Whether two values are the same bytes. */
bool clo_json_diff_same(const struct clo_json_diff *diff, const struct clo_json_item *old,
                        const struct clo_json_item *new);
/* A short sample: equal values have equal ones, and what it takes does not depend on their size. */
uint64_t clo_json_diff_print(const uint8_t *bytes, size_t size);

struct clo_json_mark {
    size_t size, operations;
};

size_t clo_json_diff_into_key(struct clo_json_diff *diff, const uint8_t *key, size_t size);
size_t clo_json_diff_into_number(struct clo_json_diff *diff, size_t number);
void clo_json_diff_out_of(struct clo_json_diff *diff, size_t path);
struct clo_json_mark clo_json_diff_mark(const struct clo_json_diff *diff);
void clo_json_diff_give_up(struct clo_json_diff *diff, struct clo_json_mark mark);
size_t clo_json_diff_cost(const struct clo_json_diff *diff, const struct clo_json_value *new);
void clo_json_diff_remove(struct clo_json_diff *diff);
void clo_json_diff_add(struct clo_json_diff *diff, const struct clo_json_value *new);
void clo_json_diff_replace(struct clo_json_diff *diff, const struct clo_json_value *new);
void clo_json_diff_move_from(struct clo_json_diff *diff);
void clo_json_diff_move_to(struct clo_json_diff *diff);
void clo_json_diff_splice_op(struct clo_json_diff *diff, size_t at, size_t removed, const uint8_t *text, size_t size,
                             const char *guard, size_t guard_size);

#endif
