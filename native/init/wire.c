/* The record parser. No input or output, no allocation, no state: it is linked alone into the fuzz target.
 *
 * A record may start at any offset, so numbers are copied out and never read in place. A tag that may come once and
 * comes twice, an unknown tag, a wrong length and a NUL inside a text are all refused: the host is trusted, so any of
 * them means that the two sides are not of one version. */

#include "wire.h"

#include <errno.h>
#include <string.h>

struct record {
    uint16_t tag;
    const char *data;
    size_t size;
};

static uint32_t load32(const char *data)
{
    uint32_t value;
    memcpy(&value, data, sizeof value);
    return value;
}

static uint64_t load64(const char *data)
{
    uint64_t value;
    memcpy(&value, data, sizeof value);
    return value;
}

/* 1 with the record at *at, which moves past it; 0 at the end; -EBADMSG. */
static int next_record(struct clo_view body, size_t *at, struct record *record)
{
    struct clo_rec head;

    if (*at == body.size)
        return 0;
    if (sizeof head > body.size - *at)
        return -EBADMSG;
    memcpy(&head, body.data + *at, sizeof head);
    if (head.zero || head.len > body.size - *at - sizeof head)
        return -EBADMSG;
    record->tag = head.tag;
    record->data = body.data + *at + sizeof head;
    record->size = head.len;
    *at += sizeof head + head.len;
    return 1;
}

/* Whether this is a text of 1 to `most` bytes. */
static bool is_text(const char *data, size_t size, size_t most)
{
    return size > 0 && size <= most && !memchr(data, 0, size);
}

static bool is_path(const char *data, size_t size)
{
    return is_text(data, size, CLO_PATH_SIZE - 1) && data[0] == '/';
}

/* Reads a record of NUL-terminated strings. */
static int read_strings(const struct record *record, struct clo_strings *strings)
{
    size_t count = 0;

    if (strings->data || (record->size > 0 && record->data[record->size - 1]))
        return -EBADMSG;
    for (size_t i = 0; i < record->size; i++)
        count += !record->data[i];
    *strings = (struct clo_strings){record->data, record->size, count};
    return 0;
}

/* Whether source, target and data are what this kind of mount needs. */
static bool is_mount_whole(const struct clo_mount_asked *mount)
{
    switch (mount->kind) {
    case CLO_MOUNT_DEV:
    case CLO_MOUNT_OVERLAY:
        return is_path(mount->source, strlen(mount->source));
    case CLO_MOUNT_BIND:
        return is_path(mount->source, strlen(mount->source))
               && (strcmp(mount->data, "ro") == 0 || strcmp(mount->data, "rw") == 0);
    case CLO_MOUNT_ROOT:
        return strcmp(mount->target, "/") == 0;
    case CLO_MOUNT_MASK:
        return !*mount->data || strcmp(mount->data, "there") == 0 || strcmp(mount->data, "make") == 0;
    case CLO_MOUNT_AGAIN:
        return strcmp(mount->data, "ro") == 0 || strcmp(mount->data, "rw") == 0;
    case CLO_MOUNT_SHOW:
        return *mount->source && *mount->source != '/';
    case CLO_MOUNT_SYMLINK:
        return is_text(mount->source, strlen(mount->source), CLO_PATH_SIZE - 1);
    case CLO_MOUNT_FOLDER:
        return strlen(mount->data) == 4 && strspn(mount->data, "01234567") == 4;
    default:
        return true;
    }
}

static int read_mount(const struct record *record, struct clo_mount_asked *mount)
{
    struct record texts = *record;
    struct clo_strings strings = {0};

    if (record->size < sizeof(uint32_t))
        return -EBADMSG;
    texts.data += sizeof(uint32_t);
    texts.size -= sizeof(uint32_t);
    if (read_strings(&texts, &strings) || strings.count != 3)
        return -EBADMSG;
    mount->kind = load32(record->data);
    mount->source = texts.data;
    mount->target = mount->source + strlen(mount->source) + 1;
    mount->data = mount->target + strlen(mount->target) + 1;
    if (mount->kind < CLO_MOUNT_TMPFS || mount->kind > CLO_MOUNT_SEAL)
        return -EBADMSG;
    if (!is_path(mount->target, strlen(mount->target)))
        return -EBADMSG;
    return is_mount_whole(mount) && strlen(mount->data) < CLO_PATH_SIZE / 2 ? 0 : -EBADMSG;
}

static int read_ids(const struct record *record, struct clo_setup *setup)
{
    if (setup->maps_ids || record->size != sizeof setup->ids)
        return -EBADMSG;
    memcpy(&setup->ids, record->data, sizeof setup->ids);
    setup->maps_ids = true;
    return 0;
}

static int read_rule(const struct record *record, struct clo_rule_asked *rule)
{
    if (record->size < sizeof(uint32_t))
        return -EBADMSG;
    rule->access = load32(record->data);
    rule->path = (struct clo_view){record->data + sizeof(uint32_t), record->size - sizeof(uint32_t)};
    if (!(rule->access & CLO_ACCESS_ANY) || rule->access & ~(uint32_t)(CLO_ACCESS_ANY | CLO_ACCESS_NO_LINKS))
        return -EBADMSG;
    return is_path(rule->path.data, rule->path.size) ? 0 : -EBADMSG;
}

static int read_rlimit(const struct record *record, struct clo_rlimit_asked *limit)
{
    if (record->size != 24 || load32(record->data + 4))
        return -EBADMSG;
    *limit = (struct clo_rlimit_asked){load32(record->data), load64(record->data + 8), load64(record->data + 16)};
    return limit->soft <= limit->hard ? 0 : -EBADMSG;
}

static int read_memory(const struct record *record, struct clo_setup *setup)
{
    if (setup->limits_memory || record->size != sizeof setup->memory)
        return -EBADMSG;
    setup->memory = load64(record->data);
    setup->limits_memory = true;
    return 0;
}

/* Reads a uint32 that may come once; `known` are the bits it may have. */
static int read_bits(const struct record *record, uint32_t known, uint32_t *seen, uint32_t *value)
{
    uint32_t once = UINT32_C(1) << record->tag % 32;

    if (*seen & once || record->size != sizeof *value || load32(record->data) & ~known)
        return -EBADMSG;
    *seen |= once;
    *value = load32(record->data);
    return 0;
}

static int read_view(const struct record *record, struct clo_view *view)
{
    if (view->data)
        return -EBADMSG;
    *view = (struct clo_view){record->data, record->size};
    return 0;
}

static bool is_filter(const struct record *record)
{
    return record->size && record->size % CLO_FILTER_STEP == 0 && record->size / CLO_FILTER_STEP <= CLO_FILTER_MAX;
}

static int read_setup_record(const struct record *record, struct clo_setup *setup, uint32_t *seen)
{
    struct clo_mount_asked mount;
    struct clo_rule_asked rule;
    struct clo_rlimit_asked limit;

    switch (record->tag) {
    case CLO_TAG_FLAGS:
        return read_bits(record,
                         CLO_SETUP_REAPER | CLO_SETUP_DROP | CLO_SETUP_ROOT_RO | CLO_SETUP_HIDE_INIT | CLO_SETUP_NETWORK
                             | CLO_SETUP_LOOPBACK | CLO_SETUP_TRY_WATCH,
                         seen, &setup->flags);
    case CLO_TAG_HOSTNAME:
        return is_text(record->data, record->size, CLO_HOSTNAME_MAX) ? read_view(record, &setup->hostname) : -EBADMSG;
    case CLO_TAG_MOUNT:
        return read_mount(record, &mount);
    case CLO_TAG_LANDLOCK:
        return read_bits(record, CLO_LANDLOCK_FS | CLO_LANDLOCK_NO_TCP | CLO_LANDLOCK_SCOPE, seen, &setup->landlock);
    case CLO_TAG_PATH:
        return read_rule(record, &rule);
    case CLO_TAG_SECCOMP:
        return is_filter(record) ? read_view(record, &setup->seccomp) : -EBADMSG;
    case CLO_TAG_WATCH:
        return is_filter(record) ? read_view(record, &setup->watch) : -EBADMSG;
    case CLO_TAG_RLIMIT:
        return read_rlimit(record, &limit);
    case CLO_TAG_AFFINITY:
        return record->size && record->size <= CLO_AFFINITY_MAX ? read_view(record, &setup->affinity) : -EBADMSG;
    case CLO_TAG_PIDS:
        setup->limits_pids = true;
        return read_bits(record, UINT32_MAX, seen, &setup->pids);
    case CLO_TAG_IDS:
        return read_ids(record, setup);
    case CLO_TAG_MEMORY:
        return read_memory(record, setup);
    default:
        return -EBADMSG;
    }
}

int clo_parse_setup(const void *body, size_t size, struct clo_setup *setup)
{
    struct record record;
    uint32_t seen = 0;
    size_t at = 0;
    int more;

    *setup = (struct clo_setup){.body = {body, size}};
    while ((more = next_record(setup->body, &at, &record)) > 0)
        if (read_setup_record(&record, setup, &seen))
            return -EBADMSG;
    return more;
}

int clo_parse_limits(const void *body, size_t size, struct clo_setup *limits)
{
    struct record record;
    uint32_t seen = 0;
    size_t at = 0;
    int more;

    *limits = (struct clo_setup){.body = {body, size}};
    while ((more = next_record(limits->body, &at, &record)) > 0) {
        if (record.tag != CLO_TAG_RLIMIT && record.tag != CLO_TAG_PIDS && record.tag != CLO_TAG_MEMORY)
            return -EBADMSG;
        if (read_setup_record(&record, limits, &seen))
            return -EBADMSG;
    }
    return more;
}

int clo_parse_watch(const void *body, size_t size, struct clo_view *watch)
{
    const struct clo_view view = {body, size};
    struct record record;
    size_t at = 0;

    *watch = (struct clo_view){0};
    if (next_record(view, &at, &record) <= 0 || record.tag != CLO_TAG_WATCH || !is_filter(&record) || at != size)
        return -EBADMSG;
    return read_view(&record, watch);
}

static int read_exec_record(const struct record *record, struct clo_exec *exec, uint32_t *seen)
{
    const uint32_t known = CLO_EXEC_STDIN | CLO_EXEC_STDOUT | CLO_EXEC_STDERR | CLO_EXEC_PTY | CLO_EXEC_LINGER
                           | CLO_EXEC_PROBE | CLO_EXEC_WORKER | CLO_EXEC_BY_WORKER;
    uint32_t window;

    switch (record->tag) {
    case CLO_TAG_EXEC_FLAGS:
        return read_bits(record, known, seen, &exec->flags);
    case CLO_TAG_ARGV:
        return read_strings(record, &exec->argv);
    case CLO_TAG_ENV:
        return read_strings(record, &exec->env);
    case CLO_TAG_CWD:
        return is_path(record->data, record->size) ? read_view(record, &exec->cwd) : -EBADMSG;
    case CLO_TAG_WINDOW:
        if (read_bits(record, UINT32_MAX, seen, &window))
            return -EBADMSG;
        return clo_parse_window(record->data, record->size, &exec->rows, &exec->columns);
    default:
        return -EBADMSG;
    }
}

int clo_parse_exec(const void *body, size_t size, struct clo_exec *exec)
{
    const uint32_t passed = CLO_EXEC_STDIN | CLO_EXEC_STDOUT | CLO_EXEC_STDERR;
    struct clo_view view = {body, size};
    struct record record;
    uint32_t seen = 0;
    size_t at = 0;
    int more;

    *exec = (struct clo_exec){0};
    while ((more = next_record(view, &at, &record)) > 0)
        if (read_exec_record(&record, exec, &seen))
            return -EBADMSG;
    if (more < 0 || (!exec->argv.count && !(exec->flags & CLO_EXEC_PROBE)))
        return -EBADMSG;
    return exec->flags & CLO_EXEC_PTY && exec->flags & passed ? -EBADMSG : 0;
}

int clo_parse_signal(const void *body, size_t size, uint32_t *signal, uint32_t *scope)
{
    if (size != 8)
        return -EBADMSG;
    *signal = load32(body);
    *scope = load32((const char *)body + 4);
    return *signal >= 1 && *signal <= 64 && *scope <= CLO_SCOPE_TREE ? 0 : -EBADMSG;
}

int clo_parse_window(const void *body, size_t size, uint16_t *rows, uint16_t *columns)
{
    if (size != 4)
        return -EBADMSG;
    memcpy(rows, body, sizeof *rows);
    memcpy(columns, (const char *)body + 2, sizeof *columns);
    return 0;
}

/* Moves *at past the next record of this tag; the body has been parsed, so what it holds is sound. */
static bool next_of(const struct clo_setup *setup, enum clo_tag tag, size_t *at, struct record *record)
{
    while (next_record(setup->body, at, record) > 0)
        if (record->tag == tag)
            return true;
    return false;
}

bool clo_next_mount(const struct clo_setup *setup, size_t *at, struct clo_mount_asked *mount)
{
    struct record record;
    return next_of(setup, CLO_TAG_MOUNT, at, &record) && read_mount(&record, mount) == 0;
}

bool clo_next_rule(const struct clo_setup *setup, size_t *at, struct clo_rule_asked *rule)
{
    struct record record;
    return next_of(setup, CLO_TAG_PATH, at, &record) && read_rule(&record, rule) == 0;
}

bool clo_next_rlimit(const struct clo_setup *setup, size_t *at, struct clo_rlimit_asked *limit)
{
    struct record record;
    return next_of(setup, CLO_TAG_RLIMIT, at, &record) && read_rlimit(&record, limit) == 0;
}
