/* Kills a tree of this process's making in the way that the first argument says: "children" (the kernel lists them),
 * "scan" (it does not: every process's parent is read) or "numbers" (no /proc at all). Prints how many were met.
 * Built by test_init_harness.py with native/init/tree.c. */

#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static struct clo_tree tree;

/* Three levels of two, each level in a session of its own and with a parent that ends. */
static void grow(int depth)
{
    for (int i = 0; i < 2; i++) {
        if (fork())
            continue;
        setsid();
        if (depth > 1)
            grow(depth - 1);
        if (i == 0 && depth > 1)
            _exit(0);
        for (;;)
            pause();
    }
}

int main(int argc, char **argv)
{
    int proc = open("/proc", O_PATH | O_DIRECTORY);
    bool numbers = argc > 1 && strcmp(argv[1], "numbers") == 0;

    if (argc != 2 || proc < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
        return 1;
    grow(3);
    usleep(100000);
    clo_tree_start(&tree, proc, NULL, NULL);
    tree.scan |= strcmp(argv[1], "scan") == 0;
    for (;;) {
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        if (waitpid(-1, NULL, WNOHANG) < 0)
            break;
        if (numbers)
            clo_kill_by_number();
        else
            clo_tree_kill(&tree);
        usleep(2000);
    }
    printf("%zu\n", tree.met_alive);
    return 0;
}
