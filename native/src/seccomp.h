/* The policy tables and the assembler of the static filter. */
#ifndef CLOCHE_SECCOMP_H
#define CLOCHE_SECCOMP_H

#include "cloche_native.h"

enum { CLO_REFUSED = CLO_LEVELS, CLO_UNHEARD };

struct clo_syscall {
    const char *name;
    int16_t number[2]; /* by clo_arch; -1: this machine never had it */
    uint8_t reach;     /* the strictest clo_level that allows it, CLO_REFUSED or CLO_UNHEARD */
};

const struct clo_syscall *clo_syscall_row(size_t index); /* NULL past the end */

/* What an argument test answers, and what a number answers by itself. */
enum { CLO_V_ALLOW, CLO_V_PERM, CLO_V_NOSYS, CLO_V_NOFAMILY, CLO_V_NOTIFY, CLO_V_TEST };

/* Where a test applies: one bit a level, a bit a choice of sockets, one for a protected process, and one
 * for a box that writes to folders of the host. */
enum {
    CLO_IN_STANDARD = 1, CLO_IN_ENHANCED = 2, CLO_IN_MAXIMUM = 4, CLO_IN_SOCKETS_ALL = 8, CLO_IN_SOCKETS_UNIX = 16,
    CLO_IN_SOCKETS_NONE = 32, CLO_IN_PROTECT = 64, CLO_IN_SOCKETS_INET = 128, CLO_IN_NO_SET_ID = 256,
    CLO_IN_ANY = 7
};

enum clo_op {
    CLO_EQ,   /* (argument & mask) == value */
    CLO_NE,   /* the opposite */
    CLO_HAS,  /* argument & mask, any bit */
    CLO_ELSE, /* always; the last test of a call without one allows */
    CLO_WIDE  /* any of the argument's 64 bits; of watched calls alone */
};

/* Tests of one call are tried in the order of the table; the first that holds answers. Arguments are compared in
 * their low 32 bits, as the kernel reads every one used here: an int, an unsigned int, or flags of which it refuses
 * the high half. */
struct clo_test {
    const char *name;
    uint16_t where;
    uint8_t argument, op, verdict;
    uint32_t mask, value;
    int8_t pid; /* 1: value is the protected pid, -1: its negative */
};

enum { CLO_TESTS_MAX = 128 };

const struct clo_test *clo_test_row(size_t index); /* NULL past the end; at most CLO_TESTS_MAX rows */

#endif
