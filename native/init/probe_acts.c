/* What the self-test tries. Each function runs in a process of its own, with valid arguments, so that a refusal is
 * about the act and not about the arguments; none does harm where it is allowed. */

#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425
#endif
#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_kexec_load
#define SYS_kexec_load 104 /* arm64; x86-64 has always had it in its headers */
#endif

enum { CONNECT_MS = 1000 };

static int told(long result)
{
    return result < 0 ? errno : 0;
}

static int try_io_uring_setup(void)
{
    char parameters[120] = {0};
    return told(syscall(SYS_io_uring_setup, 1, parameters));
}

static int try_userfaultfd(void)
{
    enum { USER_MODE_ONLY = 1 };
    return told(syscall(SYS_userfaultfd, O_CLOEXEC | USER_MODE_ONLY));
}

static int try_bpf(void)
{
    union bpf_attr map = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
    return told(syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof map));
}

static int try_perf_event_open(void)
{
    struct perf_event_attr event = {.type = PERF_TYPE_SOFTWARE, .size = sizeof event, .config = PERF_COUNT_SW_DUMMY};
    event.exclude_kernel = 1;
    event.exclude_hv = 1;
    return told(syscall(SYS_perf_event_open, &event, 0, -1, -1, 0));
}

static int try_keyctl(void)
{
    enum { GET_KEYRING_ID = 0, PROCESS_KEYRING = -2 };
    return told(syscall(SYS_keyctl, GET_KEYRING_ID, PROCESS_KEYRING, 1));
}

static int try_add_key(void)
{
    enum { PROCESS_KEYRING = -2 };
    return told(syscall(SYS_add_key, "user", "cloche", "x", 1, PROCESS_KEYRING));
}

/* Flags that no kernel takes: where the right to load is there, EINVAL, and nothing is loaded or unloaded. */
static int try_kexec_load(void)
{
    return told(syscall(SYS_kexec_load, 0, 0, NULL, 0xfffful));
}

static int try_init_module(void)
{
    return told(syscall(SYS_init_module, NULL, 0, ""));
}

static int try_ptrace(void)
{
    return told(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

static int read_memory_of(pid_t pid)
{
    static char there[16];
    char here[16];
    struct iovec to = {here, sizeof here}, from = {there, sizeof there};
    return told(process_vm_readv(pid, &to, 1, &from, 1, 0));
}

static int try_read_parent(void)
{
    return read_memory_of(clo_probe_parent());
}

static int try_read_init(void)
{
    return read_memory_of(1);
}

static int try_unshare_user(void)
{
    return told(unshare(CLONE_NEWUSER));
}

static int finish_clone(long pid)
{
    if (pid == 0)
        _exit(0);
    if (pid < 0)
        return errno;
    waitpid((pid_t)pid, NULL, 0);
    return 0;
}

static int try_clone_user(void)
{
    return finish_clone(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL));
}

static int try_clone3(void)
{
    const struct {
        uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
    } request = {.exit_signal = SIGCHLD};
    return finish_clone(syscall(SYS_clone3, &request, sizeof request));
}

/* / is private already in a box, so this changes nothing where it is allowed. */
static int try_mount(void)
{
    return told(mount(NULL, "/", NULL, MS_PRIVATE, NULL));
}

static int try_setns(void)
{
    return told(setns(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), CLONE_NEWNET));
}

static int try_open_by_handle_at(void)
{
    _Alignas(struct file_handle) char space[sizeof(struct file_handle) + MAX_HANDLE_SZ];
    struct file_handle *handle = (void *)space;
    int mount_id;

    handle->handle_bytes = MAX_HANDLE_SZ;
    if (name_to_handle_at(AT_FDCWD, "/", handle, &mount_id, 0)) {
        handle->handle_bytes = 8;
        handle->handle_type = 1;
    }
    return told(open_by_handle_at(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), handle, O_RDONLY | O_CLOEXEC));
}

static int try_tiocsti(void)
{
    return isatty(0) ? told(ioctl(0, TIOCSTI, "\n")) : CLO_ACT_ABSENT;
}

#if defined(__x86_64__)
static int try_x32(void)
{
    enum { X32_GETPID = 0x40000000 + 39 };
    return told(syscall(X32_GETPID));
}

static int try_i386(void)
{
    enum { I386_GETPID = 20 };
    int result = I386_GETPID;

    __asm__ volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
    return result < 0 ? -result : 0;
}
#else
static int try_x32(void)
{
    return CLO_ACT_ABSENT;
}

static int try_i386(void)
{
    return CLO_ACT_ABSENT;
}
#endif

static int try_open(const char *path, int flags)
{
    return told(open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
}

static int try_create(const char *path)
{
    const int error = told(open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));

    if (!error)
        unlink(path);
    return error;
}

#define FILE_ACT(name, call) \
    static int name(void)    \
    {                        \
        return call;         \
    }
FILE_ACT(try_core_pattern, try_open("/proc/sys/kernel/core_pattern", O_WRONLY))
FILE_ACT(try_write_usr, try_create("/usr/.cloche-probe"))
FILE_ACT(try_write_etc, try_create("/etc/.cloche-probe"))
FILE_ACT(try_write_root, try_create("/.cloche-probe"))
FILE_ACT(try_write_tmp, try_create("/tmp/.cloche-probe"))
FILE_ACT(try_write_here, try_create(".cloche-probe"))
FILE_ACT(try_shadow, try_open("/etc/shadow", O_RDONLY))
FILE_ACT(try_root_home, try_open("/root", O_RDONLY | O_DIRECTORY))
FILE_ACT(try_home, try_open("/home", O_RDONLY | O_DIRECTORY))
FILE_ACT(try_usr, try_open("/usr", O_RDONLY | O_DIRECTORY))
FILE_ACT(try_var_log, try_open("/var/log", O_RDONLY | O_DIRECTORY))
FILE_ACT(try_proc_environ, try_open("/proc/1/environ", O_RDONLY))
FILE_ACT(try_proc_kallsyms, try_open("/proc/kallsyms", O_RDONLY))
FILE_ACT(try_sys, try_open("/sys/kernel", O_RDONLY | O_DIRECTORY))
FILE_ACT(try_null, try_open("/dev/null", O_RDWR))
FILE_ACT(try_kmsg, try_open("/dev/kmsg", O_RDONLY))
#undef FILE_ACT

static int try_socket_inet(void)
{
    return told(socket(AF_INET, SOCK_STREAM, 0));
}

static int try_socket_inet6(void)
{
    return told(socket(AF_INET6, SOCK_STREAM, 0));
}

static int try_socket_unix(void)
{
    return told(socket(AF_UNIX, SOCK_STREAM, 0));
}

static int try_socket_netlink(void)
{
    return told(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
}

static int try_socket_packet(void)
{
    return told(socket(AF_PACKET, SOCK_RAW, 0));
}

/* Port 1 of the loopback: ECONNREFUSED where the loopback works, and another errno for what stands in the way. */
static int try_connect(void)
{
    const struct sockaddr_in there = {
        .sin_family = AF_INET, .sin_port = htons(1), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), error = 0;

    if (fd < 0)
        return errno;
    if (connect(fd, (const void *)&there, sizeof there) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return errno;
    if (poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, CONNECT_MS) != 1)
        return ETIMEDOUT;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error}) ? errno : error;
}

static int try_kill_parent(void)
{
    return told(kill(clo_probe_parent(), 0));
}

static int try_kill_init(void)
{
    return told(kill(1, 0));
}

const struct clo_attempt clo_acts_calls[] = {
    {"io_uring_setup", try_io_uring_setup},
    {"userfaultfd", try_userfaultfd},
    {"bpf", try_bpf},
    {"perf_event_open", try_perf_event_open},
    {"keyctl", try_keyctl},
    {"add_key", try_add_key},
    {"kexec_load", try_kexec_load},
    {"init_module", try_init_module},
    {"ptrace", try_ptrace},
    {"process_vm_readv_parent", try_read_parent},
    {"process_vm_readv_init", try_read_init},
    {"unshare_user", try_unshare_user},
    {"clone_user", try_clone_user},
    {"clone3", try_clone3},
    {"mount", try_mount},
    {"setns", try_setns},
    {"open_by_handle_at", try_open_by_handle_at},
    {"tiocsti", try_tiocsti},
    {"x32", try_x32},
    {"i386", try_i386},
    {NULL, NULL},
};

const struct clo_attempt clo_acts_files[] = {
    {"write /proc/sys/kernel/core_pattern", try_core_pattern},
    {"create /usr", try_write_usr},
    {"create /etc", try_write_etc},
    {"create /", try_write_root},
    {"create /tmp", try_write_tmp},
    {"create .", try_write_here},
    {"read /etc/shadow", try_shadow},
    {"read /root", try_root_home},
    {"read /home", try_home},
    {"read /usr", try_usr},
    {"read /var/log", try_var_log},
    {"read /proc/1/environ", try_proc_environ},
    {"read /proc/kallsyms", try_proc_kallsyms},
    {"read /sys/kernel", try_sys},
    {"write /dev/null", try_null},
    {"read /dev/kmsg", try_kmsg},
    {NULL, NULL},
};

const struct clo_attempt clo_acts_sockets[] = {
    {"inet", try_socket_inet},
    {"inet6", try_socket_inet6},
    {"unix", try_socket_unix},
    {"netlink", try_socket_netlink},
    {"packet", try_socket_packet},
    {"connect 127.0.0.1:1", try_connect},
    {NULL, NULL},
};

const struct clo_attempt clo_acts_signals[] = {
    {"parent", try_kill_parent},
    {"init", try_kill_init},
    {NULL, NULL},
};
