/* The calls whose verdict depends on an argument. What needs no argument stands in syscalls.c.
 *
 * A refused call fails, it does not kill: programs probe, and a failure can be seen, explained and lived with. The
 * error is EPERM where the policy says no, ENOSYS where programs fall back on another call, EAFNOSUPPORT for a socket
 * family, as if the kernel had been built without it. Only a foreign instruction set kills: no program probes that. */
#include "seccomp.h"

/* Kernel ABI values, written out because older headers lack some of them. */
enum {
    NAMESPACES = 0x7e020000,           /* CLONE_NEWNS NEWCGROUP NEWUTS NEWIPC NEWUSER NEWPID NEWNET */
    NAMESPACES_AND_TIME = 0x7e020080,  /* and CLONE_NEWTIME, which clone(2) reads as part of the exit signal */
    UNIX = 1, INET = 2, INET6 = 10, NETLINK = 16, ROUTE = 0, STREAM = 1, SEQPACKET = 5, SOCK_TYPE_MASK = 15,
    STICK_INPUT = 0x5412, LINUX_CONSOLE = 0x541c, CONSOLE = 0x541d, DISCIPLINE = 0x5423, /* TIOCSTI TIOCLINUX ... */
    OWNER = 8, OWNER_EX = 15, FIO_OWNER = 0x8901, SIO_OWNER = 0x8902, /* who gets SIGIO, or the signal of F_SETSIG */
    SECCOMP_FILTER = 1, NEW_LISTENER = 8, PR_SECCOMP = 22, EMPTY_PATH = 0x1000, NOEXEC_SEAL = 8, BY_USER = 2,
    IO_BY_USER = 3,
    SET_ID = 06000,       /* S_ISUID S_ISGID */
    CREATES = 0x00400040  /* O_CREAT, and the bit of O_TMPFILE that is its own: there is a mode then */
};

#define ALL 0xffffffffU
#define STRICT (CLO_IN_ENHANCED | CLO_IN_MAXIMUM)
#define NO_SOCKETS CLO_IN_SOCKETS_NONE
#define INTERNET (CLO_IN_SOCKETS_ALL | CLO_IN_SOCKETS_INET)
#define NO_UNIX (CLO_IN_SOCKETS_NONE | CLO_IN_SOCKETS_INET) /* the host's are files, and found by name */
#define SHIELD CLO_IN_PROTECT
#define NO_SET_ID CLO_IN_NO_SET_ID

/* clang-format off */
static const struct clo_test tests[] = {
    /* New namespaces are new attack surface: a user namespace hands out every capability inside it. */
    {"clone", CLO_IN_ANY, 0, CLO_HAS, CLO_V_PERM, NAMESPACES, 0, 0},
    {"unshare", CLO_IN_ANY, 0, CLO_HAS, CLO_V_PERM, NAMESPACES_AND_TIME, 0, 0},

    /* Typing into the terminal of whoever started us; loading line disciplines. The kernel reads 32 bits of the
     * command: a test of 64 lets a set high bit through (CVE-2019-10063). */
    {"ioctl", CLO_IN_ANY, 1, CLO_EQ, CLO_V_PERM, ALL, STICK_INPUT, 0},
    {"ioctl", CLO_IN_ANY, 1, CLO_EQ, CLO_V_PERM, ALL, LINUX_CONSOLE, 0},
    {"ioctl", STRICT, 1, CLO_EQ, CLO_V_PERM, ALL, DISCIPLINE, 0},
    {"ioctl", STRICT, 1, CLO_EQ, CLO_V_PERM, ALL, CONSOLE, 0},
    {"ioctl", SHIELD, 1, CLO_EQ, CLO_V_PERM, ALL, FIO_OWNER, 0},
    {"ioctl", SHIELD, 1, CLO_EQ, CLO_V_PERM, ALL, SIO_OWNER, 0},

    /* Linux, 32-bit Linux, both under an old release number, and "tell me"; nothing that turns off ASLR. */
    {"personality", CLO_IN_ANY, 0, CLO_EQ, CLO_V_ALLOW, ALL, 0, 0},
    {"personality", CLO_IN_ANY, 0, CLO_EQ, CLO_V_ALLOW, ALL, 0x8, 0},
    {"personality", CLO_IN_ANY, 0, CLO_EQ, CLO_V_ALLOW, ALL, 0x20000, 0},
    {"personality", CLO_IN_ANY, 0, CLO_EQ, CLO_V_ALLOW, ALL, 0x20008, 0},
    {"personality", CLO_IN_ANY, 0, CLO_EQ, CLO_V_ALLOW, ALL, ALL, 0},
    {"personality", CLO_IN_ANY, 0, CLO_ELSE, CLO_V_PERM, 0, 0, 0},

    {"socket", NO_SOCKETS, 0, CLO_ELSE, CLO_V_PERM, 0, 0, 0},
    {"socket", CLO_IN_SOCKETS_UNIX, 0, CLO_NE, CLO_V_PERM, ALL, UNIX, 0},
    {"socket", CLO_IN_SOCKETS_ALL, 0, CLO_EQ, CLO_V_ALLOW, ALL, UNIX, 0},
    {"socket", CLO_IN_SOCKETS_INET, 0, CLO_EQ, CLO_V_PERM, ALL, UNIX, 0},
    {"socket", INTERNET, 0, CLO_EQ, CLO_V_ALLOW, ALL, INET, 0},
    {"socket", INTERNET, 0, CLO_EQ, CLO_V_ALLOW, ALL, INET6, 0},
    {"socket", INTERNET, 0, CLO_NE, CLO_V_NOFAMILY, ALL, NETLINK, 0},
    {"socket", INTERNET, 2, CLO_NE, CLO_V_NOFAMILY, ALL, ROUTE, 0},
    {"socketpair", CLO_IN_ANY, 0, CLO_NE, CLO_V_NOFAMILY, ALL, UNIX, 0},
    /* One end of a datagram pair can be sent anywhere (SOCK_RAW means the same here): only the connected kinds. */
    {"socketpair", NO_UNIX, 1, CLO_EQ, CLO_V_ALLOW, SOCK_TYPE_MASK, STREAM, 0},
    {"socketpair", NO_UNIX, 1, CLO_EQ, CLO_V_ALLOW, SOCK_TYPE_MASK, SEQPACKET, 0},
    {"socketpair", NO_UNIX, 0, CLO_ELSE, CLO_V_PERM, 0, 0, 0},
    {"connect", NO_SOCKETS, 0, CLO_ELSE, CLO_V_PERM, 0, 0, 0},
    {"bind", NO_SOCKETS, 0, CLO_ELSE, CLO_V_PERM, 0, 0, 0},
    {"listen", NO_SOCKETS, 0, CLO_ELSE, CLO_V_PERM, 0, 0, 0},
    {"accept", NO_SOCKETS, 0, CLO_ELSE, CLO_V_PERM, 0, 0, 0},
    {"accept4", NO_SOCKETS, 0, CLO_ELSE, CLO_V_PERM, 0, 0, 0},

    /* Programs that never were a file: anonymous memory must be sealed against execution (Linux 6.3; else programs
     * are told there is none and use a temporary file), and no descriptor is executed by itself. */
    {"memfd_create", STRICT, 1, CLO_HAS, CLO_V_ALLOW, NOEXEC_SEAL, 0, 0},
    {"memfd_create", STRICT, 0, CLO_ELSE, CLO_V_NOSYS, 0, 0, 0},
    {"execveat", STRICT, 4, CLO_HAS, CLO_V_PERM, EMPTY_PATH, 0, 0},

    /* On disk a folder of the host is its owner's: a program that the guest marks there runs as that owner for every
     * other user of the host. The mode of openat2 lies in memory; programs fall back on openat. */
    {"chmod", NO_SET_ID, 1, CLO_HAS, CLO_V_PERM, SET_ID, 0, 0},
    {"fchmod", NO_SET_ID, 1, CLO_HAS, CLO_V_PERM, SET_ID, 0, 0},
    {"fchmodat", NO_SET_ID, 2, CLO_HAS, CLO_V_PERM, SET_ID, 0, 0},
    {"fchmodat2", NO_SET_ID, 2, CLO_HAS, CLO_V_PERM, SET_ID, 0, 0},
    {"mknod", NO_SET_ID, 1, CLO_HAS, CLO_V_PERM, SET_ID, 0, 0},
    {"mknodat", NO_SET_ID, 2, CLO_HAS, CLO_V_PERM, SET_ID, 0, 0},
    {"creat", NO_SET_ID, 1, CLO_HAS, CLO_V_PERM, SET_ID, 0, 0},
    {"open", NO_SET_ID, 1, CLO_EQ, CLO_V_ALLOW, CREATES, 0, 0},
    {"open", NO_SET_ID, 2, CLO_HAS, CLO_V_PERM, SET_ID, 0, 0},
    {"openat", NO_SET_ID, 2, CLO_EQ, CLO_V_ALLOW, CREATES, 0, 0},
    {"openat", NO_SET_ID, 3, CLO_HAS, CLO_V_PERM, SET_ID, 0, 0},
    {"openat2", NO_SET_ID, 0, CLO_ELSE, CLO_V_NOSYS, 0, 0, 0},

    /* A listener of the guest's own would shut ours out. At maximum no filter at all: seccomp(2) is refused whole. */
    {"seccomp", CLO_IN_ENHANCED, 0, CLO_NE, CLO_V_ALLOW, ALL, SECCOMP_FILTER, 0},
    {"seccomp", CLO_IN_ENHANCED, 1, CLO_HAS, CLO_V_PERM, NEW_LISTENER, 0, 0},
    {"prctl", CLO_IN_MAXIMUM, 0, CLO_EQ, CLO_V_PERM, ALL, PR_SECCOMP, 0},

    /* The process that holds the box, where no pid namespace hides it: no signal by any road (kill, a queued one, a
     * pidfd from /proc, the owner of a descriptor), no limit, no other scheduling. */
    {"kill", SHIELD, 0, CLO_EQ, CLO_V_PERM, ALL, 0, 1},
    {"kill", SHIELD, 0, CLO_EQ, CLO_V_PERM, ALL, 0, -1},
    {"kill", SHIELD, 0, CLO_EQ, CLO_V_PERM, ALL, ALL, 0},
    {"tkill", SHIELD, 0, CLO_EQ, CLO_V_PERM, ALL, 0, 1},
    {"tgkill", SHIELD, 0, CLO_EQ, CLO_V_PERM, ALL, 0, 1},
    {"tgkill", SHIELD, 1, CLO_EQ, CLO_V_PERM, ALL, 0, 1},
    {"rt_sigqueueinfo", SHIELD, 0, CLO_EQ, CLO_V_PERM, ALL, 0, 1},
    {"rt_tgsigqueueinfo", SHIELD, 0, CLO_EQ, CLO_V_PERM, ALL, 0, 1},
    {"rt_tgsigqueueinfo", SHIELD, 1, CLO_EQ, CLO_V_PERM, ALL, 0, 1},
    {"pidfd_open", SHIELD, 0, CLO_EQ, CLO_V_PERM, ALL, 0, 1},
    {"pidfd_send_signal", SHIELD, 0, CLO_ELSE, CLO_V_NOSYS, 0, 0, 0},
    {"fcntl", SHIELD, 1, CLO_EQ, CLO_V_PERM, ALL, OWNER_EX, 0},
    {"fcntl", SHIELD, 1, CLO_NE, CLO_V_ALLOW, ALL, OWNER, 0},
    {"fcntl", SHIELD, 2, CLO_EQ, CLO_V_PERM, ALL, 0, 1},
    {"fcntl", SHIELD, 2, CLO_EQ, CLO_V_PERM, ALL, 0, -1},
    {"prlimit64", SHIELD, 0, CLO_NE, CLO_V_PERM, ALL, 0, 0}, /* of nobody else, the host least of all */
    {"sched_setaffinity", SHIELD, 0, CLO_EQ, CLO_V_PERM, ALL, 0, 1},
    {"sched_setscheduler", SHIELD, 0, CLO_EQ, CLO_V_PERM, ALL, 0, 1},
    {"sched_setparam", SHIELD, 0, CLO_EQ, CLO_V_PERM, ALL, 0, 1},
    {"sched_setattr", SHIELD, 0, CLO_EQ, CLO_V_PERM, ALL, 0, 1},
    {"setpriority", SHIELD, 0, CLO_EQ, CLO_V_PERM, ALL, BY_USER, 0},
    {"setpriority", SHIELD, 1, CLO_EQ, CLO_V_PERM, ALL, 0, 1},
    {"ioprio_set", SHIELD, 0, CLO_EQ, CLO_V_PERM, ALL, IO_BY_USER, 0},
    {"ioprio_set", SHIELD, 1, CLO_EQ, CLO_V_PERM, ALL, 0, 1},
};
/* clang-format on */

_Static_assert(sizeof tests / sizeof tests[0] <= CLO_TESTS_MAX, "the assembler keeps a number for each");

const struct clo_test *clo_test_row(size_t index) {
    return index < sizeof tests / sizeof tests[0] ? &tests[index] : NULL;
}
