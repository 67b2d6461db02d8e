/* cloche-init: the program that runs inside every box, and the janitor that runs beside every host.
 *
 *     cloche-init [FD]            the control socket, 3 unless said
 *     cloche-init --janitor FD    see janitor.c
 */

#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernel.h"

bool clo_number(const char *text, int *number)
{
    char *end;
    long value;

    errno = 0;
    value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < 0 || value > INT32_MAX)
        return false;
    *number = (int)value;
    return true;
}

/* Descriptors 0 to 2 stay taken, by something that reads as empty and cannot be written, so that no other file gets
 * such a number; the socket is moved to 3, what may be the watch socket stays at 4,
 * and every other is closed. */
int clo_own_descriptors(int socket)
{
    int nothing[2], watch, fd;

    if (socket != CLO_CONTROL_FD && (dup2(socket, CLO_CONTROL_FD) < 0 || close(socket)))
        return -1;
    watch = clo_find_watch() == CLO_WATCH_FD ? 1 : 0;
    if (fcntl(CLO_CONTROL_FD, F_SETFD, FD_CLOEXEC) || syscall(SYS_close_range, CLO_CONTROL_FD + 1 + watch, ~0U, 0)
        || pipe2(nothing, O_CLOEXEC))
        return -1;
    for (fd = 0; fd < 3; fd++)
        if (fd != nothing[0] && dup2(nothing[0], fd) < 0)
            return -1;
    for (fd = 0; fd < 2; fd++)
        if (nothing[fd] > CLO_CONTROL_FD) /* and so not the watch socket */
            close(nothing[fd]);
    return 0;
}

/* Guests can read the command line, and need not know where on the host this program lies. */
static void forget_path(int argc, char **argv)
{
    const size_t size = (size_t)(argv[argc - 1] + strlen(argv[argc - 1]) - argv[0]); /* they follow one another */

    memset(argv[0], 0, size);
    strncpy(argv[0], "cloche-init", size);
}

int main(int argc, char **argv)
{
    static const char usage[] = "usage: cloche-init [CONTROL-FD] | cloche-init --janitor FD\n";
    int fd = CLO_CONTROL_FD;

    if (argc == 3 && strcmp(argv[1], "--janitor") == 0 && clo_number(argv[2], &fd))
        return clo_janitor(fd);
    if (argc == 1 || (argc == 2 && clo_number(argv[1], &fd))) {
        forget_path(argc, argv);
        return clo_serve(fd);
    }
    return write(STDERR_FILENO, usage, sizeof usage - 1) < 0 ? 1 : 2;
}
