/* What a guest's path leads to, found by the kernel beneath the root of the box.
 *
 * Asked first is for a way without links. If there is one, the text of the path, with "." and ".." taken away, is the
 * real path, and nothing needs to be read back; if there is nothing, the text says where it would be. Else links are
 * followed, and the path read back from what was found. What lies in /proc, or is found to be missing behind a link,
 * is looked for by clo_guest_walk: /proc/self is a link that the kernel would answer for this process. */
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "guest.h"

enum {
    TRIES = 32,
    IN_BOX = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
    SCOPES = RESOLVE_BENEATH | RESOLVE_IN_ROOT | RESOLVE_NO_XDEV
};

static const char deleted[] = " (deleted)";

int clo_open_scoped(int dir, const char *path, uint64_t flags, uint64_t resolve) {
    struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = resolve};
    for (int i = 0;; i++) {
        long fd = syscall(SYS_openat2, dir, path, &how, sizeof how);
        if (fd >= 0) return (int)fd;
        if ((errno != EAGAIN && errno != EINTR) || i == TRIES) return -errno;
    }
}

void clo_found_drop(struct clo_found *found) {
    if (found->fd >= 0) close(found->fd);
    found->fd = -1;
}

/* The text of an absolute path without "." and "..". 0 or -ENAMETOOLONG. */
static int set_text(struct clo_found *found, const char *path, size_t size) {
    bool climbs;
    size_t used = clo_path_normalise("", 0, path, size, found->path, CLO_PATH_ROOM - 1, &climbs);
    found->path[used] = 0;
    found->size = (uint32_t)used;
    return used ? 0 : -ENAMETOOLONG;
}

int clo_found_read_back(const struct clo_guest_root *root, struct clo_found *found) {
    char number[11];
    clo_decimal(number, (uint32_t)found->fd);
    ssize_t got = readlinkat(root->own, number, found->path, CLO_PATH_ROOM);
    if (got < 0) return -errno;
    if (got >= CLO_PATH_ROOM) return -ENAMETOOLONG;
    size_t size = (size_t)got, tail = sizeof deleted - 1;
    found->path[size] = 0;
    if (found->path[0] == '/') {
        int stripped = clo_guest_strip(root, found->path, size);
        if (stripped >= 0) size = (size_t)stripped;
    }
    found->size = (uint32_t)size;
    if (size <= tail || memcmp(found->path + size - tail, deleted, tail) != 0) return 0;
    /* Either it is called that, or its name is gone, and whose it was would not be judged. */
    struct stat has, named;
    int same = clo_open_scoped(root->root, found->path, O_PATH | O_NOFOLLOW, IN_BOX | RESOLVE_NO_SYMLINKS);
    if (same < 0) return -ESTALE;
    int failed = fstat(same, &named) || fstat(found->fd, &has);
    close(same);
    return failed || has.st_ino != named.st_ino || has.st_dev != named.st_dev ? -ESTALE : 0;
}

int clo_guest_special(struct clo_guest_root *root, int fd, uint64_t device) {
    static const long own[] = {
        PROC_SUPER_MAGIC, SYSFS_MAGIC, DEVPTS_SUPER_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, SECURITYFS_MAGIC,
        DEBUGFS_MAGIC, TRACEFS_MAGIC, BPF_FS_MAGIC, NSFS_MAGIC, BINFMTFS_MAGIC, EFIVARFS_MAGIC,
    };
    for (size_t i = 0; i < CLO_PLAIN_ROOM; i++)
        if (root->plain[i] == device + 1) return 0;
    struct statfs fs;
    if (fstatfs(fd, &fs)) return -errno;
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (fs.f_type == own[i]) return 1;
    root->plain[root->next_plain++ % CLO_PLAIN_ROOM] = device + 1;
    return 0;
}

static int look_at(struct clo_guest_root *root, struct clo_found *found) {
    struct stat st;
    if (fstat(found->fd, &st)) return -errno;
    found->mode = st.st_mode;
    int special = clo_guest_special(root, found->fd, st.st_dev);
    if (special < 0) return special;
    if (special) found->flags |= CLO_FOUND_SPECIAL;
    return 0;
}

/* Puts what the path begins in before it. The size, or a negative errno. */
static int join(struct clo_guest_root *root, const struct clo_asked *asked) {
    char *to = root->joined;
    size_t used = 0;
    if (asked->size >= CLO_PATH_ROOM) return -ENAMETOOLONG;
    if (asked->path[0] != '/') {
        if (asked->base) {
            if (asked->base_size >= CLO_PATH_ROOM) return -ENAMETOOLONG;
            memcpy(to, asked->base, used = asked->base_size);
        } else {
            int size = clo_guest_base(root, asked->pid, asked->dirfd, to, CLO_PATH_ROOM);
            if (size < 0) return size;
            used = (size_t)size;
        }
        if (used > 1) to[used++] = '/';
    }
    memcpy(to + used, asked->path, asked->size + 1);
    used += asked->size;
    return used < CLO_PATH_ROOM ? (int)used : -ENAMETOOLONG;
}

/* openat2(2) with a scope that begins where the guest said. */
static int find_scoped(struct clo_guest_root *root, const struct clo_asked *asked, uint64_t flags, uint64_t resolve,
                       struct clo_found *found) {
    int start = root->root;
    if (asked->path[0] != '/' || resolve & (RESOLVE_IN_ROOT | RESOLVE_BENEATH)) {
        char base[CLO_PATH_ROOM];
        int size = clo_guest_base(root, asked->pid, asked->dirfd, base, sizeof base);
        if (size < 0) return size;
        start = clo_open_scoped(root->root, base, O_PATH, IN_BOX | RESOLVE_NO_SYMLINKS);
        if (start < 0) return start;
    }
    /* Without a scope for links of its own, one that begins with "/" would lead to the host's root. */
    uint64_t scope = resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT) ? 0 : RESOLVE_IN_ROOT;
    if (scope && start != root->root) {
        resolve |= RESOLVE_NO_SYMLINKS;
        scope = RESOLVE_BENEATH;
    }
    int fd = clo_open_scoped(start, asked->path, flags, resolve | scope | RESOLVE_NO_MAGICLINKS);
    if (start != root->root) close(start);
    if (fd < 0) {
        found->flags |= CLO_FOUND_TEXT;
        return fd;
    }
    found->fd = fd;
    found->flags |= CLO_FOUND_LINKED;
    int status = clo_found_read_back(root, found);
    return status < 0 ? status : look_at(root, found);
}

/* By a way without links, after clo_guest_begin: found->path is then its real path. -ELOOP: there are some. */
static int open_unlinked(struct clo_guest_root *root, uint64_t flags, struct clo_found *found) {
    int fd = clo_open_scoped(root->root, root->joined, flags, IN_BOX | RESOLVE_NO_SYMLINKS);
    if (fd == -ENOENT) found->flags |= CLO_FOUND_MISSING;
    found->fd = fd < 0 ? -1 : fd;
    return fd < 0 ? fd : 0;
}

/* Links are on the way. */
static int find_linked(struct clo_guest_root *root, const struct clo_asked *asked, uint64_t flags, struct clo_found *found) {
    int status = -ENOENT;
    for (int i = 0; i < TRIES; i++) {
        found->flags = CLO_FOUND_LINKED;
        int fd = clo_open_scoped(root->root, root->joined, flags, IN_BOX);
        found->fd = fd < 0 ? -1 : fd;
        status = fd < 0 ? fd : look_at(root, found);
        if (!status && !(found->flags & CLO_FOUND_SPECIAL)) status = clo_found_read_back(root, found);
        else if (!status || status == -ENOENT || status == -ELOOP || status == -EAGAIN) {
            clo_found_drop(found);
            char todo[2 * CLO_PATH_ROOM];
            memcpy(todo, root->joined, strlen(root->joined) + 1);
            clo_guest_lay_down(root);
            status = clo_guest_walk(root, asked->pid, todo, sizeof todo, flags, found);
            clo_guest_take_up(root);
            if (!status) status = look_at(root, found);
        } else {
            found->flags |= CLO_FOUND_TEXT;
        }
        if (status != -ESTALE) break;
        clo_found_drop(found);
    }
    return status == -ESTALE ? -ENOENT : status;
}

int clo_guest_begin(struct clo_guest_root *root, const struct clo_asked *asked, struct clo_found *found) {
    found->fd = -1;
    found->flags = found->mode = found->size = 0;
    found->path[0] = found->last[0] = 0;
    if (!asked->size) return -ENOENT;
    int size = join(root, asked);
    return size < 0 ? size : set_text(found, root->joined, (size_t)size);
}

int clo_guest_find(struct clo_guest_root *root, const struct clo_asked *asked, uint64_t flags, uint64_t resolve,
                   struct clo_found *found) {
    found->flags = found->mode = 0;
    if (resolve & RESOLVE_CACHED) return -EAGAIN; /* always an answer to that: ask again without it */
    if (resolve & SCOPES) return find_scoped(root, asked, flags, resolve, found);
    int status = open_unlinked(root, flags, found);
    if (!status) return look_at(root, found);
    if (status != -ELOOP || resolve & RESOLVE_NO_SYMLINKS) return status;
    return find_linked(root, asked, (flags & (O_DIRECTORY | O_NOFOLLOW)) | O_PATH, found);
}

/* What `asked` leads to, for a judge of paths: 0, and fd stands for it (O_PATH), and nothing else is told of it; -ENOENT with MISSING, and path says where it would
 * be; or another negative errno, the kernel's own answer to the guest's call as far as its path goes. follow: the last
 * name too, if it is a link. clo_found_drop follows in any case. */
int clo_guest_resolve(struct clo_guest_root *root, const struct clo_asked *asked, int follow, struct clo_found *found) {
    int status = clo_guest_begin(root, asked, found);
    if (status < 0) return status;
    uint64_t flags = O_PATH | (follow ? 0 : O_NOFOLLOW);
    status = open_unlinked(root, flags, found);
    return status == -ELOOP ? find_linked(root, asked, (flags & O_NOFOLLOW) | O_PATH, found) : status;
}
