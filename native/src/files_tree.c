/* Reading folders in batches, and removing whole trees: whatever size, depth and names they have. */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "files.h"

enum {
    BATCH = 16384,       /* bytes of one getdents64(2) when listing: some 400 names */
    SWEEP = 2048,        /* the same when removing, where a folder is read again after each folder in it */
    TEXT_MIN = 8192,     /* room that one name and the text of one link always fit in */
    LINK_ROOM = 4096,    /* PATH_MAX: the longest text of a link */
    WANTED = STATX_TYPE | STATX_MODE | STATX_NLINK | STATX_SIZE | STATX_INO | STATX_MTIME | STATX_CTIME,
    DEPTH_MAX = 1 << 18, /* levels, some 70 MB of names at most; deeper only if a guest goes on making them */
    REFILLS = 8          /* times a folder that fills again is swept before that is an error */
};

/* linux_dirent64, getdents(2) */
struct entry {
    uint64_t inode;
    int64_t offset;
    uint16_t size;
    uint8_t type;
    char name[];
};

_Static_assert(offsetof(struct entry, name) == 19, "getdents(2)");
_Static_assert(sizeof(struct clo_file) == 48, "packed by cloche_native.files");

/* Nanoseconds since 1970. A guest may set any time; those beyond 64 bits, in the years 1677 and 2262, stay there. */
static int64_t nanoseconds(const struct statx_timestamp *time) {
    int64_t whole;
    if (__builtin_mul_overflow(time->tv_sec, (int64_t)1000000000, &whole)) return time->tv_sec < 0 ? INT64_MIN : INT64_MAX;
    return __builtin_add_overflow(whole, (int64_t)time->tv_nsec, &whole) ? INT64_MAX : whole;
}

/* 1 if the name is where something is mounted, as the folder's own mount namespace sees it. The kernel would remove or
 * rename it at our word, and with it the mount: it protects those of the caller's namespace only. */
int clo_is_mount(int folder, const char *name) {
    struct statx st;
    return !statx(folder, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, 0, &st) &&
           (st.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

/* 0 or a negative errno; 1 if it is the root of a mount. */
static int look(int folder, const char *name, int flags, struct clo_file *file) {
    struct statx st;
    if (statx(folder, name, flags | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, WANTED, &st)) return -errno;
    file->inode = st.stx_ino;
    file->size = st.stx_size;
    file->modified_ns = nanoseconds(&st.stx_mtime);
    file->changed_ns = nanoseconds(&st.stx_ctime);
    file->mode = st.stx_mode;
    file->links = st.stx_nlink;
    return !!(st.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

/* The text of a link, with its NUL, into text; its length without, 0 if it is none any more. */
static size_t link_text(int folder, const char *name, char *text) {
    ssize_t size = readlinkat(folder, name, text, LINK_ROOM - 1);
    if (size < 0) size = 0;
    text[size] = 0;
    return (size_t)size;
}

/* Tells about path itself; the text of a link goes to target, of at least 4096 bytes. 0 or a negative errno. */
int clo_file_stat(int root, const struct clo_who *who, const char *path, struct clo_file *file, char *target) {
    struct clo_was was;
    int status = clo_act_as(who, &was);
    if (status < 0) return status;
    int fd = clo_beneath(root, path, O_PATH | O_NOFOLLOW, 0);
    status = fd < 0 ? fd : look(fd, "", AT_EMPTY_PATH, file);
    if (!status) status = clo_plain(fd); /* where a /proc is mounted may be told, what is in it not */
    if (status > 0) status = 0;
    target[0] = 0;
    if (!status && S_ISLNK(file->mode)) link_text(fd, "", target);
    if (fd >= 0) close(fd);
    clo_act_done(&was);
    return status;
}

static int is_dots(const char *name) { return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2])); }

static int pack(int folder, struct clo_file *files, size_t room, char *text, size_t text_room, size_t *used) {
    char batch[BATCH] __attribute__((aligned(8)));
    size_t count = 0;
    *used = 0;
    off_t before = lseek(folder, 0, SEEK_CUR);
    while (!count) {
        long got = syscall(SYS_getdents64, folder, batch, sizeof batch);
        if (got < 0) return errno == ENOENT ? 0 : -errno; /* the folder itself was removed */
        if (!got) return 0;
        for (long at = 0; at < got;) {
            const struct entry *entry = (const struct entry *)(batch + at);
            at += entry->size;
            if (is_dots(entry->name)) {
                before = entry->offset;
                continue;
            }
            if (count == room || text_room - *used < TEXT_MIN) {
                if (lseek(folder, before, SEEK_SET) < 0) return -errno; /* the rest comes with the next call */
                return (int)count;
            }
            before = entry->offset;
            int status = look(folder, entry->name, 0, &files[count]);
            if (status == -ENOENT || status == -ESTALE) continue; /* it vanished meanwhile */
            if (status < 0) return status;
            files[count].offset = entry->offset;
            size_t size = strlen(entry->name) + 1;
            memcpy(text + *used, entry->name, size);
            *used += size;
            if (S_ISLNK(files[count].mode)) *used += link_text(folder, entry->name, text + *used);
            text[(*used)++] = 0;
            count++;
        }
    }
    return (int)count;
}

/* The next names of an open folder: how many, 0 at its end, or a negative errno. Names and the texts of links stand in
 * text one after another: name NUL target NUL. The descriptor's offset is the position; threads must not share it. */
int clo_file_list(int folder, const struct clo_who *who, struct clo_file *files, size_t room, char *text,
                  size_t text_room, size_t *used) {
    struct clo_was was;
    if (!room || text_room < TEXT_MIN) return -EINVAL;
    int status = clo_act_as(who, &was);
    if (status < 0) return status;
    status = pack(folder, files, room, text, text_room, used);
    clo_act_done(&was);
    return status;
}

/* ---- Removing ----
 *
 * One descriptor walks the tree; ".." takes it up again, and counts only if it leads to the very folder it came from:
 * a guest that moves folders about meanwhile is caught, not followed. What is remembered of each level is its identity
 * and its name, so any depth will do. */

struct level {
    uint64_t device, inode; /* of the folder above */
    size_t name;            /* where its own name starts in names */
    int refills;            /* times it had something in it again after it was emptied */
};

struct sweep {
    struct level *levels;
    char *names;
    size_t depth, levels_room, names_used, names_room;
    size_t budget; /* names that may still be removed in this call */
};

static int push(struct sweep *s, int folder, const char *name) {
    struct stat st;
    if (fstat(folder, &st)) return -errno;
    size_t size = strlen(name) + 1;
    if (s->depth == DEPTH_MAX) return -ENOTEMPTY;
    if (s->depth == s->levels_room) {
        size_t room = s->levels_room ? 2 * s->levels_room : 64;
        struct level *more = realloc(s->levels, room * sizeof *more);
        if (!more) return -ENOMEM;
        s->levels = more;
        s->levels_room = room;
    }
    if (size > s->names_room - s->names_used) {
        size_t room = 2 * s->names_room + 4096;
        char *more = realloc(s->names, room);
        if (!more) return -ENOMEM;
        s->names = more;
        s->names_room = room;
    }
    s->levels[s->depth++] = (struct level){.device = st.st_dev, .inode = st.st_ino, .name = s->names_used};
    memcpy(s->names + s->names_used, name, size);
    s->names_used += size;
    return 0;
}

/* Opens a folder by its bare name, made accessible first if it is closed to its owner. */
static int open_folder(int at, const char *name) {
    enum { FLAGS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK };
    struct stat st;
    int closed = clo_beneath(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
    if (closed < 0) return closed;
    int status = fstat(closed, &st) ? -errno : clo_plain(closed);
    if (!status && (st.st_mode & 0700) != 0700) status = clo_set_mode(closed, 0700);
    int fd = status < 0 ? status : clo_beneath(closed, "", FLAGS, 0);
    close(closed);
    return fd;
}

/* Removes what can be removed from the folder. 1: all was; 0: a folder with something in it was found, and pushed. */
static int sweep_folder(struct sweep *s, int folder) {
    char batch[SWEEP] __attribute__((aligned(8)));
    if (lseek(folder, 0, SEEK_SET) < 0) return -errno;
    for (;;) {
        long got = syscall(SYS_getdents64, folder, batch, sizeof batch);
        if (got <= 0) return got < 0 && errno != ENOENT ? -errno : 1;
        for (long at = 0; at < got;) {
            const struct entry *entry = (const struct entry *)(batch + at);
            at += entry->size;
            if (is_dots(entry->name)) continue;
            if (!s->budget) return -EAGAIN;
            s->budget--;
            if (clo_is_mount(folder, entry->name)) return -EBUSY;
            if (!unlinkat(folder, entry->name, 0) || errno == ENOENT) continue;
            if (errno != EISDIR) return -errno;
            if (!unlinkat(folder, entry->name, AT_REMOVEDIR) || errno == ENOENT) continue;
            if (errno != ENOTEMPTY) return -errno;
            s->budget++; /* going down takes nothing away: else a call might end before it got to the bottom */
            int status = push(s, folder, entry->name);
            if (status < 0) return status;
            return 0;
        }
    }
}

static int up(struct sweep *s, int folder) {
    const struct level *level = &s->levels[s->depth - 1];
    struct stat st;
    int above = openat(folder, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (above < 0) return -errno;
    int status = fstat(above, &st) ? -errno : 0;
    if (!status && (st.st_dev != level->device || st.st_ino != level->inode)) status = -ESTALE;
    int fd = status < 0 ? status : clo_beneath(above, "", O_RDONLY | O_DIRECTORY | O_NONBLOCK, 0);
    close(above);
    return fd;
}

/* Removes the emptied folder of the last level from the folder above. 1: done; 0: it is not empty any more. */
static int drop(struct sweep *s, int above) {
    struct level *level = &s->levels[s->depth - 1];
    if (unlinkat(above, s->names + level->name, AT_REMOVEDIR) && errno != ENOENT && errno != ENOTDIR)
        return errno == ENOTEMPTY && level->refills++ < REFILLS ? 0 : -errno;
    s->names_used = level->name;
    s->depth--;
    return 1;
}

/* Removes the folder `name` of `top` with all that is in it. */
static int clear_tree(struct sweep *s, int top, const char *name) {
    int status = push(s, top, name);
    int folder = status < 0 ? status : open_folder(top, name);
    while (folder >= 0) {
        status = sweep_folder(s, folder);
        int next = -1;
        if (!status) { /* down, unless it is something else by now */
            next = open_folder(folder, s->names + s->levels[s->depth - 1].name);
            if (next == -ENOENT || next == -ENOTDIR || next == -ELOOP) {
                if (s->budget) s->budget--; /* a guest could go on with that for ever */
                s->names_used = s->levels[--s->depth].name;
                continue;
            }
            status = next;
        } else if (status > 0) { /* up, unless it is not empty any more */
            int above = s->depth > 1 ? up(s, folder) : top;
            status = above < 0 ? above : drop(s, above);
            if (status > 0 && above == top) {
                close(folder);
                return 0;
            }
            next = status > 0 ? above : folder;
            if (status <= 0 && above >= 0 && above != top) close(above);
            if (!status) continue;
        }
        if (status < 0) break;
        close(folder);
        folder = next;
    }
    if (folder < 0) return folder;
    close(folder);
    return status;
}

static int remove_name(int folder, const char *name, int recursive, size_t budget) {
    if (clo_is_mount(folder, name)) return -EBUSY;
    if (!unlinkat(folder, name, 0)) return 0;
    if (errno != EISDIR) return -errno;
    if (!unlinkat(folder, name, AT_REMOVEDIR)) return 0;
    if (!recursive || errno != ENOTEMPTY) return -errno;
    struct sweep sweep = {.budget = budget};
    int status = clear_tree(&sweep, folder, name);
    free(sweep.levels);
    free(sweep.names);
    return status;
}

/* Removes a name; of a folder all that is in it first, if recursive. 0, a negative errno, or -EAGAIN after `budget`
 * names: call again. */
int clo_file_remove(int root, const struct clo_who *who, const char *path, int recursive, size_t budget) {
    struct clo_was was;
    const char *name;
    int status = clo_act_as(who, &was);
    if (status < 0) return status;
    int folder = clo_parent(root, path, &name);
    status = folder < 0 ? folder : remove_name(folder, name, recursive, budget);
    if (folder >= 0) close(folder);
    clo_act_done(&was);
    return status;
}
