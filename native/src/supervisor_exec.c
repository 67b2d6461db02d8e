/* What a program is started with: its arguments, and of its environment what steers loaders, shells and their histories.
 * Both lie in the guest's memory, as lists of pointers, and are claimed. */
#include <string.h>

#include "supervisor.h"

enum { PAGE = 4096, POINTERS = 32 };

/* Reads the next pointers of a list, in runs that cross no page: how many came before its end, or a negative errno. */
static int next_pointers(int32_t tid, uint64_t *list, uint64_t pointers[POINTERS], bool *last) {
    size_t run = (PAGE - (size_t)(*list % PAGE)) / sizeof *pointers;
    if (run > POINTERS) run = POINTERS;
    if (!run) run = 1;
    int status = clo_guest_read(tid, *list, pointers, run * sizeof *pointers);
    if (status < 0) return status;
    *list += run * sizeof *pointers;
    for (size_t n = 0; n < run; n++)
        if (!pointers[n]) {
            *last = true;
            return (int)n;
        }
    return (int)run;
}

/* ---- argv ---- */

/* Each argument with its NUL, as many as there is room for. */
static void read_argv(struct clo_supervisor *supervisor, struct clo_heard *heard) {
    char *out = supervisor->texts[CLO_TEXT_TARGET];
    uint64_t list = clo_call_register(&heard->notif->data, heard->call->path2), pointers[POINTERS];
    size_t used = 0;
    int32_t tid = heard->event.tid;
    if (!list) return; /* the kernel takes it for an empty one */
    int status = 0;
    for (bool last = false; !last && status >= 0;) {
        int run = next_pointers(tid, &list, pointers, &last);
        if (run < 0) clo_heard_unread(heard, run);
        status = run;
        for (int n = 0; n < run && status >= 0; n++) {
            size_t room = CLO_ARGV_MAX - used;
            status = room ? clo_guest_text(tid, pointers[n], out + used, room) : -ENAMETOOLONG;
            if (status >= 0) {
                used += (size_t)status + 1;
            } else if (status == -ENAMETOOLONG) {
                used = CLO_ARGV_MAX;
                heard->event.flags |= CLO_EVENT_CUT;
            } else {
                clo_heard_unread(heard, status);
            }
        }
    }
    clo_heard_text(heard, CLO_TEXT_TARGET, out, used);
}

/* ---- the environment ---- */

struct kept { char *out; size_t used; };

/* Keeps the entry at `address` if its first bytes, of which `size` were read, still say so when all of it is. False: there
 * is no room, or a fault was noted. */
static bool keep(struct clo_heard *heard, struct kept *kept, uint64_t address, const char *first, size_t size) {
    char again[CLO_STEER_NAME];
    if (size < CLO_STEER_NAME && !memchr(first, 0, size) && !memchr(first, '=', size)) { /* it goes on in the next page */
        int status = clo_guest_text(heard->event.tid, address, again, sizeof again);
        if (status < 0 && status != -ENAMETOOLONG) {
            clo_heard_unread(heard, status);
            return false;
        }
        first = again;
        size = status < 0 ? sizeof again : (size_t)status;
    }
    if (!clo_steers(first, size)) return true;
    size_t room = CLO_TEXT_MAX - kept->used;
    char *out = kept->out + kept->used;
    int status = room ? clo_guest_text(heard->event.tid, address, out, room < CLO_STEER_ENTRY ? room : CLO_STEER_ENTRY) : -ENAMETOOLONG;
    if (status < 0 && status != -ENAMETOOLONG) {
        clo_heard_unread(heard, status);
        return false;
    }
    if (status < 0) heard->event.flags |= CLO_EVENT_CUT;
    if (!room) return false;
    if (status < 0) {
        status = (int)(room < CLO_STEER_ENTRY ? room : CLO_STEER_ENTRY) - 1;
        out[status] = 0;
    }
    if (clo_steers(out, (size_t)status)) kept->used += (size_t)status + 1;
    return true;
}

/* NAME=value of what steers, a NUL after each. Of a run of entries the first bytes are read at once. */
static void read_env(struct clo_supervisor *supervisor, struct clo_heard *heard) {
    struct kept kept = {supervisor->texts[CLO_TEXT_TARGET_RESOLVED], 0};
    uint64_t list = clo_call_register(&heard->notif->data, (uint8_t)(heard->call->path2 + 1)), pointers[POINTERS];
    size_t looked = 0, sizes[POINTERS];
    char first[POINTERS][CLO_STEER_NAME];
    if (!list) return;
    bool more = true;
    for (bool last = false; more && !last; looked += POINTERS) {
        int run = next_pointers(heard->event.tid, &list, pointers, &last), status = run;
        for (int n = 0; n < run; n++) {
            size_t left = PAGE - (size_t)(pointers[n] % PAGE);
            sizes[n] = left < CLO_STEER_NAME ? left : CLO_STEER_NAME;
        }
        if (run > 0) status = clo_guest_read_all(heard->event.tid, pointers, sizes, (size_t)run, first[0], CLO_STEER_NAME);
        if (status < 0) clo_heard_unread(heard, status);
        more = status >= 0;
        for (int n = 0; n < run && more; n++) more = keep(heard, &kept, pointers[n], first[n], sizes[n]);
        if (more && !last && looked >= CLO_STEER_LOOKED) {
            heard->event.flags |= CLO_EVENT_CUT;
            more = false;
        }
    }
    clo_heard_text(heard, CLO_TEXT_TARGET_RESOLVED, kept.out, kept.used);
}

/* Both; the second only if the first could be read. */
void clo_heard_program(struct clo_supervisor *supervisor, struct clo_heard *heard) {
    read_argv(supervisor, heard);
    if (!heard->unread) read_env(supervisor, heard);
}
