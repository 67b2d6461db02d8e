/* The supervisor under ThreadSanitizer, which Python does not run under: two boxes of one thread are flooded by watched
 * children while threads take records, ask for figures, change what is wanted, resume, and free a box in the midst.
 * supervisor_threads WATCHED GUEST: paths of the two programs of tests/native/programs. Run by .ci/run tsan. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cloche_native.h"

enum { BOXES = 2, OPENS = 3000, ROOM = 65536 };

struct box {
    struct clo_observed *observed;
    int theirs;
    uint64_t taken;
    uint64_t last;
    atomic_bool done;
};

static const char *watched, *guest;

static void must(bool good, const char *what) {
    if (good) return;
    fprintf(stderr, "supervisor_threads: %s: %s\n", what, strerror(errno));
    exit(1);
}

static pid_t start(const struct box *box, const char *count) {
    struct sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
                                 BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 1),
                                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
                                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    char filter[2 * sizeof code + 1], number[12];
    for (size_t i = 0; i < sizeof code; i++) sprintf(filter + 2 * i, "%02x", ((unsigned char *)code)[i]);
    sprintf(number, "%d", box->theirs);
    char *const argv[] = {(char *)watched, number, "1", filter, (char *)guest, "opens", (char *)count, "/etc/passwd", NULL};
    pid_t child = fork();
    if (child) return child;
    int null = open("/dev/null", O_WRONLY);
    dup2(null, 1);
    execv(watched, argv);
    _exit(127);
}

static void take(struct box *box) {
    static _Thread_local uint64_t room[ROOM / 8];
    for (int64_t size; (size = clo_observed_take(box->observed, room, sizeof room)) > 0;) {
        for (int64_t at = 0; at < size;) {
            struct clo_event event;
            memcpy(&event, (char *)room + at, sizeof event);
            must(event.number > box->last, "numbers rise");
            box->last = event.number;
            box->taken++;
            at += event.size;
        }
    }
}

static void *taker(void *argument) {
    struct box *box = argument;
    while (!atomic_load(&box->done)) take(box);
    take(box);
    return NULL;
}

static void *asker(void *argument) {
    struct box *box = argument;
    uint64_t counts[CLO_ACTS * CLO_COUNTS];
    struct clo_observed_status status;
    for (int round = 0; !atomic_load(&box->done); round++) {
        clo_observed_counts(box->observed, counts);
        clo_observed_status(box->observed, &status);
        clo_observed_want(box->observed, round % 8 ? 1 : 0);
        if (round % 64 == 0) must(!clo_observed_resume(box->observed), "resume");
        usleep(200);
    }
    return NULL;
}

static void observe(struct clo_supervisor *supervisor, struct box *box, uint32_t overload) {
    int sockets[2], root = open("/", O_PATH);
    must(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) && root >= 0, "sockets");
    fcntl(sockets[1], F_SETFD, 0);
    struct clo_observe how = {.watch = sockets[0], .root = root, .uid = -1, .gid = -1, .wants = 1, .ring = 65536,
                              .overload = overload, .wait_ms = 1};
    must(!clo_observe(supervisor, &how, &box->observed), "observe");
    close(root);
    box->theirs = sockets[1];
}

int main(int argc, char **argv) {
    must(argc == 3, "two arguments");
    watched = argv[1];
    guest = argv[2];
    struct clo_supervisor *supervisor;
    must(!clo_supervisor_new(&supervisor), "new");
    struct box boxes[BOXES] = {0}, short_lived = {0};
    pthread_t threads[BOXES][2];
    pid_t children[BOXES][2];
    for (uint32_t i = 0; i < BOXES; i++) {
        observe(supervisor, &boxes[i], i);
        for (int j = 0; j < 2; j++) children[i][j] = start(&boxes[i], "3000");
        must(!pthread_create(&threads[i][0], NULL, taker, &boxes[i]), "thread");
        must(!pthread_create(&threads[i][1], NULL, asker, &boxes[i]), "thread");
    }
    for (int round = 0; round < 20; round++) { /* boxes that go while their guest is busy */
        observe(supervisor, &short_lived, CLO_OVERLOAD_WAIT);
        pid_t child = start(&short_lived, "100000000");
        usleep(5000);
        clo_observed_free(short_lived.observed);
        close(short_lived.theirs);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    for (uint32_t i = 0; i < BOXES; i++) {
        uint64_t counts[CLO_ACTS * CLO_COUNTS];
        struct clo_observed_status status;
        for (int j = 0; j < 2; j++) {
            int how;
            waitpid(children[i][j], &how, 0);
            must(how == 0, "a guest ended well");
        }
        atomic_store(&boxes[i].done, true);
        for (int j = 0; j < 2; j++) pthread_join(threads[i][j], NULL);
        take(&boxes[i]);
        clo_observed_counts(boxes[i].observed, counts);
        clo_observed_status(boxes[i].observed, &status);
        must(counts[0] >= 2 * OPENS, "every open is counted");
        must(boxes[i].taken + status.lost == status.records, "every record is taken or lost");
    }
    clo_observed_free(boxes[0].observed);
    clo_supervisor_free(supervisor);
    clo_observed_free(boxes[1].observed);
    puts("supervisor_threads: no race");
    return 0;
}
