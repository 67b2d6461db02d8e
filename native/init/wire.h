/* The record parser: bytes from the host in, checked views into them out. */

#ifndef CLO_WIRE_H
#define CLO_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../src/cdef.h"

_Static_assert(sizeof(struct clo_head) == 8, "Python packs it so");
_Static_assert(sizeof(struct clo_rec) == 8, "Python packs it so");
_Static_assert(sizeof(struct clo_exited) == 40, "Python unpacks it so");

enum {
    CLO_PATH_SIZE = 4096,
    CLO_ACCESS_ANY = CLO_ACCESS_NO_LINKS - 1,
    CLO_HOSTNAME_MAX = 64,
    CLO_FILTER_MAX = 4096,
    CLO_FILTER_STEP = 8,
    CLO_AFFINITY_MAX = 8192
};

/* Bytes inside the body that was parsed; valid as long as that is. */
struct clo_view {
    const char *data;
    size_t size;
};

/* NUL-terminated strings, one after another. */
struct clo_strings {
    const char *data;
    size_t size, count;
};

struct clo_setup {
    struct clo_view body, hostname, seccomp, watch, affinity;
    uint32_t flags, landlock, pids;
    uint64_t memory; /* 0: no bound */
    bool limits_pids, limits_memory, maps_ids;
    struct clo_ids {
        uint32_t uid, outer_uid, gid, outer_gid;
    } ids;
};

struct clo_mount_asked {
    uint32_t kind;
    const char *source, *target, *data;
};

struct clo_rule_asked {
    uint32_t access;
    struct clo_view path;
};

struct clo_rlimit_asked {
    uint32_t resource;
    uint64_t soft, hard;
};

struct clo_exec {
    uint32_t flags;
    struct clo_strings argv, env;
    struct clo_view cwd;
    uint16_t rows, columns;
};

/* Each gives 0, or -EBADMSG for a body that breaks the format in any way. */
int clo_parse_setup(const void *body, size_t size, struct clo_setup *setup);
int clo_parse_limits(const void *body, size_t size, struct clo_setup *limits); /* the other fields stay empty */
int clo_parse_watch(const void *body, size_t size, struct clo_view *watch);
int clo_parse_exec(const void *body, size_t size, struct clo_exec *exec);
int clo_parse_signal(const void *body, size_t size, uint32_t *signal, uint32_t *scope);
int clo_parse_window(const void *body, size_t size, uint16_t *rows, uint16_t *columns);

/* The records of a parsed setup, one kind each: true with the next one, false at the end. Start with *at = 0. */
bool clo_next_mount(const struct clo_setup *setup, size_t *at, struct clo_mount_asked *mount);
bool clo_next_rule(const struct clo_setup *setup, size_t *at, struct clo_rule_asked *rule);
bool clo_next_rlimit(const struct clo_setup *setup, size_t *at, struct clo_rlimit_asked *limit);

#endif
