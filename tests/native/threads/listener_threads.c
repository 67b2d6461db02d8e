/* The listener under ThreadSanitizer: sentries flood several boxes of one thread while others take records and matches, ask
 * for figures, change rules and what is wanted, and boxes come and go. Run by .ci/run tsan. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cloche_native.h"

enum { BOXES = 3, PACKETS = 20000, ROOM = 65536 };

struct box {
    struct clo_listened *listened;
    struct clo_program *program;
    int theirs, reflexes[2];
    uint64_t taken, last;
    atomic_bool done;
};

static void must(bool good, const char *what) {
    if (good) return;
    fprintf(stderr, "listener_threads: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* listen(2) by thread 7 of process 7: it is told without texts. */
static const unsigned char packet[] = {8, 0, 37, 0, 0, 0, 0, 0, 0x0a, 4, 0x10, 7, 0x20, 7, 0x18, 50};

static void *sentry(void *argument) {
    const struct box *box = argument;
    for (int n = 0; n < PACKETS; n++) must(send(box->theirs, packet, sizeof packet, 0) == sizeof packet, "send");
    return NULL;
}

static void take(struct box *box) {
    static _Thread_local uint64_t room[ROOM / 8];
    while (clo_listened_take_matches(box->listened, room, sizeof room) > 0) continue;
    for (int64_t size; (size = clo_listened_take(box->listened, room, sizeof room)) > 0;) {
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
    return NULL;
}

static void *asker(void *argument) {
    struct box *box = argument;
    uint64_t counts[CLO_ACTS];
    struct clo_listened_status status;
    for (int round = 0; !atomic_load(&box->done); round++) {
        clo_listened_counts(box->listened, counts);
        clo_listened_status(box->listened, &status);
        clo_listened_want(box->listened, round % 8 ? UINT64_MAX : 0);
        must(!clo_listened_judge(box->listened, round % 3 ? box->program : NULL), "judge");
        must(!clo_listened_matched(box->listened, counts, 1), "matched");
        must(clo_listened_reflex(box->listened, box->reflexes[0], 128, "stop", round % 5 ? 4 : 0) >= 0, "reflex");
        (void)clo_listened_reflexed(box->listened);
        clo_listened_catch_up(box->listened);
        usleep(200);
    }
    return NULL;
}

static void begin(struct clo_listener_thread *thread, struct box *box) {
    int sockets[2];
    must(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), "sockets");
    struct clo_listen how = {.wants = UINT64_MAX, .ring = 65536, .socket = sockets[0]};
    must(!clo_listen(thread, &how, &box->listened), "listen");
    box->theirs = sockets[1];
    must(!socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, box->reflexes), "sockets");
}

/* One rule that any listen(2) meets. */
static struct clo_program *program(void) {
    struct { struct clo_blob head; struct clo_rule rule; struct clo_condition condition; } blob = {
        .head = {.magic = CLO_BLOB_MAGIC, .version = CLO_BLOB_VERSION, .rules = 1, .conditions = 1},
        .rule = {.respond = 128}, .condition = {.acts = UINT64_C(1) << CLO_ACT_LISTEN}};
    struct clo_program *made;
    uint32_t at;
    unsigned char bytes[sizeof blob];
    size_t size = 0; /* the arrays one after another, without the compiler's gaps */
    memcpy(bytes, &blob.head, sizeof blob.head);
    size += sizeof blob.head;
    memcpy(bytes + size, &blob.rule, sizeof blob.rule);
    size += sizeof blob.rule;
    memcpy(bytes + size, &blob.condition, sizeof blob.condition);
    size += sizeof blob.condition;
    must(!clo_program_load(bytes, size, &made, &at), "a program");
    return made;
}

int main(void) {
    struct clo_listener_thread *thread;
    must(!clo_listener_new(&thread), "new");
    struct box boxes[BOXES] = {0};
    pthread_t threads[BOXES][3];
    struct clo_program *rules = program();
    for (int i = 0; i < BOXES; i++) {
        begin(thread, &boxes[i]);
        boxes[i].program = rules;
        must(!pthread_create(&threads[i][0], NULL, sentry, &boxes[i]), "thread");
        must(!pthread_create(&threads[i][1], NULL, taker, &boxes[i]), "thread");
        must(!pthread_create(&threads[i][2], NULL, asker, &boxes[i]), "thread");
    }
    for (int round = 0; round < 50; round++) { /* boxes that go while there is still something to be heard */
        struct box short_lived = {0};
        begin(thread, &short_lived);
        for (int n = 0; n < 20; n++) must(send(short_lived.theirs, packet, sizeof packet, 0) > 0, "send");
        if (round % 2) close(short_lived.theirs);
        clo_listened_free(short_lived.listened);
        if (!(round % 2)) close(short_lived.theirs);
        close(short_lived.reflexes[0]);
        close(short_lived.reflexes[1]);
    }
    for (int i = 0; i < BOXES; i++) {
        struct clo_listened_status status;
        uint64_t counts[CLO_ACTS];
        pthread_join(threads[i][0], NULL);
        close(boxes[i].theirs);
        do clo_listened_status(boxes[i].listened, &status);
        while (!status.ended);
        atomic_store(&boxes[i].done, true);
        pthread_join(threads[i][1], NULL);
        pthread_join(threads[i][2], NULL);
        take(&boxes[i]);
        clo_listened_counts(boxes[i].listened, counts);
        must(counts[CLO_ACT_LISTEN] == PACKETS && status.packets == PACKETS, "every packet is counted");
        must(boxes[i].taken + status.lost == status.records, "every record is taken or lost");
        must(recv(boxes[i].reflexes[1], counts, sizeof counts, MSG_DONTWAIT) == 4, "a match was reacted to");
    }
    clo_listened_free(boxes[0].listened);
    clo_listener_free(thread);
    for (int i = 1; i < BOXES; i++) clo_listened_free(boxes[i].listened);
    clo_program_drop(rules);
    puts("listener_threads: no race");
    return 0;
}
