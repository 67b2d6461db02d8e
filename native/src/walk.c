/* A guest's path, walked name by name in this process.
 *
 * For what the kernel would answer for whoever asks it: /proc/self, what links to it (/dev/fd, /etc/mtab), and the links
 * of /proc to open files, which no scope of openat2(2) lets through. Each step opens one name in the folder found so
 * far, without following it; links are read and their text put in its place, but those of /proc to open files, which
 * are followed: what they lead to is a file that the guest has open, wherever that lies. */
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "guest.h"

enum { LINKS_MAX = 40 /* as the kernel: path_resolution(7) */, PROC_ROOT_INODE = 1 };

struct walk {
    const struct clo_guest_root *root;
    int32_t pid;
    int at;        /* O_PATH of what was found so far */
    char *todo;    /* what is left of the path, in room bytes */
    size_t room, next;
    int links;
    bool outside;  /* at was come to by a link to an open file */
};

static void move(struct walk *walk, int to) {
    close(walk->at);
    walk->at = to;
}

static int back_to_root(struct walk *walk) {
    int root = openat(walk->root->root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) return -errno;
    move(walk, root);
    walk->outside = false;
    return 0;
}

/* Whether two descriptors are of one file. */
static bool same(int one, int other) {
    struct stat a, b;
    return !fstat(one, &a) && !fstat(other, &b) && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

static int up(struct walk *walk) {
    if (same(walk->at, walk->root->root)) return 0;
    if (walk->outside) return -EXDEV; /* there is no root above it to stop at */
    int parent = openat(walk->at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0) return -errno;
    move(walk, parent);
    return 0;
}

/* Puts text where the name was that ends at walk->next. */
static int replace(struct walk *walk, const char *text, size_t size) {
    size_t left = strlen(walk->todo + walk->next);
    if (size > walk->room - left - 1) return -ENAMETOOLONG;
    memmove(walk->todo + size, walk->todo + walk->next, left + 1);
    memcpy(walk->todo, text, size);
    walk->next = 0;
    return size && text[0] == '/' ? back_to_root(walk) : 0;
}

/* /proc/self and /proc/thread-self, by the guest's numbers. 1 if it is neither. */
static int follow_self(struct walk *walk, const char *name) {
    bool thread = !strcmp(name, "thread-self");
    struct stat folder;
    if (!thread && strcmp(name, "self") != 0) return 1;
    if (fstat(walk->at, &folder)) return -errno;
    if (folder.st_ino != PROC_ROOT_INODE) return 1;
    struct clo_guest_status status;
    clo_guest_take_up(walk->root); /* of /proc here, not of the box */
    int failed = clo_guest_status(walk->root, walk->pid, &status);
    clo_guest_lay_down(walk->root);
    if (failed < 0) return failed;
    char text[40], *end = clo_decimal(text, status.process);
    if (thread) {
        memcpy(end, "/task/", 6);
        end = clo_decimal(end + 6, status.thread);
    }
    return replace(walk, text, (size_t)(end - text));
}

/* Follows `link`, an O_PATH descriptor of the link `name` in walk->at. */
static int follow(struct walk *walk, int link, const char *name) {
    if (++walk->links > LINKS_MAX) return -ELOOP;
    struct statfs fs;
    if (fstatfs(link, &fs)) return -errno;
    if (fs.f_type == PROC_SUPER_MAGIC) {
        int status = follow_self(walk, name);
        if (status <= 0) return status;
        int plain = clo_open_scoped(walk->at, name, O_PATH, RESOLVE_NO_MAGICLINKS);
        if (plain == -ELOOP) { /* to an open file */
            struct stat st;
            if (fstat(link, &st)) return -errno;
            if (walk->root->became && st.st_uid != walk->root->uid) return -EACCES; /* of a process closed to guests */
            int to = openat(walk->at, name, O_PATH | O_CLOEXEC);
            if (to < 0) return -errno;
            move(walk, to);
            walk->outside = true;
            return 0;
        }
        if (plain >= 0) close(plain);
    }
    char text[CLO_PATH_ROOM];
    ssize_t size = readlinkat(link, "", text, sizeof text);
    if (size < 0) return -errno;
    return (size_t)size < sizeof text ? replace(walk, text, (size_t)size) : -ENAMETOOLONG;
}

/* One name. `follows`: it is not the last one, or that is followed too. 0 or a negative errno. */
static int step(struct walk *walk, char *name, size_t size, bool follows) {
    if (size == 1 && name[0] == '.') return 0;
    if (size == 2 && name[0] == '.' && name[1] == '.') return up(walk);
    int next = openat(walk->at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (next < 0) return -errno;
    struct stat st;
    int status = fstat(next, &st) ? -errno : 0;
    if (!status && S_ISLNK(st.st_mode) && follows) status = follow(walk, next, name);
    else if (!status) {
        move(walk, next);
        return 0;
    }
    close(next);
    return status;
}

static bool is_folder(int fd) {
    struct stat st;
    return !fstat(fd, &st) && S_ISDIR(st.st_mode);
}

static int walk_on(struct walk *walk, uint64_t flags, struct clo_found *found) {
    for (;;) {
        char *name = walk->todo + walk->next + strspn(walk->todo + walk->next, "/");
        size_t size = strcspn(name, "/");
        if (!size) break;
        if (!is_folder(walk->at)) return -ENOTDIR;
        bool slash = name[size], last = !name[size + strspn(name + size, "/")];
        name[size] = 0;
        char own[NAME_MAX + 1];
        if (size >= sizeof own) return -ENAMETOOLONG;
        memcpy(own, name, size + 1);
        if (slash) name[size] = '/';
        walk->next = (size_t)(name - walk->todo) + size;
        int status = step(walk, own, size, !last || slash || !(flags & O_NOFOLLOW));
        if (status == -ENOENT && last) { /* where it would be */
            found->fd = walk->at;
            walk->at = -1;
            found->flags |= CLO_FOUND_MISSING;
            int read = clo_found_read_back(walk->root, found);
            if (read < 0) return read;
            size_t used = found->size > 1 ? found->size : 0;
            if (size > CLO_PATH_ROOM - 2 - used) return -ENAMETOOLONG;
            found->path[used] = '/';
            memcpy(found->path + used + 1, own, size + 1);
            found->size = (uint32_t)(used + 1 + size);
        }
        if (status < 0) return status;
        if (last && slash && walk->next && !is_folder(walk->at)) return -ENOTDIR;
    }
    if (flags & O_DIRECTORY && !is_folder(walk->at)) return -ENOTDIR;
    found->fd = walk->at;
    walk->at = -1;
    found->flags |= CLO_FOUND_LINKED;
    int status = clo_found_read_back(walk->root, found);
    return status == -ESTALE && walk->outside ? 0 : status; /* the guest has it open: it needs no name */
}

int clo_guest_walk(const struct clo_guest_root *root, int32_t pid, char *todo, size_t room, uint64_t flags,
                   struct clo_found *found) {
    struct walk walk = {.root = root, .pid = pid, .todo = todo, .room = room};
    found->fd = -1;
    found->flags = 0;
    walk.at = openat(root->root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (walk.at < 0) return -errno;
    int status = walk_on(&walk, flags, found);
    if (walk.at >= 0) close(walk.at);
    if (status < 0 && !(found->flags & CLO_FOUND_MISSING)) found->flags |= CLO_FOUND_TEXT;
    return status;
}
