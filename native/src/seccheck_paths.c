/* Paths and addresses of messages, made absolute by what the message, or the tracking of processes, says. */
#include <string.h>

#include "address.h"
#include "seccheck.h"

static void unread(struct clo_telling *telling) { telling->event.flags |= CLO_EVENT_UNREADABLE; }

/* Makes a path the absolute text `which`; what can't be made one is given as it came. */
void clo_telling_join(struct clo_sentry *sentry, struct clo_telling *telling, enum clo_text which, struct clo_span path,
                 struct clo_span base) {
    bool climbs = false, known = clo_span_absolute(path) || clo_span_absolute(base);
    char *out = sentry->texts[which];
    size_t size = known ? clo_path_normalise(base.text, base.size, path.text, path.size, out, CLO_TEXT_MAX, &climbs) : 0;
    if (!size) {
        unread(telling);
        clo_telling_text(telling, which, path.text, path.size, false);
        return;
    }
    if (climbs) telling->event.flags |= CLO_EVENT_CLIMBS;
    clo_telling_text(telling, which, out, size, false);
}

struct clo_span clo_telling_cwd(struct clo_sentry *sentry, const struct clo_message *message) {
    if (clo_span_absolute(message->cwd)) return message->cwd;
    const struct clo_traced_process *process = clo_sentry_process(sentry, message->pid);
    return process ? (struct clo_span){process->cwd, process->cwd_size} : (struct clo_span){0};
}

/* The texts of a call with a path. It is of its descriptor's folder where its layout has one; fchdir(2), and execveat(2)
 * with an empty path, are about the descriptor itself. */
void clo_telling_path(struct clo_sentry *sentry, struct clo_telling *telling, const struct clo_message *message) {
    const struct clo_call *call = clo_call_of(&sentry->calls, (int)message->call);
    bool itself = call->shape == CLO_SHAPE_FD ||
                  (call->shape == CLO_SHAPE_EXEC && call->dirfd && !message->path.size && message->number[1] & AT_EMPTY_PATH);
    if (itself && clo_span_absolute(message->beside))
        clo_telling_text(telling, CLO_TEXT_RESOLVED, message->beside.text, message->beside.size, true);
    else if (itself || !message->path.size)
        unread(telling);
    else
        clo_telling_join(sentry, telling, CLO_TEXT_PATH, message->path,
             call->dirfd && (int32_t)message->number[0] != AT_FDCWD ? message->beside : clo_telling_cwd(sentry, message));
}

void clo_telling_address(struct clo_sentry *sentry, struct clo_telling *telling, const struct clo_message *message) {
    struct clo_address address;
    if (clo_address_read(message->address.text, message->address.size, &address) < 0) return;
    telling->event.arg[0] = address.family;
    telling->event.arg[1] = address.port;
    if (address.kind == CLO_ADDRESS_NONE) return;
    memcpy(sentry->argv, address.text, address.size); /* nothing else is there: it is no program */
    struct clo_span text = {sentry->argv, address.size};
    if (address.kind == CLO_ADDRESS_PATH)
        clo_telling_join(sentry, telling, CLO_TEXT_TARGET, text, clo_telling_cwd(sentry, message));
    else
        clo_telling_text(telling, CLO_TEXT_TARGET, text.text, text.size, false);
}
