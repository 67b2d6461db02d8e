/* Namespaces entered directly.
 *
 * Theory. The child that clo_spawn makes (the helper) has joined its control groups, has its final descriptors and is
 * already the box's own user. Only now it makes the program's process, with its namespaces in one call, so that the
 * user namespace belongs to that user and never to root. CLONE_PARENT makes the new process a child of the host
 * itself, which can wait for it and whose end it follows; the helper has then done its work. The memory is the host's
 * all the while, as in spawn.c: three processes that never run at the same time on three stacks.
 *
 * Ids are not mapped here. The maps are files of /proc that belong to root as long as the host's memory is marked
 * undumpable (proc(5)), which the change of ids has done; after execve they are the program's, and cloche-init writes
 * them first of all. Until then it has no uid that means anything, and the capabilities that it needs come through
 * execve as ambient ones. They are worth something in these namespaces only.
 *
 * The parent-death signal is armed by the program's process and checked by the helper afterwards, because getppid()
 * tells nothing across process-id namespaces: had the host died before it was armed, the helper would by then have
 * another parent. That is why the helper itself has none.
 *
 * The network namespace is left out: it takes longer than all the others together, so cloche-init makes it beside its
 * other work.
 *
 * Linux 4.6 (CLONE_NEWCGROUP). */
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "enter.h"
#include "step.h"

struct entry {
    struct clo_spawn *spawn;
    int error;
};

/* Mounts and the host name; emptying the bounding set; the loopback; the folder of mode 000 that overlayfs works in. */
static const int kept[] = {CAP_SYS_ADMIN, CAP_SETPCAP, CAP_NET_ADMIN, CAP_DAC_OVERRIDE};

enum { N_KEPT = sizeof kept / sizeof kept[0] };

_Static_assert(CAP_SYS_ADMIN < 32 && CAP_SETPCAP < 32 && CAP_NET_ADMIN < 32, "all in the first word");

static int keep_capabilities(struct clo_spawn *spawn) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[2] = {{0}, {0}};
    uint32_t mask = 0;
    for (int i = 0; i < N_KEPT; i++) mask |= UINT32_C(1) << kept[i];
    sets[0].effective = sets[0].permitted = sets[0].inheritable = mask;
    if (syscall(SYS_capset, &head, sets)) return clo_step_failed(spawn, CLO_STEP_CAPABILITIES, N_KEPT);
    for (int i = 0; i < N_KEPT; i++)
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, kept[i], 0, 0))
            return clo_step_failed(spawn, CLO_STEP_CAPABILITIES, (uint32_t)i);
    return 0;
}

static int start(struct clo_spawn *spawn) {
    int error = keep_capabilities(spawn);
    if (error) return error;
    if (spawn->new_session && syscall(SYS_setsid) < 0) return clo_step_failed(spawn, CLO_STEP_SESSION, 0);
    if (spawn->death_signal && prctl(PR_SET_PDEATHSIG, spawn->death_signal))
        return clo_step_failed(spawn, CLO_STEP_PARENT, 0);
    return clo_become(spawn);
}

/* Its frame is never left: see child_main in spawn.c. */
__attribute__((no_sanitize("address"))) static int program_main(void *argument) {
    struct entry *entry = argument;
    entry->error = start(entry->spawn);
    syscall(SYS_exit_group, 127);
    return 127;
}

int clo_enter(struct clo_spawn *spawn, char *stack, pid_t parent, pid_t *pid) {
    const int shared = CLONE_VM | CLONE_VFORK | CLONE_PARENT | CLONE_PARENT_SETTID;
    const int own = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
    struct entry entry = {.spawn = spawn};
    if (clone(program_main, stack, shared | own, &entry, pid) < 0)
        return clo_step_failed(spawn, CLO_STEP_ENTER, 0);
    if (entry.error || !spawn->death_signal || getppid() == parent) return entry.error;
    syscall(SYS_kill, *pid, SIGKILL);
    errno = ESRCH;
    return clo_step_failed(spawn, CLO_STEP_PARENT, 0);
}
