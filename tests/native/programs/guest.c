/* A guest for the supervisor's tests: does what its arguments say, one after another, and prints what came of each as
 * a line: 0 or more, or -errno. Built by tests/native/conftest.py. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(long result) { printf("%ld\n", result < 0 ? -(long)errno : result); }

static int try_open(const char *path, int flags) {
    int fd = open(path, flags | O_CLOEXEC, 0644);
    if (fd < 0) return -errno;
    close(fd);
    return 0;
}

static void *open_often(void *path) {
    for (int i = 0; i < 3; i++) try_open(path, O_RDONLY);
    return NULL;
}

static void *idle(void *none) {
    for (;;) pause();
    return none;
}

/* N threads that live at once, each opening three times. */
static void threads(int count, char *path) {
    pthread_t *list = calloc((size_t)count, sizeof *list);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 32768);
    int made = 0;
    while (made < count && !pthread_create(&list[made], &small, open_often, path)) made++;
    for (int i = 0; i < made; i++) pthread_join(list[i], NULL);
    printf("%d\n", made);
    free(list);
}

/* Children that open once and end, `count` in all, some alive at a time. */
static void forks(int count, const char *path) {
    int alive = 0, good = 0, status;
    for (int i = 0; i < count; i++) {
        pid_t child = fork();
        if (!child) _exit(try_open(path, O_RDONLY) != 0);
        if (child > 0) alive++;
        while (alive > (i + 1 < count ? 16 : 0) && wait(&status) > 0) alive--, good += status == 0;
    }
    printf("%d\n", good);
}

/* A path at the very end of a mapping, and one that crosses into the next page. */
static void at_edges(const char *path) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size = strlen(path) + 1;
    char *memory = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(memory + 2 * page, page);
    memcpy(memory + 2 * page - size, path, size);
    printf("%d\n", try_open(memory + 2 * page - size, O_RDONLY));
    memcpy(memory + page - size / 2, path, size);
    printf("%d\n", try_open(memory + page - size / 2, O_RDONLY));
    memset(memory, 'x', 2 * page);
    printf("%d\n", try_open(memory, O_RDONLY)); /* no end: EFAULT or ENAMETOOLONG */
}

static void connect_to(const char *family, const char *address, int port) {
    union { struct sockaddr any; struct sockaddr_in in; struct sockaddr_in6 in6; struct sockaddr_un un; } to = {0};
    socklen_t size;
    if (!strcmp(family, "4")) {
        to.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
        inet_pton(AF_INET, address, &to.in.sin_addr);
        size = sizeof to.in;
    } else if (!strcmp(family, "6")) {
        to.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
        inet_pton(AF_INET6, address, &to.in6.sin6_addr);
        size = sizeof to.in6;
    } else {
        to.un.sun_family = AF_UNIX;
        strncpy(to.un.sun_path, address, sizeof to.un.sun_path - 1);
        size = (socklen_t)(sizeof to.un.sun_family + strlen(address) + (address[0] != '@'));
        if (address[0] == '@') to.un.sun_path[0] = 0;
    }
    int fd = socket(to.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    say(connect(fd, &to.any, size));
    close(fd);
}

static void ring(int number) { (void)number; }

struct flip { char *path, one, other; atomic_bool done; };

static void *flip(void *argument) {
    struct flip *flip = argument;
    volatile char *at = flip->path;
    while (!atomic_load(&flip->done)) *at = *at == flip->one ? flip->other : flip->one;
    return NULL;
}

/* Opens a path often whose first byte another thread changes: how often what was found in it begins with "secret". */
static void race(int count, char *path, char other_byte) {
    struct flip flipped = {.path = path, .one = path[0], .other = other_byte};
    pthread_t other;
    int found = 0, good = 0;
    pthread_create(&other, NULL, flip, &flipped);
    for (int n = 0; n < count; n++) {
        char text[64];
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) continue;
        good++;
        found += read(fd, text, sizeof text) >= 6 && !memcmp(text, "secret", 6);
        close(fd);
    }
    atomic_store(&flipped.done, true);
    pthread_join(other, NULL);
    printf("%d\n%d\n", good > 0, found);
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < argc; i++) {
        const char *act = argv[i];
        if (!strcmp(act, "open")) say(syscall(SYS_openat, AT_FDCWD, argv[++i], O_RDONLY | O_CLOEXEC));
        else if (!strcmp(act, "read")) {
            char text[256];
            int fd = open(argv[++i], O_RDONLY | O_CLOEXEC);
            ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text);
            if (size < 0) say(-1);
            else printf("%.*s\n", (int)strcspn(text, "\n"), text);
            if (fd >= 0) close(fd);
        } else if (!strcmp(act, "create")) printf("%d\n", try_open(argv[++i], O_RDWR | O_CREAT));
        else if (!strcmp(act, "opens")) {
            int count = atoi(argv[++i]), good = 0;
            const char *path = argv[++i];
            for (int n = 0; n < count; n++) good += !try_open(path, O_RDONLY);
            printf("%d\n", good);
        } else if (!strcmp(act, "while")) { /* as long as it opens */
            int status;
            while (!(status = try_open(argv[i + 1], O_RDONLY))) continue;
            printf("%d\n", status);
            i++;
        } else if (!strcmp(act, "mkdir")) say(mkdir(argv[++i], 0755));
        else if (!strcmp(act, "chdir")) say(chdir(argv[++i]));
        else if (!strcmp(act, "unlink")) say(unlink(argv[++i]));
        else if (!strcmp(act, "rmdir")) say(rmdir(argv[++i]));
        else if (!strcmp(act, "rename")) say(rename(argv[i + 1], argv[i + 2])), i += 2;
        else if (!strcmp(act, "symlink")) say(symlink(argv[i + 1], argv[i + 2])), i += 2;
        else if (!strcmp(act, "fchmod")) {
            int fd = open(argv[++i], O_RDONLY | O_CLOEXEC);
            say(fchmod(fd, 0600));
            close(fd);
        } else if (!strcmp(act, "openat2")) {
            struct { unsigned long long flags, mode, resolve; } how = {O_WRONLY | O_CLOEXEC, 0, 0};
            say(syscall(SYS_openat2, AT_FDCWD, argv[++i], &how, sizeof how));
        } else if (!strcmp(act, "setfsuid")) say(syscall(SYS_setfsuid, atol(argv[++i])));
        else if (!strcmp(act, "kill")) say(kill((pid_t)atoi(argv[i + 1]), atoi(argv[i + 2]))), i += 2;
        else if (!strcmp(act, "connect")) connect_to(argv[i + 1], argv[i + 2], atoi(argv[i + 3])), i += 3;
        else if (!strcmp(act, "threads")) threads(atoi(argv[i + 1]), argv[i + 2]), i += 2;
        else if (!strcmp(act, "forks")) forks(atoi(argv[i + 1]), argv[i + 2]), i += 2;
        else if (!strcmp(act, "edges")) at_edges(argv[++i]);
        else if (!strcmp(act, "bad")) printf("%d\n", try_open((char *)8, O_RDONLY));
        else if (!strcmp(act, "closed")) say(prctl(PR_SET_DUMPABLE, 0));
        else if (!strcmp(act, "exec")) execv(argv[i + 1], argv + i + 1), say(-1);
        else if (!strcmp(act, "daemon")) { /* what is left when the program has ended */
            if (fork()) _exit(0);
            setsid();
        } else if (!strcmp(act, "threadexec")) { /* from another thread, while the others live */
            pthread_t one;
            for (int n = 0; n < 8; n++) pthread_create(&one, NULL, idle, NULL);
            if (!fork()) execv(argv[i + 1], argv + i + 1);
            execv(argv[i + 1], argv + i + 1);
        } else if (!strcmp(act, "alarm")) { /* a signal a millisecond, handled */
            struct sigaction handler = {.sa_handler = ring, .sa_flags = SA_RESTART};
            sigaction(SIGALRM, &handler, NULL);
            struct { long a, b, c, d; } every = {0, 1000, 0, 1000};
            syscall(SYS_setitimer, 0, &every, NULL);
            say(0);
        } else if (!strcmp(act, "race")) race(atoi(argv[i + 1]), argv[i + 2], argv[i + 3][0]), i += 3;
        else if (!strcmp(act, "sleep")) usleep((useconds_t)atoi(argv[++i]) * 1000);
        else if (!strcmp(act, "pause")) pause();
        else return 97;
    }
    return 0;
}
