/* Every system call's name, its number on both machines, and the strictest level that still allows it.
 *
 * The numbers are kernel ABI and never change, so they stand here instead of coming from the build machine's headers:
 * a filter built with old headers would else be blind to the calls it must refuse. Up to Linux 6.19.
 * Sources: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h of the kernel. */
#include <string.h>

#include "cloche_native.h"
#include "seccomp.h"

/* Allowed up to this level; or refused with EPERM, or with ENOSYS, at every level. */
enum { STD = CLO_STANDARD, ENH = CLO_ENHANCED, MAX = CLO_MAXIMUM, PERM = CLO_REFUSED, NONE = CLO_UNHEARD };

static const struct clo_syscall table[] = {
    /* files and folders */
    {"read", {0, 63}, MAX}, {"write", {1, 64}, MAX}, {"open", {2, -1}, MAX}, {"openat", {257, 56}, MAX},
    {"openat2", {437, 437}, MAX}, {"creat", {85, -1}, MAX}, {"close", {3, 57}, MAX}, {"close_range", {436, 436}, MAX},
    {"lseek", {8, 62}, MAX}, {"pread64", {17, 67}, MAX}, {"pwrite64", {18, 68}, MAX}, {"readv", {19, 65}, MAX},
    {"writev", {20, 66}, MAX}, {"preadv", {295, 69}, MAX}, {"pwritev", {296, 70}, MAX}, {"preadv2", {327, 286}, MAX},
    {"pwritev2", {328, 287}, MAX}, {"stat", {4, -1}, MAX}, {"fstat", {5, 80}, MAX}, {"lstat", {6, -1}, MAX},
    {"newfstatat", {262, 79}, MAX}, {"statx", {332, 291}, MAX}, {"access", {21, -1}, MAX},
    {"faccessat", {269, 48}, MAX}, {"faccessat2", {439, 439}, MAX}, {"readlink", {89, -1}, MAX},
    {"readlinkat", {267, 78}, MAX}, {"getdents", {78, -1}, MAX}, {"getdents64", {217, 61}, MAX},
    {"mkdir", {83, -1}, MAX}, {"mkdirat", {258, 34}, MAX}, {"rmdir", {84, -1}, MAX}, {"unlink", {87, -1}, MAX},
    {"unlinkat", {263, 35}, MAX}, {"rename", {82, -1}, MAX}, {"renameat", {264, 38}, MAX},
    {"renameat2", {316, 276}, MAX}, {"link", {86, -1}, MAX}, {"linkat", {265, 37}, MAX}, {"symlink", {88, -1}, MAX},
    {"symlinkat", {266, 36}, MAX}, {"mknod", {133, -1}, MAX}, {"mknodat", {259, 33}, MAX}, {"chmod", {90, -1}, MAX},
    {"fchmod", {91, 52}, MAX}, {"fchmodat", {268, 53}, MAX}, {"fchmodat2", {452, 452}, MAX}, {"chown", {92, -1}, MAX},
    {"fchown", {93, 55}, MAX}, {"lchown", {94, -1}, MAX}, {"fchownat", {260, 54}, MAX}, {"utime", {132, -1}, MAX},
    {"utimes", {235, -1}, MAX}, {"futimesat", {261, -1}, MAX}, {"utimensat", {280, 88}, MAX},
    {"truncate", {76, 45}, MAX}, {"ftruncate", {77, 46}, MAX}, {"fallocate", {285, 47}, MAX},
    {"fsync", {74, 82}, MAX}, {"fdatasync", {75, 83}, MAX}, {"flock", {73, 32}, MAX}, {"fcntl", {72, 25}, MAX},
    {"ioctl", {16, 29}, MAX}, {"fadvise64", {221, 223}, MAX}, {"readahead", {187, 213}, MAX},
    {"copy_file_range", {326, 285}, MAX}, {"sendfile", {40, 71}, MAX}, {"statfs", {137, 43}, MAX},
    {"fstatfs", {138, 44}, MAX}, {"umask", {95, 166}, MAX}, {"getcwd", {79, 17}, MAX}, {"chdir", {80, 49}, MAX},
    {"fchdir", {81, 50}, MAX}, {"dup", {32, 23}, MAX}, {"dup2", {33, -1}, MAX}, {"dup3", {292, 24}, MAX},
    {"pipe", {22, -1}, MAX}, {"pipe2", {293, 59}, MAX}, {"getxattr", {191, 8}, MAX}, {"lgetxattr", {192, 9}, MAX},
    {"fgetxattr", {193, 10}, MAX}, {"listxattr", {194, 11}, MAX}, {"llistxattr", {195, 12}, MAX},
    {"flistxattr", {196, 13}, MAX}, {"getxattrat", {464, 464}, MAX}, {"listxattrat", {465, 465}, MAX},
    {"file_getattr", {468, 468}, MAX}, {"setxattr", {188, 5}, MAX}, {"lsetxattr", {189, 6}, MAX},
    {"fsetxattr", {190, 7}, MAX}, {"removexattr", {197, 14}, MAX}, {"lremovexattr", {198, 15}, MAX},
    {"fremovexattr", {199, 16}, MAX}, {"setxattrat", {463, 463}, MAX}, {"removexattrat", {466, 466}, MAX},
    /* files: wider attack surface, or a wider view, than plain computing needs */
    {"file_setattr", {469, 469}, ENH}, {"sync", {162, 81}, ENH}, {"syncfs", {306, 267}, ENH},
    {"sync_file_range", {277, 84}, ENH}, {"splice", {275, 76}, ENH}, {"tee", {276, 77}, ENH},
    {"inotify_init", {253, -1}, ENH}, {"inotify_init1", {294, 26}, ENH}, {"inotify_add_watch", {254, 27}, ENH},
    {"inotify_rm_watch", {255, 28}, ENH}, {"cachestat", {451, 451}, ENH}, {"statmount", {457, 457}, ENH},
    {"listmount", {458, 458}, ENH}, {"io_setup", {206, 0}, ENH}, {"io_destroy", {207, 1}, ENH},
    {"io_submit", {209, 2}, ENH}, {"io_cancel", {210, 3}, ENH}, {"io_getevents", {208, 4}, ENH},
    {"io_pgetevents", {333, 292}, ENH},
    /* memory */
    {"mmap", {9, 222}, MAX}, {"mprotect", {10, 226}, MAX}, {"munmap", {11, 215}, MAX}, {"mremap", {25, 216}, MAX},
    {"brk", {12, 214}, MAX}, {"madvise", {28, 233}, MAX}, {"msync", {26, 227}, MAX}, {"mincore", {27, 232}, MAX},
    {"pkey_mprotect", {329, 288}, MAX}, {"pkey_alloc", {330, 289}, MAX}, {"pkey_free", {331, 290}, MAX},
    {"mseal", {462, 462}, MAX}, {"map_shadow_stack", {453, 453}, MAX}, {"memfd_create", {319, 279}, MAX},
    /* memory: pinning and System V segments */
    {"mlock", {149, 228}, ENH}, {"mlock2", {325, 284}, ENH}, {"munlock", {150, 229}, ENH},
    {"mlockall", {151, 230}, ENH}, {"munlockall", {152, 231}, ENH}, {"remap_file_pages", {216, 234}, ENH},
    {"shmget", {29, 194}, ENH}, {"shmat", {30, 196}, ENH}, {"shmctl", {31, 195}, ENH}, {"shmdt", {67, 197}, ENH},
    {"get_mempolicy", {239, 236}, ENH},
    /* memory: placement, secret memory, pages lent to a pipe */
    {"mbind", {237, 235}, STD}, {"set_mempolicy", {238, 237}, STD}, {"set_mempolicy_home_node", {450, 450}, STD},
    {"migrate_pages", {256, 238}, STD}, {"move_pages", {279, 239}, STD}, {"memfd_secret", {447, 447}, STD},
    {"vmsplice", {278, 75}, STD}, {"process_mrelease", {448, 448}, STD},
    /* processes and threads */
    {"clone", {56, 220}, MAX}, {"fork", {57, -1}, MAX}, {"vfork", {58, -1}, MAX}, {"execve", {59, 221}, MAX},
    {"execveat", {322, 281}, MAX}, {"exit", {60, 93}, MAX}, {"exit_group", {231, 94}, MAX}, {"wait4", {61, 260}, MAX},
    {"waitid", {247, 95}, MAX}, {"getpid", {39, 172}, MAX}, {"getppid", {110, 173}, MAX}, {"gettid", {186, 178}, MAX},
    {"getpgid", {121, 155}, MAX}, {"getpgrp", {111, -1}, MAX}, {"setpgid", {109, 154}, MAX},
    {"getsid", {124, 156}, MAX}, {"setsid", {112, 157}, MAX}, {"set_tid_address", {218, 96}, MAX},
    {"set_robust_list", {273, 99}, MAX}, {"rseq", {334, 293}, MAX}, {"futex", {202, 98}, MAX},
    {"futex_waitv", {449, 449}, MAX}, {"futex_wake", {454, 454}, MAX}, {"futex_wait", {455, 455}, MAX},
    {"futex_requeue", {456, 456}, MAX}, {"membarrier", {324, 283}, MAX}, {"getcpu", {309, 168}, MAX},
    {"sched_yield", {24, 124}, MAX}, {"sched_getaffinity", {204, 123}, MAX}, {"sched_setaffinity", {203, 122}, MAX},
    {"sched_getscheduler", {145, 120}, MAX}, {"sched_getparam", {143, 121}, MAX}, {"sched_getattr", {315, 275}, MAX},
    {"sched_get_priority_max", {146, 125}, MAX}, {"sched_get_priority_min", {147, 126}, MAX},
    {"sched_rr_get_interval", {148, 127}, MAX}, {"getpriority", {140, 141}, MAX}, {"setpriority", {141, 140}, MAX},
    {"prctl", {157, 167}, MAX}, {"arch_prctl", {158, -1}, MAX}, {"getrlimit", {97, 163}, MAX},
    {"setrlimit", {160, 164}, MAX}, {"prlimit64", {302, 261}, MAX}, {"getrusage", {98, 165}, MAX},
    {"times", {100, 153}, MAX}, {"sysinfo", {99, 179}, MAX}, {"uname", {63, 160}, MAX},
    {"personality", {135, 92}, MAX}, {"restart_syscall", {219, 128}, MAX}, {"pidfd_open", {434, 434}, MAX},
    {"pidfd_send_signal", {424, 424}, MAX}, {"landlock_create_ruleset", {444, 444}, MAX},
    {"landlock_add_rule", {445, 445}, MAX}, {"landlock_restrict_self", {446, 446}, MAX},
    {"uretprobe", {335, -1}, MAX},
    /* processes: scheduling, thread areas, namespaces refused by flag */
    {"sched_setscheduler", {144, 119}, ENH}, {"sched_setparam", {142, 118}, ENH}, {"sched_setattr", {314, 274}, ENH},
    {"ioprio_get", {252, 31}, ENH}, {"ioprio_set", {251, 30}, ENH}, {"get_robust_list", {274, 100}, ENH},
    {"unshare", {272, 97}, ENH}, {"seccomp", {317, 277}, ENH}, {"set_thread_area", {205, -1}, ENH},
    {"get_thread_area", {211, -1}, ENH}, {"capset", {126, 91}, ENH}, {"lsm_get_self_attr", {459, 459}, ENH},
    {"lsm_list_modules", {461, 461}, ENH}, {"setuid", {105, 146}, ENH}, {"setgid", {106, 144}, ENH},
    {"setreuid", {113, 145}, ENH}, {"setregid", {114, 143}, ENH}, {"setresuid", {117, 147}, ENH},
    {"setresgid", {119, 149}, ENH}, {"setfsuid", {122, 151}, ENH}, {"setfsgid", {123, 152}, ENH},
    {"setgroups", {116, 159}, ENH}, {"semget", {64, 190}, ENH}, {"semop", {65, 193}, ENH}, {"semctl", {66, 191}, ENH},
    {"semtimedop", {220, 192}, ENH}, {"msgget", {68, 186}, ENH}, {"msgsnd", {69, 189}, ENH},
    {"msgrcv", {70, 188}, ENH}, {"msgctl", {71, 187}, ENH}, {"mq_open", {240, 180}, ENH},
    {"mq_unlink", {241, 181}, ENH}, {"mq_timedsend", {242, 182}, ENH}, {"mq_timedreceive", {243, 183}, ENH},
    {"mq_notify", {244, 184}, ENH}, {"mq_getsetattr", {245, 185}, ENH},
    /* processes: segments of the descriptor table */
    {"modify_ldt", {154, -1}, STD},
    /* who am I */
    {"getuid", {102, 174}, MAX}, {"geteuid", {107, 175}, MAX}, {"getgid", {104, 176}, MAX},
    {"getegid", {108, 177}, MAX}, {"getresuid", {118, 148}, MAX}, {"getresgid", {120, 150}, MAX},
    {"getgroups", {115, 158}, MAX}, {"capget", {125, 90}, MAX},
    /* signals */
    {"kill", {62, 129}, MAX}, {"tkill", {200, 130}, MAX}, {"tgkill", {234, 131}, MAX},
    {"rt_sigaction", {13, 134}, MAX}, {"rt_sigprocmask", {14, 135}, MAX}, {"rt_sigpending", {127, 136}, MAX},
    {"rt_sigtimedwait", {128, 137}, MAX}, {"rt_sigsuspend", {130, 133}, MAX}, {"rt_sigreturn", {15, 139}, MAX},
    {"rt_sigqueueinfo", {129, 138}, MAX}, {"rt_tgsigqueueinfo", {297, 240}, MAX}, {"sigaltstack", {131, 132}, MAX},
    {"pause", {34, -1}, MAX},
    /* time */
    {"time", {201, -1}, MAX}, {"gettimeofday", {96, 169}, MAX}, {"clock_gettime", {228, 113}, MAX},
    {"clock_getres", {229, 114}, MAX}, {"nanosleep", {35, 101}, MAX}, {"clock_nanosleep", {230, 115}, MAX},
    {"alarm", {37, -1}, MAX}, {"getitimer", {36, 102}, MAX}, {"setitimer", {38, 103}, MAX},
    {"timer_create", {222, 107}, MAX}, {"timer_settime", {223, 110}, MAX}, {"timer_gettime", {224, 108}, MAX},
    {"timer_getoverrun", {225, 109}, MAX}, {"timer_delete", {226, 111}, MAX}, {"timerfd_create", {283, 85}, MAX},
    {"timerfd_settime", {286, 86}, MAX}, {"timerfd_gettime", {287, 87}, MAX},
    /* waiting */
    {"select", {23, -1}, MAX}, {"pselect6", {270, 72}, MAX}, {"poll", {7, -1}, MAX}, {"ppoll", {271, 73}, MAX},
    {"epoll_create", {213, -1}, MAX}, {"epoll_create1", {291, 20}, MAX}, {"epoll_ctl", {233, 21}, MAX},
    {"epoll_wait", {232, -1}, MAX}, {"epoll_pwait", {281, 22}, MAX}, {"epoll_pwait2", {441, 441}, MAX},
    {"eventfd", {284, -1}, MAX}, {"eventfd2", {290, 19}, MAX}, {"signalfd", {282, -1}, MAX},
    {"signalfd4", {289, 74}, MAX}, {"getrandom", {318, 278}, MAX},
    /* sockets: socket() and socketpair() are tested by argument */
    {"socket", {41, 198}, MAX}, {"socketpair", {53, 199}, MAX}, {"bind", {49, 200}, MAX}, {"listen", {50, 201}, MAX},
    {"accept", {43, 202}, MAX}, {"accept4", {288, 242}, MAX}, {"connect", {42, 203}, MAX},
    {"shutdown", {48, 210}, MAX}, {"sendto", {44, 206}, MAX}, {"recvfrom", {45, 207}, MAX},
    {"sendmsg", {46, 211}, MAX}, {"recvmsg", {47, 212}, MAX}, {"sendmmsg", {307, 269}, MAX},
    {"recvmmsg", {299, 243}, MAX}, {"getsockname", {51, 204}, MAX}, {"getpeername", {52, 205}, MAX},
    {"getsockopt", {55, 209}, MAX}, {"setsockopt", {54, 208}, MAX},
    /* other processes' memory and descriptors */
    {"ptrace", {101, 117}, PERM}, {"process_vm_readv", {310, 270}, PERM}, {"process_vm_writev", {311, 271}, PERM},
    {"process_madvise", {440, 440}, PERM}, {"pidfd_getfd", {438, 438}, PERM}, {"kcmp", {312, 272}, PERM},
    /* mounts, roots, namespaces */
    {"mount", {165, 40}, PERM}, {"umount2", {166, 39}, PERM}, {"pivot_root", {155, 41}, PERM},
    {"open_tree", {428, 428}, PERM}, {"open_tree_attr", {467, 467}, PERM}, {"move_mount", {429, 429}, PERM},
    {"fsopen", {430, 430}, PERM}, {"fsconfig", {431, 431}, PERM}, {"fsmount", {432, 432}, PERM},
    {"fspick", {433, 433}, PERM}, {"mount_setattr", {442, 442}, PERM}, {"chroot", {161, 51}, PERM},
    {"setns", {308, 268}, PERM},
    /* files by handle, watching everybody's files, quotas */
    {"name_to_handle_at", {303, 264}, PERM}, {"open_by_handle_at", {304, 265}, PERM},
    {"fanotify_init", {300, 262}, PERM}, {"fanotify_mark", {301, 263}, PERM}, {"quotactl", {179, 60}, PERM},
    {"quotactl_fd", {443, 443}, PERM}, {"acct", {163, 89}, PERM},
    /* the machine: modules, kexec, devices, clock, names, log */
    {"init_module", {175, 105}, PERM}, {"finit_module", {313, 273}, PERM}, {"delete_module", {176, 106}, PERM},
    {"kexec_load", {246, 104}, PERM}, {"kexec_file_load", {320, 294}, PERM}, {"reboot", {169, 142}, PERM},
    {"swapon", {167, 224}, PERM}, {"swapoff", {168, 225}, PERM}, {"settimeofday", {164, 170}, PERM},
    {"clock_settime", {227, 112}, PERM}, {"clock_adjtime", {305, 266}, PERM}, {"adjtimex", {159, 171}, PERM},
    {"sethostname", {170, 161}, PERM}, {"setdomainname", {171, 162}, PERM}, {"syslog", {103, 116}, PERM},
    {"vhangup", {153, 58}, PERM}, {"iopl", {172, -1}, PERM}, {"ioperm", {173, -1}, PERM}, {"uprobe", {336, -1}, PERM},
    {"lsm_set_self_attr", {460, 460}, PERM},
    /* kernel programs, keys, performance counters, page faults */
    {"bpf", {321, 280}, PERM}, {"perf_event_open", {298, 241}, PERM}, {"add_key", {248, 217}, PERM},
    {"request_key", {249, 218}, PERM}, {"keyctl", {250, 219}, PERM}, {"userfaultfd", {323, 282}, PERM},
    /* refused as if this kernel had never heard of them: programs fall back (clone3 to clone, whose flags show) */
    {"clone3", {435, 435}, NONE}, {"io_uring_setup", {425, 425}, NONE}, {"io_uring_enter", {426, 426}, NONE},
    {"io_uring_register", {427, 427}, NONE}, {"lookup_dcookie", {212, 18}, NONE}, {"_sysctl", {156, -1}, NONE},
    {"afs_syscall", {183, -1}, NONE}, {"create_module", {174, -1}, NONE}, {"epoll_ctl_old", {214, -1}, NONE},
    {"epoll_wait_old", {215, -1}, NONE}, {"get_kernel_syms", {177, -1}, NONE}, {"getpmsg", {181, -1}, NONE},
    {"nfsservctl", {180, 42}, NONE}, {"putpmsg", {182, -1}, NONE}, {"query_module", {178, -1}, NONE},
    {"security", {185, -1}, NONE}, {"sysfs", {139, -1}, NONE}, {"tuxcall", {184, -1}, NONE},
    {"uselib", {134, -1}, NONE}, {"ustat", {136, -1}, NONE}, {"vserver", {236, -1}, NONE},
    {"listns", {470, 470}, NONE},
};

static size_t syscall_count(void) { return sizeof table / sizeof table[0]; }

const struct clo_syscall *clo_syscall_row(size_t index) { return index < syscall_count() ? &table[index] : NULL; }

const char *clo_syscall_name(size_t index) {
    const struct clo_syscall *row = clo_syscall_row(index);
    return row ? row->name : NULL;
}

int clo_syscall_number(const char *name, uint32_t arch) {
    if (arch > CLO_ARCH_AARCH64) return -EINVAL;
    for (size_t i = 0; i < syscall_count(); i++) {
        if (strcmp(table[i].name, name)) continue;
        int number = table[i].number[arch];
        return number < 0 ? -ENOSYS : number;
    }
    return -ENOENT;
}
