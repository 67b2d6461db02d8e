/* Looking into a guest's processes, and opening files in its place (guest.c and what stands in guest.h). Read by cffi
 * after cdef.h, and so without preprocessor lines.
 *
 * A process is given by its number here, and may be gone or another by the time of the call: -ESRCH, or whatever that
 * one has. */
struct clo_guest_root;

int clo_guest_root_new(int folder, struct clo_guest_root **root);
void clo_guest_root_free(struct clo_guest_root *root);
int clo_guest_read(int32_t pid, uint64_t address, void *out, size_t size);
int clo_guest_text(int32_t pid, uint64_t address, char *out, size_t room);
int clo_guest_base(const struct clo_guest_root *root, int32_t pid, int dirfd, char *out, size_t room);

enum { CLO_PATH_ROOM = 4096 }; /* PATH_MAX: no call of the kernel takes a longer path, its NUL counted */

/* A path as a guest gave it. The text is a copy: nobody reads the guest's memory again. */
struct clo_asked {
    int32_t pid, dirfd;     /* the thread that asks */
    const char *path;       /* with a NUL */
    size_t size;
    const char *base;       /* of clo_guest_base, where it is known; else NULL */
    size_t base_size;
};

struct clo_guest_how {
    uint64_t flags, mode, resolve; /* as openat2(2) */
    uint32_t exact;                /* it is openat2(2), which refuses what it doesn't know */
};

enum { CLO_LAST_ROOM = 258 }; /* NAME_MAX, a slash and a NUL */

enum {
    CLO_FOUND_MISSING = 1, /* there is nothing; path is where it would be, fd its folder, or -1 */
    CLO_FOUND_LINKED = 2,  /* links were on the way: path was read back from what was found */
    CLO_FOUND_SPECIAL = 4, /* in a file system of the kernel's own, such as /proc */
    CLO_FOUND_OPEN = 8,    /* fd is open as the guest asked, and not O_PATH */
    CLO_FOUND_TEXT = 16,   /* path is what the text says: links were on the way and lead nowhere that can be told */
    CLO_FOUND_MOUNTED = 32 /* of a name: something is mounted there */
};

struct clo_found {
    int fd;             /* or -1; clo_found_drop closes it */
    uint32_t flags;     /* CLO_FOUND_ */
    uint32_t mode;      /* st_mode of what fd stands for, 0 if there is nothing */
    uint32_t size;      /* of path, which ends with a NUL; 0: not even the folder it begins in could be told */
    char path[CLO_PATH_ROOM];
    char last[CLO_LAST_ROOM]; /* of acts on names: fd is the folder, and this the name there; "/" is the box's root */
};

/* An act on names or on what they lead to, other than opens. */
struct clo_deed {
    uint32_t act;       /* clo_act */
    uint32_t flags;     /* of renameat2(2), or AT_ ones */
    uint64_t arg[2];    /* of mkdir, mknod, chmod: mode; mknod: device; chown: ids; truncate: length */
    uint32_t follow;    /* the last name of the path too, if it is a link */
    const char *text;   /* of symlink: what it leads to */
};

int clo_guest_become(struct clo_guest_root *root, int64_t uid, int64_t gid);
int clo_guest_resolve(struct clo_guest_root *root, const struct clo_asked *asked, int follow, struct clo_found *found);
int clo_guest_pin(struct clo_guest_root *root, const struct clo_asked *asked, const struct clo_guest_how *how,
                  struct clo_found *found);
int clo_guest_take(struct clo_guest_root *root, const struct clo_asked *asked, const struct clo_guest_how *how,
                   struct clo_found *found);
void clo_found_drop(struct clo_found *found);
int clo_deed_pin(struct clo_guest_root *root, const struct clo_deed *deed, int target, const struct clo_asked *asked,
                 struct clo_found *found);
int clo_deed_do(struct clo_guest_root *root, const struct clo_deed *deed, int32_t pid, int pinned,
                const struct clo_found *found, const struct clo_found *target);
