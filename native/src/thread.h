/* Threads of this module's own, beside those of the program that it is in. */
#ifndef CLOCHE_THREAD_H
#define CLOCHE_THREAD_H

#include <pthread.h>

int clo_thread_start(pthread_t *thread, void *(*body)(void *), void *argument);

#endif
