/* sources: native/init/wire.c
 *
 * Any body of a message is refused, or gives views that lie inside it: strings that end inside it, paths that are
 * absolute, counts that hold. The first byte says which kind of message the rest is. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct body {
    const char *data;
    size_t size;
};

static void check(int held) {
    if (!held) abort();
}

static void check_inside(struct body body, const char *data, size_t size) {
    check(data >= body.data && size <= body.size && (size_t)(data - body.data) <= body.size - size);
}

static void check_view(struct body body, struct clo_view view, int is_text) {
    if (!view.size) return;
    check_inside(body, view.data, view.size);
    check(!is_text || !memchr(view.data, 0, view.size));
}

static void check_strings(struct body body, struct clo_strings strings) {
    size_t count = 0;
    if (!strings.size) {
        check(!strings.count);
        return;
    }
    check_inside(body, strings.data, strings.size);
    for (const char *at = strings.data; at < strings.data + strings.size; at += strlen(at) + 1) count++;
    check(count == strings.count);
}

static void check_string(struct body body, const char *text) {
    check_inside(body, text, 1);
    check_inside(body, text, strlen(text) + 1);
}

static void check_filter(struct body body, struct clo_view filter) {
    check_view(body, filter, 0);
    check(filter.size % CLO_FILTER_STEP == 0 && filter.size <= CLO_FILTER_MAX * CLO_FILTER_STEP);
}

static void check_setup(struct body body) {
    struct clo_setup setup;
    struct clo_mount_asked mount;
    struct clo_rule_asked rule;
    struct clo_rlimit_asked limit;
    int result = clo_parse_setup(body.data, body.size, &setup);
    check(result == 0 || result == -EBADMSG);
    if (result) return;
    check_view(body, setup.hostname, 1);
    check_view(body, setup.affinity, 0);
    check_view(body, setup.seccomp, 0);
    check_filter(body, setup.watch);
    check(setup.hostname.size <= CLO_HOSTNAME_MAX && setup.affinity.size <= CLO_AFFINITY_MAX);
    check(setup.seccomp.size % CLO_FILTER_STEP == 0 && setup.seccomp.size <= CLO_FILTER_MAX * CLO_FILTER_STEP);
    for (size_t at = 0; clo_next_mount(&setup, &at, &mount);) {
        check_string(body, mount.source);
        check_string(body, mount.target);
        check_string(body, mount.data);
        check(mount.target[0] == '/' && strlen(mount.target) < CLO_PATH_SIZE);
    }
    for (size_t at = 0; clo_next_rule(&setup, &at, &rule);) {
        check_view(body, rule.path, 1);
        check(rule.path.size && rule.path.size < CLO_PATH_SIZE && rule.path.data[0] == '/' && rule.access);
    }
    for (size_t at = 0; clo_next_rlimit(&setup, &at, &limit);) check(limit.soft <= limit.hard);
}

static void check_exec(struct body body) {
    struct clo_exec exec;
    int result = clo_parse_exec(body.data, body.size, &exec);
    check(result == 0 || result == -EBADMSG);
    if (result) return;
    check_strings(body, exec.argv);
    check_strings(body, exec.env);
    check_view(body, exec.cwd, 1);
    check(exec.argv.count || exec.flags & CLO_EXEC_PROBE);
    check(exec.cwd.size < CLO_PATH_SIZE && (!exec.cwd.size || exec.cwd.data[0] == '/'));
}

static void check_limits(struct body body) {
    struct clo_setup limits;
    struct clo_mount_asked mount;
    struct clo_rlimit_asked limit;
    int result = clo_parse_limits(body.data, body.size, &limits);
    check(result == 0 || result == -EBADMSG);
    if (result) return;
    size_t at = 0;
    check(!clo_next_mount(&limits, &at, &mount) && !limits.hostname.size && !limits.seccomp.size && !limits.maps_ids);
    for (at = 0; clo_next_rlimit(&limits, &at, &limit);) check(limit.soft <= limit.hard);
    check(limits.limits_memory || !limits.memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint32_t signal, scope;
    uint16_t rows, columns;
    if (!size) return 0;
    char *copy = malloc(size - 1); /* exactly the body: a read past its end is found by the sanitizer */
    if (size > 1) memcpy(copy, data + 1, size - 1);
    struct body body = {copy, size - 1};
    switch (data[0] % 6) {
    case 0: check_setup(body); break;
    case 1: check_exec(body); break;
    case 2:
        if (clo_parse_signal(body.data, body.size, &signal, &scope) == 0)
            check(signal >= 1 && signal <= 64 && scope <= CLO_SCOPE_TREE);
        break;
    case 4: check_limits(body); break;
    case 5: {
        struct clo_view filter;
        int result = clo_parse_watch(body.data, body.size, &filter);
        check(result == 0 ? filter.size > 0 : result == -EBADMSG);
        check_filter(body, filter);
        break;
    }
    default: check(clo_parse_window(body.data, body.size, &rows, &columns) == (body.size == 4 ? 0 : -EBADMSG));
    }
    free(copy);
    return 0;
}
