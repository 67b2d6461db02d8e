/* Trees that are to fool a host which reads, writes, packs or watches them. All acts work in the present folder. */
#include "act.h"

#include <linux/fs.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

static bool before(time_t end) { return time(NULL) < end; }

static bool put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0) close(fd);
    return written;
}

static int exchange(const char *one, const char *two) {
    if (!syscall(SYS_renameat2, AT_FDCWD, one, AT_FDCWD, two, RENAME_EXCHANGE)) return 0;
    if (errno != EINVAL) return -1;
    rename(one, "aside"); /* a kernel that can't: in three steps, between which the host may put something there */
    rename(two, one);
    rename("aside", two);
    return 0;
}

/* SECONDS SECRET OUTSIDE: swaps the file "spot" with a link to SECRET and the folder "d" with a link to OUTSIDE. */
static int swap(char **a) {
    time_t end = time(NULL) + atoi(a[0]);
    if (!put("spot", "mine") || mkdir("d", 0777) || !put("d/inside", "mine")) return 0;
    if (symlink(a[1], "spot.link") || symlink(a[2], "d.link")) return 0;
    long turns = 0;
    for (; turns == 0 || before(end); turns++)
        if (exchange("spot", "spot.link") || exchange("d", "d.link")) return 0;
    saw("%ld swaps", turns);
    return turns > 0;
}

/* SECONDS: makes, renames and removes folders and files as fast as it can. */
static int storm(char **a) {
    time_t end = time(NULL) + atoi(a[0]);
    long turns = 0;
    for (; before(end); turns++) {
        char one[32], two[32], inner[64];
        snprintf(one, sizeof one, "s%ld", turns % 7);
        snprintf(two, sizeof two, "t%ld", turns % 5);
        mkdir(one, 0777);
        snprintf(inner, sizeof inner, "%s/in", one);
        mkdir(inner, 0777);
        rename(one, two);
        snprintf(inner, sizeof inner, "%s/in", two);
        rmdir(inner);
        rmdir(two);
    }
    saw("%ld turns", turns);
    return turns > 0;
}

/* DEPTH: folders below each other, deeper than any path can say. */
static int deep(char **a) {
    char name[201];
    memset(name, 'd', 200);
    name[200] = 0;
    int depth = 0;
    for (; depth < atoi(a[0]); depth++)
        if (mkdir(name, 0777) || chdir(name)) break;
    saw("%d deep", depth);
    return depth == atoi(a[0]) && put("bottom", "deep");
}

/* COUNT: empty files in folders of a thousand. */
static int many(char **a) {
    int made = 0;
    for (; made < atoi(a[0]); made++) {
        char path[64];
        snprintf(path, sizeof path, "n%d", made / 1000);
        if (made % 1000 == 0 && mkdir(path, 0777)) break;
        snprintf(path, sizeof path, "n%d/%d", made / 1000, made);
        int fd = open(path, O_WRONLY | O_CREAT, 0666);
        if (fd < 0) break;
        close(fd);
    }
    saw("%d files", made);
    return made == atoi(a[0]);
}

/* A pipe, a socket, and devices, as far as they can be made. */
static int specials(char **a) {
    (void)a;
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    bool bound = fd >= 0 && !bind(fd, (struct sockaddr *)&address, sizeof address);
    bool device = !mknod("device", S_IFCHR | 0666, 1 << 8 | 5) || !mknod("disk", S_IFBLK | 0666, 8 << 8);
    saw("%s%s", bound ? "socket " : "", device ? "device " : "");
    return !mkfifo("pipe", 0666) && put("file", "mine");
}

/* Changes a file, then puts back all that it can: size and times. */
static int hide(char **a) {
    (void)a;
    struct stat old;
    if (stat("kept", &old) || !put("kept", "EVIL")) return 0;
    struct timespec times[2] = {old.st_atim, old.st_mtim};
    struct stat now;
    return !utimensat(AT_FDCWD, "kept", times, 0) && !stat("kept", &now) && now.st_size == old.st_size &&
           now.st_mtim.tv_nsec == old.st_mtim.tv_nsec && now.st_mtim.tv_sec == old.st_mtim.tv_sec;
}

/* SECONDS: writes the archive "a" anew, over and over, in pieces of two others. */
static int rewrite(char **a) {
    time_t end = time(NULL) + atoi(a[0]);
    static char one[1 << 16], two[1 << 16];
    int first = open("one", O_RDONLY), second = open("two", O_RDONLY), fd = open("a", O_RDWR | O_CREAT, 0666);
    ssize_t n = read(first, one, sizeof one), m = read(second, two, sizeof two);
    if (fd < 0 || n <= 0 || m <= 0) return 0;
    long turns = 0;
    for (; before(end); turns++) {
        ssize_t length = turns % 2 ? n : m, at = (turns * 7919) % (length + 1);
        if (pwrite(fd, turns % 2 ? one : two, (size_t)length, 0) != length) return 0;
        if (pwrite(fd, turns % 2 ? two : one, (size_t)at, 0) != at) return 0;
        if (turns % 16 == 0 && ftruncate(fd, at)) return 0;
    }
    saw("%ld turns", turns);
    return turns > 0;
}

static const struct act acts[] = {
    {"swap", swap, 0}, {"storm", storm, 0}, {"deep", deep, 0}, {"many", many, 0},
    {"specials", specials, 0}, {"hide", hide, 0}, {"rewrite", rewrite, 0},
};

ACT_MAIN(acts)
