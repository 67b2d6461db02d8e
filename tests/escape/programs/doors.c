/* Ways round a filter: other doors into the kernel, programs that never were a file, terminals, filters on filters. */
#include "act.h"

#include <linux/keyctl.h>
#include <stdbool.h>
#include <sys/ioctl.h>

static int refused_call(char **a) {
    (void)a;
    long key = syscall(SYS_add_key, "user", "escape", "hidden", 6, KEY_SPEC_PROCESS_KEYRING);
    char text[8] = "";
    return key > 0 && syscall(SYS_keyctl, KEYCTL_READ, key, text, sizeof text) == 6 && !strcmp(text, "hidden");
}

/* A terminal to type into: the one it was given, or one of its own. */
static int terminal(void) {
    if (isatty(0)) return 0;
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) || unlockpt(master)) return -1;
    if (fork()) { /* only a session leader may take it, and we may lead a group */
        wait(NULL);
        exit(0);
    }
    setsid();
    int fd = open(ptsname(master), O_RDWR);
    return ioctl(fd, TIOCSCTTY, 0) ? -1 : fd;
}

static int typed(unsigned long command) {
    int fd = terminal(), waiting = 0;
    char key = '\n';
    if (fd < 0 || syscall(SYS_ioctl, fd, command, &key)) return 0;
    return ioctl(fd, FIONREAD, &waiting) == 0 && waiting > 0;
}

static int type_into_terminal(char **a) {
    (void)a;
    return typed(TIOCSTI);
}

static int type_with_high_bits(char **a) {
    (void)a;
    return typed(0xdeadbeef00000000UL | TIOCSTI);
}

/* Asks for the console's selection; a terminal that is no console answers ENOTTY, which is the kernel's own word. */
static int console_selection(char **a) {
    (void)a;
    char command = 6; /* TIOCL_GETSHIFTSTATE, ioctl_console(2) */
    int fd = terminal();
    return fd >= 0 && (ioctl(fd, TIOCLINUX, &command) == 0 || errno == ENOTTY);
}

/* Executes text that never was a file: itself, from a memory file. */
static int memory_program(unsigned flags, bool by_path) {
    int fd = (int)syscall(SYS_memfd_create, "program", flags), self = open("/proc/self/exe", O_RDONLY);
    char block[65536], path[64];
    if (fd < 0) return 0;
    if (self < 0) self = open(program_invocation_name, O_RDONLY);
    ssize_t n;
    while ((n = read(self, block, sizeof block)) > 0)
        if (write(fd, block, (size_t)n) != n) return 0;
    fchmod(fd, 0755);
    char *const argv[] = {"program", "exit42", NULL}, *const environment[] = {NULL};
    pid_t child = fork();
    if (child == 0) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (by_path) execve(path, argv, environment);
        else syscall(SYS_execveat, fd, "", argv, environment, AT_EMPTY_PATH);
        _exit(errno);
    }
    int code = ended(child);
    if (code == 42) return 1;
    errno = code;
    return 0;
}

static int exit42(char **a) {
    (void)a;
    _exit(42);
}

static int fileless(char **a) {
    (void)a;
    return memory_program(0, false);
}

static int fileless_by_path(char **a) {
    (void)a;
    return memory_program(0, true);
}

/* The one kind of memory file that is allowed at the stricter levels says that it is never a program: is it so? */
static int fileless_sealed(char **a) {
    int first = memory_program(0, true);
    if (first) return 1;
    (void)a;
    return memory_program(8 /* MFD_NOEXEC_SEAL */, true) || memory_program(8, false);
}

static int execute_descriptor(char **a) {
    (void)a;
    int fd = open("/bin/true", O_RDONLY | O_CLOEXEC);
    char *const argv[] = {"true", NULL}, *const environment[] = {NULL};
    pid_t child = fork();
    if (child == 0) {
        syscall(SYS_execveat, fd, "", argv, environment, AT_EMPTY_PATH);
        _exit(errno);
    }
    int code = ended(child);
    errno = code;
    return code == 0;
}

/* Foreign doors: "done" if the program lives to tell. */
static int door_x32(char **a) {
    (void)a;
    long got = syscall(0x40000000 | SYS_getpid);
    saw("%ld", got);
    return 1;
}

static int door_i386(char **a) {
    (void)a;
#ifdef __x86_64__
    long got;
    __asm__ volatile("int $0x80" : "=a"(got) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
    saw("%ld", got);
    return got > 0;
#else
    errno = ENOSYS;
    return 0;
#endif
}

/* The 32-bit door with a call that exists only there with that number: add_key is 286. */
static int door_i386_key(char **a) {
    (void)a;
#ifdef __x86_64__
    char *low = mmap((void *)0x10000000, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (low == MAP_FAILED) return 0;
    memcpy(low, "user", 5);
    memcpy(low + 16, "escape", 7);
    long got;
    __asm__ volatile("int $0x80"
                     : "=a"(got)
                     : "a"(286L), "b"(low), "c"(low + 16), "d"(low + 16), "S"(6L), "D"((long)KEY_SPEC_PROCESS_KEYRING)
                     : "memory", "r8", "r9", "r10", "r11");
    saw("%ld", got);
    errno = (int)-got;
    return got > 0;
#else
    errno = ENOSYS;
    return 0;
#endif
}

/* A second filter that allows everything must not lift the first. */
static int filter_over_filter(char **a) {
    struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {1, code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0)) return 0;
    saw("a filter of its own; ");
    return refused_call(a);
}

static int filter_listener(char **a) {
    (void)a;
    struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {1, code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return worked(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
}

/* From a new program and from a new thread's memory: the filter goes along everywhere. */
static int filter_lost_by_exec(char **a) {
    if (a[0]) return refused_call(a);
    pid_t child = fork();
    if (child == 0) {
        char *const argv[] = {program_invocation_name, "filter-lost-by-exec", "again", NULL};
        execv(program_invocation_name, argv);
        _exit(1);
    }
    ended(child);
    fflush(stdout);
    _exit(0);
}

#ifdef __x86_64__
typedef long (*gadget)(long number);
#endif

/* Makes a call by the instruction at an address: in a page of its own, or in the kernel's vsyscall page. */
static int gadget_at(bool own) {
#ifdef __x86_64__
    /* mov rax, rdi; mov rdi, ...: only the number matters. The page holds: mov eax, edi; syscall; ret */
    static const unsigned char text[] = {0x89, 0xf8, 0x0f, 0x05, 0xc3};
    void *at = (void *)0xffffffffff600009UL; /* where syscall; ret stood in the old vsyscall page */
    if (own) {
        at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) return 0;
        memcpy(at, text, sizeof text);
        if (mprotect(at, 4096, PROT_READ | PROT_EXEC)) return 0;
    }
    gadget call;
    memcpy(&call, &at, sizeof call);
    return call(SYS_getpid) == getpid();
#else
    (void)own;
    errno = ENOSYS;
    return 0;
#endif
}

static int own_gadget(char **a) {
    (void)a;
    return gadget_at(true);
}

static int vsyscall_gadget(char **a) {
    (void)a;
    return gadget_at(false);
}

static const struct act acts[] = {
    {"tiocsti", type_into_terminal, SYS_ioctl},
    {"tiocsti-high-bits", type_with_high_bits, SYS_ioctl},
    {"tioclinux", console_selection, SYS_ioctl},
    {"fileless-execveat", fileless, SYS_memfd_create},
    {"fileless-by-path", fileless_by_path, SYS_memfd_create},
    {"fileless-sealed", fileless_sealed, SYS_memfd_create},
    {"exec-by-descriptor", execute_descriptor, SYS_execveat},
    {"exit42", exit42, 0},
    {"x32-door", door_x32, 0},
    {"i386-door", door_i386, 0},
    {"i386-door-add-key", door_i386_key, 0},
    {"filter-stacked", filter_over_filter, SYS_add_key},
    {"filter-listener", filter_listener, SYS_seccomp},
    {"filter-lost-by-exec", filter_lost_by_exec, SYS_add_key},
    {"own-gadget", own_gadget, SYS_getpid},
    {"vsyscall-gadget", vsyscall_gadget, SYS_getpid},
};

ACT_MAIN(acts)
