/* What the guests of the benchmarks share: the clock, and the end when something fails. */
#ifndef GUEST_H
#define GUEST_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void fail(const char *what) {
    fprintf(stderr, "guest: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now(void) {
    struct timespec at;
    if (clock_gettime(CLOCK_MONOTONIC, &at) != 0)
        fail("clock_gettime");
    return (uint64_t)at.tv_sec * 1000000000U + (uint64_t)at.tv_nsec;
}

#endif
