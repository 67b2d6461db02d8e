/* The guest of the benchmarks of watching: works, and measures itself.
 *
 *   watched run COUNT COMMAND...    prints {"ns": [...]}: how long each run of COMMAND took, in a new empty folder of
 *                                   /tmp, which is removed; COMMAND must end with exit code 0
 *   watched exec COMMAND...         becomes COMMAND, which measures itself
 *   watched opens FILE              prints {"ns": [...]}: open + close of FILE, each number the median of one batch
 *   watched denied FILE             prints {"p50": N, "p99": N}: nanoseconds of one open that is refused (EACCES, EPERM)
 *   watched marks FILE COUNT        opens FILE.0 to FILE.COUNT-1, one every 2 ms, none of which is there, and prints
 *                                   {"ns": [...]}: CLOCK_MONOTONIC just before each
 *   watched flood FILE MILLISECONDS opens FILE, which is not there, as fast as it can, and prints
 *                                   {"count": N, "ns": N}: how often, and how long that took
 *
 * Each answer is checked; a wrong one ends the program with exit code 1 and a line on standard error. Static, as
 * inside.c is. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <ftw.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest.h"

enum { BATCHES = 20, OPENS = 500, DENIALS = 20000, MARKS = 10000, PATH = 4096 };

static void show(const uint64_t *ns, int count) {
    for (int i = 0; i < count; i++)
        printf("%s%llu", i == 0 ? "{\"ns\": [" : ", ", (unsigned long long)ns[i]);
    puts("]}");
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk) {
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

static void run_once(char **command, int out) {
    pid_t child = fork();
    if (child < 0)
        fail("fork");
    if (child == 0) {
        if (dup2(out, 1) < 0)
            _exit(126);
        execvp(command[0], command);
        _exit(127);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child)
        fail("waitpid");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "watched: %s ended with status %d\n", command[0], status);
        exit(1);
    }
}

static void run(int count, char **command) {
    char folder[] = "/tmp/watched-XXXXXX";
    if (mkdtemp(folder) == NULL || chdir(folder) != 0)
        fail(folder);
    int out = open("out", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (out < 0)
        fail("out");
    uint64_t *ns = calloc((size_t)count, sizeof *ns);
    if (ns == NULL)
        fail("calloc");
    for (int i = 0; i < count; i++) {
        uint64_t begin = now();
        run_once(command, out);
        ns[i] = now() - begin;
    }
    if (chdir("/") != 0 || nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
        fail("removing the folder");
    show(ns, count);
}

static int smaller(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static void opens(const char *file) {
    uint64_t ns[BATCHES], each[OPENS];
    for (int batch = 0; batch < BATCHES; batch++) {
        for (int i = 0; i < OPENS; i++) {
            uint64_t begin = now();
            int fd = open(file, O_RDONLY | O_CLOEXEC);
            if (fd < 0 || close(fd) != 0)
                fail(file);
            each[i] = now() - begin;
        }
        qsort(each, OPENS, sizeof *each, smaller);
        ns[batch] = each[OPENS / 2];
    }
    show(ns, BATCHES);
}

static void denied(const char *file) {
    static uint64_t ns[DENIALS];
    for (int i = 0; i < DENIALS; i++) {
        uint64_t begin = now();
        int fd = open(file, O_RDONLY | O_CLOEXEC);
        ns[i] = now() - begin;
        if (fd >= 0 || (errno != EACCES && errno != EPERM)) {
            fprintf(stderr, "watched: %s was not refused\n", file);
            exit(1);
        }
    }
    qsort(ns, DENIALS, sizeof *ns, smaller);
    printf("{\"p50\": %llu, \"p99\": %llu}\n", (unsigned long long)ns[DENIALS / 2],
           (unsigned long long)ns[DENIALS / 100 * 99]);
}

static void open_missing(const char *file) {
    if (open(file, O_RDONLY | O_CLOEXEC) >= 0 || errno != ENOENT)
        fail(file);
}

static void marks(const char *file, int count) {
    static uint64_t ns[MARKS];
    char name[PATH];
    for (int i = 0; i < count && i < MARKS; i++) {
        usleep(2000);
        snprintf(name, sizeof name, "%s.%d", file, i);
        ns[i] = now();
        open_missing(name);
    }
    show(ns, count);
}

static void flood(const char *file, uint64_t milliseconds) {
    uint64_t begin = now(), end = begin + milliseconds * 1000000U, count = 0;
    while (now() < end) {
        for (int i = 0; i < 100; i++)
            open_missing(file);
        count += 100;
    }
    printf("{\"count\": %llu, \"ns\": %llu}\n", (unsigned long long)count, (unsigned long long)(now() - begin));
}

int main(int argc, char **argv) {
    const char *act = argc > 2 ? argv[1] : "";
    if (strcmp(act, "run") == 0 && argc > 3)
        run(atoi(argv[2]), argv + 3);
    else if (strcmp(act, "exec") == 0) {
        execvp(argv[2], argv + 2);
        fail(argv[2]);
    } else if (strcmp(act, "opens") == 0 && argc == 3)
        opens(argv[2]);
    else if (strcmp(act, "denied") == 0 && argc == 3)
        denied(argv[2]);
    else if (strcmp(act, "marks") == 0 && argc == 4)
        marks(argv[2], atoi(argv[3]));
    else if (strcmp(act, "flood") == 0 && argc == 4)
        flood(argv[2], strtoull(argv[3], NULL, 10));
    else {
        fprintf(stderr, "usage: watched run COUNT COMMAND... | exec COMMAND... | opens FILE | denied FILE | marks FILE COUNT | flood FILE MS\n");
        return 2;
    }
    return 0;
}
