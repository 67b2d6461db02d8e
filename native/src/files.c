/* Files in a tree that somebody hostile fills and changes at the same time.
 *
 * Every path is resolved by openat2(2) beneath a descriptor of the tree's root, without following any link; what is
 * then done is done to the descriptor that was found, or to a bare name in the folder that was found. Paths are
 * NUL-terminated, relative, without "." and ".."; "" is the root itself.
 *
 * Where a user is given, the calling thread is that user for the length of the call: setfsuid(2) is per thread, and
 * takes the capabilities over files with it (capabilities(7)). So are group lists by the bare system call, which is why
 * glibc's setgroups is not used. As with clo_spawn, the process writes no core file afterwards. */
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "files.h"

enum {
    BARE = O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, /* never wait for what a guest made, never obey it */
    TRIES = 16,                                            /* of making or opening what comes and goes meanwhile */
    FCHMODAT2 = 452                                        /* Linux 6.6, the same number on every machine */
};

/* File systems without files: opening or reading there acts on the kernel, or never ends. */
static const long no_files[] = {
    PROC_SUPER_MAGIC, SYSFS_MAGIC, DEVPTS_SUPER_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, SECURITYFS_MAGIC,
    DEBUGFS_MAGIC, TRACEFS_MAGIC, BPF_FS_MAGIC, NSFS_MAGIC, PIPEFS_MAGIC, SOCKFS_MAGIC, BINFMTFS_MAGIC, EFIVARFS_MAGIC,
};

/* Makes the calling thread the user for file access, without supplementary groups. 0, or a negative errno and nothing
 * has changed; after 0 clo_act_done must follow in the same thread. A negative uid changes nothing. */
int clo_act_as(const struct clo_who *who, struct clo_was *was) {
    was->changed = 0;
    if (who->uid < 0) return 0;
    was->n_groups = getgroups(CLO_GROUPS_ROOM, was->groups);
    if (was->n_groups < 0) return -errno; /* EINVAL: more groups than there is room for */
    if (prctl(PR_GET_PDEATHSIG, &was->death_signal)) return -errno;
    if (was->n_groups && syscall(SYS_setgroups, (size_t)0, NULL)) return -errno;
    was->changed = 1;
    was->gid = (uint32_t)syscall(SYS_setfsgid, (gid_t)who->gid);
    was->uid = (uint32_t)syscall(SYS_setfsuid, (uid_t)who->uid);
    if (syscall(SYS_setfsuid, (uid_t)-1) == who->uid && syscall(SYS_setfsgid, (gid_t)-1) == who->gid) return 0;
    clo_act_done(was);
    return -EPERM;
}

/* Undoes clo_act_as. A thread that could not become itself again must not go on: the process is aborted. */
void clo_act_done(const struct clo_was *was) {
    if (!was->changed) return;
    syscall(SYS_setfsuid, (uid_t)was->uid);
    syscall(SYS_setfsgid, (gid_t)was->gid);
    int whole = !was->n_groups || !syscall(SYS_setgroups, (size_t)was->n_groups, was->groups);
    if (was->death_signal) whole &= !prctl(PR_SET_PDEATHSIG, was->death_signal); /* a change of user clears it */
    if (!whole || (uint32_t)syscall(SYS_setfsuid, (uid_t)-1) != was->uid ||
        (uint32_t)syscall(SYS_setfsgid, (gid_t)-1) != was->gid) {
        fputs("cloche: a thread could not become its own user again\n", stderr);
        abort();
    }
}

static int open_beneath(int root, const char *path, uint64_t flags, uint64_t mode) {
    struct open_how how = {
        .flags = flags | O_CLOEXEC,
        .mode = mode,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS,
    };
    long fd = syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof how);
    return fd < 0 ? -errno : (int)fd;
}

/* The folder path[0..len) as an O_PATH descriptor, however long the path is. */
static int descend(int root, const char *path, size_t len) {
    char part[CLO_SEGMENT];
    int at = -1;
    do {
        size_t take = len;
        if (take >= sizeof part)
            for (take = sizeof part - 1; take && path[take] != '/';) take--;
        memcpy(part, path, take);
        part[take] = 0;
        int next = take || !len ? open_beneath(at < 0 ? root : at, part, O_PATH | O_DIRECTORY, 0) : -ENAMETOOLONG;
        if (at >= 0) close(at);
        if (next < 0) return next;
        at = next;
        take += take < len; /* the slash */
        path += take;
        len -= take;
    } while (len);
    return at;
}

/* Opens path beneath root, following nothing: a new descriptor, the caller's to close, or a negative errno. */
int clo_beneath(int root, const char *path, uint64_t flags, uint64_t mode) {
    if (strlen(path) < CLO_SEGMENT) return open_beneath(root, path, flags, mode);
    const char *slash = strrchr(path, '/');
    int folder = slash ? descend(root, path, (size_t)(slash - path)) : -ENAMETOOLONG;
    if (folder < 0) return folder;
    int fd = open_beneath(folder, slash + 1, flags, mode);
    close(folder);
    return fd;
}

/* 0 if the descriptor lies in a file system that holds files, else a negative errno. */
int clo_plain(int fd) {
    struct statfs fs;
    if (fstatfs(fd, &fs)) return -errno;
    for (size_t i = 0; i < sizeof no_files / sizeof no_files[0]; i++)
        if (fs.f_type == no_files[i]) return -EOPNOTSUPP;
    return 0;
}

/* The folder that path lies in, as an O_PATH descriptor that is the caller's to close; name points into path.
 * -EBUSY for the root, which lies in nothing here. */
int clo_parent(int root, const char *path, const char **name) {
    if (!*path) return -EBUSY;
    const char *slash = strrchr(path, '/');
    *name = slash ? slash + 1 : path;
    int folder = descend(root, path, slash ? (size_t)(slash - path) : 0);
    int plain = folder < 0 ? folder : clo_plain(folder);
    if (plain >= 0) return folder;
    if (folder >= 0) close(folder);
    return plain;
}

/* Sets the permissions of what an O_PATH descriptor stands for: a file or a folder. 0 or a negative errno. */
int clo_set_mode(int fd, uint32_t mode) {
    if (!syscall(FCHMODAT2, fd, "", mode, AT_EMPTY_PATH)) return 0;
    if (errno != ENOSYS && errno != EPERM) return -errno; /* EPERM also from filters that don't know the call */
    char own[32]; /* before Linux 6.6: our own link to the descriptor, which nobody else can change */
    snprintf(own, sizeof own, "/proc/self/fd/%d", fd);
    return chmod(own, mode) ? -errno : 0;
}

static int regular(int fd, struct stat *st) {
    if (fstat(fd, st)) return -errno;
    if (S_ISDIR(st->st_mode)) return -EISDIR;
    return S_ISREG(st->st_mode) ? clo_plain(fd) : -ENXIO;
}

static int make(int root, const char *path, uint32_t mode, uint64_t more) {
    int fd = clo_beneath(root, path, O_WRONLY | O_CREAT | O_EXCL | BARE | more, mode & 07777);
    if (fd < 0) return fd;
    struct stat st;
    int status = regular(fd, &st);
    if (!status && (st.st_mode & 07777) != mode && fchmod(fd, mode)) status = -errno; /* the umask took some off */
    if (!status) return fd;
    close(fd);
    return status;
}

static int open_as(int root, const char *path, uint32_t how, uint32_t mode) {
    if (how == CLO_FILE_NEW) return make(root, path, mode, 0);
    if (how == CLO_FILE_FOLDER) {
        int folder = clo_beneath(root, path, O_RDONLY | O_DIRECTORY | BARE, 0);
        int plain = folder < 0 ? folder : clo_plain(folder);
        if (folder >= 0 && plain < 0) close(folder);
        return plain < 0 ? plain : folder;
    }
    uint64_t more = how == CLO_FILE_APPEND ? O_APPEND : 0;
    uint64_t access = how == CLO_FILE_READ ? O_RDONLY : how == CLO_FILE_BOTH ? O_RDWR : O_WRONLY;
    int fd = -ENOENT, made = 0;
    for (int i = 0; i < TRIES; i++) {
        fd = clo_beneath(root, path, access | BARE | more, 0);
        if (fd != -ENOENT || access != O_WRONLY) break;
        fd = make(root, path, mode, more);
        made = fd >= 0;
        if (fd != -EEXIST) break;
    }
    if (fd < 0 || made) return fd;
    struct stat st;
    int status = regular(fd, &st);
    if (!status && how == CLO_FILE_WRITE && ftruncate(fd, 0)) status = -errno;
    if (!status) return fd;
    close(fd);
    return status;
}

/* Opens as enum clo_file_how says; a file that is made gets exactly this mode. -ENXIO: neither a file nor a folder. */
int clo_file_open(int root, const struct clo_who *who, const char *path, uint32_t how, uint32_t mode) {
    struct clo_was was;
    int status = clo_act_as(who, &was);
    if (status < 0) return status;
    status = open_as(root, path, how, mode);
    clo_act_done(&was);
    return status;
}

static int fill(int fd, const char *data, size_t size) {
    while (size) {
        ssize_t done = write(fd, data, size);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return -errno;
        data += done;
        size -= (size_t)done;
    }
    return 0;
}

static int replace(int folder, const char *name, const char *temp, const void *data, size_t size, int64_t mode) {
    struct stat old;
    int there = !fstatat(folder, name, &old, AT_SYMLINK_NOFOLLOW);
    if (!there && errno != ENOENT) return -errno;
    if (there && clo_is_mount(folder, name)) return -EBUSY;
    if (there && S_ISDIR(old.st_mode)) return -EISDIR;
    if (there && !S_ISREG(old.st_mode) && !S_ISLNK(old.st_mode)) return -ENXIO;
    if (mode < 0) mode = there && S_ISREG(old.st_mode) ? old.st_mode & 0777 : 0644;
    int fd = make(folder, temp, 0600, 0);
    if (fd < 0) return fd;
    int status = fill(fd, data, size);
    if (!status && fchmod(fd, (mode_t)mode)) status = -errno;
    if (close(fd) && !status) status = -errno;
    if (!status && renameat(folder, temp, folder, name)) status = -errno;
    if (status) unlinkat(folder, temp, 0);
    return status;
}

/* Puts a file in place of what has the name, at once; temp is a free name in the same folder. A negative mode keeps
 * that of the file that was there. Nothing is synced to disk. 0 or a negative errno, and the old file is untouched. */
int clo_file_write(int root, const struct clo_who *who, const char *path, const char *temp, const void *data,
                   size_t size, int64_t mode) {
    struct clo_was was;
    const char *name;
    int status = clo_act_as(who, &was);
    if (status < 0) return status;
    int folder = clo_parent(root, path, &name);
    status = folder < 0 ? folder : replace(folder, name, temp, data, size, mode);
    if (folder >= 0) close(folder);
    clo_act_done(&was);
    return status;
}

static int make_folder(int folder, const char *name, uint32_t mode) {
    if (mkdirat(folder, name, mode & 01777)) return -errno;
    int fd = open_beneath(folder, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
    struct stat st;
    if (fd < 0) return fd;
    int status = fstat(fd, &st) ? -errno : 0;
    if (!status && (st.st_mode & 01777) != mode) status = clo_set_mode(fd, mode); /* the umask took some off */
    close(fd);
    return status;
}

/* Makes one folder. 0 or a negative errno. */
int clo_file_mkdir(int root, const struct clo_who *who, const char *path, uint32_t mode) {
    struct clo_was was;
    const char *name;
    int status = clo_act_as(who, &was);
    if (status < 0) return status;
    int folder = *path ? clo_parent(root, path, &name) : -EEXIST;
    status = folder < 0 ? folder : make_folder(folder, name, mode);
    if (folder >= 0) close(folder);
    clo_act_done(&was);
    return status;
}

/* Makes a symbolic link that says target. 0 or a negative errno. */
int clo_file_symlink(int root, const struct clo_who *who, const char *path, const char *target) {
    struct clo_was was;
    const char *name;
    int status = clo_act_as(who, &was);
    if (status < 0) return status;
    int folder = clo_parent(root, path, &name);
    status = folder < 0 ? folder : symlinkat(target, folder, name) ? -errno : 0;
    if (folder >= 0) close(folder);
    clo_act_done(&was);
    return status;
}

/* Renames, both names being beneath the same root; flags as renameat2(2). 0 or a negative errno. */
int clo_file_move(int root, const struct clo_who *who, const char *source, const char *target, uint32_t flags) {
    struct clo_was was;
    const char *from_name, *to_name;
    int status = clo_act_as(who, &was), to = -1;
    if (status < 0) return status;
    int from = clo_parent(root, source, &from_name);
    status = from;
    if (from >= 0) status = to = clo_parent(root, target, &to_name);
    if (to >= 0 && (clo_is_mount(from, from_name) || clo_is_mount(to, to_name))) status = -EBUSY;
    else if (to >= 0) status = syscall(SYS_renameat2, from, from_name, to, to_name, flags) ? -errno : 0;
    if (to >= 0 && status == -ENOTDIR) status = -EEXIST; /* a folder onto a file; not: no way to get there */
    if (from >= 0) close(from);
    if (to >= 0) close(to);
    clo_act_done(&was);
    return status;
}

static int change_mode(int root, const char *path, uint32_t mode) {
    int fd = clo_beneath(root, path, O_PATH | O_NOFOLLOW, 0);
    if (fd < 0) return fd;
    struct stat st;
    int status = fstat(fd, &st) ? -errno : clo_plain(fd);
    if (!status && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) status = S_ISLNK(st.st_mode) ? -ELOOP : -ENXIO;
    if (!status) status = clo_set_mode(fd, mode);
    close(fd);
    return status;
}

/* Sets the permissions of a file or folder. 0 or a negative errno. */
int clo_file_chmod(int root, const struct clo_who *who, const char *path, uint32_t mode) {
    struct clo_was was;
    int status = clo_act_as(who, &was);
    if (status < 0) return status;
    status = change_mode(root, path, mode);
    clo_act_done(&was);
    return status;
}
