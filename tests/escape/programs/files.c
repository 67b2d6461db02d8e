/* Roads to files, mounts and devices outside the box. */
#include "act.h"

#include <dirent.h>
#include <linux/fs.h>
#include <linux/mount.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <time.h>

/* mount(2) and umount2(2), without <sys/mount.h>, which does not go with <linux/mount.h>. */
static long attach(const char *source, const char *target, const char *type, unsigned long flags, const char *data) {
    return syscall(SYS_mount, source, target, type, flags, data);
}

enum { RDONLY = 1, REMOUNT = 32, BIND = 4096, MOVE = 8192, REC = 16384, SHARED = 1 << 20, DETACH = 2 };

/* Whether the file holds what a secret of the host begins with. */
static int secret_in(int fd) {
    char text[64] = "";
    if (fd < 0 || read(fd, text, sizeof text - 1) <= 0) return 0;
    saw("%s", text);
    return !strncmp(text, "of the host", 11);
}

static int read_file(char **a) {
    int fd = open(a[0], O_RDONLY);
    return secret_in(fd);
}

/* Opens for writing, by each way there is; never writes: what it names may be the host's. */
static int open_to_write(char **a) {
    static const int ways[] = {O_WRONLY, O_RDWR, O_WRONLY | O_APPEND};
    for (size_t i = 0; i < 3; i++) {
        int fd = open(a[0], ways[i]);
        if (fd >= 0) return 1;
    }
    return 0;
}

/* Changes a file without writing: mode, times, owner, attributes, size, name. "done" if any took. */
static int change(char **a) {
    struct timespec times[2] = {{1, 0}, {1, 0}};
    char other[4096];
    snprintf(other, sizeof other, "%s-moved", a[0]);
    int took = (chmod(a[0], 0) == 0) + (utimensat(AT_FDCWD, a[0], times, 0) == 0) + (chown(a[0], getuid(), getgid()) == 0);
    took += (setxattr(a[0], "user.escape", "x", 1, 0) == 0) + (truncate(a[0], 0) == 0) + (rename(a[0], other) == 0);
    int why = errno;
    took += unlink(a[0]) == 0;
    saw("%d of 7 took", took);
    errno = why;
    return took > 0;
}

/* Looks for a file by its path below what every process in /proc shows: roots, working folders, descriptors. */
static int through_proc(char **a) {
    DIR *all = opendir("/proc");
    struct dirent *entry;
    char path[4600];
    int found = 0, shown = 0;
    while (all && (entry = readdir(all))) {
        if (*entry->d_name != 's' && (*entry->d_name < '0' || *entry->d_name > '9')) continue;
        static const char *const roads[] = {"root", "cwd", "cwd/../../../../../../..", "task/1/root"};
        for (size_t i = 0; i < 4; i++) {
            snprintf(path, sizeof path, "/proc/%s/%s%s", entry->d_name, roads[i], a[0]);
            int fd = open(path, O_RDONLY);
            if (fd >= 0) shown++;
            found += secret_in(fd);
        }
        for (int n = 0; n < 32; n++) {
            snprintf(path, sizeof path, "/proc/%s/fd/%d%s", entry->d_name, n, a[0]);
            int fd = open(path, O_RDONLY | O_NONBLOCK);
            found += secret_in(fd);
            snprintf(path, sizeof path, "/proc/%s/fd/%d/../../../../../..%s", entry->d_name, n, a[0]);
            fd = open(path, O_RDONLY | O_NONBLOCK);
            found += secret_in(fd);
        }
    }
    if (all) closedir(all);
    saw("; %d opened", shown);
    errno = all ? ENOENT : EACCES;
    return found > 0;
}

/* Any descriptor above 2 that leads to a file: itself, or the folder it is and what lies above. */
static int leaked_descriptors(char **a) {
    if (a[1]) { /* the control: a folder of its own at 7 */
        int own = open(a[1], O_PATH | O_DIRECTORY);
        if (own < 0 || dup2(own, 7) < 0) return 0;
    }
    int found = 0;
    for (int fd = 3; fd < 1024; fd++) {
        char path[4200];
        found += secret_in(openat(fd, a[0][0] == '/' ? a[0] + 1 : a[0], O_RDONLY));
        snprintf(path, sizeof path, "../../../../../../..%s", a[0]);
        found += secret_in(openat(fd, path, O_RDONLY));
        if (fchdir(fd) == 0) found += secret_in(open(a[0] + (a[0][0] == '/'), O_RDONLY));
    }
    return found > 0;
}

/* CVE-2019-5736: the program that runs as another process is opened through /proc and then, by its descriptor, for
 * writing. Nothing is written. */
static int overwrite_program(char **a) {
    char path[64];
    pid_t child = 0, target = !strcmp(a[0], "parent") ? getppid() : 1;
    if (!strcmp(a[0], "child")) {
        char copy[] = "./victim", *argv[] = {copy, "sleep", NULL};
        int from = open(program_invocation_name, O_RDONLY), to = open(copy, O_WRONLY | O_CREAT, 0755);
        char block[65536];
        for (ssize_t n; (n = read(from, block, sizeof block)) > 0;)
            if (write(to, block, (size_t)n) != n) return 0;
        close(to);
        if ((target = child = fork()) == 0) {
            execv(copy, argv);
            _exit(1);
        }
        struct timespec moment = {0, 100000000};
        nanosleep(&moment, NULL);
    }
    snprintf(path, sizeof path, "/proc/%d/exe", (int)target);
    int shown = open(path, O_PATH);
    if (shown < 0) return 0;
    if (child) { /* a program that runs is busy; once it ended it is a file like others */
        kill(child, SIGKILL);
        ended(child);
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", shown);
    return worked(open(path, O_WRONLY));
}

static int write_memory(char **a) {
    static volatile int value = 1;
    char path[64];
    pid_t child = 0, target = !strcmp(a[0], "parent") ? getppid() : 1;
    if (!strcmp(a[0], "child") && (target = child = fork()) == 0) {
        while (value == 1) {
        }
        _exit(42);
    }
    snprintf(path, sizeof path, "/proc/%d/mem", (int)target);
    int fd = open(path, O_RDWR), two = 2;
    if (!child) return fd >= 0;
    if (fd < 0 || pwrite(fd, &two, sizeof two, (off_t)(uintptr_t)&value) != sizeof two) kill(child, SIGKILL);
    return ended(child) == 42;
}

/* -- mounts: each is enough by itself; "x" is an empty folder of its own --------------------------------------------- */

static int prepared(void) {
    mkdir("x", 0755);
    return 1;
}

static int bind_mount(char **a) {
    (void)a;
    return prepared() && worked(attach("/usr", "x", NULL, BIND, NULL)) && access("x/bin", F_OK) == 0;
}

static int memory_mount(char **a) {
    (void)a;
    return prepared() && worked(attach("none", "x", "tmpfs", 0, NULL));
}

static int unmounted(char **a) {
    (void)a;
    return worked(syscall(SYS_umount2, "/tmp", DETACH));
}

static int remounted(char **a) {
    (void)a;
    return worked(attach(NULL, "/usr", NULL, REMOUNT | BIND, NULL));
}

static int moved(char **a) {
    (void)a;
    return prepared() && worked(attach("/tmp", "x", NULL, MOVE, NULL));
}

static int shared(char **a) {
    (void)a;
    return worked(attach(NULL, "/", NULL, SHARED | REC, NULL));
}

static int overlaid(char **a) {
    (void)a;
    prepared();
    mkdir("upper", 0755);
    mkdir("work", 0755);
    return worked(attach("none", "x", "overlay", 0, "lowerdir=/usr,upperdir=upper,workdir=work,userxattr"));
}

static int pivoted(char **a) {
    (void)a;
    if (!prepared()) return 0;
    attach("none", "x", "tmpfs", 0, NULL);
    return worked(syscall(SYS_pivot_root, "x", "x"));
}

static int proc_mount(char **a) {
    (void)a;
    return prepared() && worked(attach("proc", "x", "proc", 0, NULL));
}

static int sys_mount(char **a) {
    (void)a;
    return prepared() && worked(attach("sysfs", "x", "sysfs", 0, NULL));
}

/* CVE-2022-0492: a version 1 hierarchy has a program that the host's kernel starts when a group empties. */
static int cgroup_mount(char **a) {
    (void)a;
    return prepared() && worked(attach("none", "x", "cgroup", 0, "memory"));
}

static int new_mount_calls(char **a) {
    (void)a;
    int fd = (int)syscall(SYS_fsopen, "tmpfs", 0);
    if (fd < 0 || syscall(SYS_fsconfig, fd, 6 /* FSCONFIG_CMD_CREATE */, NULL, NULL, 0)) return 0;
    return worked(syscall(SYS_fsmount, fd, 0, 0));
}

static int cloned_tree(char **a) {
    (void)a;
    return worked(syscall(SYS_open_tree, AT_FDCWD, "/usr", 1 /* OPEN_TREE_CLONE */));
}

static int writable_again(char **a) {
    (void)a;
    struct mount_attr what = {.attr_clr = 1 /* MOUNT_ATTR_RDONLY */};
    return worked(syscall(SYS_mount_setattr, AT_FDCWD, "/usr", 0, &what, sizeof what));
}

/* chroot(2): out of a root folder by a descriptor from before. */
static int climbed_out(char **a) {
    (void)a;
    prepared();
    int before = open(".", O_RDONLY | O_DIRECTORY);
    if (chroot("x")) return 0;
    if (fchdir(before)) return 0;
    for (int i = 0; i < 32; i++)
        if (chdir("..")) return 0;
    return chroot(".") == 0 && access("/usr/bin", F_OK) == 0;
}

static int handle_given(char **a) {
    (void)a;
    struct {
        struct file_handle head;
        unsigned char more[128];
    } handle = {.head = {.handle_bytes = sizeof handle.more}};
    int mount;
    return worked(syscall(SYS_name_to_handle_at, AT_FDCWD, ".", &handle, &mount, 0));
}

/* The road of "shocker": a handle of inode 2, which is a file system's root folder, whoever made it up. */
static int handle_opened(char **a) {
    (void)a;
    struct {
        struct file_handle head;
        unsigned int inode[2];
    } handle = {.head = {.handle_bytes = 8, .handle_type = 1}, .inode = {2, 0}};
    return worked(syscall(SYS_open_by_handle_at, open(".", O_RDONLY), &handle, O_RDONLY));
}

/* -- devices, special bits ------------------------------------------------------------------------------------------- */

static int device(char **a) {
    unlink("node");
    if (!strcmp(a[0], "fifo")) return worked(mknod("node", S_IFIFO | 0600, 0));
    mode_t kind = !strcmp(a[0], "block") ? S_IFBLK : S_IFCHR;
    if (mknod("node", kind | 0666, kind == S_IFBLK ? makedev(8, 0) : makedev(1, 1 /* /dev/mem */))) return 0;
    return worked(open("node", O_RDONLY));
}

/* A program with the set-user-id bit, in the present folder, by each call that gives a mode. "plain" asks for none. */
static int set_id(char **a) {
    unsigned bits = a[0] && !strcmp(a[0], "plain") ? 0 : a[0] && !strcmp(a[0], "group") ? 02000 : 04000;
    static const char *const names[] = {"by-chmod", "by-open", "by-mknod", "by-openat2", "by-tmpfile"};
    uint64_t how[3] = {O_CREAT | O_WRONLY, bits | 0755, 0};
    struct stat status;
    int made = 0, why = 0;
    umask(0);
    close(open(names[0], O_CREAT | O_WRONLY, 0755));
    if (chmod(names[0], bits | 0755)) why = errno;
    if (open(names[1], O_CREAT | O_WRONLY, bits | 0755) < 0) why = errno;
    if (mknod(names[2], S_IFREG | bits | 0755, 0)) why = errno;
    if (syscall(SYS_openat2, AT_FDCWD, names[3], how, sizeof how) < 0) why = errno;
    int fd = open(".", O_TMPFILE | O_RDWR, bits | 0755);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fd >= 0) linkat(AT_FDCWD, path, AT_FDCWD, names[4], AT_SYMLINK_FOLLOW);
    for (size_t i = 0; i < 5; i++)
        if (stat(names[i], &status) == 0 && (status.st_mode & 07777) == (bits | 0755)) made++, saw("%s ", names[i]);
    errno = why;
    return made > 0;
}

static int file_capabilities(char **a) {
    static const uint32_t rights[5] = {0x02000001 /* VFS_CAP_REVISION_2, effective */, 0x200000, 0, 0, 0};
    close(open("able", O_CREAT | O_WRONLY, 0755));
    return worked(setxattr("able", a[0] ? a[0] : "security.capability", rights, sizeof rights, 0));
}

/* What can't be removed by its host: the immutable flag; "plain" sets one that anybody may. */
static int immutable(char **a) {
    int fd = open("stays", O_CREAT | O_RDWR, 0600), flags = 0;
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags)) return 0;
    flags |= a[0] ? FS_NODUMP_FL : FS_IMMUTABLE_FL | FS_APPEND_FL;
    return worked(ioctl(fd, FS_IOC_SETFLAGS, &flags));
}

static int hard_link(char **a) {
    unlink("hard");
    if (link(a[0], "hard") == 0) return 1;
    int why = errno, fd = open(a[0], O_PATH);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (linkat(fd, "", AT_FDCWD, "hard", AT_EMPTY_PATH) == 0) return 1;
    if (linkat(AT_FDCWD, path, AT_FDCWD, "hard", AT_SYMLINK_FOLLOW) == 0) return 1;
    errno = why;
    return 0;
}

/* -- a folder handed from box to box --------------------------------------------------------------------------------- */

static int unix_socket(const char *path, struct sockaddr_un *address) {
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    strncpy(address->sun_path, path, sizeof address->sun_path - 1);
    return socket(AF_UNIX, SOCK_STREAM, 0);
}

/* give PATH: hands its root folder to whoever listens there. */
static int give_folder(char **a) {
    struct sockaddr_un there;
    int fd = unix_socket(a[0], &there), folder = open("/", O_PATH | O_DIRECTORY);
    struct timespec moment = {0, 20000000};
    int tries = 0;
    if (fd < 0) return 0;
    while (connect(fd, (void *)&there, sizeof there))
        if (++tries > 250 || nanosleep(&moment, NULL)) return 0;
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    memcpy(CMSG_DATA(&control.head), &folder, sizeof folder);
    struct iovec word = {"!", 1};
    struct msghdr message = {.msg_iov = &word, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    return sendmsg(fd, &message, 0) == 1;
}

/* take PATH FILE OWN: takes a folder there, and looks for FILE from it, upwards too. "saw" tells whether OWN, a file of the
 * giver's box, was found: that is the giver's to give. */
static int take_folder(char **a) {
    struct sockaddr_un here;
    int fd = unix_socket(a[0], &here), given = -1;
    if (fd < 0 || bind(fd, (void *)&here, sizeof here) || listen(fd, 1)) return 0;
    int peer = accept(fd, NULL, NULL);
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    char word;
    struct iovec room = {&word, 1};
    struct msghdr message = {.msg_iov = &room, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    if (recvmsg(peer, &message, 0) != 1 || message.msg_controllen < sizeof control.head) return 0;
    memcpy(&given, CMSG_DATA(&control.head), sizeof given);
    char path[4200];
    saw("%s", openat(given, a[2] + 1, O_RDONLY) >= 0 ? "the giver's own file; " : "a folder; ");
    int found = secret_in(openat(given, a[1] + 1, O_RDONLY));
    snprintf(path, sizeof path, "../../../../../../..%s", a[1]);
    found += secret_in(openat(given, path, O_RDONLY));
    if (fchdir(given) == 0) {
        for (int i = 0; i < 32; i++)
            if (chdir("..")) break;
        found += secret_in(open(a[1] + 1, O_RDONLY));
    }
    errno = ENOENT;
    return found > 0;
}

static int sleep_now(char **a) {
    (void)a;
    sleep(10);
    return 1;
}

static const struct act acts[] = {
    {"read", read_file, 0},
    {"open-to-write", open_to_write, 0},
    {"change", change, 0},
    {"through-proc", through_proc, 0},
    {"leaked-descriptors", leaked_descriptors, 0},
    {"overwrite-program", overwrite_program, 0},
    {"write-memory", write_memory, 0},
    {"mount-bind", bind_mount, SYS_mount},
    {"mount-tmpfs", memory_mount, SYS_mount},
    {"umount", unmounted, SYS_umount2},
    {"remount", remounted, SYS_mount},
    {"mount-move", moved, SYS_mount},
    {"mount-shared", shared, SYS_mount},
    {"mount-overlay", overlaid, SYS_mount},
    {"pivot-root", pivoted, SYS_pivot_root},
    {"mount-proc", proc_mount, SYS_mount},
    {"mount-sysfs", sys_mount, SYS_mount},
    {"mount-cgroup", cgroup_mount, SYS_mount},
    {"fsmount", new_mount_calls, SYS_fsopen},
    {"open-tree", cloned_tree, SYS_open_tree},
    {"mount-setattr", writable_again, SYS_mount_setattr},
    {"chroot-climb", climbed_out, SYS_chroot},
    {"name-to-handle", handle_given, SYS_name_to_handle_at},
    {"open-by-handle", handle_opened, SYS_open_by_handle_at},
    {"device", device, 0},
    {"set-id", set_id, 0},
    {"file-capabilities", file_capabilities, 0},
    {"immutable", immutable, 0},
    {"hard-link", hard_link, 0},
    {"give-folder", give_folder, 0},
    {"take-folder", take_folder, 0},
    {"sleep", sleep_now, 0},
};

ACT_MAIN(acts)
