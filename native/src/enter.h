/* Starting a program in namespaces of its own. */
#ifndef CLOCHE_ENTER_H
#define CLOCHE_ENTER_H

#include "cloche_native.h"

/* In a child of clo_spawn whose ids are final: starts the program as a child of `parent`, this one's own parent, as
 * process 1 of new namespaces. 0 once it runs, else a negative errno with step and index set. *pid is set before the
 * program can do anything, and is 0 if there never was one; the parent must reap it, by __WALL when this failed.
 * `stack` is the top of one that nobody else uses until then. */
int clo_enter(struct clo_spawn *spawn, char *stack, pid_t parent, pid_t *pid);

/* spawn.c: unblocks every signal and becomes the program; comes back, with the error, only if that fails. */
int clo_become(struct clo_spawn *spawn);

#endif
