/* The Landlock ruleset, made once and put on every program: landlock(7). */

#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel.h"

/* File system rights, by bit: LANDLOCK_ACCESS_FS_*. */
enum {
    FS_EXECUTE = 1 << 0,
    FS_WRITE_FILE = 1 << 1,
    FS_READ_FILE = 1 << 2,
    FS_READ_DIR = 1 << 3,
    FS_REMOVE_DIR = 1 << 4,
    FS_REMOVE_FILE = 1 << 5,
    FS_MAKE_CHAR = 1 << 6,
    FS_MAKE_DIR = 1 << 7,
    FS_MAKE_REG = 1 << 8,
    FS_MAKE_SOCK = 1 << 9,
    FS_MAKE_FIFO = 1 << 10,
    FS_MAKE_BLOCK = 1 << 11,
    FS_MAKE_SYM = 1 << 12,
    FS_REFER = 1 << 13,     /* ABI 2 */
    FS_TRUNCATE = 1 << 14,  /* ABI 3 */
    FS_IOCTL_DEV = 1 << 15, /* ABI 5 */

    FS_ALL = (1 << 16) - 1,
    FS_OF_FILES = FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV,
    FS_WRITING = FS_WRITE_FILE | FS_TRUNCATE | FS_IOCTL_DEV,
    /* Device nodes are handled and never granted. */
    FS_CREATING = FS_MAKE_DIR | FS_MAKE_REG | FS_MAKE_SOCK | FS_MAKE_FIFO | FS_MAKE_SYM | FS_REFER,
    FS_DELETING = FS_REMOVE_DIR | FS_REMOVE_FILE | FS_REFER
};

enum { NET_BIND_AND_CONNECT = 3, SCOPE_ABSTRACT_UNIX_AND_SIGNAL = 3, ABI_NET = 4, ABI_SCOPE = 6 };

static uint64_t rights_known(long abi)
{
    if (abi < 2)
        return FS_ALL & ~(FS_REFER | FS_TRUNCATE | FS_IOCTL_DEV);
    if (abi < 3)
        return FS_ALL & ~(FS_TRUNCATE | FS_IOCTL_DEV);
    return abi < 5 ? FS_ALL & ~FS_IOCTL_DEV : FS_ALL;
}

static uint64_t rights_of(uint32_t access)
{
    uint64_t rights = 0;

    if (access & CLO_ACCESS_READ)
        rights |= FS_READ_FILE;
    if (access & CLO_ACCESS_EXECUTE)
        rights |= FS_EXECUTE;
    if (access & CLO_ACCESS_WRITE)
        rights |= FS_WRITING;
    if (access & CLO_ACCESS_LIST)
        rights |= FS_READ_DIR;
    if (access & CLO_ACCESS_CREATE)
        rights |= FS_CREATING;
    if (access & CLO_ACCESS_DELETE)
        rights |= FS_DELETING;
    return rights;
}

static int open_rule(const char *path, bool no_links)
{
    struct clo_open_how how = {.flags = O_PATH | O_CLOEXEC};

    if (!no_links)
        return open(path, O_PATH | O_CLOEXEC);
    how.resolve = CLO_RESOLVE_NO_SYMLINKS | CLO_RESOLVE_NO_MAGICLINKS;
    return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
}

static int add_rule(int ruleset, const struct clo_rule_asked *rule, uint64_t known, struct clo_failure *failure)
{
    struct clo_landlock_path beneath = {.access = rights_of(rule->access) & known};
    char path[CLO_PATH_SIZE];
    struct stat status;
    long error = 0;

    memcpy(path, rule->path.data, rule->path.size);
    path[rule->path.size] = 0;
    beneath.parent = open_rule(path, rule->access & CLO_ACCESS_NO_LINKS);
    if (beneath.parent < 0)
        return clo_fail(failure, errno, "landlock: %s", path);
    if (fstat(beneath.parent, &status))
        error = errno;
    if (!S_ISDIR(status.st_mode))
        beneath.access &= FS_OF_FILES;
    /* The kernel refuses a rule of no rights, as of a file in which names may be made. */
    if (!error && beneath.access && syscall(SYS_landlock_add_rule, ruleset, CLO_LANDLOCK_PATH_BENEATH, &beneath, 0))
        error = errno;
    close(beneath.parent);
    return error ? clo_fail(failure, (int)error, "landlock: rule for %s", path) : 0;
}

static int add_rules(int ruleset, const struct clo_setup *setup, uint64_t known, struct clo_failure *failure)
{
    struct clo_rule_asked rule;
    size_t at = 0;

    while (clo_next_rule(setup, &at, &rule)) {
        if (!(setup->landlock & CLO_LANDLOCK_FS))
            return clo_fail(failure, EINVAL, "landlock: a path, but file system rules are off");
        if (add_rule(ruleset, &rule, known, failure))
            return -1;
    }
    return 0;
}

int clo_landlock_ruleset(const struct clo_setup *setup, struct clo_failure *failure)
{
    struct clo_landlock_ruleset handled = {0};
    long abi, ruleset;

    if (!setup->landlock)
        return add_rules(-1, setup, 0, failure) ? -2 : -1;
    abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CLO_LANDLOCK_VERSION);
    if (abi < 0)
        return clo_fail(failure, errno, "landlock: not in this kernel"), -2;
    if (setup->landlock & CLO_LANDLOCK_FS)
        handled.fs = rights_known(abi);
    if (setup->landlock & CLO_LANDLOCK_NO_TCP)
        handled.net = NET_BIND_AND_CONNECT;
    if (setup->landlock & CLO_LANDLOCK_SCOPE)
        handled.scope = SCOPE_ABSTRACT_UNIX_AND_SIGNAL;
    if (handled.net && abi < ABI_NET)
        return clo_fail(failure, EOPNOTSUPP, "landlock: no TCP rules in ABI %ld", abi), -2;
    if (handled.scope && abi < ABI_SCOPE)
        return clo_fail(failure, EOPNOTSUPP, "landlock: no scopes in ABI %ld", abi), -2;
    ruleset = syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0);
    if (ruleset < 0)
        return clo_fail(failure, errno, "landlock: ruleset"), -2;
    return add_rules((int)ruleset, setup, handled.fs, failure) ? -2 : (int)ruleset;
}
