/* What is applied once, before any guest runs. The first thing that fails ends it all. */

#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel.h"

enum { OOM_SCORE = 500 };

int clo_fail(struct clo_failure *failure, int error, const char *format, ...)
{
    va_list values;
    int used;

    va_start(values, format);
    used = vsnprintf(failure->what, sizeof failure->what, format, values);
    va_end(values);
    if (used > 0 && (size_t)used < sizeof failure->what)
        snprintf(failure->what + used, sizeof failure->what - (size_t)used, ": %s", strerror(error));
    failure->error = error;
    return -1;
}

/* Without PID 1's nature or a subreaper's, processes whose parent dies would go where they cannot be killed. */
static int become_reaper(uint32_t flags, struct clo_failure *failure)
{
    if (flags & CLO_SETUP_REAPER)
        return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) ? clo_fail(failure, errno, "reaper: prctl") : 0;
    return getpid() == 1 ? 0 : clo_fail(failure, EINVAL, "reaper: neither PID 1 nor asked to be a subreaper");
}

static int set_hostname(struct clo_view name, struct clo_failure *failure)
{
    if (!name.size || sethostname(name.data, name.size) == 0)
        return 0;
    return clo_fail(failure, errno, "hostname: %.*s", (int)name.size, name.data);
}

/* Opens the /proc to watch the box by. The launcher's is tried before the mounts are made, because the one that guests
 * get may hide processes (hidepid), also from this program, of those that make themselves not dumpable. */
static bool open_proc(struct clo_box *box)
{
    if (box->proc >= 0)
        return true;
    box->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (box->proc < 0 || clo_tree_can_list(box->proc))
        return box->proc >= 0;
    close(box->proc);
    box->proc = -1;
    errno = ENOENT;
    return false;
}

/* Opens what later stands for /dev/null and /dev/pts, before any guest can put something else there. */
static int open_own(struct clo_box *box, struct clo_failure *failure)
{
    struct stat status;

    if (!open_proc(box))
        return clo_fail(failure, errno, "proc: /proc does not show the processes of the box");
    box->null = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (box->null >= 0 && (fstat(box->null, &status) || !S_ISCHR(status.st_mode) || status.st_rdev != makedev(1, 3)))
        return clo_fail(failure, EINVAL, "dev: /dev/null is not the null device");
    box->terminals = open("/dev/pts", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return 0;
}

/* Under memory pressure guests are to go before what else runs on the host. It is done here, for all to inherit,
 * because once not dumpable this process may not write its own file. Best effort: the box's /proc may not have it. */
static void raise_oom_score(void)
{
    int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    char text[16] = {0};

    if (fd < 0)
        return;
    if (read(fd, text, sizeof text - 1) > 0 && atoi(text) < OOM_SCORE)
        dprintf(fd, "%d", OOM_SCORE);
    close(fd);
}

/* The bounding set takes CAP_SETPCAP to empty; without that right it can stay: no capability is held in the end, and
 * no_new_privs, set before, keeps every execve from giving one (capabilities(7)). */
static int empty_bounding_set(struct clo_failure *failure)
{
    int cap = 0;

    while (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0)
        cap++;
    if (errno != EPERM && (errno != EINVAL || !cap)) /* EINVAL: past the last one */
        return clo_fail(failure, errno, "drop: capability %d of the bounding set", cap);
    return 0;
}

/* Empties the four other sets. */
static int drop_capabilities(struct clo_failure *failure)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {0};

    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
        return clo_fail(failure, errno, "drop: ambient set");
    return syscall(SYS_capset, &head, none) ? clo_fail(failure, errno, "drop: capset") : 0;
}

/* The mount that this program came from: a guest that could open it could look for ways to harm the next start. */
static int hide_init(struct clo_failure *failure)
{
    return clo_detach("/.cloche") ? clo_fail(failure, errno, "hide-init: /.cloche") : 0;
}

/* The network is entered as late as can be: it is being made meanwhile. */
int clo_setup(struct clo_box *box, struct clo_network *network, struct clo_failure *failure)
{
    static struct clo_parts parts = {.proc = -1};
    const struct clo_setup *setup = &box->setup;

    if (clo_map_ids(setup, failure) || become_reaper(setup->flags, failure) || set_hostname(setup->hostname, failure))
        return -1;
    if (!clo_has_root(setup)) /* else /proc is still the host's */
        open_proc(box);       /* tried again later when there is none yet */
    if (clo_mount_all(setup, &parts, failure))
        return -1;
    if (parts.proc >= 0)
        box->proc = parts.proc;
    if (setup->flags & CLO_SETUP_HIDE_INIT && hide_init(failure))
        return -1;
    if (setup->flags & CLO_SETUP_ROOT_RO && clo_make_read_only("/"))
        return clo_fail(failure, errno, "root-ro: /");
    if (open_own(box, failure))
        return -1;
    clo_open_rooms(box);
    raise_oom_score();
    box->ruleset = clo_landlock_ruleset(setup, failure);
    if (box->ruleset == -2 || (setup->flags & CLO_SETUP_DROP && empty_bounding_set(failure)))
        return -1;
    if (clo_enter_network(setup, network, failure) || clo_seal_root(&parts, failure))
        return -1;
    if (setup->flags & CLO_SETUP_TRY_WATCH)
        box->watchable = clo_try_watch();
    /* Not before: the maps would have been files of root, and the helper's namespace closed to us. */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
        return clo_fail(failure, errno, "start: not dumpable");
    return 0;
}

/* The rest of the setup, which the host does not wait for: it is dear (a filter is judged by the kernel for every call
 * there is), and nothing of the guest runs before it is done, or if it fails. The filter is on cloche-init itself, so
 * every program has it from its start, and no exec pays for it. */
int clo_settle(const struct clo_box *box, struct clo_failure *failure)
{
    const struct clo_view affinity = box->setup.affinity, filter = box->setup.seccomp;
    const struct clo_filter_program program = {(unsigned short)(filter.size / CLO_FILTER_STEP), filter.data};

    if (box->setup.flags & CLO_SETUP_DROP && drop_capabilities(failure))
        return -1;
    if (affinity.size && syscall(SYS_sched_setaffinity, 0, affinity.size, (const void *)affinity.data) < 0)
        return clo_fail(failure, errno, "affinity");
    if (filter.size && syscall(SYS_seccomp, CLO_SECCOMP_FILTER, 0, &program))
        return clo_fail(failure, errno, "seccomp");
    return 0;
}
