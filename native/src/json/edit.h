/* A JSON value while it is changed.
 *
 * Theory of operation. A value is a stretch of some canonical text, with the entries of its index, until something
 * inside of it changes: then it is opened, which lists its children, each again a stretch of text. An array is listed
 * in pieces of many elements, cut where something is put in or taken out. So a patch costs what is around the places
 * that it touches, and one copy of the document at the end, whose index is copied along with the stretches.
 *
 * Texts and entries are not owned, and outlive the edit; what is made on the way is in its arena and freed at once. A
 * copied value shares its text: an opened one is written out first, so nothing that is open is in two places. */
#ifndef CLOCHE_JSON_EDIT_H
#define CLOCHE_JSON_EDIT_H

#include <string.h>

#include "json.h" /* first: the next one has no includes of its own */

#include "cdef_json_apply.h"

struct clo_edit_value {
    const uint8_t *text; /* NULL in a member: it was removed */
    size_t size;
    const struct clo_json_entry *entries; /* of the containers in it that have one, its own too */
    size_t count;                         /* of entries */
    size_t first;                         /* where the first of these containers begins, from `text` */
    uint32_t levels;                      /* of brackets, at most */
    struct clo_edit_open *open;           /* not NULL: the value is that, and the above means nothing */
};

struct clo_edit_member {
    const uint8_t *key; /* with its quotes */
    size_t key_size;
    bool original; /* stands in the text behind the member before it, as it was */
    struct clo_edit_value value;
};

/* Elements in a row; one that is opened is alone. */
struct clo_edit_piece {
    size_t elements;
    struct clo_edit_value value; /* their text with the commas between them */
};

/* Pieces in a row, few enough that one more can be put in at once. */
struct clo_edit_block {
    size_t elements, used, room; /* of the pieces together; pieces */
    struct clo_edit_piece *pieces;
};

struct clo_edit_open {
    bool object;
    uint32_t levels; /* at most, its own too */
    uint32_t looked; /* how often a key was looked for */
    size_t used, room; /* members, those that were removed too; or blocks */
    size_t children;   /* members or elements that are there */
    union {
        struct clo_edit_member *members;
        struct clo_edit_block *blocks;
    } of;
    uint32_t *table; /* of members by their keys, once there were several look-ups; 0: free, else the number + 1 */
    size_t mask;
    size_t hint; /* the member behind the one that was found last */
};

struct clo_edit {
    struct clo_edit_value root;
    struct clo_edit_chunk *chunks; /* the arena */
    uint8_t *at, *end;             /* what is free in the newest */
    uint64_t most, copied;         /* bytes */
    uint32_t depth;                /* levels that may be */
    const uint8_t *blamed; /* the pointer that is being used, as what stands in the quotes of a canonical string */
    size_t blamed_size;
    uint64_t given, scanned; /* bytes: of the document; looked through for values in what is not open */
    const uint8_t *spliced;  /* the string that the operation before made, which nothing else has; NULL: none */
    size_t spliced_room;
};

/* The functions that give int give 0 or an enum clo_patch_kind. */
void clo_edit_init(struct clo_edit *edit, const struct clo_json_view *view, uint32_t depth, uint64_t most);
void clo_edit_free(struct clo_edit *edit);
/* Memory that lasts as long as the edit; NULL: there is none. */
void *clo_edit_room(struct clo_edit *edit, size_t size);
/* Take `more` bytes from what may be copied. */
int clo_edit_charge(struct clo_edit *edit, uint64_t more);
struct clo_edit_value clo_edit_take(const struct clo_json_view *view, const struct clo_json_value *value,
                                    uint32_t levels);
struct clo_json_view clo_edit_view(const struct clo_edit_value *value);
/* The value as what is in that view. */
struct clo_json_value clo_edit_whole(const struct clo_edit_value *value);
/* What a value begins with: '{', '[', or another byte. */
uint8_t clo_edit_kind(const struct clo_edit_value *value);
/* The value must be a container; one that is open stays as it is. */
int clo_edit_open(struct clo_edit *edit, struct clo_edit_value *value);
struct clo_edit_open *clo_edit_empty(struct clo_edit *edit, bool object, uint32_t levels);

/* Members of an open object; `key` with its quotes, canonical, and for put lasting as long as the edit. */
struct clo_edit_member *clo_edit_member(struct clo_edit *edit, struct clo_edit_open *object, const uint8_t *key,
                                        size_t size);
int clo_edit_put(struct clo_edit *edit, struct clo_edit_open *object, const uint8_t *key, size_t size,
                 const struct clo_edit_value *value);
void clo_edit_drop(struct clo_edit_open *object, struct clo_edit_member *member);

/* Elements of an open array, at an index that must be there (or, to insert, be its length). */
int clo_edit_element(struct clo_edit *edit, struct clo_edit_open *array, size_t index, struct clo_edit_value **element);
int clo_edit_insert(struct clo_edit *edit, struct clo_edit_open *array, size_t index,
                    const struct clo_edit_value *value);
int clo_edit_delete(struct clo_edit *edit, struct clo_edit_open *array, size_t index);
/* An array's children, from the value that it was. */
int clo_edit_list(struct clo_edit *edit, struct clo_edit_open *array, const struct clo_edit_value *value);

size_t clo_edit_size(const struct clo_edit_value *value);
/* How many levels it may have, if that is within `enough`; else it is counted how many there are. */
uint32_t clo_edit_levels(struct clo_edit_value *value, uint32_t enough);
/* A value of its own with the same content. */
int clo_edit_copy(struct clo_edit *edit, const struct clo_edit_value *value, struct clo_edit_value *copy);
/* The whole value into `out`, and its index into `builder` unless that is NULL. Not for more than `most` bytes. */
int clo_edit_write(struct clo_edit *edit, struct clo_json_out *out, struct clo_json_builder *builder);
int clo_edit_write_value(const struct clo_edit_value *value, struct clo_json_out *out,
                         struct clo_json_builder *builder);
int clo_edit_equal(struct clo_edit *edit, const struct clo_edit_value *one, const struct clo_edit_value *other);

#endif
