/* Ways into a tree that somebody hostile fills: shared by files.c and files_tree.c. */
#ifndef CLOCHE_FILES_H
#define CLOCHE_FILES_H

#include "cloche_native.h"

enum { CLO_GROUPS_ROOM = 64, CLO_SEGMENT = 4096 }; /* PATH_MAX: one call of the kernel takes no longer path */

/* What a thread was before clo_act_as; clo_act_done takes it. Nothing is changed when changed is 0. */
struct clo_was {
    int changed, n_groups, death_signal;
    uint32_t uid, gid;
    gid_t groups[CLO_GROUPS_ROOM];
};

int clo_act_as(const struct clo_who *who, struct clo_was *was);
void clo_act_done(const struct clo_was *was);
int clo_beneath(int root, const char *path, uint64_t flags, uint64_t mode);
int clo_parent(int root, const char *path, const char **name);
int clo_plain(int fd);
int clo_set_mode(int fd, uint32_t mode);
int clo_is_mount(int folder, const char *name);

#endif
