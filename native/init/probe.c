/* The self-test: what a guest could do, found by doing it in the place of a program, and told as JSON on stdout. */

#include "probe.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
    int number;
    const char *name;
} ERRORS[] = {
#define NAMED(name) {name, #name}
    NAMED(E2BIG), NAMED(EACCES), NAMED(EADDRINUSE), NAMED(EADDRNOTAVAIL), NAMED(EAFNOSUPPORT), NAMED(EAGAIN),
    NAMED(EBADF), NAMED(EBUSY), NAMED(ECHILD), NAMED(ECONNREFUSED), NAMED(EDQUOT), NAMED(EEXIST), NAMED(EFAULT),
    NAMED(EFBIG), NAMED(EHOSTUNREACH), NAMED(EINPROGRESS), NAMED(EINTR), NAMED(EINVAL), NAMED(EIO), NAMED(EISDIR),
    NAMED(EKEYREJECTED), NAMED(ELOOP), NAMED(EMFILE), NAMED(EMLINK), NAMED(ENAMETOOLONG), NAMED(ENETDOWN),
    NAMED(ENETUNREACH), NAMED(ENFILE), NAMED(ENODEV), NAMED(ENOENT), NAMED(ENOEXEC), NAMED(ENOKEY), NAMED(ENOMEM),
    NAMED(ENOSPC), NAMED(ENOSYS), NAMED(ENOTDIR), NAMED(ENOTEMPTY), NAMED(ENOTTY), NAMED(ENXIO), NAMED(EOPNOTSUPP),
    NAMED(EOVERFLOW), NAMED(EPERM), NAMED(EPFNOSUPPORT), NAMED(EPIPE), NAMED(EPROTONOSUPPORT), NAMED(ERANGE),
    NAMED(EROFS), NAMED(ESOCKTNOSUPPORT), NAMED(ESPIPE), NAMED(ESRCH), NAMED(ESTALE), NAMED(ETIMEDOUT),
    NAMED(ETXTBSY), NAMED(EUSERS), NAMED(EXDEV),
#undef NAMED
};

/* ---- JSON; what does not fit is cut, so the reader sees broken JSON and not half the truth ---- */

static void put(struct clo_json *json, const char *text)
{
    const size_t size = strlen(text), room = sizeof json->text - json->used;

    memcpy(json->text + json->used, text, size < room ? size : room);
    json->used += size < room ? size : room;
}

static void put_quoted(struct clo_json *json, const char *text)
{
    char one[8];

    put(json, "\"");
    for (; *text; text++) {
        const unsigned char byte = (unsigned char)*text;
        if (byte < 0x20 || byte >= 0x7f || byte == '"' || byte == '\\')
            snprintf(one, sizeof one, "\\u%04x", byte);
        else
            snprintf(one, sizeof one, "%c", byte);
        put(json, one);
    }
    put(json, "\"");
}

static void put_name(struct clo_json *json, const char *name)
{
    if (json->comma)
        put(json, ", ");
    json->comma = true;
    if (!name)
        return;
    put_quoted(json, name);
    put(json, ": ");
}

void clo_json_open(struct clo_json *json, const char *name, char bracket)
{
    put_name(json, name);
    put(json, (char[]){bracket, 0});
    json->comma = false;
}

void clo_json_close(struct clo_json *json, char bracket)
{
    put(json, (char[]){bracket, 0});
    json->comma = true;
}

void clo_json_text(struct clo_json *json, const char *name, const char *text)
{
    put_name(json, name);
    put_quoted(json, text);
}

void clo_json_number(struct clo_json *json, const char *name, long long number)
{
    char text[32];

    put_name(json, name);
    snprintf(text, sizeof text, "%lld", number);
    put(json, text);
}

void clo_json_error(struct clo_json *json, const char *name, int error)
{
    char text[32];

    if (!error || error == CLO_ACT_ABSENT) {
        clo_json_text(json, name, error ? "absent" : "ok");
        return;
    }
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++) {
        if (ERRORS[i].number == error) {
            clo_json_text(json, name, ERRORS[i].name);
            return;
        }
    }
    snprintf(text, sizeof text, "E%d", error);
    clo_json_text(json, name, text);
}

/* ---- acts ---- */

static pid_t parent;

pid_t clo_probe_parent(void)
{
    return parent;
}

/* Tries an act in a process of its own: a filter may kill what does it, and what it changes is to stay there. */
static void try_act(struct clo_json *json, const struct clo_attempt *act)
{
    char text[32];
    int status;
    const pid_t pid = fork();

    if (pid == 0)
        _exit(act->try_it());
    if (pid < 0) {
        snprintf(text, sizeof text, "untried: errno %d", errno);
        clo_json_text(json, act->name, text);
        return;
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFSIGNALED(status)) {
        snprintf(text, sizeof text, "killed by %d", WTERMSIG(status));
        clo_json_text(json, act->name, WTERMSIG(status) == SIGSYS ? "killed" : text);
        return;
    }
    clo_json_error(json, act->name, WEXITSTATUS(status));
}

static void try_acts(struct clo_json *json, const char *name, const struct clo_attempt *acts)
{
    clo_json_open(json, name, '{');
    for (; acts->name; acts++)
        try_act(json, acts);
    clo_json_close(json, '}');
}

static void put_watching(struct clo_json *json, int found)
{
    const bool listens = found >= CLO_WATCH_LISTENS;

    if (found < 0)
        return;
    clo_json_error(json, "listener", listens ? 0 : found);
    clo_json_open(json, "listener can", '[');
    if (listens && found & CLO_WATCH_CONTINUES)
        clo_json_text(json, NULL, "continue");
    if (listens && found & CLO_WATCH_ENDS)
        clo_json_text(json, NULL, "end");
    if (listens && found & CLO_WATCH_OPENS)
        clo_json_text(json, NULL, "open");
    clo_json_close(json, ']');
}

_Noreturn void clo_probe(const struct clo_box *box)
{
    static struct clo_json json;

    parent = getppid();
    clo_json_open(&json, NULL, '{');
    clo_json_number(&json, "version", CLO_WIRE_VERSION);
    clo_facts_identity(&json);
    try_acts(&json, "calls", clo_acts_calls);
    try_acts(&json, "files", clo_acts_files);
    try_acts(&json, "sockets", clo_acts_sockets);
    try_acts(&json, "signals", clo_acts_signals);
    clo_facts_network(&json);
    clo_facts_namespaces(&json);
    clo_facts_limits(&json);
    put_watching(&json, box->watchable);
    clo_json_close(&json, '}');
    put(&json, "\n");
    for (size_t sent = 0; sent < json.used;) {
        ssize_t now = write(STDOUT_FILENO, json.text + sent, json.used - sent);
        if (now <= 0)
            _exit(1);
        sent += (size_t)now;
    }
    _exit(0);
}
