/* statx(2) for programs in a gVisor of before 2023-02-21, which refuses it with AT_NO_AUTOMOUNT, and so `ls` and `stat`
 * of coreutils: the flag is left out. Nothing is mounted on its own in such a guest, so that changes no answer.
 *
 * The dynamic loader puts it before the C library, whichever that is: so it needs nothing of one but errno. */

#include "../inner/raw.h"

#include <sys/syscall.h>

enum { NO_AUTOMOUNT = 0x800 };

struct statx;
int *__errno_location(void);
__attribute__((visibility("default"))) int statx(int folder, const char *path, int flags, unsigned mask, struct statx *out);

int statx(int folder, const char *path, int flags, unsigned mask, struct statx *out)
{
    const long result = clo_raw5(SYS_statx, folder, (long)path, flags & ~NO_AUTOMOUNT, mask, (long)out);

    if (result >= 0)
        return 0;
    *__errno_location() = (int)-result;
    return -1;
}
