/* Acts on names done for a guest: a name made, moved or taken away, the mode, owner or length of what a path leads to.
 *
 * Why: as with opens (emulate.c), the kernel must not follow the guest's names a second time after a rule has judged
 * where they lead. What a call acts on by name is pinned as its folder, and the last name is a copy; what it acts on as
 * an object is pinned itself. The kernel then gets the guest's own act with these, so that its answer is its own.
 *
 * A mount point of the guest is none here, in another mount namespace, where the kernel would take the mounts away with
 * the name: it is found by the mount it leads into, and refused as the kernel does. */
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest.h"

bool clo_deed_is(uint32_t act) {
    switch (act) {
    case CLO_ACT_MKDIR: case CLO_ACT_MKNOD: case CLO_ACT_UNLINK: case CLO_ACT_RENAME: case CLO_ACT_LINK:
    case CLO_ACT_SYMLINK: case CLO_ACT_CHMOD: case CLO_ACT_CHOWN: case CLO_ACT_TRUNCATE: return true;
    default: return false;
    }
}

/* Whether the act is about what its path leads to, and not about the name. */
static bool is_of_object(uint32_t act) {
    return act == CLO_ACT_LINK || act == CLO_ACT_CHMOD || act == CLO_ACT_CHOWN || act == CLO_ACT_TRUNCATE;
}

/* Puts the last name behind the real path of its folder. */
static int set_path(struct clo_found *found, const struct clo_found *folder, const char *name, size_t size) {
    size_t used = folder->size > 1 ? folder->size : 0;
    if (size > CLO_PATH_ROOM - 2 - used) return -ENAMETOOLONG;
    memcpy(found->path, folder->path, used);
    found->path[used] = '/';
    memcpy(found->path + used + 1, name, size);
    found->size = (uint32_t)(used + 1 + size);
    found->path[found->size] = 0;
    return 0;
}

/* What stands at the name now: its kind, or that it is missing, or the root of a mount. A folder that may not be searched
 * is refused, as the kernel does on the way to the name; it could be opened later and show a mount. */
static int look_at(struct clo_found *found, const char *name) {
    struct stat st;
    int fd = clo_open_scoped(found->fd, name, O_PATH | O_NOFOLLOW, RESOLVE_NO_XDEV);
    if (fd == -EXDEV) found->flags |= CLO_FOUND_MOUNTED;
    if (fd == -ENOENT) found->flags |= CLO_FOUND_MISSING;
    if (fd < 0) return fd == -EXDEV || fd == -ENOENT ? 0 : fd;
    int status = fstat(fd, &st) ? -errno : 0;
    found->mode = status ? 0 : st.st_mode;
    close(fd);
    return status;
}

/* Finds the folder of the path's last name, which is copied with one of the slashes after it. */
static int pin_name(struct clo_guest_root *root, const struct clo_asked *asked, struct clo_found *found) {
    char name[NAME_MAX + 1];
    size_t size = strlen(root->joined), end;
    while (size && root->joined[size - 1] == '/') size--;
    bool slash = root->joined[size];
    for (end = size; size && root->joined[size - 1] != '/';) size--;
    size_t length = end - size;
    memcpy(name, root->joined + size, length < sizeof name ? length : 0);
    name[length < sizeof name ? length : 0] = 0;
    root->joined[size ? size : 1] = 0;
    struct clo_found folder = {.fd = -1};
    int status = clo_guest_find(root, asked, O_PATH | O_DIRECTORY, 0, &folder);
    if (status < 0) {
        clo_found_drop(&folder);
        found->flags |= CLO_FOUND_TEXT;
        return status;
    }
    found->fd = folder.fd;
    found->flags = folder.flags & (CLO_FOUND_LINKED | CLO_FOUND_SPECIAL);
    memcpy(found->last, name[0] ? name : "/", name[0] ? length + 1 : 2);
    if (!name[0] || !strcmp(name, ".") || !strcmp(name, "..")) { /* no act has its way with these, nor with too long ones */
        found->flags |= CLO_FOUND_TEXT;
        status = look_at(found, ".");
        return status ? status : length > NAME_MAX ? -ENAMETOOLONG : 0;
    }
    if (slash) memcpy(found->last + length, "/", 2);
    if (folder.flags & CLO_FOUND_LINKED) status = set_path(found, &folder, name, length);
    return status < 0 ? status : look_at(found, name);
}

/* Finds what the act is about: `target` is its second path. 0, and after the judge's word clo_deed_do follows; or what the
 * guest is to be told. found->path is for the judge in either case, and clo_found_drop follows. */
int clo_deed_pin(struct clo_guest_root *root, const struct clo_deed *deed, int target, const struct clo_asked *asked,
                 struct clo_found *found) {
    int begun = clo_guest_begin(root, asked, found);
    if (!root->became) return -EPERM; /* it would be done with this process's rights */
    if (begun < 0) return begun;
    if (target || !is_of_object(deed->act)) return pin_name(root, asked, found);
    return clo_guest_find(root, asked, O_PATH | (deed->follow ? 0 : O_NOFOLLOW), 0, found);
}

/* The act itself; of what is about objects the first name leads to that. 0 or a negative errno. */
static int perform(const struct clo_deed *deed, uint32_t flags, int dir, const char *name, int to, const char *to_name) {
    long done = -1;
    uint64_t first = deed->arg[0];
    switch (deed->act) {
    case CLO_ACT_MKDIR: done = syscall(SYS_mkdirat, dir, name, (mode_t)first); break;
    case CLO_ACT_MKNOD: done = syscall(SYS_mknodat, dir, name, (mode_t)first, (unsigned)deed->arg[1]); break;
    case CLO_ACT_UNLINK: done = syscall(SYS_unlinkat, dir, name, (int)flags); break;
    case CLO_ACT_RENAME: done = syscall(SYS_renameat2, dir, name, to, to_name, flags); break;
    case CLO_ACT_LINK: done = syscall(SYS_linkat, dir, name, to, to_name, (int)flags); break;
    case CLO_ACT_SYMLINK: done = syscall(SYS_symlinkat, deed->text, dir, name); break;
    case CLO_ACT_CHMOD: done = syscall(SYS_fchmodat, dir, name, (mode_t)first); break;
    case CLO_ACT_CHOWN: done = syscall(SYS_fchownat, dir, name, (uid_t)first, (gid_t)deed->arg[1], 0); break;
    default: return -EPERM;
    }
    return done < 0 ? -errno : 0;
}

/* What the kernel says of the numbers alone, asked of itself: in a folder that is none, nothing else happens. */
static int check_numbers(const struct clo_deed *deed) {
    static const uint32_t known = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH;
    if (deed->act == CLO_ACT_TRUNCATE) return (int64_t)deed->arg[0] < 0 ? -EINVAL : 0;
    if (deed->act == CLO_ACT_CHMOD || deed->act == CLO_ACT_CHOWN) return deed->flags & ~known ? -EINVAL : 0;
    int status = perform(deed, deed->flags, -1, "x", -1, "x");
    return status == -EBADF ? 0 : status ? status : -EINVAL;
}

/* truncate(2) by a descriptor, so that a lease holds up nobody; the guest's own limit holds. */
static int cut(const struct clo_guest_root *root, const struct clo_found *found, const char *number, uint64_t limit,
               int64_t length) {
    struct stat st;
    if (S_ISLNK(found->mode)) return -ELOOP;
    if (!S_ISREG(found->mode)) return S_ISDIR(found->mode) ? -EISDIR : -EINVAL;
    int fd = openat(root->own, number, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) return -errno;
    int status = fstat(fd, &st) ? -errno : 0;
    if (!status && length > st.st_size && (uint64_t)length > limit) status = -EFBIG;
    if (!status && ftruncate(fd, length)) status = -errno;
    close(fd);
    return status;
}

static int on_object(const struct clo_guest_root *root, struct clo_deed *deed, int32_t pid, const struct clo_found *found,
                     const struct clo_found *target) {
    char number[11];
    uint64_t limit = 0;
    int status = 0;
    if (deed->act == CLO_ACT_CHOWN) status = clo_guest_ids(root, pid, deed->arg);
    if (deed->act == CLO_ACT_TRUNCATE) status = clo_guest_file_limit(root, pid, &limit);
    if (status < 0) return status;
    clo_decimal(number, (uint32_t)found->fd);
    clo_guest_lay_down(root);
    status = deed->act == CLO_ACT_TRUNCATE
                 ? cut(root, found, number, limit, (int64_t)deed->arg[0])
                 : perform(deed, AT_SYMLINK_FOLLOW, root->own, number, target->fd, target->last);
    clo_guest_take_up(root);
    return status;
}

static int on_name(const struct clo_guest_root *root, const struct clo_deed *deed, int32_t pid, const struct clo_found *found,
                   const struct clo_found *target) {
    bool moves = deed->act == CLO_ACT_RENAME, top = found->last[0] == '/';
    uint32_t flags = found->flags | (moves ? target->flags : 0);
    struct clo_guest_status status = {0};
    if (deed->act == CLO_ACT_UNLINK && top && deed->flags & AT_REMOVEDIR) return -EBUSY;
    if ((moves || deed->act == CLO_ACT_UNLINK) && !(flags & CLO_FOUND_TEXT)) { /* of "." and ".." nothing comes */
        if (flags & CLO_FOUND_MOUNTED) return -EBUSY;
    }
    if (deed->act == CLO_ACT_MKDIR || deed->act == CLO_ACT_MKNOD) {
        int failed = clo_guest_status(root, pid, &status);
        if (failed < 0) return failed;
    }
    mode_t before = umask((mode_t)status.umask); /* this thread's own: clo_guest_become */
    clo_guest_lay_down(root);
    int done = perform(deed, deed->flags, found->fd, top ? "." : found->last, target->fd,
                       target->last[0] == '/' ? "." : target->last);
    clo_guest_take_up(root);
    umask(before);
    return done;
}

/* Does what was pinned (`pinned`: 0, or what clo_deed_pin said) and judged, as the guest's user and with its umask. 0, or
 * the negative errno that the guest is to be told. `target` is looked at only where the act has one. */
int clo_deed_do(struct clo_guest_root *root, const struct clo_deed *deed, int32_t pid, int pinned,
                const struct clo_found *found, const struct clo_found *target) {
    static const struct clo_found none = {.fd = -1};
    if (!root->became || !clo_deed_is(deed->act)) return -EPERM;
    struct clo_deed own = *deed;
    bool two = deed->act == CLO_ACT_RENAME || deed->act == CLO_ACT_LINK;
    int status = check_numbers(deed);
    if (status < 0 || pinned < 0) return status < 0 ? status : pinned;
    if (found->fd < 0 || (two && (target->fd < 0 || !target->last[0]))) return -EPERM;
    if (!two) target = &none;
    if (is_of_object(deed->act)) return on_object(root, &own, pid, found, target);
    return found->last[0] ? on_name(root, deed, pid, found, target) : -EPERM;
}
