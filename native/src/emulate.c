/* An open done for a guest: found first, judged by the caller, then opened as that very file.
 *
 * Why: the guest's memory, and what its names lead to, may change between the judge's look and the kernel's. So the
 * kernel never gets to see the guest's own call: what was judged is what is opened, and the guest gets its descriptor.
 *
 * Nothing here waits for a guest: what may (a pipe with a name) is opened without waiting, and asked for again later.
 * Devices that would be this process's own are not opened: /dev/tty is the guest's terminal, other devices than the
 * memory ones and terminals are refused. docs/decisions/0036-opens-done-for-a-guest.md has the whole list. */
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "guest.h"

#ifdef __aarch64__
enum { LARGE = 0400000 }; /* O_LARGEFILE, which is 0 in our headers and set by programs all the same */
#else
enum { LARGE = 0100000 };
#endif

enum {
    TMPFILE = O_TMPFILE & ~O_DIRECTORY,
    HARMLESS = O_ACCMODE | O_APPEND | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_DIRECTORY | LARGE,
    USUAL = HARMLESS | O_CREAT | O_EXCL | O_TRUNC,
    SETTABLE = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME, /* by F_SETFL, which sets all of them */
    MEMORY = 1, TERMINAL = 5, PTY_FIRST = 136, PTY_LAST = 143 /* major numbers: devices.txt */
};

/* Whether the kernel would take these flags at all, asked of itself: with a folder that is none, nothing else happens. */
static int check_flags(const struct clo_guest_how *how) {
    if (!(how->flags & ~(uint64_t)USUAL) && !(how->flags & O_CREAT && how->flags & O_DIRECTORY) && !how->exact) return 0;
    struct open_how exact = {.flags = how->flags, .mode = how->mode, .resolve = how->resolve};
    long fd = how->exact ? syscall(SYS_openat2, -1, "x", &exact, sizeof exact)
                         : syscall(SYS_openat, -1, "x", (int)how->flags, (mode_t)how->mode);
    if (fd >= 0) close((int)fd); /* can't be */
    return fd < 0 && errno == EBADF ? 0 : fd < 0 ? -errno : -EINVAL;
}

/* Whether the path, as its text says it, begins in a folder whose files do something when they are opened. */
static bool begins_special(const struct clo_found *found) {
    static const char *const folders[] = {"/proc", "/dev", "/sys"};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        size_t length = strlen(folders[i]);
        if (!strncmp(found->path, folders[i], length) && (!found->path[length] || found->path[length] == '/')) return true;
    }
    return false;
}

/* The path's last name with slashes after it, or "": kernel's O_CREAT takes no slash after a name. */
static bool ends_with_slash(const struct clo_asked *asked) {
    size_t size = asked->size;
    while (size && asked->path[size - 1] == '/') size--;
    if (!size || size == asked->size) return false;
    bool dot = asked->path[size - 1] == '.' && (size == 1 || asked->path[size - 2] == '/' ||
                                                (asked->path[size - 2] == '.' && (size == 2 || asked->path[size - 3] == '/')));
    return !dot;
}

/* Finds the folder that the path's last name is in. */
static int find_folder(struct clo_guest_root *root, const struct clo_asked *asked, uint64_t resolve, struct clo_found *found) {
    if (found->fd >= 0) return 0;
    size_t size = strlen(root->joined);
    while (size && root->joined[size - 1] == '/') size--;
    while (size && root->joined[size - 1] != '/') size--;
    root->joined[size ? size : 1] = 0;
    struct clo_found folder;
    folder.fd = -1;
    int status = clo_guest_find(root, asked, O_PATH | O_DIRECTORY, resolve, &folder);
    found->fd = folder.fd;
    return status;
}

static int pin_to_create(struct clo_guest_root *root, const struct clo_asked *asked, const struct clo_guest_how *how,
                         struct clo_found *found) {
    uint64_t nofollow = how->flags & (O_NOFOLLOW | O_EXCL) ? O_NOFOLLOW : 0;
    int status = clo_guest_find(root, asked, O_PATH | nofollow, how->resolve, found);
    if (ends_with_slash(asked) && (!status || status == -ENOENT || status == -ENOTDIR)) {
        clo_found_drop(found);
        status = find_folder(root, asked, 0, found);
        return status < 0 ? status : -EISDIR;
    }
    if (!status && how->flags & O_EXCL) return -EEXIST;
    if (!status && S_ISDIR(found->mode)) return -EISDIR;
    if (status != -ENOENT || !(found->flags & CLO_FOUND_MISSING)) return status;
    return find_folder(root, asked, RESOLVE_NO_SYMLINKS, found); /* none was on the way */
}

/* Finds the file that the guest asks to open. 0, and after the judge's word clo_guest_take follows; or what the guest is
 * to be told. found->path is for the judge in either case. A plain file or folder that is only to be opened, without
 * being emptied or made, is open by then. clo_found_drop follows in any case. */
int clo_guest_pin(struct clo_guest_root *root, const struct clo_asked *asked, const struct clo_guest_how *how,
                  struct clo_found *found) {
    int begun = clo_guest_begin(root, asked, found), status = check_flags(how);
    if (!root->became) return -EPERM; /* it would be done with this process's rights */
    if (status < 0 || begun < 0) return status < 0 ? status : begun;
    uint64_t flags = how->flags, kept = flags & (O_NOFOLLOW | O_DIRECTORY);
    if (flags & O_CREAT && !(flags & O_PATH)) return pin_to_create(root, asked, how, found);
    if (flags & ~(uint64_t)HARMLESS || how->resolve || begins_special(found))
        return clo_guest_find(root, asked, O_PATH | kept, how->resolve, found); /* O_PATH itself too */
    status = clo_guest_find(root, asked, (flags & ~(uint64_t)LARGE) | O_NONBLOCK | O_NOCTTY, 0, found);
    if (status == -ENXIO || status == -EAGAIN) return clo_guest_find(root, asked, O_PATH | kept, 0, found); /* a pipe */
    if (status < 0 || found->flags & CLO_FOUND_LINKED) return status;
    if (!(found->flags & CLO_FOUND_SPECIAL) && (S_ISREG(found->mode) || S_ISDIR(found->mode) || S_ISFIFO(found->mode))) {
        found->flags |= CLO_FOUND_OPEN;
        return 0;
    }
    clo_found_drop(found);
    return clo_guest_find(root, asked, O_PATH | kept, 0, found);
}

/* Opens what an O_PATH descriptor stands for. */
static int open_again(const struct clo_guest_root *root, int fd, uint64_t flags, uint64_t mode) {
    char number[11];
    clo_decimal(number, (uint32_t)fd);
    int again = openat(root->own, number, (int)(flags | O_CLOEXEC | O_NOCTTY), (mode_t)mode);
    return again < 0 ? -errno : again;
}

/* Takes off the O_NONBLOCK that the guest did not ask for. */
static int let_wait(int fd, uint64_t flags) {
    if (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, (int)(flags & SETTABLE))) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

/* Whether there is, or was since it was opened, somebody who writes into a pipe open to read. tee(2) takes nothing out,
 * and tells nobody writes (0) from nothing is there (EAGAIN). */
static int is_written(int fd) {
    struct pollfd ask = {.fd = fd, .events = POLLIN};
    if (poll(&ask, 1, 0) > 0) return 1; /* POLLHUP: was */
    int scratch[2];
    if (pipe2(scratch, O_CLOEXEC | O_NONBLOCK)) return -errno;
    ssize_t copied = tee(fd, scratch[1], 1, SPLICE_F_NONBLOCK);
    close(scratch[0]);
    close(scratch[1]);
    return copied != 0;
}

/* A pipe with a name, open without waiting: -EINPROGRESS while the guest would wait for the other end. One that is to
 * be read stays open meanwhile, for who writes to find it. */
static int open_pipe(const struct clo_guest_root *root, struct clo_found *found, uint64_t flags) {
    if (!(found->flags & CLO_FOUND_OPEN)) {
        int fd = open_again(root, found->fd, flags | O_NONBLOCK, 0);
        if (fd == -ENXIO && !(flags & O_NONBLOCK)) return -EINPROGRESS; /* nobody reads */
        if (fd < 0) return fd;
        clo_found_drop(found);
        found->fd = fd;
        found->flags |= CLO_FOUND_OPEN;
    }
    if (!(flags & O_NONBLOCK) && (flags & O_ACCMODE) == O_RDONLY) {
        int written = is_written(found->fd);
        if (written <= 0) return written < 0 ? written : -EINPROGRESS;
    }
    int fd = found->fd;
    found->fd = -1;
    return let_wait(fd, flags);
}

/* /dev/tty is the terminal of whoever opens it: the guest's is looked for in the box's own /dev/pts. */
static int open_terminal(const struct clo_guest_root *root, const struct clo_asked *asked, uint64_t flags) {
    char path[32] = "/dev/pts/";
    uint32_t number;
    struct stat st;
    int status = clo_guest_terminal(root, asked->pid, &number);
    if (status < 0) return status;
    clo_decimal(path + strlen(path), number);
    int found = clo_open_scoped(root->root, path, O_PATH, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);
    if (found < 0) return -ENXIO;
    bool same = !fstat(found, &st) && S_ISCHR(st.st_mode) && major(st.st_rdev) == PTY_FIRST + number / 256 &&
                minor(st.st_rdev) == number % 256;
    int fd = same ? open_again(root, found, flags, 0) : -ENXIO;
    close(found);
    return fd;
}

static int open_device(const struct clo_guest_root *root, const struct clo_asked *asked, const struct clo_found *found,
                       uint64_t flags) {
    struct stat st;
    if (fstat(found->fd, &st)) return -errno;
    unsigned kind = major(st.st_rdev), which = minor(st.st_rdev);
    bool known = S_ISCHR(st.st_mode) && ((kind == MEMORY && (which == 3 || which == 5 || which == 7 || which == 8 || which == 9)) ||
                                         (kind == TERMINAL && which == 2) || (kind >= PTY_FIRST && kind <= PTY_LAST));
    if (kind == TERMINAL && !which && S_ISCHR(st.st_mode)) return open_terminal(root, asked, flags);
    return known ? open_again(root, found->fd, flags, 0) : -EPERM;
}

/* Makes a file with the guest's umask, under the very name that was judged. */
static int create(const struct clo_guest_root *root, const struct clo_asked *asked, struct clo_found *found,
                  const struct clo_guest_how *how) {
    struct clo_guest_status status;
    int failed = clo_guest_status(root, asked->pid, &status);
    if (failed < 0) return failed;
    mode_t before = umask((mode_t)status.umask); /* this thread's own: clo_guest_become */
    int fd;
    if (how->flags & TMPFILE) {
        fd = open_again(root, found->fd, how->flags & ~(uint64_t)O_NOFOLLOW, how->mode & 07777);
    } else {
        const char *name = strrchr(found->path, '/');
        uint64_t flags = how->flags | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY;
        fd = !name || !name[1] ? -ENOENT : openat(found->fd, name + 1, (int)flags, (mode_t)(how->mode & 07777));
        if (fd == -1) fd = -errno;
    }
    umask(before);
    if (fd != -EEXIST || how->flags & O_EXCL) return fd;
    /* Somebody was faster; it is still under the name that was judged. */
    int there = openat(found->fd, strrchr(found->path, '/') + 1, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (there < 0) return -errno;
    clo_found_drop(found);
    found->fd = there;
    found->flags &= ~(uint32_t)CLO_FOUND_MISSING;
    struct stat st;
    if (fstat(there, &st)) return -errno;
    found->mode = st.st_mode;
    return S_ISLNK(st.st_mode) ? -ELOOP : S_ISDIR(st.st_mode) ? -EISDIR : -EAGAIN;
}

/* Files of /proc/PID that all may open, and that look at rights of this process in a box's user namespace which the
 * guest lacks: of a process that is closed to guests (prctl PR_SET_DUMPABLE), which has another owner there. */
static bool is_closed(const struct clo_guest_root *root, const struct clo_found *found) {
    static const char *const names[] = {"maps", "smaps", "smaps_rollup", "numa_maps", "wchan"};
    struct stat st;
    if (fstat(found->fd, &st)) return true;
    if (st.st_uid == root->uid) return false;
    const char *name = strrchr(found->path, '/');
    for (size_t i = 0; name && i < sizeof names / sizeof names[0]; i++)
        if (!strcmp(name + 1, names[i])) return true;
    return false;
}

static int take_pinned(const struct clo_guest_root *root, const struct clo_asked *asked, struct clo_found *found,
                       const struct clo_guest_how *how) {
    uint64_t flags = how->flags & ~(uint64_t)(O_CREAT | O_EXCL | O_NOFOLLOW);
    if (S_ISLNK(found->mode)) return -ELOOP;
    if (S_ISFIFO(found->mode)) return open_pipe(root, found, flags);
    if (S_ISCHR(found->mode) || S_ISBLK(found->mode)) return open_device(root, asked, found, flags);
    if (found->flags & CLO_FOUND_SPECIAL && is_closed(root, found)) return -EACCES;
    int fd = open_again(root, found->fd, flags | O_NONBLOCK, 0);
    if (fd == -EAGAIN && !(flags & O_NONBLOCK)) return -EINPROGRESS; /* a lease: fcntl(2) */
    return fd < 0 ? fd : let_wait(fd, flags);
}

/* Opens what clo_guest_pin found and the caller judged: a descriptor, closed on exec here, the caller's to hand over and
 * close; or what the guest is to be told; or -EINPROGRESS: the guest would wait, take again later. */
int clo_guest_take(struct clo_guest_root *root, const struct clo_asked *asked, const struct clo_guest_how *how,
                   struct clo_found *found) {
    if (!root->became || found->fd < 0) return -EPERM;
    if (how->flags & O_PATH || (found->flags & CLO_FOUND_OPEN && !S_ISFIFO(found->mode))) {
        int fd = found->fd;
        found->fd = -1;
        return how->flags & O_PATH ? fd : let_wait(fd, how->flags);
    }
    int fd = -EAGAIN;
    if (how->flags & TMPFILE || found->flags & CLO_FOUND_MISSING) fd = create(root, asked, found, how);
    if (fd != -EAGAIN || how->flags & TMPFILE) return fd;
    if (!(found->flags & CLO_FOUND_SPECIAL)) return take_pinned(root, asked, found, how);
    clo_guest_lay_down(root);
    fd = take_pinned(root, asked, found, how);
    clo_guest_take_up(root);
    return fd;
}
