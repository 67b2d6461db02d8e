/* What a call is about: texts and numbers that lie in the guest's memory, read once. From here on only the copies
 * count. The guest may change its memory at any time, so all of this is claimed (CLO_EVENT_TEXT_KERNEL is not set). */
#include "supervisor.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "address.h"

enum { POINTERS = 32, PAGE = 4096, OPEN_HOW = 24, KNOWN_NS = 1000000 };

/* Keeps `text` as one of the texts, which lies there until the record is made; cut where it is longer than they are. */
void clo_heard_text(struct clo_heard *heard, enum clo_text which, const char *text, size_t size) {
    if (size > CLO_TEXT_MAX) {
        size = CLO_TEXT_MAX;
        heard->event.flags |= CLO_EVENT_CUT;
    }
    heard->text[which] = text;
    heard->event.text[which] = (uint16_t)size;
}

/* Notes that a text could not be had: the first reason is kept. */
void clo_heard_unread(struct clo_heard *heard, int status) {
    if (!heard->unread) heard->unread = status;
    heard->event.flags |= CLO_EVENT_UNREADABLE;
}

/* ---- paths ---- */

/* Makes `size` bytes of supervisor->raw the absolute text `which`. What can't be made one is given as it came. */
static void join(struct clo_supervisor *supervisor, struct clo_heard *heard, enum clo_text which, int dirfd, size_t size) {
    char *out = supervisor->texts[which];
    int base = 0;
    bool climbs, address = heard->call->shape == CLO_SHAPE_ADDRESS;
    if (supervisor->raw[0] != '/')
        base = clo_guest_base(heard->box->root, heard->event.tid, dirfd, supervisor->base, sizeof supervisor->base);
    size_t whole = base < 0 ? 0
                            : clo_path_normalise(supervisor->base, (size_t)base, supervisor->raw, size, out,
                                                 CLO_TEXT_MAX, &climbs);
    if (whole) {
        if (climbs) heard->event.flags |= CLO_EVENT_CLIMBS;
        clo_heard_text(heard, which, out, whole);
        if (address) return;
        struct clo_asked asked = {.pid = heard->event.tid, .dirfd = dirfd, .path = supervisor->raw, .size = size,
                                  .base = base ? supervisor->base : NULL, .base_size = (size_t)base};
        clo_heard_resolve(supervisor, heard, which, &asked);
        return;
    }
    clo_heard_unread(heard, base < 0 ? base : -ENAMETOOLONG);
    memcpy(out, supervisor->raw, size);
    clo_heard_text(heard, which, out, size);
}

/* Where an open descriptor leads to, as the guest sees it; what has no path there has no text. */
static void of_descriptor(struct clo_supervisor *supervisor, struct clo_heard *heard, int fd) {
    char *out = supervisor->texts[CLO_TEXT_RESOLVED];
    int size = clo_guest_base(heard->box->root, heard->event.tid, fd, out, CLO_PATH_ROOM);
    if (size > 0) clo_heard_text(heard, CLO_TEXT_RESOLVED, out, (size_t)size);
    if (size == -EPERM) clo_heard_unread(heard, size);
}

static int folder_of(const struct clo_heard *heard, uint8_t dirfd) {
    return dirfd ? (int)(uint32_t)clo_call_register(&heard->notif->data, dirfd) : AT_FDCWD;
}

static void read_path(struct clo_supervisor *supervisor, struct clo_heard *heard, enum clo_text which, uint8_t dirfd,
                      uint8_t path) {
    uint64_t address = clo_call_register(&heard->notif->data, path);
    bool source = which == CLO_TEXT_PATH && heard->call->shape == CLO_SHAPE_MOUNT;
    bool here = clo_heard_is_done_here(heard);
    int size = address || !dirfd || here ? clo_guest_text(heard->event.tid, address, supervisor->raw, sizeof supervisor->raw) : 0;
    if (source && !address) return; /* a remount has none */
    if (size < 0)
        clo_heard_unread(heard, size);
    else if (!size && here)
        clo_heard_empty(heard);
    else if (!size && dirfd) /* AT_EMPTY_PATH, or a path that may be NULL */
        of_descriptor(supervisor, heard, folder_of(heard, dirfd));
    else if (source && supervisor->raw[0] != '/') {
        memcpy(supervisor->texts[which], supervisor->raw, (size_t)size); /* "tmpfs" */
        clo_heard_text(heard, which, supervisor->texts[which], (size_t)size);
    } else
        join(supervisor, heard, which, folder_of(heard, dirfd), (size_t)size);
}

static void read_name(struct clo_supervisor *supervisor, struct clo_heard *heard) {
    char *out = supervisor->texts[CLO_TEXT_TARGET];
    int size = clo_guest_text(heard->event.tid, clo_call_register(&heard->notif->data, heard->call->path2), out,
                              CLO_PATH_ROOM);
    if (size < 0)
        clo_heard_unread(heard, size);
    else
        clo_heard_text(heard, CLO_TEXT_TARGET, out, (size_t)size);
}

/* ---- addresses ---- */

/* One that lay in memory. */
static void set_number(struct clo_heard *heard, size_t index, uint64_t value) { heard->event.arg[index] = value; }

static void set_local(struct clo_supervisor *supervisor, struct clo_heard *heard, const struct clo_address *address) {
    memcpy(supervisor->raw, address->text, address->size);
    supervisor->raw[address->size] = 0;
    join(supervisor, heard, CLO_TEXT_TARGET, AT_FDCWD, address->size);
}

static void read_address(struct clo_supervisor *supervisor, struct clo_heard *heard) {
    const struct seccomp_data *data = &heard->notif->data;
    char raw[CLO_SOCKADDR_MAX];
    struct clo_address address;
    uint32_t size = (uint32_t)clo_call_register(data, (uint8_t)(heard->call->path2 + 1));
    if (size > sizeof raw) size = sizeof raw;
    if (size < sizeof address.family) return;
    int status = clo_guest_read(heard->event.tid, clo_call_register(data, heard->call->path2), raw, size);
    if (status < 0) {
        clo_heard_unread(heard, status);
        return;
    }
    if (clo_address_read(raw, size, &address) < 0) return;
    set_number(heard, 0, address.family);
    set_number(heard, 1, address.port);
    if (address.kind == CLO_ADDRESS_PATH) set_local(supervisor, heard, &address);
    if (address.kind != CLO_ADDRESS_TEXT_IS) return;
    memcpy(supervisor->texts[CLO_TEXT_TARGET], address.text, address.size);
    clo_heard_text(heard, CLO_TEXT_TARGET, supervisor->texts[CLO_TEXT_TARGET], address.size);
}

/* ---- numbers ---- */

static void read_open_how(struct clo_heard *heard) {
    struct { uint64_t flags, mode, resolve; } how = {0};
    const struct seccomp_data *data = &heard->notif->data;
    size_t size = data->args[3] < sizeof how ? (size_t)data->args[3] : sizeof how;
    int status = clo_guest_read(heard->event.tid, data->args[2], &how, size);
    if (status < 0) {
        clo_heard_unread(heard, status);
        return;
    }
    set_number(heard, 0, how.flags);
    set_number(heard, 1, how.mode);
    set_number(heard, 2, how.resolve);
    heard->event.act = (uint16_t)clo_open_act(how.flags);
}

/* ---- processes ---- */

/* Whether a thread is of a process, which this sends no signal. Not being allowed to is a yes too. */
static bool is_of(int32_t tid, int32_t pid) { return !syscall(SYS_tgkill, pid, tid, 0) || errno == EPERM; }

static int32_t read_process(const struct clo_guest_root *root, int32_t tid) {
    char path[32], text[1024], *line;
    memcpy(clo_decimal(path, (uint32_t)tid), "/status", sizeof "/status");
    int fd = openat(root->proc, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t size = read(fd, text, sizeof text - 1);
    close(fd);
    text[size < 0 ? 0 : size] = 0;
    line = strstr(text, "\nTgid:\t");
    if (!line) return 0;
    uint32_t number = 0;
    for (line += 7; *line >= '0' && *line <= '9'; line++) number = number * 10 + (uint32_t)(*line - '0');
    return (int32_t)number;
}

/* The process of a thread, 0 if it is gone. What was found before is asked again after a while, since numbers are reused:
 * not sooner than all others were given, which takes longer than that. */
static int32_t process_of(struct clo_supervisor *supervisor, const struct clo_heard *heard) {
    int32_t tid = heard->event.tid;
    uint64_t now = heard->event.time_ns;
    struct clo_process *known = &supervisor->processes[(uint32_t)tid % CLO_PROCESSES];
    bool same = known->tid == tid && known->pid;
    if (same && now - known->at < KNOWN_NS) return known->pid;
    int32_t pid = same && is_of(tid, known->pid) ? known->pid : is_of(tid, tid) ? tid : read_process(heard->box->root, tid);
    *known = (struct clo_process){tid, pid, now};
    return pid;
}

/* Fills heard->event and heard->text. heard->unread says why, if some text could not be had. */
void clo_heard_read(struct clo_supervisor *supervisor, struct clo_heard *heard) {
    const struct clo_call *call = heard->call;
    heard->event.pid = process_of(supervisor, heard);
    if (!call) return;
    clo_call_numbers(call, &heard->notif->data, &heard->event);
    if (call->shape == CLO_SHAPE_OPENAT2) read_open_how(heard);
    if (call->shape == CLO_SHAPE_FD) of_descriptor(supervisor, heard, folder_of(heard, call->dirfd));
    if (call->path) read_path(supervisor, heard, CLO_TEXT_PATH, call->dirfd, call->path);
    if (!call->path2) return;
    switch (call->shape) {
    case CLO_SHAPE_NAME: case CLO_SHAPE_FD: read_name(supervisor, heard); break;
    case CLO_SHAPE_EXEC: clo_heard_program(supervisor, heard); break;
    case CLO_SHAPE_ADDRESS: read_address(supervisor, heard); break;
    default: read_path(supervisor, heard, CLO_TEXT_TARGET, call->dirfd2, call->path2); break;
    }
}
