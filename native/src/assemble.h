/* What the static filter (seccomp.c) and the watch filter (watch_filter.c) are assembled with. */
#ifndef CLOCHE_ASSEMBLE_H
#define CLOCHE_ASSEMBLE_H

#include <stdbool.h>

#include "acts.h"
#include "seccomp.h"

struct sock_filter;

struct clo_run {
    uint16_t first; /* number; the run ends where the next begins */
    uint16_t size;  /* instructions of its leaf */
    uint8_t verdict;
};

struct clo_assembler {
    const struct clo_filter *request;
    struct sock_filter *code;
    size_t used, room; /* used may pass room: then nothing is written, and the caller says E2BIG */
    struct clo_run runs[CLO_NUMBERS + 1];
    size_t n_runs;
    int16_t tested[CLO_TESTS_MAX]; /* by row of the static tests: the number it is about, -1 where it does not apply */
    uint8_t plain[CLO_NUMBERS];    /* the static verdict of every number */
    uint64_t acts, opened;         /* of the watch filter */
    bool opens;                    /* this is the agent's filter, not the watch filter */
    struct clo_watched_index index;
};

/* Fills request, tested and plain; -EINVAL or -ENOENT as clo_seccomp_program. */
int clo_assemble_plain(struct clo_assembler *out, const struct clo_filter *request);
/* Writes the program of these verdicts, `beyond` for numbers past the last, CLO_V_TEST leaves by `leaf`; the count or
 * -E2BIG. */
typedef void clo_leaf(struct clo_assembler *out, int number);
int clo_assemble(struct clo_assembler *out, const uint8_t *verdicts, uint8_t beyond, clo_leaf *leaf);

void clo_emit(struct clo_assembler *out, uint16_t code, uint8_t jump_true, uint8_t jump_false, uint32_t k);
void clo_emit_load(struct clo_assembler *out, unsigned argument, unsigned offset);
void clo_emit_verdict(struct clo_assembler *out, uint8_t verdict); /* not of CLO_V_TEST */
void clo_emit_tests(struct clo_assembler *out, int number);        /* the static tests of a call */

#endif
