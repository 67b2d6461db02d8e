/* The listener: one thread that hears what the sentries of many boxes say, and judges it.
 *
 * Theory. A sentry whose socket is full waits, or drops what it has to say. So the thread does nothing but receive, a batch
 * at a time and of each box in its turn, decode, count, judge and put into the box's ring; for want of room there a record
 * is lost and counted. It waits for nobody: other threads take records without a lock, and what they change, rules and the
 * list of boxes, they change between two batches, under a lock that is held no longer than a batch takes.
 *
 * Nothing is ever sent: a sentry that floods delays itself, and the other boxes of the thread by one batch. */
#include "listener.h"
#include "thread.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { READY = 16, HELD_MS = 250 };

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Whether the box was not freed since the kernel spoke of it. */
static bool is_there(const struct clo_listener_thread *thread, const struct clo_listened *box) {
    const struct clo_listened *each = thread->boxes;
    while (each && each != box) each = each->next;
    return each;
}

static void serve(struct clo_listener_thread *thread, const struct epoll_event *event) {
    struct clo_listened *box = event->data.ptr;
    if (!box) return; /* the command */
    pthread_mutex_lock(&thread->lock);
    if (is_there(thread, box)) clo_listened_serve(thread, box);
    pthread_mutex_unlock(&thread->lock);
}

/* Tells of what waited in vain; gives for how long, in milliseconds, there is nothing to be done. */
static int tend(struct clo_listener_thread *thread) {
    bool more = false;
    pthread_mutex_lock(&thread->lock);
    uint64_t now = now_ns();
    for (struct clo_listened *box = thread->boxes; box; box = box->next) more |= clo_listened_tend(box, now);
    pthread_mutex_unlock(&thread->lock);
    return more ? HELD_MS : -1;
}

static void *run(void *argument) {
    struct clo_listener_thread *thread = argument;
    struct epoll_event ready[READY];
    uint64_t tended = 0;
    int wait = -1;
    prctl(PR_SET_NAME, "cloche-listen", 0, 0, 0);
    while (!atomic_load(&thread->quit)) {
        int count = epoll_wait(thread->epoll, ready, READY, wait);
        for (int i = 0; i < count; i++) serve(thread, &ready[i]);
        uint64_t now = now_ns();
        if (count > 0 && wait >= 0 && now - tended < HELD_MS * UINT64_C(1000000)) continue;
        wait = tend(thread);
        tended = now;
    }
    return NULL;
}

static int prepare(struct clo_listener_thread *thread) {
    const size_t size = (size_t)CLO_LISTENER_BATCH * CLO_SENTRY_PACKET_MAX;
    void *room = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED) return -ENOMEM;
    thread->room = room;
    for (size_t i = 0; i < CLO_LISTENER_BATCH; i++) {
        thread->bodies[i] = (struct iovec){thread->room + i * CLO_SENTRY_PACKET_MAX, CLO_SENTRY_PACKET_MAX};
        thread->heads[i].msg_hdr = (struct msghdr){.msg_iov = &thread->bodies[i], .msg_iovlen = 1};
    }
    struct epoll_event event = {.events = EPOLLIN};
    thread->epoll = epoll_create1(EPOLL_CLOEXEC);
    thread->command = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (thread->epoll < 0 || thread->command < 0) return -errno;
    return epoll_ctl(thread->epoll, EPOLL_CTL_ADD, thread->command, &event) ? -errno : 0;
}

static void discard(struct clo_listener_thread *thread) {
    if (thread->epoll >= 0) close(thread->epoll);
    if (thread->command >= 0) close(thread->command);
    if (thread->room) munmap(thread->room, (size_t)CLO_LISTENER_BATCH * CLO_SENTRY_PACKET_MAX);
    pthread_mutex_destroy(&thread->lock);
    free(thread);
}

/* Starts a thread without boxes: 0 or a negative errno. */
int clo_listener_new(struct clo_listener_thread **out) {
    struct clo_listener_thread *thread = calloc(1, sizeof *thread);
    if (!thread) return -ENOMEM;
    thread->epoll = thread->command = -1;
    thread->owner = getpid();
    pthread_mutex_init(&thread->lock, NULL);
    int status = prepare(thread);
    if (!status) status = clo_thread_start(&thread->thread, run, thread);
    if (status)
        discard(thread);
    else
        *out = thread;
    return status;
}

/* Ends the thread; its boxes hear no more. In a forked process nothing is done. */
void clo_listener_free(struct clo_listener_thread *thread) {
    const uint64_t one = 1;
    if (!thread || getpid() != thread->owner) return;
    atomic_store(&thread->quit, true);
    if (write(thread->command, &one, sizeof one) < 0) abort(); /* an eventfd far from full can't refuse */
    pthread_join(thread->thread, NULL);
    for (struct clo_listened *box = thread->boxes; box; box = box->next) box->thread = NULL;
    discard(thread);
}
