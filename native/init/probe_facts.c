/* What the self-test reads about itself: identity, network, namespaces, limits. System calls are asked before /proc,
 * which the box may not show. */

#include "probe.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FDS_LOOKED_AT = 4096, FORKS_MAX = 64, NPROC_TRIED = 4096 };

static void put_set(struct clo_json *json, const char *name, uint64_t set)
{
    char text[32];

    snprintf(text, sizeof text, "%016llx", (unsigned long long)set);
    clo_json_text(json, name, text);
}

static void facts_capabilities(struct clo_json *json)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[2] = {0};
    uint64_t bounding = 0, ambient = 0;

    if (syscall(SYS_capget, &head, sets)) {
        clo_json_error(json, "capabilities", errno);
        return;
    }
    for (unsigned long cap = 0; cap < 64; cap++) {
        bounding |= (uint64_t)(prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1) << cap;
        ambient |= (uint64_t)(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) == 1) << cap;
    }
    clo_json_open(json, "capabilities", '{');
    put_set(json, "effective", (uint64_t)sets[1].effective << 32 | sets[0].effective);
    put_set(json, "permitted", (uint64_t)sets[1].permitted << 32 | sets[0].permitted);
    put_set(json, "inheritable", (uint64_t)sets[1].inheritable << 32 | sets[0].inheritable);
    put_set(json, "bounding", bounding);
    put_set(json, "ambient", ambient);
    clo_json_close(json, '}');
}

static void fact_uid_map(struct clo_json *json)
{
    char text[512];
    int fd = open("/proc/self/uid_map", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

    if (got < 0) {
        clo_json_error(json, "uid_map", errno);
    } else {
        text[got] = 0;
        clo_json_text(json, "uid_map", text);
    }
    if (fd >= 0)
        close(fd);
}

static void fact_processes(struct clo_json *json)
{
    DIR *list = opendir("/proc");
    const struct dirent *entry;
    int count = 0;

    if (!list) {
        clo_json_error(json, "processes", errno);
        return;
    }
    while ((entry = readdir(list)))
        count += isdigit((unsigned char)entry->d_name[0]) != 0;
    closedir(list);
    clo_json_number(json, "processes", count);
}

static void fact_descriptors(struct clo_json *json)
{
    clo_json_open(json, "descriptors", '[');
    for (int fd = 3; fd < FDS_LOOKED_AT; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            clo_json_number(json, NULL, fd);
    clo_json_close(json, ']');
}

void clo_facts_identity(struct clo_json *json)
{
    clo_json_number(json, "seccomp", prctl(PR_GET_SECCOMP, 0, 0, 0, 0));
    clo_json_number(json, "no_new_privs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    clo_json_number(json, "uid", getuid());
    clo_json_number(json, "gid", getgid());
    clo_json_number(json, "groups", getgroups(0, NULL));
    clo_json_number(json, "pid", getpid());
    clo_json_number(json, "ppid", getppid());
    clo_json_number(json, "sid", getsid(0));
    facts_capabilities(json);
    fact_uid_map(json);
    fact_processes(json);
    fact_descriptors(json);
}

/* The names in /proc/self/net/dev, for where netlink sockets are refused; false when that cannot be read either. */
static bool interfaces_of_proc(struct clo_json *json)
{
    char line[512];
    FILE *file = fopen("/proc/self/net/dev", "re");

    if (!file)
        return false;
    while (fgets(line, sizeof line, file)) {
        char *end = strchr(line, ':'), *name = line + strspn(line, " ");
        if (!end)
            continue;
        *end = 0;
        clo_json_text(json, NULL, name);
    }
    fclose(file);
    return true;
}

void clo_facts_network(struct clo_json *json)
{
    struct if_nameindex *list = if_nameindex();
    const int error = errno;

    clo_json_open(json, "interfaces", '[');
    for (const struct if_nameindex *at = list; at && at->if_name; at++)
        clo_json_text(json, NULL, at->if_name);
    if (!list && !interfaces_of_proc(json))
        clo_json_error(json, NULL, error);
    clo_json_close(json, ']');
    if (list)
        if_freenameindex(list);
}

void clo_facts_namespaces(struct clo_json *json)
{
    static const char *const names[] = {"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"};

    clo_json_open(json, "namespaces", '{');
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[64], text[64];
        ssize_t got;
        snprintf(path, sizeof path, "/proc/self/ns/%s", names[i]);
        got = readlink(path, text, sizeof text - 1);
        if (got < 0) {
            clo_json_error(json, names[i], errno);
            continue;
        }
        text[got] = 0;
        clo_json_text(json, names[i], text);
    }
    clo_json_close(json, '}');
}

static void put_limit(struct clo_json *json, rlim_t limit)
{
    if (limit == RLIM_INFINITY)
        clo_json_text(json, NULL, "unlimited");
    else
        clo_json_number(json, NULL, (long long)limit);
}

/* How many processes can live at once, up to FORKS_MAX: they wait to be killed, and are reaped here. */
static void fact_forks(struct clo_json *json, rlim_t limit)
{
    pid_t pids[FORKS_MAX];
    char text[16];
    int count = 0;

    if (limit > NPROC_TRIED) {
        clo_json_text(json, "forks", "not tried");
        return;
    }
    while (count < FORKS_MAX && (pids[count] = fork()) >= 0) {
        if (pids[count] == 0)
            for (;;)
                pause();
        count++;
    }
    for (int i = 0; i < count; i++)
        kill(pids[i], SIGKILL);
    for (int i = 0; i < count; i++)
        waitpid(pids[i], NULL, 0);
    snprintf(text, sizeof text, count < FORKS_MAX ? "%d" : ">=%d", count);
    clo_json_text(json, "forks", text);
}

static void fact_address_space(struct clo_json *json, rlim_t limit)
{
    void *space;

    if (limit == RLIM_INFINITY) {
        clo_json_text(json, "mmap over address_space", "not tried");
        return;
    }
    space = mmap(NULL, limit, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    clo_json_error(json, "mmap over address_space", space == MAP_FAILED ? errno : 0);
    if (space != MAP_FAILED)
        munmap(space, limit);
}

void clo_facts_limits(struct clo_json *json)
{
    static const struct {
        const char *name;
        int resource;
    } limits[] = {
        {"cpu", RLIMIT_CPU},         {"file_size", RLIMIT_FSIZE},      {"data", RLIMIT_DATA},
        {"stack", RLIMIT_STACK},     {"core", RLIMIT_CORE},            {"resident", RLIMIT_RSS},
        {"processes", RLIMIT_NPROC}, {"open_files", RLIMIT_NOFILE},    {"locked", RLIMIT_MEMLOCK},
        {"address_space", RLIMIT_AS}, {"locks", RLIMIT_LOCKS},         {"pending_signals", RLIMIT_SIGPENDING},
        {"queues", RLIMIT_MSGQUEUE}, {"nice", RLIMIT_NICE},            {"realtime", RLIMIT_RTPRIO},
        {"realtime_time", RLIMIT_RTTIME},
    };
    struct rlimit limit, processes = {RLIM_INFINITY, RLIM_INFINITY}, space = processes;

    clo_json_open(json, "limits", '{');
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        if (getrlimit(limits[i].resource, &limit)) {
            clo_json_error(json, limits[i].name, errno);
            continue;
        }
        clo_json_open(json, limits[i].name, '[');
        put_limit(json, limit.rlim_cur);
        put_limit(json, limit.rlim_max);
        clo_json_close(json, ']');
        if (limits[i].resource == RLIMIT_NPROC)
            processes = limit;
        if (limits[i].resource == RLIMIT_AS)
            space = limit;
    }
    clo_json_close(json, '}');
    fact_forks(json, processes.rlim_cur);
    fact_address_space(json, space.rlim_cur);
}
