/* A guest that becomes another program with an environment that is made to be hard to read.
 *
 *   environ given PATH ENTRY...   execve(PATH) with these entries
 *   environ KIND                  execve of itself, which ends at once, as KIND says: see below
 *
 * Prints -errno where it did not become that. Built by tests/native/conftest.py. */
#include <errno.h>
#include <stdatomic.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static char entry[] = "LD_PRELOAD=/x.so", other[] = "LANG=C", wide[128 << 10];
static char *argv_of_true[] = {"true", NULL};

/* Two pages, of which the second ends where memory does. */
static char *two_pages(void) {
    char *memory = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(memory + 2 * 4096, 4096);
    return memory;
}

static void become(char **env) {
    execve("/proc/self/exe", argv_of_true, env);
    printf("%d\n", -errno);
    fflush(stdout);
}

/* `count` entries, the last of which is the one that steers. */
static void many(size_t count, char *each) {
    char **env = calloc(count + 1, sizeof *env);
    for (size_t n = 0; n < count; n++) env[n] = n + 1 < count ? each : entry;
    become(env);
}

static atomic_bool stop;

static void *flip(void *none) {
    volatile char *at = entry;
    while (!stop) at[3] = at[3] == 'P' ? 'Q' : 'P';
    return none;
}

static void race(int count) {
    pthread_t thread;
    pthread_create(&thread, NULL, flip, NULL);
    for (int n = 0; n < count; n++) { /* a child shares the memory, and the flipping, until it is another program */
        pid_t child = vfork();
        if (!child) {
            execve("/proc/self/exe", argv_of_true, (char *[]){entry, NULL});
            _exit(1);
        }
        waitpid(child, NULL, 0);
    }
    stop = true;
    pthread_join(thread, NULL);
    printf("0\n");
}

int main(int argc, char **argv) {
    const char *kind = argc > 1 ? argv[1] : "";
    char *memory = two_pages(), *end = memory + 2 * 4096;
    if (!strcmp(kind, "given")) execve(argv[2], argv + 2, argv + 3), printf("%d\n", -errno);
    else if (!strcmp(kind, "none")) become(NULL);
    else if (!strcmp(kind, "nowhere")) become((char **)8);                        /* the list can't be read */
    else if (!strcmp(kind, "unreadable")) become((char *[]){other, (char *)8, NULL});
    else if (!strcmp(kind, "huge")) {                                             /* 32 MB, more than the kernel takes */
        memset(wide, 'x', sizeof wide - 1);
        memcpy(wide, "PATH=", 5);
        many(256, wide);
    } else if (!strcmp(kind, "many")) many(20000, other);                         /* more than is looked at */
    else if (!strcmp(kind, "fewer")) many(4000, other);
    else if (!strcmp(kind, "unended")) {                                          /* goes on to where no memory is */
        memcpy(end - 12, "LD_PRELOAD=x", 12);
        become((char *[]){end - 12, NULL});
    } else if (!strcmp(kind, "ends")) {                                           /* its NUL is the last byte there is */
        memcpy(end - sizeof entry, entry, sizeof entry);
        become((char *[]){other, end - sizeof entry, NULL});
    } else if (!strcmp(kind, "crosses")) {                                        /* its name goes on in the next page */
        memcpy(memory + 4096 - 4, entry, sizeof entry);
        become((char *[]){memory + 4096 - 4, other, NULL});
    } else if (!strcmp(kind, "list")) {                                           /* the list ends where memory does */
        char **list = (char **)(void *)end - 2;
        list[0] = entry;
        list[1] = NULL;
        become(list);
    } else if (!strcmp(kind, "endless")) {                                        /* the list has no end */
        for (char **list = (char **)(void *)memory; (char *)list < end; list++) *list = entry;
        become((char **)(void *)memory);
    } else if (!strcmp(kind, "race")) race(atoi(argv[2]));
    return 0;
}
