/* JSON: what the files of this folder share.
 *
 * A text is canonical (see cdef_json.h). Beside it stands an index of its larger containers, made so that it is never
 * more than half as large as the text: a container has an entry if at least CLO_JSON_OWN of its bytes, its brackets
 * included, are outside of the containers within it that have an entry. Whether it has one follows from its own bytes
 * alone, and where it is counts from what stands before it, so entries of an unchanged value are copied as they are.
 * What has no entry is scanned: fewer than CLO_JSON_OWN bytes, or one string or number. */
#ifndef CLOCHE_JSON_H
#define CLOCHE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cdef_json.h"

enum { CLO_JSON_OWN = 64 };

/* Entries are in the order in which their containers begin. */
struct clo_json_entry {
    uint64_t gap;    /* to its first byte, from the end of the entry before it in the same container (by entries), or
                        from that container's first byte, or from the text's */
    uint64_t size;   /* of the container in bytes, brackets included */
    uint64_t inside; /* how many entries follow that are within it */
    uint64_t count;  /* elements or members */
};

struct clo_json_entries {
    struct clo_json_entry *data;
    size_t used, room;
};

struct clo_json {
    uint8_t *text;
    size_t size, room; /* of the text */
    struct clo_json_entries index;
    uint32_t depth; /* the most levels it may have */
};

/* A canonical text and its index, neither owned. */
struct clo_json_view {
    const uint8_t *text;
    size_t size;
    const struct clo_json_entry *entries;
    size_t used;
};

/* A value within a view. */
struct clo_json_value {
    size_t begin, end;   /* its bytes */
    size_t first, last;  /* its entries: its own, if it has one, and those within it */
    size_t origin;       /* where the gap of entry `first` counts from */
};

/* One element of an array (no key: key_end == key_begin) or member of an object; the key with its quotes. */
struct clo_json_child {
    size_t key_begin, key_end;
    struct clo_json_value value;
};

/* A walk over the children of a container, in order. */
struct clo_json_walk {
    const struct clo_json_view *view;
    size_t at;     /* the next child's first byte; the closing bracket if there is none */
    size_t end;    /* the container's closing bracket */
    size_t entry;  /* the next entry, < or = last */
    size_t last;
    size_t origin; /* where that entry's gap counts from */
    bool object;
};

struct clo_json_view clo_json_view(const struct clo_json *json);
struct clo_json_value clo_json_root(const struct clo_json_view *view);
/* The value must be a container. */
struct clo_json_walk clo_json_walk(const struct clo_json_view *view, const struct clo_json_value *value);
bool clo_json_next(struct clo_json_walk *walk, struct clo_json_child *child);
/* The element with that number, counted from 0; false: there is none. Entries are hopped over, the rest is scanned. */
bool clo_json_element(const struct clo_json_view *view, const struct clo_json_value *array, size_t number,
                      struct clo_json_value *found);
/* The member whose key has these bytes, quotes included, canonical. */
bool clo_json_member(const struct clo_json_view *view, const struct clo_json_value *object, const uint8_t *key,
                     size_t size, struct clo_json_child *found);
/* How many elements or members: at once if it has an entry, else by a short scan. */
size_t clo_json_count(const struct clo_json_view *view, const struct clo_json_value *container);
/* The end of the value at `at` of a canonical text; no entries are used. */
size_t clo_json_skip(const uint8_t *text, size_t at, size_t size);

/* Makes an index while it goes through a new text in order: parsing values, copying the entries of values that are
 * known, or opening a container to do either inside it. Give it back with clo_json_builder_free. The functions give 0 or
 * an enum clo_json_kind. */
struct clo_json_frame {
    size_t begin;   /* the container's first byte */
    size_t slot;    /* its entry, which may yet be given up */
    size_t origin;  /* where the next entry's gap counts from */
    size_t covered; /* bytes inside that are in entries' containers */
    size_t holes;   /* of the builder when it was opened */
    uint64_t count; /* children so far; the caller keeps it where it opens containers */
    size_t keys;    /* of the builder when it was opened */
};

struct clo_json_key {
    size_t begin, size; /* without the quotes */
    uint64_t hash;
};

struct clo_json_builder {
    struct clo_json_entries index;
    size_t holes; /* entries given up that have others inside; clo_json_finish removes them */
    struct clo_json_frame *frames; /* frames[0] is the text itself */
    uint32_t level, depth;
    uint32_t room; /* of frames */
    struct clo_json_key *keys; /* of the objects being parsed */
    size_t keys_used, keys_room;
    size_t *table; /* to find keys twice in one large object */
    size_t table_room;
    enum clo_json_cpu cpu;
};

int clo_json_builder_init(struct clo_json_builder *builder, uint32_t depth); /* for clo_json_best() */
void clo_json_builder_free(struct clo_json_builder *builder);
void clo_json_builder_reset(struct clo_json_builder *builder); /* for another text; keeps the memory */
int clo_json_open(struct clo_json_builder *builder, size_t begin);
/* `end`: after the closing bracket. `count`: of its children. */
void clo_json_close(struct clo_json_builder *builder, size_t end, uint64_t count);
/* The entries of one value or of several in a row, of which the first container begins at `begin` of the new text. */
int clo_json_copy(struct clo_json_builder *builder, size_t begin, const struct clo_json_entry *entries, size_t count);
/* Parse the value at *at of a text that must be canonical, and go behind it. Checks everything but UTF-8
 * (clo_json_utf8). CLO_JSON_FOREIGN: valid so far, but not canonical. Where it fails the builder can only be reset. */
enum { CLO_JSON_FOREIGN = -1 };
int clo_json_parse(struct clo_json_builder *builder, const uint8_t *text, size_t size, size_t *at);
/* The index is then complete in builder->index. */
void clo_json_finish(struct clo_json_builder *builder);

/* The first byte that is no UTF-8, or size. A stretch can be checked by itself if it ends at a character's end. */
size_t clo_json_utf8(const uint8_t *text, size_t size);
size_t clo_json_utf8_in(const uint8_t *text, size_t size, enum clo_json_cpu cpu);
/* Make a text canonical: `room` of at least `size`. Gives the size; what is invalid stays invalid. */
size_t clo_json_canonical(const uint8_t *text, size_t size, uint8_t *room);
/* A whole text of any form: canonical text and index, both the caller's to free. */
int clo_json_read(const uint8_t *text, size_t size, uint32_t depth, struct clo_json *json,
                  struct clo_json_error *error);
/* What clo_json_read filled; the struct itself is the caller's. */
void clo_json_drop(struct clo_json *json);
/* Characters (UTF-8) as a canonical string. Appends to `out`. */
int clo_json_escape(const uint8_t *bytes, size_t size, struct clo_json_out *out);
/* The characters of a canonical string; `string` and `size` with its quotes. Appends to `out`. */
int clo_json_unescape(const uint8_t *string, size_t size, struct clo_json_out *out);

/* Bytes written; 0 or CLO_JSON_MEMORY. */
int clo_json_out_room(struct clo_json_out *out, size_t more);
int clo_json_put(struct clo_json_out *out, const void *bytes, size_t size);
int clo_json_put_number(struct clo_json_out *out, uint64_t number);

/* How many bytes at the begin, or the end, are the same. */
size_t clo_json_same(const uint8_t *one, const uint8_t *other, size_t size);
size_t clo_json_same_back(const uint8_t *one_end, const uint8_t *other_end, size_t size);
size_t clo_json_same_in(const uint8_t *one, const uint8_t *other, size_t size, enum clo_json_cpu cpu);
size_t clo_json_same_back_in(const uint8_t *one_end, const uint8_t *other_end, size_t size, enum clo_json_cpu cpu);
/* Of bytes; the same on every machine. */
uint64_t clo_json_hash_bytes(const uint8_t *bytes, size_t size);
/* With a seed for tables whose keys come from outside. */
uint64_t clo_json_hash_seeded(const uint8_t *bytes, size_t size, uint64_t seed);
static inline uint64_t clo_json_mix(uint64_t one, uint64_t other) {
    __uint128_t product = (__uint128_t)one * other;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}
uint64_t clo_json_hash_number(const uint8_t *number, size_t size);

/* Of values: numbers by their exact worth, members in any order. Two values that are equal have the same hash. */
uint64_t clo_json_hash_value(const struct clo_json_view *view, const struct clo_json_value *value);
/* 1, 0, or -CLO_JSON_MEMORY. */
int clo_json_equal_values(const struct clo_json_view *one, const struct clo_json_value *value,
                          const struct clo_json_view *other, const struct clo_json_value *with);
/* 1 == 1.0 == 10e-1, -0 == 0. */
bool clo_json_equal_numbers(const uint8_t *one, size_t size, const uint8_t *other, size_t other_size);

#endif
