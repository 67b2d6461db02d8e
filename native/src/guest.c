/* Reading a guest: its memory, and the folder that its relative paths begin in. */
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "guest.h"

enum {
    PAGE = 4096,       /* the smallest there is: larger ones are multiples */
    FIRST_CHUNK = 256, /* nearly every path is shorter */
    LINK_ROOM = 32     /* "4294967295/fd/2147483647" */
};

static const char deleted[] = " (deleted)";

/* Reads exactly size bytes. 0, or -EFAULT: not all of it is readable; -EPERM: this process may not look into that one;
 * -ESRCH: it is gone. The bytes are then undefined. Safe from any thread. */
int clo_guest_read(int32_t pid, uint64_t address, void *out, size_t size) {
    if (size > INT_MAX || address + size < address) return -EFAULT;
    struct iovec here = {.iov_base = out, .iov_len = size}, there = {.iov_base = (void *)(uintptr_t)address, .iov_len = size};
    if (!size) return 0;
    ssize_t got = process_vm_readv(pid, &here, 1, &there, 1, 0);
    if (got < 0) return -errno;
    return (size_t)got == size ? 0 : -EFAULT;
}

/* Reads sizes[n] bytes, each within a page, from addresses[n] to out + n * stride; count is at most CLO_GUEST_READS. As
 * clo_guest_read. */
int clo_guest_read_all(int32_t pid, const uint64_t *addresses, const size_t *sizes, size_t count, char *out, size_t stride) {
    struct iovec here[CLO_GUEST_READS], there[CLO_GUEST_READS];
    size_t all = 0;
    if (count > CLO_GUEST_READS) return -EFAULT;
    for (size_t n = 0; n < count; n++) {
        here[n] = (struct iovec){.iov_base = out + n * stride, .iov_len = sizes[n]};
        there[n] = (struct iovec){.iov_base = (void *)(uintptr_t)addresses[n], .iov_len = sizes[n]};
        all += sizes[n];
    }
    ssize_t got = process_vm_readv(pid, here, count, there, count, 0);
    if (got < 0) return -errno;
    return (size_t)got == all ? 0 : -EFAULT;
}

/* Reads a string to its NUL: its size without that, or -ENAMETOOLONG when there is none in the first `room` bytes, else
 * as clo_guest_read. No read crosses a page, so that a string may end where the memory does. Safe from any thread. */
int clo_guest_text(int32_t pid, uint64_t address, char *out, size_t room) {
    size_t got = 0;
    while (got < room) {
        if (address + got < address) return -EFAULT;
        size_t chunk = PAGE - (size_t)((address + got) % PAGE);
        if (!got && chunk > FIRST_CHUNK) chunk = FIRST_CHUNK;
        if (chunk > room - got) chunk = room - got;
        int status = clo_guest_read(pid, address + got, out + got, chunk);
        if (status < 0) return status;
        const char *end = memchr(out + got, 0, chunk);
        if (end) return (int)(end - out);
        got += chunk;
    }
    return -ENAMETOOLONG;
}

char *clo_decimal(char *to, uint32_t number) {
    char digits[10];
    size_t count = 0;
    do digits[count++] = (char)('0' + number % 10);
    while (number /= 10);
    while (count) *to++ = digits[--count];
    *to = 0;
    return to;
}

int clo_guest_strip(const struct clo_guest_root *root, char *path, size_t size) {
    if (!root->prefix) return (int)size;
    if (size < root->prefix || memcmp(path, root->path, root->prefix) != 0) return -EXDEV;
    if (size == root->prefix) {
        memcpy(path, "/", 2);
        return 1;
    }
    if (path[root->prefix] != '/') return -EXDEV;
    memmove(path, path + root->prefix, size - root->prefix + 1);
    return (int)(size - root->prefix);
}

/* Of a link that ends in " (deleted)", which may also be a name: 0 if the folder is there, -ENOENT if it is not,
 * -ENOTDIR if that is no folder. */
static int still_there(int proc, const char *link) {
    struct stat st;
    if (fstatat(proc, link, &st, 0)) return errno == EACCES ? -EPERM : -errno;
    if (!S_ISDIR(st.st_mode)) return -ENOTDIR;
    return st.st_nlink ? 0 : -ENOENT;
}

/* The path of a process's current folder (AT_FDCWD) or of one it has open, as the guest sees it, with a NUL: its size;
 * or -EBADF: no such descriptor; -ENOTDIR: not of a folder, as far as its name tells; -ENOENT: it was removed;
 * -EXDEV: it lies outside the box's root; -ESRCH, -EPERM as clo_guest_read; -ENAMETOOLONG. */
int clo_guest_base(const struct clo_guest_root *root, int32_t pid, int dirfd, char *out, size_t room) {
    if (pid <= 0) return -ESRCH;
    if (dirfd < 0 && dirfd != AT_FDCWD) return -EBADF;
    char link[LINK_ROOM], *end = clo_decimal(link, (uint32_t)pid);
    if (dirfd == AT_FDCWD) memcpy(end, "/cwd", sizeof "/cwd");
    else {
        memcpy(end, "/fd/", 4);
        clo_decimal(end + 4, (uint32_t)dirfd);
    }
    ssize_t got = readlinkat(root->proc, link, out, room);
    if (got < 0 && errno == EACCES && root->privileged) { /* the folder fd of a process that closed itself is root's */
        clo_guest_reach(root);
        got = readlinkat(root->proc, link, out, room);
        int error = errno;
        clo_guest_take_up(root);
        errno = error;
    }
    if (got < 0 && (errno == EACCES || errno == EPERM)) return -EPERM;
    if (got < 0 && errno == ENOENT) return dirfd == AT_FDCWD ? -ESRCH : -EBADF;
    if (got < 0) return -errno;
    if ((size_t)got >= room) return -ENAMETOOLONG;
    size_t size = (size_t)got;
    out[size] = 0;
    if (!size || out[0] != '/') return -ENOTDIR; /* "pipe:[1]" */
    size_t tail = sizeof deleted - 1;
    if (size > tail && !memcmp(out + size - tail, deleted, tail)) {
        int status = still_there(root->proc, link);
        if (status < 0) return status;
    }
    return clo_guest_strip(root, out, size);
}

/* Gets to know the box whose root folder `folder` is, an O_PATH descriptor that must stay open meanwhile. 0 or a negative
 * errno; after 0 clo_guest_root_free follows. Needs /proc, of the pid namespace that the guests' numbers are of. */
int clo_guest_root_new(int folder, struct clo_guest_root **out) {
    struct clo_guest_root *root = malloc(sizeof *root);
    if (!root) return -ENOMEM;
    memset(root, 0, sizeof *root);
    root->root = folder;
    root->proc = root->own = -1;
    root->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    root->own = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int status = root->proc < 0 || root->own < 0 ? -errno : 0;
    if (!status) {
        char number[11];
        clo_decimal(number, (uint32_t)folder);
        ssize_t got = readlinkat(root->own, number, root->path, sizeof root->path);
        if (got < 0) status = -errno;
        else if ((size_t)got >= sizeof root->path) status = -ENAMETOOLONG;
        else if (!got || root->path[0] != '/') status = -ENOTDIR;
        else root->prefix = got == 1 ? 0 : (size_t)got;
    }
    if (status < 0) {
        clo_guest_root_free(root);
        return status;
    }
    *out = root;
    return 0;
}

/* The folder's descriptor stays open: it is the caller's. NULL is fine. */
void clo_guest_root_free(struct clo_guest_root *root) {
    if (!root) return;
    if (root->proc >= 0) close(root->proc);
    if (root->own >= 0) close(root->own);
    free(root);
}
