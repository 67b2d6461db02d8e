/* watched SOCKET EXEC FILTER PROGRAM [ARGUMENT ...]
 * Does what cloche-init's child does right before execve: puts a watch filter (hexadecimal) on itself, sends its
 * listener over the socket as exec number EXEC, becomes the program. Built by tests/native/conftest.py. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cloche_native.h"

enum { INSTRUCTIONS_MAX = 512 };

static int fail(const char *what) {
    perror(what);
    return 99;
}

int main(int argc, char **argv) {
    static struct sock_filter code[INSTRUCTIONS_MAX];
    if (argc < 5) return 98;
    int socket = atoi(argv[1]);
    size_t count = strlen(argv[3]) / 16;
    if (count > INSTRUCTIONS_MAX) return 98;
    for (size_t i = 0; i < count * sizeof *code; i++) {
        unsigned byte;
        if (sscanf(argv[3] + 2 * i, "%2x", &byte) != 1) return 98;
        ((unsigned char *)code)[i] = (unsigned char)byte;
    }
    struct sock_fprog program = {(unsigned short)count, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return fail("no_new_privs");
    long listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER | 1UL << 5, &program);
    if (listener < 0) listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    if (listener < 0) return fail("seccomp");
    struct clo_listener packet = {(uint32_t)atoi(argv[2]), (uint32_t)getpid()};
    union { struct cmsghdr head; char room[CMSG_SPACE(sizeof(int))]; } control;
    struct iovec body = {&packet, sizeof packet};
    struct msghdr message = {
        .msg_iov = &body, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    control.head = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    int fd = (int)listener;
    memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
    if (sendmsg(socket, &message, MSG_NOSIGNAL) != sizeof packet) return fail("sendmsg");
    close(fd);
    close(socket);
    execv(argv[4], argv + 4);
    return fail("execv");
}
