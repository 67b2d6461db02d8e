/* JSON pointers (RFC 6901), and the places in a value that they name. */
#ifndef CLOCHE_JSON_POINTER_H
#define CLOCHE_JSON_POINTER_H

#include "edit.h"

struct clo_token {
    const uint8_t *key; /* as a canonical string, with its quotes */
    size_t size;
};

struct clo_pointer {
    struct clo_token *tokens; /* in the edit's arena */
    size_t count;
    const uint8_t *text;
    size_t size;
};

/* `text`: the pointer as what stands between the quotes of a canonical string, which lasts as long as the edit. */
int clo_pointer_read(struct clo_edit *edit, const uint8_t *text, size_t size, struct clo_pointer *pointer);
/* The value at that place as it is now. */
int clo_pointer_look(struct clo_edit *edit, const struct clo_pointer *pointer, struct clo_edit_value *value);
/* Change what is at that place: the first replaces what is there or adds it, the second wants something there.
 * CLO_PATCH_DEEP if the document would have too many levels. `value` may be changed in how much is known of it. */
int clo_pointer_add(struct clo_edit *edit, const struct clo_pointer *pointer, struct clo_edit_value *value);
int clo_pointer_replace(struct clo_edit *edit, const struct clo_pointer *pointer, struct clo_edit_value *value);
int clo_pointer_remove(struct clo_edit *edit, const struct clo_pointer *pointer);
/* Errors are about this one from now on. */
void clo_pointer_use(struct clo_edit *edit, const struct clo_pointer *pointer);
/* Says in the error which pointer it is about: the one being used, if there is one. */
void clo_pointer_blame(const struct clo_edit *edit, struct clo_patch_error *error);

#endif
