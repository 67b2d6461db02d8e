#include "thread.h"

#include <errno.h>
#include <signal.h>

enum { STACK_SIZE = 262144 };

/* 0 or a negative errno. Signals are for the threads of the program: this one has all blocked. */
int clo_thread_start(pthread_t *thread, void *(*body)(void *), void *argument) {
    pthread_attr_t attributes;
    sigset_t all, before;
    if (pthread_attr_init(&attributes)) return -ENOMEM;
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int status = pthread_create(thread, &attributes, body, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return -status;
}
