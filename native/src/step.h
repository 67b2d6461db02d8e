/* How a step of clo_spawn that failed is told. */
#ifndef CLOCHE_STEP_H
#define CLOCHE_STEP_H

#include "cloche_native.h"

/* -errno, noted with the step and the number of its item. */
static inline int clo_step_failed(struct clo_spawn *spawn, enum clo_step step, uint32_t index) {
    int error = -errno;
    spawn->step = step;
    spawn->index = (int32_t)index;
    return error;
}

#endif
