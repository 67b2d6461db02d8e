/* The supervisor: one thread that answers the calls of one box, or of many, which the kernel holds until it does.
 *
 * Theory. It waits for all at once: the watch sockets by which listeners come, the listeners, and an eventfd by which
 * other threads ask for something (clo_supervisor_do; the lock is for that alone). A call that is notified is
 * received, taken apart, judged and answered before the next is looked at; nothing of it is kept. What others read
 * while it runs, the counters and the ring, is atomic and never waited for. Python's lock is never taken here.
 *
 * A box whose ring is full, and which is to wait, is not listened to: its calls stay with the kernel, where a signal or
 * the freezer still gets at them, and the other boxes of the thread go on. Closing a listener answers all that waits
 * on it with ENOSYS, so freeing a box, the end of this process or its death can't leave a guest hanging (as long as no
 * process that was forked from this one, and has not yet called execve, has it open too).
 *
 * What a guest was told is in the ring already, or is waited for by who takes from there. The bell is rung at once for a
 * match, if there was none just before; else a while after the first record of an empty ring, since a Python thread that
 * is woken for each record costs more than all the rest. It is a timer, which the kernel rings: if the supervisor waited
 * for that moment itself, a clock would have to be set and stopped for each call. */
#include "supervisor.h"
#include "thread.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

uint64_t clo_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Has `act` done in the supervisor's thread: its result. -ESRCH in a process forked from the owner, where there is no
 * such thread. Not to be called by the thread itself. */
int clo_supervisor_do(struct clo_supervisor *supervisor,
                      int (*act)(struct clo_supervisor *, struct clo_observed *, void *), struct clo_observed *box,
                      void *with) {
    const uint64_t one = 1;
    if (getpid() != supervisor->owner) return -ESRCH;
    pthread_mutex_lock(&supervisor->lock);
    while (supervisor->asked) pthread_cond_wait(&supervisor->changed, &supervisor->lock);
    supervisor->asked = true;
    supervisor->act = act;
    supervisor->of = box;
    supervisor->with = with;
    if (write(supervisor->command.fd, &one, sizeof one) < 0) abort(); /* an eventfd far from full can't refuse */
    while (supervisor->act) pthread_cond_wait(&supervisor->changed, &supervisor->lock);
    int result = supervisor->result;
    supervisor->asked = false;
    pthread_cond_broadcast(&supervisor->changed);
    pthread_mutex_unlock(&supervisor->lock);
    return result;
}

static void obey(struct clo_supervisor *supervisor) {
    uint64_t count;
    if (read(supervisor->command.fd, &count, sizeof count) < 0) return;
    pthread_mutex_lock(&supervisor->lock);
    if (supervisor->act) {
        supervisor->result = supervisor->act(supervisor, supervisor->of, supervisor->with);
        supervisor->act = NULL;
        pthread_cond_broadcast(&supervisor->changed);
    }
    pthread_mutex_unlock(&supervisor->lock);
    for (struct clo_observed *box = supervisor->boxes; box; box = box->next) clo_observed_rearm(box);
}

static void serve(struct clo_supervisor *supervisor, struct clo_ear *ear, bool speaks) {
    switch (ear->kind) {
    case CLO_EAR_COMMAND:
        obey(supervisor);
        break;
    case CLO_EAR_WATCH:
        clo_observed_receive(ear->box);
        break;
    case CLO_EAR_LISTENER:
        if (speaks)
            clo_supervisor_serve(supervisor, ear);
        else
            clo_observed_hang_up(ear->box, ear); /* no process under that filter is left */
        break;
    }
}

/* Does what is due in any box; gives when the next is. */
static uint64_t tend(struct clo_supervisor *supervisor) {
    uint64_t until = CLO_NEVER, now = clo_now();
    for (struct clo_observed *box = supervisor->boxes; box; box = box->next) {
        uint64_t due = clo_observed_tend(box, now);
        if (due < until) until = due;
    }
    supervisor->due = until != CLO_NEVER;
    return until;
}

static void *run(void *argument) {
    struct clo_supervisor *supervisor = argument;
    uint64_t until = CLO_NEVER;
    prctl(PR_SET_NAME, "cloche-watch", 0, 0, 0);
    while (!supervisor->quit) {
        bool speaks;
        struct clo_ear *ear = clo_ear_next(supervisor, until, &speaks);
        if (ear) serve(supervisor, ear, speaks);
        until = supervisor->due ? tend(supervisor) : CLO_NEVER;
    }
    return NULL;
}

static int quit(struct clo_supervisor *supervisor, struct clo_observed *box, void *with) {
    (void)box, (void)with;
    for (struct clo_observed *each = supervisor->boxes; each; each = each->next) clo_observed_close(each);
    supervisor->boxes = NULL;
    supervisor->quit = true;
    return 0;
}

static int prepare(struct clo_supervisor *supervisor) {
    struct seccomp_notif_sizes sizes;
    if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes)) return -errno;
    supervisor->notif_size = sizes.seccomp_notif;
    if (supervisor->notif_size < sizeof *supervisor->notif) supervisor->notif_size = sizeof *supervisor->notif;
    size_t answer = sizes.seccomp_notif_resp;
    if (answer < sizeof *supervisor->response) answer = sizeof *supervisor->response;
    supervisor->notif = calloc(1, supervisor->notif_size);
    supervisor->response = calloc(1, answer);
    if (!supervisor->notif || !supervisor->response) return -ENOMEM;
    clo_calls_load(&supervisor->calls, CLO_ARCH_HERE);
    clo_watched_index(&supervisor->acts, CLO_ARCH_HERE);
    supervisor->epoll = epoll_create1(EPOLL_CLOEXEC);
    supervisor->command.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (supervisor->epoll < 0 || supervisor->command.fd < 0) return -errno;
    return clo_ear_open(supervisor, &supervisor->command);
}

static void discard(struct clo_supervisor *supervisor) {
    if (supervisor->epoll >= 0) close(supervisor->epoll);
    if (supervisor->command.fd >= 0) close(supervisor->command.fd);
    pthread_cond_destroy(&supervisor->changed);
    pthread_mutex_destroy(&supervisor->lock);
    free(supervisor->notif);
    free(supervisor->response);
    free(supervisor);
}

/* Starts a thread without boxes: 0 or a negative errno; ENOSYS, EINVAL: the kernel has no notification (Linux 5.0). */
int clo_supervisor_new(struct clo_supervisor **out) {
    struct clo_supervisor *supervisor = calloc(1, sizeof *supervisor);
    if (!supervisor) return -ENOMEM;
    supervisor->epoll = supervisor->command.fd = -1;
    supervisor->owner = getpid();
    pthread_mutex_init(&supervisor->lock, NULL);
    pthread_cond_init(&supervisor->changed, NULL);
    int status = prepare(supervisor);
    if (!status) status = clo_thread_start(&supervisor->thread, run, supervisor);
    if (status) {
        discard(supervisor);
        return status;
    }
    *out = supervisor;
    return 0;
}

/* Ends the thread: what its boxes' guests wait for is answered with ENOSYS. The boxes, which are still to be freed,
 * can be asked and taken from as before. In a forked process nothing is ended, and the memory stays. NULL is fine. */
void clo_supervisor_free(struct clo_supervisor *supervisor) {
    if (!supervisor || clo_supervisor_do(supervisor, quit, NULL, NULL)) return;
    pthread_join(supervisor->thread, NULL);
    discard(supervisor);
}
