/* flood COUNT FILE [write]: opens COUNT files as fast as it can, in two processes, and FILE once in the midst of it: as
 * the others to read, or to write. Prints how many opens a second that were, and whether FILE could be opened.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void flood(long count) {
    for (long i = 0; i < count; i++) {
        int fd = open("/dev/null", O_RDONLY);
        if (fd >= 0) close(fd);
    }
}

int main(int argc, char **argv) {
    struct timespec begin, end;
    if (argc < 3) return 2;
    long count = atol(argv[1]);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    pid_t child = fork();
    if (child < 0) return 1;
    flood(count / 4);
    int had = -1;
    if (child > 0) had = open(argv[2], argc > 3 ? O_WRONLY : O_RDONLY);
    flood(count / 4);
    if (child == 0) _exit(0);
    waitpid(child, NULL, 0);
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
    printf("%.0f %s\n", (double)count / seconds, had >= 0 ? "had" : "kept");
    return 0;
}
