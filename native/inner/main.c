/* cloche-inner: see inner.h. */

#include "inner.h"

#include <unistd.h>

int main(int argc, char **argv)
{
    static const char usage[] = "usage: cloche-inner (process 1 of a guest; descriptor 0 is the host's socket)\n";

    (void)argv;
    if (argc == 1)
        return clo_inner_serve();
    return write(STDERR_FILENO, usage, sizeof usage - 1) < 0 ? 1 : 2;
}
