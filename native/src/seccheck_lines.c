/* Texts of calls whose points have registers alone, from the lines that strace writes of them (lines.c). */
#include <string.h>

#include "seccheck.h"

static struct clo_span text_of(const struct clo_line *line, uint8_t argument) {
    for (uint32_t n = 0; argument && n < line->texts; n++)
        if (line->text[n].argument + 1 == argument) return (struct clo_span){line->text[n].text, line->text[n].size};
    return (struct clo_span){0};
}

/* The folder of the second path, of whose descriptor a line has no text: known where the first one is of the same. */
static struct clo_span second_base(const struct clo_call *call, const struct clo_message *message, struct clo_span first,
                                   struct clo_span cwd) {
    if (!call->dirfd2) return cwd;
    int32_t folder = (int32_t)message->number[call->dirfd2 - 1];
    if (folder == AT_FDCWD) return cwd;
    return call->dirfd && folder == (int32_t)message->number[call->dirfd - 1] ? first : (struct clo_span){0};
}

/* Puts the texts of a raw call into its record; false: there is no line of it, or it can be read in more than one way,
 * which a guest takes pains for. */
bool clo_telling_traced(struct clo_sentry *sentry, struct clo_telling *telling, const struct clo_call *call,
                        const struct clo_message *message) {
    struct clo_line line;
    int status = clo_lines_take(sentry->lines, (uint32_t)message->tid, call->name, message->number, &line);
    if (status == -EBADMSG) sentry->counts.bad++;
    if (status < 0) return false;
    struct clo_span cwd = clo_telling_cwd(sentry, message), first = call->dirfd ? text_of(&line, call->dirfd) : cwd;
    struct clo_span path = text_of(&line, call->path), second = text_of(&line, call->path2);
    if (call->shape == CLO_SHAPE_FD && clo_span_absolute(first))
        clo_telling_text(telling, CLO_TEXT_RESOLVED, first.text, first.size, true);
    if (call->path && call->shape == CLO_SHAPE_MOUNT && !clo_span_absolute(path)) /* a word, as "proc" is */
        clo_telling_text(telling, CLO_TEXT_PATH, path.text, path.size, false);
    else if (call->path)
        clo_telling_join(sentry, telling, CLO_TEXT_PATH, path, first);
    if (call->path2 && call->shape == CLO_SHAPE_NAME)
        clo_telling_text(telling, CLO_TEXT_TARGET, second.text, second.size, false);
    else if (call->path2)
        clo_telling_join(sentry, telling, CLO_TEXT_TARGET, second, second_base(call, message, first, cwd));
    if (line.flags) telling->event.flags |= CLO_EVENT_UNREADABLE;
    return true;
}
