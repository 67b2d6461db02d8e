/* Looking into the processes of a guest, and doing for them what they asked the kernel to do.
 *
 * Everything a guest gives is hostile, and so is its timing: a process may be gone, its number may be another's by now,
 * what lay in its memory may have changed. So whoever calls checks the notification once more after each of these and
 * before it acts on what they gave; until then it is a claim.
 *
 * An open that is done for a guest, by the one thread of its supervisor:
 *   clo_guest_become(root, uid, gid)            once, at the thread's start
 *   status = clo_guest_pin(root, &asked, &how, &found)
 *   judge found.path; deny, or
 *   fd = status ? status : clo_guest_take(root, &asked, &how, &found)
 *   -EINPROGRESS: it would wait for the other end of a pipe; keep asked, how and found, and take again later
 *   clo_found_drop(&found); give fd to the guest, close it */
#ifndef CLOCHE_GUEST_H
#define CLOCHE_GUEST_H

#include <stdbool.h>

#include "cloche_native.h"

enum { CLO_PLAIN_ROOM = 4 };

/* The root folder of a box, and the ways to it and to its processes. Made once; may be used by one thread at a time. */
struct clo_guest_root {
    int root;                   /* O_PATH of the folder; the caller's, who keeps it open as long as this lives */
    int proc;                   /* O_PATH of the supervisor's own /proc */
    int own;                    /* O_PATH of /proc/self/fd there: links to the descriptors of this process */
    uint32_t became, uid;       /* clo_guest_become was called: the user then */
    uint32_t privileged;        /* the thread may look into processes of others, and has to lay that down to open */
    uint32_t next_plain;
    uint64_t plain[CLO_PLAIN_ROOM]; /* device numbers, plus 1, of file systems found to hold plain files */
    size_t prefix;              /* the root folder's own path here has so many bytes that links to files there begin with */
    char path[CLO_PATH_ROOM];   /* that path; prefix is 0 where the box has a root of its own */
    char joined[2 * CLO_PATH_ROOM]; /* room to work in */
};

/* What /proc/PID/status says; numbers are those of the innermost pid namespace, which is the box's. */
struct clo_guest_status { uint32_t process, thread, umask; };

enum { CLO_GUEST_READS = 32 };
int clo_guest_read_all(int32_t pid, const uint64_t *addresses, const size_t *sizes, size_t count, char *out, size_t stride);

/* ---- Shared by guest.c, resolve.c, walk.c and emulate.c. ---- */

/* Writes the decimal number with a NUL; gives the end. `to` has room for 11 bytes. */
char *clo_decimal(char *to, uint32_t number);

/* Takes the root folder's path off `path` (of `size` bytes, with a NUL) as this process sees it: the new size, or
 * -EXDEV for what lies elsewhere. */
int clo_guest_strip(const struct clo_guest_root *root, char *path, size_t size);

/* openat2(2), asked again where a rename ran alongside. A descriptor, closed on exec, or a negative errno. */
int clo_open_scoped(int dir, const char *path, uint64_t flags, uint64_t resolve);

/* Makes the path absolute, into root->joined, and tells what its text says, in found->path. 0 or a negative errno. */
int clo_guest_begin(struct clo_guest_root *root, const struct clo_asked *asked, struct clo_found *found);

/* After that: finds it by opening it with these flags beneath the box's root. 0 or a negative errno; found->path is told
 * in either case; of -ENOENT with MISSING fd may be the folder. */
int clo_guest_find(struct clo_guest_root *root, const struct clo_asked *asked, uint64_t flags, uint64_t resolve,
                   struct clo_found *found);

/* The same, name by name in this process, for what the kernel would answer for this process instead of the guest's:
 * /proc/self and what links to it, links of /proc to open files. `todo` is used up. Sets found. */
int clo_guest_walk(const struct clo_guest_root *root, int32_t pid, char *todo, size_t room, uint64_t flags, struct clo_found *found);

/* Sets found->path to that of found->fd. 0 or a negative errno; -ESTALE: it has no name any more, look again. */
int clo_found_read_back(const struct clo_guest_root *root, struct clo_found *found);

/* Whether a descriptor lies in a file system of the kernel's own; 1, 0 or a negative errno. */
int clo_guest_special(struct clo_guest_root *root, int fd, uint64_t device);

/* What the thread can do, if it is privileged: nothing that a guest with the same ids can't; look into processes, as it
 * does between; look for names in any folder too. */
void clo_guest_lay_down(const struct clo_guest_root *root);
void clo_guest_take_up(const struct clo_guest_root *root);
void clo_guest_reach(const struct clo_guest_root *root);

int clo_guest_status(const struct clo_guest_root *root, int32_t pid, struct clo_guest_status *status);
/* The first two numbers, user and group of a chown(2) as the process says them, as this process does; -1 stays. 0, or
 * -EINVAL for one that its user namespace has not. */
int clo_guest_ids(const struct clo_guest_root *root, int32_t pid, uint64_t ids[2]);
/* The process's RLIMIT_FSIZE, in bytes. 0 or a negative errno. */
int clo_guest_file_limit(const struct clo_guest_root *root, int32_t pid, uint64_t *bytes);
/* Whether clo_deed_do can do an act. */
bool clo_deed_is(uint32_t act);
/* The number in /dev/pts of a process's controlling terminal, or -ENXIO. */
int clo_guest_terminal(const struct clo_guest_root *root, int32_t pid, uint32_t *number);
int clo_guest_parse_stat(const char *text, size_t size, uint32_t *number);
int clo_guest_parse_status(const char *text, size_t size, struct clo_guest_status *status);

#endif
