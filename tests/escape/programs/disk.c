/* Filling a file system by every kind of thing it can hold. Each act stops at a count, which is how it is allowed. */
#include "act.h"

#include <linux/falloc.h>
#include <sys/xattr.h>

enum { MIB = 1 << 20 };
static char block[MIB];

static size_t wanted(char **a) {
    return a[0] ? (size_t)atol(a[0]) : 0;
}

static int written(char **a) {
    int fd = open("filled", O_CREAT | O_WRONLY, 0600);
    memset(block, 1, sizeof block);
    for (size_t i = 0; i < wanted(a); i++)
        if (write(fd, block, MIB) != MIB) return 0;
    return fd >= 0;
}

static int allocated(char **a) {
    int fd = open("allocated", O_CREAT | O_WRONLY, 0600);
    return fallocate(fd, 0, 0, (off_t)wanted(a) * MIB) == 0;
}

/* A hole costs nothing; filling it from behind, with holes punched in between, must be counted all the same. */
static int sparse(char **a) {
    int fd = open("sparse", O_CREAT | O_RDWR, 0600);
    if (ftruncate(fd, (off_t)wanted(a) * MIB)) return 0;
    for (off_t i = (off_t)wanted(a) - 1; i >= 0; i--) {
        if (pwrite(fd, block, MIB, i * MIB) != MIB) return 0;
        if (i % 4 == 0) fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, i * MIB, MIB / 4);
    }
    return 1;
}

static int mapped(char **a) {
    int fd = open("mapped", O_CREAT | O_RDWR, 0600);
    size_t size = wanted(a) * MIB;
    if (ftruncate(fd, (off_t)size)) return 0;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) return 0;
    for (size_t at = 0; at < size; at += 4096) memory[at] = 1; /* SIGBUS where there is no room */
    return 1;
}

/* Files that have no name any more, and stay while they are open. */
static int deleted(char **a) {
    memset(block, 1, sizeof block);
    for (size_t i = 0; i < wanted(a); i++) {
        int fd = open("gone", O_CREAT | O_RDWR, 0600);
        unlink("gone");
        if (fd < 0 || write(fd, block, MIB) != MIB) return 0;
    }
    return 1;
}

static int files(char **a) {
    char name[64];
    mkdir("many", 0700);
    for (size_t i = 0; i < wanted(a); i++) {
        snprintf(name, sizeof name, "many/%zu", i);
        int fd = open(name, O_CREAT | O_WRONLY, 0600);
        if (fd < 0) {
            saw("%zu files", i);
            return 0;
        }
        close(fd);
    }
    return 1;
}

static int links(char **a) {
    char name[64];
    close(open("one", O_CREAT | O_WRONLY, 0600));
    for (size_t i = 0; i < wanted(a); i++) {
        snprintf(name, sizeof name, "link-%zu", i);
        if (link("one", name)) {
            saw("%zu links", i);
            return 0;
        }
    }
    return 1;
}

static int symbolic(char **a) {
    static char target[4096];
    char name[64];
    memset(target, 'x', sizeof target - 1);
    for (size_t i = 0; i < wanted(a); i++) {
        snprintf(name, sizeof name, "symbolic-%zu", i);
        if (symlink(target, name)) {
            saw("%zu links", i);
            return 0;
        }
    }
    return 1;
}

/* Folders in folders, far beyond what a path can name. */
static int deep(char **a) {
    char name[201];
    memset(name, 'd', sizeof name - 1);
    name[200] = 0;
    for (size_t i = 0; i < wanted(a); i++)
        if (mkdir(name, 0700) || chdir(name)) {
            saw("%zu levels", i);
            return 0;
        }
    close(open("at-the-bottom", O_CREAT | O_WRONLY, 0600));
    return 1;
}

static int attributes(char **a) {
    static char value[60000];
    char name[64];
    for (size_t i = 0; i < wanted(a); i++) {
        snprintf(name, sizeof name, "attributed-%zu", i);
        close(open(name, O_CREAT | O_WRONLY, 0600));
        for (int n = 0; n < 16; n++) {
            char key[32];
            snprintf(key, sizeof key, "user.escape%d", n);
            if (setxattr(name, key, value, sizeof value, 0)) {
                saw("%zu files", i);
                return 0;
            }
        }
    }
    return 1;
}

/* One file larger than it may be; SIGXFSZ is ignored to be told. */
static int large(char **a) {
    signal(SIGXFSZ, SIG_IGN);
    int fd = open("large", O_CREAT | O_WRONLY, 0600);
    return pwrite(fd, "x", 1, (off_t)wanted(a) * MIB) == 1;
}

/* Names that nobody removes by accident: no right on the folder, names of every byte, a folder that is no file. */
static int stubborn(char **a) {
    (void)a;
    char name[] = "odd-?";
    for (int c = 1; c < 256; c++) {
        name[4] = (char)c;
        if (c != '/') close(open(name, O_CREAT | O_WRONLY, 0));
    }
    mkdir("-rf", 0700);
    mkfifo("pipe", 0);
    return mkdir("shut", 0700) == 0 && mkdir("shut/in", 0) == 0 && chmod("shut", 0) == 0 && chmod(".", 0) == 0;
}

static const struct act acts[] = {
    {"written", written, 0},   {"allocated", allocated, 0}, {"sparse", sparse, 0},         {"mapped", mapped, 0},
    {"deleted", deleted, 0},   {"files", files, 0},         {"hard-links", links, 0},      {"symbolic", symbolic, 0},
    {"deep", deep, 0},         {"attributes", attributes, 0}, {"large", large, 0},         {"stubborn", stubborn, 0},
};

ACT_MAIN(acts)
