/* A guest that tries to get at a file which a rule keeps from it, by changing what a path means while it is opened.
 *
 *   race KIND COUNT FOLDER    in FOLDER are the files open and shut (the latter is kept from it) and the folders a, b
 *
 * A second thread does the changing. KIND is what it changes: buffer, empty (the same, of a path that is none at times),
 * symlinks, hardlinks, parents, flags (of openat2(2)); after "rename-" or "link-" the file is given another name, which is then opened. Prints
 * how often each file was had: "open N shut N refused N other N". A negative COUNT: at most that often, until shut was
 * had once. Built by tests/native/conftest.py. */
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PLACES = 64 };

static volatile char path[4096]; /* what is opened; buffer: also what is changed */
static char good[4096], bad[4096], place[4096], spare[4096], stolen[4096];
static char given_good[4096 + 8], given_bad[4096 + 8];
static int top = AT_FDCWD;
static atomic_int stop;

static void put(const char *text) {
    for (size_t i = 0;; i++) {
        path[i] = text[i];
        if (!text[i]) break;
    }
}

static void wait_a_little(void) {
    for (volatile int i = 0; i < PLACES; i++) continue;
}

static void *change_buffer(void *none) {
    while (!stop) {
        put(bad);
        wait_a_little();
        put(good);
        wait_a_little();
    }
    return none;
}

/* The name `place` leads to one and the other, without ever being missing. */
static void *change_name(void *make) {
    int (*const link_to)(const char *, const char *) = *(int (**)(const char *, const char *))make;
    while (!stop) {
        if (!link_to(bad, spare)) rename(spare, place);
        if (!link_to(good, spare)) rename(spare, place);
        unlink(spare);
    }
    return NULL;
}

static int make_symlink(const char *to, const char *name) { return symlink(to, name); }
static int make_link(const char *to, const char *name) { return link(to, name); }

static struct open_how how;

static void *change_flags(void *none) {
    volatile uint64_t *flags = (volatile uint64_t *)&how.flags;
    while (!stop) {
        *flags = O_CLOEXEC | O_WRONLY;
        wait_a_little();
        *flags = O_CLOEXEC | O_RDONLY;
        wait_a_little();
    }
    return none;
}

/* Opens what may be read and not written: had is "shut" if it may be written. */
static void open_often(long limit, long had[4], int once) {
    for (long i = 0; i < limit && !(once && had[1]); i++) {
        int fd = (int)syscall(SYS_openat2, AT_FDCWD, bad, &how, sizeof how);
        had[fd < 0 ? 2 : (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY]++;
        if (fd >= 0) close(fd);
    }
}

/* What the path leads to, by another name. That is taken away again: nothing that is not read is lost. */
static int open_stolen(int renames) {
    if (renames ? rename((const char *)path, stolen) : linkat(top, (const char *)path, AT_FDCWD, stolen, AT_SYMLINK_FOLLOW))
        return -1;
    int fd = open(stolen, O_RDONLY | O_CLOEXEC);
    char byte = 0;
    if (!renames) unlink(stolen);
    else if (fd >= 0 && pread(fd, &byte, 1, 0) == 1) rename(stolen, byte == 's' ? given_bad : given_good);
    return fd;
}

int main(int argc, char **argv) {
    static int (*by_symlink)(const char *, const char *) = make_symlink;
    static int (*by_link)(const char *, const char *) = make_link;
    if (argc != 4) return 2;
    const char *kind = argv[1], *folder = argv[3];
    int renames = !strncmp(kind, "rename-", 7), links = !strncmp(kind, "link-", 5);
    kind += renames ? 7 : links ? 5 : 0;
    long count = atol(argv[2]), limit = count < 0 ? -count : count, had[4] = {0};
    int parents = !strcmp(kind, "parents");
    snprintf(good, sizeof good, "%s/%s", folder, parents ? "a" : "open");
    snprintf(bad, sizeof bad, "%s/%s", folder, parents ? "b" : "shut");
    snprintf(place, sizeof place, "%s/place", folder);
    snprintf(spare, sizeof spare, "%s/spare", folder);
    snprintf(stolen, sizeof stolen, "%s/stolen", folder);
    snprintf(given_good, sizeof given_good, "%s%s", good, parents ? "/file" : "");
    snprintf(given_bad, sizeof given_bad, "%s%s", bad, parents ? "/file" : "");
    pthread_t thread;
    int failed;
    if (!strcmp(kind, "empty")) {
        top = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
        strcpy(good, "");
        strcpy(bad, "shut");
        kind = "buffer";
    }
    if (!strcmp(kind, "flags")) {
        failed = pthread_create(&thread, NULL, change_flags, NULL);
        if (!failed) open_often(limit, had, count < 0);
        limit = 0;
    } else if (!strcmp(kind, "buffer")) {
        put(good);
        failed = pthread_create(&thread, NULL, change_buffer, NULL);
    } else {
        int hard = !strcmp(kind, "hardlinks");
        if ((hard ? link(good, place) : symlink(good, place))) return 3;
        char whole[4096 + 8];
        snprintf(whole, sizeof whole, "%s%s", place, parents ? "/file" : "");
        put(whole);
        failed = pthread_create(&thread, NULL, change_name, hard ? &by_link : &by_symlink);
    }
    if (failed) return 4;
    for (long i = 0; i < limit && (count > 0 || !had[1]); i++) {
        char byte = 0;
        int fd = renames || links ? open_stolen(renames) : openat(top, (const char *)path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
            had[2]++;
            continue;
        }
        if (read(fd, &byte, 1) != 1) byte = 0;
        close(fd);
        had[byte == 'o' ? 0 : byte == 's' ? 1 : 3]++;
    }
    stop = 1;
    pthread_join(thread, NULL);
    printf("open %ld shut %ld refused %ld other %ld\n", had[0], had[1], had[2], had[3]);
    return 0;
}
