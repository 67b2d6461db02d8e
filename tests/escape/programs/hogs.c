/* Memory and descriptors, taken in every way there is. Each act is given how much: MiB, or a count. */
#include "act.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>

enum { MIB = 1 << 20 };

static size_t amount(char **a) {
    return a[0] ? (size_t)atol(a[0]) : 0;
}

static int touched(char *memory, size_t size) {
    if (memory == MAP_FAILED || !memory) return 0;
    for (size_t at = 0; at < size; at += 4096) memory[at] = 1;
    return 1;
}

static int by_malloc(char **a) {
    for (size_t i = 0; i < amount(a); i++)
        if (!touched(malloc(MIB), MIB)) return 0;
    return 1;
}

static int by_mmap(char **a) {
    size_t size = amount(a) * MIB;
    return touched(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), size);
}

static int filled(int fd, size_t size) {
    static char block[MIB];
    memset(block, 1, sizeof block);
    for (size_t at = 0; at < size; at += MIB)
        if (write(fd, block, MIB) != MIB) return 0;
    return fd >= 0;
}

static int by_memory_file(char **a) {
    int fd = (int)syscall(SYS_memfd_create, "hog", 8 /* MFD_NOEXEC_SEAL */);
    if (fd < 0 && errno == EINVAL) fd = (int)syscall(SYS_memfd_create, "hog", 0); /* an older kernel */
    return filled(fd, amount(a) * MIB);
}

/* A file in the folder given second. */
static int by_file(char **a) {
    char path[256];
    snprintf(path, sizeof path, "%s/hog-%d", a[1], (int)getpid());
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    int done = filled(fd, amount(a) * MIB), why = errno;
    unlink(path);
    errno = why;
    return done;
}

static int by_segment(char **a) {
    size_t size = amount(a) * MIB;
    int id = shmget(IPC_PRIVATE, size, 0600);
    if (id < 0) return 0;
    char *memory = shmat(id, NULL, 0);
    shmctl(id, IPC_RMID, NULL);
    return memory != (char *)-1 && touched(memory, size);
}

/* Reads one page of every 2 MiB: the pages are the shared zero page, the tables that lead there are not. */
static int by_page_tables(char **a) {
    volatile char sum = 0;
    for (size_t i = 0; i < amount(a); i++) {
        size_t size = (size_t)512 * MIB; /* 256 tables of 4 KiB: 1 MiB */
        char *memory = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) return 0;
        madvise(memory, size, MADV_NOHUGEPAGE);
        for (size_t at = 0; at < size; at += 2 * MIB) sum = (char)(sum + memory[at]);
    }
    return 1;
}

/* Mappings of one page each, kept apart by their rights, in as many processes as it takes. */
static int by_mappings(char **a) {
    for (size_t made = 0; made < amount(a); made++) {
        int rights = made % 2 ? PROT_READ : PROT_NONE;
        if (mmap(NULL, 4096, rights, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED) {
            saw("%zu mappings", made);
            return 0;
        }
    }
    return 1;
}

static int by_pipes(char **a) {
    static char block[MIB];
    for (size_t i = 0; i < amount(a); i++) {
        int ends[2];
        if (pipe(ends)) return 0;
        fcntl(ends[1], F_SETPIPE_SZ, MIB);
        fcntl(ends[1], F_SETFL, O_NONBLOCK);
        ssize_t n = write(ends[1], block, sizeof block);
        if (n < MIB) {
            saw("pipe %zu took %zd; ", i, n);
            if (n < 65536) return 0;
        }
    }
    return 1;
}

static int by_sockets(char **a) {
    static char block[65536];
    for (size_t i = 0, sent = 0; sent < amount(a) * MIB; i++) {
        int ends[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends)) {
            saw("%zu KiB in %zu pairs", sent >> 10, i);
            return 0;
        }
        for (ssize_t n; (n = send(ends[0], block, sizeof block, MSG_NOSIGNAL)) > 0;) sent += (size_t)n;
    }
    return 1;
}

/* So many descriptors of one kind. */
static int descriptors(char **a, const char *kind) {
    size_t made = 0;
    for (int fd = 0; made < amount(a); made++) {
        int ends[2];
        struct epoll_event event = {.events = EPOLLIN};
        switch (*kind) {
        case 'o': fd = open("/dev/null", O_RDONLY); break;
        case 'e': fd = eventfd(0, 0); break;
        case 't': fd = timerfd_create(CLOCK_MONOTONIC, 0); break;
        case 'i': fd = inotify_init1(0); break;
        case 's': fd = socketpair(AF_UNIX, SOCK_STREAM, 0, ends); break;
        case 'p': /* each watches the one before */
            fd = epoll_create1(0);
            if (fd >= 0 && made) epoll_ctl(fd, EPOLL_CTL_ADD, fd - 1, &event);
            break;
        }
        if (fd < 0) break;
    }
    saw("%zu made", made);
    return made == amount(a);
}

static int open_files(char **a) { return descriptors(a, "open"); }
static int event_descriptors(char **a) { return descriptors(a, "event"); }
static int timer_descriptors(char **a) { return descriptors(a, "timer"); }
static int watchers(char **a) { return descriptors(a, "inotify"); }
static int socket_pairs(char **a) { return descriptors(a, "socket"); }
static int poll_sets(char **a) { return descriptors(a, "poll"); }

static const struct act acts[] = {
    {"malloc", by_malloc, 0},
    {"mmap-shared", by_mmap, 0},
    {"memory-file", by_memory_file, 0},
    {"file", by_file, 0},
    {"segment", by_segment, 0},
    {"page-tables", by_page_tables, 0},
    {"mappings", by_mappings, 0},
    {"pipe-buffers", by_pipes, 0},
    {"socket-buffers", by_sockets, 0},
    {"open-files", open_files, 0},
    {"event-descriptors", event_descriptors, 0},
    {"timer-descriptors", timer_descriptors, 0},
    {"inotify-instances", watchers, 0},
    {"socket-pairs", socket_pairs, 0},
    {"epoll-sets", poll_sets, 0},
};

ACT_MAIN(acts)
