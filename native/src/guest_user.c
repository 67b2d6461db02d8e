/* Whom a supervisor's thread acts as, and what the kernel says of a guest's process. */
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest.h"

enum { PTY_FIRST = 136, PTY_LAST = 143 }; /* major numbers: devices.txt */
enum { LOOK = 1 << CAP_SYS_PTRACE, REACH = 1 << CAP_DAC_READ_SEARCH };

static int set_capabilities(uint32_t permitted, uint32_t effective) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{.permitted = permitted, .effective = effective}};
    return syscall(SYS_capset, &head, data) ? -errno : 0;
}

static int may_look(void) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    if (syscall(SYS_capget, &head, data)) return -errno;
    return (data[0].permitted & (LOOK | REACH)) == (LOOK | REACH);
}

/* Makes the calling thread, for good, act as this user in all that it opens: ids, no supplementary groups, an umask of
 * its own, no capability but to look into processes. Its real ids stay, so that the guest can neither signal nor trace
 * it. Ids of -1: those that it has. The bare system calls, since the C library's change all threads. 0 or a negative errno;
 * the thread must end then. As with clo_spawn, the process writes no core file afterwards. */
int clo_guest_become(struct clo_guest_root *root, int64_t uid, int64_t gid) {
    if (uid == 0 || gid == 0) return -EINVAL;
    if (unshare(CLONE_FS)) return -errno;
    int looks = may_look();
    if (looks < 0) return looks;
    if (uid > 0 && (uid != geteuid() || gid != getegid())) {
        if (syscall(SYS_setgroups, (size_t)0, NULL)) return -errno;
        if (syscall(SYS_setresgid, (gid_t)-1, (gid_t)gid, (gid_t)-1)) return -errno;
        if (syscall(SYS_setresuid, (uid_t)-1, (uid_t)uid, (uid_t)-1)) return -errno;
    }
    int status = looks ? set_capabilities(LOOK | REACH, LOOK) : set_capabilities(0, 0);
    if (status < 0) return status;
    root->privileged = !!looks;
    root->uid = geteuid();
    root->became = 1;
    return 0;
}

static void set_effective(const struct clo_guest_root *root, uint32_t effective) {
    if (!root->privileged || !set_capabilities(LOOK | REACH, effective)) return;
    fputs("cloche: a supervisor could not change what it may do\n", stderr);
    abort();
}

void clo_guest_lay_down(const struct clo_guest_root *root) { set_effective(root, 0); }

void clo_guest_take_up(const struct clo_guest_root *root) { set_effective(root, LOOK); }

void clo_guest_reach(const struct clo_guest_root *root) { set_effective(root, LOOK | REACH); }

/* The last number of a line, in that base: 1, or 0 without one or with one of more than 32 bits. */
static int last_number(const char *line, size_t size, uint32_t base, uint32_t *number) {
    while (size && (line[size - 1] < '0' || line[size - 1] >= (char)('0' + base))) size--;
    size_t start = size;
    while (start && line[start - 1] >= '0' && line[start - 1] < (char)('0' + base)) start--;
    uint64_t value = 0;
    for (size_t at = start; at < size; at++) {
        value = value * base + (uint64_t)(line[at] - '0');
        if (value > UINT32_MAX) return 0;
    }
    *number = (uint32_t)value;
    return start < size;
}

/* Reads proc_pid_status(5). 0, or -EBADMSG when a line is not there or has no number. A process chooses its name, which
 * comes first, but the kernel escapes a newline in it. */
int clo_guest_parse_status(const char *text, size_t size, struct clo_guest_status *status) {
    static const struct { char key[8]; uint32_t base; } lines[] = {{"Umask:", 8}, {"NStgid:", 10}, {"NSpid:", 10}};
    uint32_t *const out[] = {&status->umask, &status->process, &status->thread};
    uint32_t had = 0;
    for (size_t at = 0; at < size;) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t length = end ? (size_t)(end - (text + at)) : size - at;
        for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
            size_t key = strlen(lines[i].key);
            if (length < key || memcmp(text + at, lines[i].key, key) != 0) continue;
            if (!last_number(text + at + key, length - key, lines[i].base, out[i])) return -EBADMSG;
            had |= 1u << i;
        }
        at += length + 1;
    }
    return had == 7 ? 0 : -EBADMSG;
}

/* Reads proc_pid_stat(5), where a process chooses the name in brackets, for its terminal. 0 or -ENXIO. */
int clo_guest_parse_stat(const char *text, size_t size, uint32_t *number) {
    const char *at = memrchr(text, ')', size), *end = text + size;
    for (int field = 2; at && field < 7; field++) {
        at = memchr(at, ' ', (size_t)(end - at));
        if (at) at++;
    }
    uint64_t device = 0;
    for (; at && at < end && *at >= '0' && *at <= '9' && device <= UINT32_MAX; at++)
        device = device * 10 + (uint64_t)(*at - '0');
    uint64_t kind = device >> 8 & 0xfff, which = (device & 0xff) | (device >> 12 & 0xfff00);
    if (device > UINT32_MAX || kind < PTY_FIRST || kind > PTY_LAST || which > 255) return -ENXIO;
    *number = (uint32_t)((kind - PTY_FIRST) * 256 + which);
    return 0;
}

/* Reads a file of a thread's folder in /proc: its size, -ESRCH when the thread is gone. */
static int read_file(const struct clo_guest_root *root, int32_t pid, const char *file, char *text, size_t room) {
    char name[32];
    if (pid <= 0) return -ESRCH;
    char *end = clo_decimal(name, (uint32_t)pid);
    memcpy(end, file, strlen(file) + 1);
    int fd = openat(root->proc, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? -ESRCH : -errno;
    ssize_t got = read(fd, text, room);
    int size = got < 0 ? -errno : (int)got;
    close(fd);
    return size;
}

int clo_guest_terminal(const struct clo_guest_root *root, int32_t pid, uint32_t *number) {
    char text[1024];
    int size = read_file(root, pid, "/stat", text, sizeof text);
    return size < 0 ? size : clo_guest_parse_stat(text, (size_t)size, number);
}

/* Of the thread `pid`. */
int clo_guest_status(const struct clo_guest_root *root, int32_t pid, struct clo_guest_status *status) {
    char text[4096];
    int size = read_file(root, pid, "/status", text, sizeof text);
    return size < 0 ? size : clo_guest_parse_status(text, (size_t)size, status);
}

static uint64_t number_at(const char **at) {
    uint64_t value = 0;
    while (**at == ' ') ++*at;
    for (; **at >= '0' && **at <= '9' && value <= UINT32_MAX; ++*at) value = value * 10 + (uint64_t)(**at - '0');
    return value;
}

/* By a table of user_namespaces(7): each line is first inside, first outside, count. */
static int map_id(const char *table, uint64_t *id) {
    uint32_t inside = (uint32_t)*id;
    *id = inside;
    if (inside == UINT32_MAX) return 0;
    while (*table) {
        uint64_t first = number_at(&table), outside = number_at(&table), count = number_at(&table);
        if (inside >= first && inside - first < count) {
            *id = outside + (inside - first);
            return *id < UINT32_MAX ? 0 : -EINVAL;
        }
        table += strcspn(table, "\n");
        table += *table == '\n';
    }
    return -EINVAL;
}

int clo_guest_ids(const struct clo_guest_root *root, int32_t pid, uint64_t ids[2]) {
    static const char *const files[2] = {"/uid_map", "/gid_map"};
    char text[8192];
    for (int i = 0; i < 2; i++) {
        int size = read_file(root, pid, files[i], text, sizeof text - 1);
        if (size < 0) return size;
        text[size] = 0;
        int status = map_id(text, &ids[i]);
        if (status < 0) return status;
    }
    return 0;
}

int clo_guest_file_limit(const struct clo_guest_root *root, int32_t pid, uint64_t *bytes) {
    static const char key[] = "Max file size";
    char text[4096];
    int size = read_file(root, pid, "/limits", text, sizeof text - 1);
    if (size < 0) return size;
    text[size] = 0;
    const char *at = strstr(text, key);
    if (!at) return -EBADMSG;
    at += strlen(key);
    at += strspn(at, " ");
    if (*at < '0' || *at > '9') *bytes = UINT64_MAX; /* "unlimited" */
    else *bytes = strtoull(at, NULL, 10);
    return 0;
}
