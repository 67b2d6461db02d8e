/* Which acts a system call is, as far as its registers tell. Shared by the watch filter, which is assembled from it,
 * and the supervisor, which reads a notification by it: so they can't disagree about what is watched. */
#ifndef CLOCHE_ACTS_H
#define CLOCHE_ACTS_H

#include "cloche_native.h"
#include "seccomp.h"

enum { CLO_NUMBERS = 512 }; /* system call numbers that can be watched are below it */

/* Rows of one call follow one another and are tried in their order; the first that holds says which acts the call is.
 * Where none holds it is none. Several acts: which of them lies behind a pointer. */
struct clo_watched {
    const char *name;
    uint64_t acts; /* bits by clo_act; 0: it is no act */
    uint8_t argument, op;
    uint32_t mask, value; /* as in clo_test */
};

const struct clo_watched *clo_watched_row(size_t index); /* NULL past the end */

/* By number, the first row of its call and 1 more; 0: no act. Fill it once with clo_watched_index. */
struct clo_watched_index {
    uint16_t first[CLO_NUMBERS];
};

int clo_watched_index(struct clo_watched_index *index, uint32_t arch);
uint64_t clo_watched_acts(const struct clo_watched_index *index, int64_t number, const uint64_t arguments[6]);

#endif
