/* Roads into the kernel, and to rights, that a guest must find closed. */
#include "act.h"

#include <asm/ldt.h>
#include <linux/bpf.h>
#include <linux/fanotify.h>
#include <linux/io_uring.h>
#include <linux/kcmp.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/acct.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/quota.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/swap.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <sys/uio.h>
#include <sys/user.h>

static volatile long secret = 0x5EC2E7;

/* A child with the same memory that waits to be looked into; ends when killed. */
static pid_t victim(void) {
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
        for (;;) pause();
    }
    return child;
}

/* Ends a victim and keeps errno for the line. */
static int without(pid_t child, int done) {
    int kept = errno;
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    errno = kept;
    return done;
}

static int unshare_user(char **a) {
    (void)a;
    uid_t before = geteuid();
    if (unshare(CLONE_NEWUSER)) return 0;
    saw("uid %d became %d", (int)before, (int)geteuid());
    return geteuid() == 65534;
}

static int clone_with(unsigned long flags) {
    long child = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
    if (child == 0) _exit(geteuid() == 65534 ? 42 : 41);
    return child > 0 && ended((pid_t)child) == 42;
}

static int clone_user(char **a) {
    (void)a;
    return clone_with(CLONE_NEWUSER);
}

static int clone3_user(char **a) {
    (void)a;
    uint64_t request[11] = {CLONE_NEWUSER, 0, 0, 0, SIGCHLD};
    long child = syscall(SYS_clone3, request, sizeof request);
    if (child == 0) _exit(geteuid() == 65534 ? 42 : 41);
    return child > 0 && ended((pid_t)child) == 42;
}

/* The other kinds of namespace, each by unshare and by clone: any one is enough. */
static int other_namespaces(char **a) {
    (void)a;
    static const int kinds[] = {CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP};
    int made = 0, why = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        pid_t child = fork();
        if (child == 0) _exit(unshare(kinds[i]) ? errno : 0);
        int code = ended(child);
        long other = syscall(SYS_clone, (unsigned long)kinds[i] | SIGCHLD, 0, 0, 0, 0);
        if (other == 0) _exit(0);
        if (other > 0) ended((pid_t)other);
        made += (code == 0) + (other > 0);
        if (code) why = code;
    }
    saw("%d of 12", made);
    errno = why;
    return made > 0;
}

/* Enters the host-name namespace of a process: its own is enough to need a right. */
static int enter_namespace(char **a) {
    (void)a;
    int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    return worked(setns(fd, CLONE_NEWUTS));
}

static int ptrace_attach(char **a) {
    (void)a;
    pid_t child = victim();
    if (ptrace(PTRACE_ATTACH, child, 0, 0)) return without(child, 0);
    waitpid(child, NULL, 0);
    long got = ptrace(PTRACE_PEEKDATA, child, (void *)&secret, 0);
    return without(child, got == secret);
}

static int ptrace_seize(char **a) {
    (void)a;
    pid_t child = victim();
    return without(child, worked(ptrace(PTRACE_SEIZE, child, 0, 0)));
}

static int ptrace_traceme(char **a) {
    (void)a;
    pid_t child = fork();
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, 0, 0)) _exit(errno);
        raise(SIGSTOP);
        _exit(0);
    }
    int status;
    if (waitpid(child, &status, 0) != child) return 0;
    if (WIFSTOPPED(status)) return without(child, ptrace(PTRACE_PEEKDATA, child, (void *)&secret, 0) == secret);
    errno = WEXITSTATUS(status);
    return 0;
}

static int read_memory(char **a) {
    (void)a;
    long got = 0;
    struct iovec here = {&got, sizeof got}, there = {(void *)&secret, sizeof secret};
    pid_t child = victim();
    ssize_t n = process_vm_readv(child, &here, 1, &there, 1, 0);
    return without(child, n == sizeof got && got == secret);
}

static int write_memory(char **a) {
    (void)a;
    long value = 7;
    int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return 0;
    struct iovec here = {&value, sizeof value}, there = {shared, sizeof value};
    pid_t child = victim();
    ssize_t n = process_vm_writev(child, &here, 1, &there, 1, 0);
    return without(child, n == sizeof value && *shared == 7);
}

/* The control socket of a box is a descriptor of its agent. Takes descriptor 0 to 9 of parent, agent or own child. */
static int steal_descriptor(char **a) {
    (void)a;
    pid_t child = victim();
    pid_t targets[] = {1, getppid(), child};
    int got = 0, why = 0;
    for (size_t t = 0; t < 3; t++) {
        int target = (int)syscall(SYS_pidfd_open, targets[t], 0);
        for (int n = 0; n < 10; n++) {
            long fd = syscall(SYS_pidfd_getfd, target, n, 0);
            if (fd >= 0) got++, close((int)fd);
            else if (errno != EBADF) why = errno;
        }
        if (target >= 0) close(target);
    }
    saw("%d descriptors", got);
    errno = why;
    return without(child, got > 0);
}

static int compare_kernel_pointers(char **a) {
    (void)a;
    pid_t child = victim();
    return without(child, worked(syscall(SYS_kcmp, getpid(), child, KCMP_VM, 0, 0)));
}

static int key_added(char **a) {
    (void)a;
    long key = syscall(SYS_add_key, "user", "escape", "hidden", 6, KEY_SPEC_PROCESS_KEYRING);
    char text[8] = "";
    return key > 0 && syscall(SYS_keyctl, KEYCTL_READ, key, text, sizeof text) == 6 && !strcmp(text, "hidden");
}

static int key_session(char **a) {
    (void)a;
    return worked(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, "escape", 0, 0, 0));
}

static int key_requested(char **a) {
    (void)a;
    return worked(syscall(SYS_request_key, "user", "escape", NULL, 0));
}

static int bpf_map(char **a) {
    (void)a;
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.map_type = BPF_MAP_TYPE_ARRAY;
    attr.key_size = attr.value_size = 4;
    attr.max_entries = 1;
    return worked(syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr));
}

static int bpf_program(char **a) {
    (void)a;
    static const struct bpf_insn code[] = {{.code = 0xb7}, {.code = 0x95}}; /* r0 = 0; exit */
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
    attr.insns = (uintptr_t)code;
    attr.insn_cnt = 2;
    attr.license = (uintptr_t) "GPL";
    return worked(syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr));
}

static int perf_counter(char **a) {
    (void)a;
    struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE, .size = sizeof attr, .config = PERF_COUNT_SW_TASK_CLOCK};
    attr.exclude_kernel = attr.exclude_hv = 1;
    return worked(syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0));
}

static int user_faults(char **a) {
    (void)a;
    return worked(syscall(SYS_userfaultfd, O_CLOEXEC | 1 /* UFFD_USER_MODE_ONLY */));
}

/* Sets up a ring and has it do nothing once: a ring's work passes no filter. */
static int ring(char **a) {
    (void)a;
    struct io_uring_params p;
    memset(&p, 0, sizeof p);
    int fd = (int)syscall(SYS_io_uring_setup, 2, &p);
    if (fd < 0) return 0;
    unsigned *tail, *array;
    char *queue = mmap(NULL, p.sq_off.array + p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
    struct io_uring_sqe *entry = mmap(NULL, p.sq_entries * sizeof *entry, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES);
    if (queue == MAP_FAILED || entry == MAP_FAILED) return 0;
    tail = (unsigned *)(void *)(queue + p.sq_off.tail);
    array = (unsigned *)(void *)(queue + p.sq_off.array);
    memset(entry, 0, sizeof *entry);
    entry->opcode = IORING_OP_NOP;
    array[0] = 0;
    __atomic_store_n(tail, 1, __ATOMIC_RELEASE);
    return syscall(SYS_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1;
}

static int descriptor_table(char **a) {
    (void)a;
#ifdef __x86_64__
    struct user_desc entry = {.entry_number = 0, .base_addr = 0x1000, .limit = 1, .seg_32bit = 1};
    return worked(syscall(SYS_modify_ldt, 1, &entry, sizeof entry));
#else
    errno = ENOSYS;
    return 0;
#endif
}

static int fixed_addresses(char **a) {
    (void)a;
    if (personality(ADDR_NO_RANDOMIZE) < 0) return 0;
    return personality(0xffffffff) & ADDR_NO_RANDOMIZE;
}

static int executable_reads(char **a) {
    (void)a;
    if (personality(READ_IMPLIES_EXEC) < 0) return 0;
    return personality(0xffffffff) & READ_IMPLIES_EXEC;
}

static int quota_sync(char **a) {
    (void)a;
    return worked(quotactl(QCMD(Q_SYNC, USRQUOTA), NULL, 0, NULL));
}

static int swap_on(char **a) {
    (void)a;
    return worked(swapon("swapfile", 0));
}

static int kexec(char **a) {
    (void)a;
    return worked(syscall(SYS_kexec_load, 0, 0, NULL, 0));
}

static int kexec_file(char **a) {
    (void)a;
    return worked(syscall(SYS_kexec_file_load, -1, -1, 0, "", 0));
}

static int module(char **a) {
    (void)a;
    static char image[64] = "\177ELF";
    return worked(syscall(SYS_init_module, image, sizeof image, ""));
}

static int module_file(char **a) {
    (void)a;
    return worked(syscall(SYS_finit_module, 0, "", 0));
}

static int module_removed(char **a) {
    (void)a;
    return worked(syscall(SYS_delete_module, "none-of-that-name", O_NONBLOCK));
}

static int restart(char **a) {
    (void)a;
    return worked(syscall(SYS_reboot, 0xfee1dead, 672274793, RB_DISABLE_CAD, NULL));
}

static int set_time(char **a) {
    (void)a;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    now.tv_sec -= 86400;
    return worked(clock_settime(CLOCK_REALTIME, &now));
}

static int set_day(char **a) {
    (void)a;
    struct timeval then = {86400, 0};
    return worked(syscall(SYS_settimeofday, &then, NULL));
}

static int adjust_time(char **a) {
    (void)a;
    struct timex t = {.modes = 0};
    return worked(syscall(SYS_adjtimex, &t));
}

static int accounting(char **a) {
    (void)a;
    return worked(acct("accounting"));
}

static int port_level(char **a) {
    (void)a;
#ifdef __x86_64__
    return worked(syscall(SYS_iopl, 3));
#else
    errno = ENOSYS;
    return 0;
#endif
}

static int port_access(char **a) {
    (void)a;
#ifdef __x86_64__
    return worked(syscall(SYS_ioperm, 0x80, 1, 1));
#else
    errno = ENOSYS;
    return 0;
#endif
}

static int hang_up(char **a) {
    (void)a;
    return worked(syscall(SYS_vhangup));
}

static int watch_files(char **a) {
    (void)a;
    return worked(fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_FID | FAN_CLOEXEC, O_RDONLY));
}

static int kernel_log(char **a) {
    (void)a;
    static char text[4096];
    return worked(klogctl(3 /* SYSLOG_ACTION_READ_ALL */, text, sizeof text));
}

static int rename_host(char **a) {
    (void)a;
    char name[65];
    if (sethostname("escaped", 7)) return 0;
    return gethostname(name, sizeof name) == 0 && !strcmp(name, "escaped");
}

static int rename_domain(char **a) {
    (void)a;
    return worked(setdomainname("escaped", 7));
}

static const struct act acts[] = {
    {"userns-unshare", unshare_user, SYS_unshare},
    {"userns-clone", clone_user, SYS_clone},
    {"userns-clone3", clone3_user, SYS_clone3},
    {"namespaces-other", other_namespaces, SYS_unshare},
    {"setns", enter_namespace, SYS_setns},
    {"ptrace-attach", ptrace_attach, SYS_ptrace},
    {"ptrace-seize", ptrace_seize, SYS_ptrace},
    {"ptrace-traceme", ptrace_traceme, SYS_ptrace},
    {"process-vm-readv", read_memory, SYS_process_vm_readv},
    {"process-vm-writev", write_memory, SYS_process_vm_writev},
    {"pidfd-getfd", steal_descriptor, SYS_pidfd_getfd},
    {"kcmp", compare_kernel_pointers, SYS_kcmp},
    {"keyring-add", key_added, SYS_add_key},
    {"keyring-session", key_session, SYS_keyctl},
    {"keyring-request", key_requested, SYS_request_key},
    {"bpf-map", bpf_map, SYS_bpf},
    {"bpf-program", bpf_program, SYS_bpf},
    {"perf-counter", perf_counter, SYS_perf_event_open},
    {"userfaultfd", user_faults, SYS_userfaultfd},
    {"io-uring", ring, SYS_io_uring_setup},
#ifdef __x86_64__
    {"modify-ldt", descriptor_table, SYS_modify_ldt},
    {"iopl", port_level, SYS_iopl},
    {"ioperm", port_access, SYS_ioperm},
#endif
    {"personality-no-randomize", fixed_addresses, SYS_personality},
    {"personality-read-exec", executable_reads, SYS_personality},
    {"quotactl", quota_sync, SYS_quotactl},
    {"swapon", swap_on, SYS_swapon},
    {"kexec", kexec, SYS_kexec_load},
    {"kexec-file", kexec_file, SYS_kexec_file_load},
    {"init-module", module, SYS_init_module},
    {"finit-module", module_file, SYS_finit_module},
    {"delete-module", module_removed, SYS_delete_module},
    {"reboot", restart, SYS_reboot},
    {"clock-settime", set_time, SYS_clock_settime},
    {"settimeofday", set_day, SYS_settimeofday},
    {"adjtimex", adjust_time, SYS_adjtimex},
    {"acct", accounting, SYS_acct},
    {"vhangup", hang_up, SYS_vhangup},
    {"fanotify", watch_files, SYS_fanotify_init},
    {"kernel-log", kernel_log, SYS_syslog},
    {"sethostname", rename_host, SYS_sethostname},
    {"setdomainname", rename_domain, SYS_setdomainname},
};

ACT_MAIN(acts)
