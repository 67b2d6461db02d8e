/* What is told of a program that is started: its arguments, and of its environment what steers loaders and shells. */
#ifndef CLOCHE_PROGRAMS_H
#define CLOCHE_PROGRAMS_H

#include <stdbool.h>
#include <stddef.h>

enum {
    CLO_ARGV_MAX = 1024,
    CLO_STEER_NAME = 16,    /* the longest name and its '=' */
    CLO_STEER_ENTRY = 512,  /* bytes that are kept of one NAME=value, with its NUL */
    CLO_STEER_LOOKED = 8192 /* entries that are looked at: what comes later is not known */
};

bool clo_steers(const char *entry, size_t size);

#endif
