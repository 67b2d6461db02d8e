/* Mounts made by a child before it gives up root. */
#ifndef CLOCHE_STAGE_H
#define CLOCHE_STAGE_H

#include "cloche_native.h"

enum { CLO_STAGES_MAX = 64 };

/* In the calling process: a mount namespace of its own, nothing on spawn->cover, a small tmpfs on
 * spawn->stage_folder, every stage in it.
 * 0 or a negative errno, with spawn->step and spawn->index set. Does no allocation: a vforked child may call it.
 * At most CLO_STAGES_MAX stages, which the caller checks. */
int clo_stage(struct clo_spawn *spawn);

#endif
