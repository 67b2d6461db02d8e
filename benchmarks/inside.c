/* The guest of the benchmarks: measures itself, or writes much output.
 *
 *   inside measure FILE   prints {"open_close": [...], "fork_exec": [...], "getppid": [...]},
 *                         each number the nanoseconds per operation of one batch
 *   inside flood BYTES    writes BYTES (a multiple of 65536) to standard output; byte i of a block is
 *                         (i * 31 + (i >> 8) * 17) & 255, and the first eight are the block's number, low byte first
 *   inside flood BYTES wait
 *                         the same, after printing "ready\n" and reading one byte from standard input
 *   inside noop           ends at once with exit code 42: what fork_exec runs
 *
 * Each operation's answer is checked; a wrong one ends the program with exit code 1 and a line on standard error.
 * Static, so that what is timed is the kernel and the sandbox, not the loader. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest.h"

enum { BATCHES = 20, OPENS = 500, FORKS = 5, CALLS = 20000, BLOCK = 65536, NOOP_CODE = 42 };

static const char *self;
static const char *file;

static void open_close(void) {
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail(file);
    if (close(fd) != 0)
        fail("close");
}

static void fork_exec(void) {
    pid_t child = fork();
    if (child < 0)
        fail("fork");
    if (child == 0) {
        char *const argv[] = {(char *)self, "noop", NULL};
        char *const env[] = {NULL};
        execve(self, argv, env);
        _exit(127);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child)
        fail("waitpid");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != NOOP_CODE) {
        errno = ECHILD;
        fail("the child did not run");
    }
}

static void call_getppid(void) {
    static long parent = -1;
    long answer = syscall(SYS_getppid); /* not getppid(): a C library may one day remember it */
    if (parent == -1)
        parent = answer;
    if (answer != parent)
        fail("getppid changed");
}

static void measure(const char *name, void (*operation)(void), int count, const char *before) {
    printf("%s\"%s\": [", before, name);
    operation(); /* the first one pays for cold caches */
    for (int batch = 0; batch < BATCHES; batch++) {
        uint64_t begin = now();
        for (int i = 0; i < count; i++)
            operation();
        printf("%s%.2f", batch == 0 ? "" : ", ", (double)(now() - begin) / count);
    }
    printf("]");
    fflush(stdout); /* before the next fork: a child must not inherit a full buffer */
}

static void wait_for_reader(void) {
    char go;
    if (write(1, "ready\n", 6) != 6 || read(0, &go, 1) != 1)
        fail("waiting for the reader");
}

static void flood(uint64_t total) {
    static unsigned char block[BLOCK];
    for (uint32_t i = 0; i < BLOCK; i++)
        block[i] = (unsigned char)(i * 31 + (i >> 8) * 17);
    for (uint64_t number = 0; number < total / BLOCK; number++) {
        for (int byte = 0; byte < 8; byte++)
            block[byte] = (unsigned char)(number >> (8 * byte));
        for (size_t done = 0; done < BLOCK;) {
            ssize_t n = write(1, block + done, BLOCK - done);
            if (n < 0)
                fail("write");
            done += (size_t)n;
        }
    }
}

int main(int argc, char **argv) {
    self = argv[0];
    if (argc == 2 && strcmp(argv[1], "noop") == 0)
        return NOOP_CODE;
    if (argc >= 3 && strcmp(argv[1], "flood") == 0) {
        if (argc == 4 && strcmp(argv[3], "wait") == 0)
            wait_for_reader();
        flood(strtoull(argv[2], NULL, 10));
        return 0;
    }
    if (argc != 3 || strcmp(argv[1], "measure") != 0) {
        fprintf(stderr, "usage: inside measure FILE | flood BYTES [wait] | noop\n");
        return 2;
    }
    file = argv[2];
    measure("open_close", open_close, OPENS, "{");
    measure("fork_exec", fork_exec, FORKS, ", ");
    measure("getppid", call_getppid, CALLS, ", ");
    puts("}");
    return 0;
}
