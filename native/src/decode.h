/* Where in a call's registers the texts and numbers of its act lie. Which act it is, acts.h says. */
#ifndef CLOCHE_DECODE_H
#define CLOCHE_DECODE_H

#include <fcntl.h>
#include <linux/seccomp.h>
#include <stdbool.h>

#include "cloche_native.h"

enum { CLO_CALLS_MAX = 512, CLO_CALL_ARGS = 3, CLO_CREAT_FLAGS = O_CREAT | O_WRONLY | O_TRUNC };

/* What a call's texts are. */
enum clo_shape {
    CLO_SHAPE_PLAIN,    /* paths */
    CLO_SHAPE_CREAT,    /* flags are implied, arg 0 is the mode */
    CLO_SHAPE_OPENAT2,  /* struct open_how in memory, third register */
    CLO_SHAPE_RMDIR,    /* flags are implied */
    CLO_SHAPE_NAME,     /* path2 is a name or a text, not a path */
    CLO_SHAPE_FD,       /* dirfd is the object itself; there is no path */
    CLO_SHAPE_EXEC,     /* path2 is argv */
    CLO_SHAPE_MOUNT,    /* path is a source, which need not be a path */
    CLO_SHAPE_ADDRESS,  /* path2 is a struct sockaddr, its size in the next register */
    CLO_SHAPE_CLONE3    /* struct clone_args in memory, first register */
};

/* Registers are counted from 1 here, 0 is none: of a dirfd, the current folder. */
struct clo_call {
    const char *name;
    int16_t number[2]; /* by clo_arch; -1: this machine never had it */
    uint8_t shape;
    uint8_t dirfd, path, dirfd2, path2;
    uint8_t follow;              /* the last link of path: clo_follow */
    uint8_t at;                  /* AT_ flags, which may change that */
    uint8_t arg[CLO_CALL_ARGS];  /* what the event's args are */
    uint8_t wide;                /* bit i: arg i is a long; all others are ints, of which the kernel reads the low half */
};

enum clo_follow { CLO_FOLLOW_NEVER, CLO_FOLLOW_ALWAYS, CLO_FOLLOW_UNLESS_TOLD /* AT_SYMLINK_NOFOLLOW */, CLO_FOLLOW_IF_TOLD };

/* Calls by their number on one machine: 0 is unknown, else an index to clo_call_row, plus 1. */
struct clo_calls { uint8_t row[CLO_CALLS_MAX]; };

/* The machine that this runs on. */
#ifdef __aarch64__
enum { CLO_ARCH_HERE = CLO_ARCH_AARCH64 };
#else
enum { CLO_ARCH_HERE = CLO_ARCH_X86_64 };
#endif

const struct clo_call *clo_call_row(size_t index); /* NULL past the end */
void clo_calls_load(struct clo_calls *calls, uint32_t arch);
const struct clo_call *clo_call_of(const struct clo_calls *calls, int number); /* NULL: no call of the table */

uint64_t clo_call_register(const struct seccomp_data *data, uint8_t which);
uint64_t clo_call_arg(const struct clo_call *call, const struct seccomp_data *data, size_t index);
void clo_call_numbers(const struct clo_call *call, const struct seccomp_data *data, struct clo_event *event);
int clo_open_act(uint64_t flags);

#endif
