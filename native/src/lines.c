/* A pipe into which a sentry writes lines: read without waiting, kept until the point of the same call comes.
 *
 * Theory of operation. A thread of the guest writes the line of a call, then sends its point, then goes on. So whoever
 * has received the point finds the line among those kept or in the pipe, behind lines of other threads whose points
 * are still to come. They are kept in the order they came. Room is bounded: the oldest are given up first, and counted.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cloche_native.h"

enum { ROOM = 1 << 18, KEPT = 4 << 20, MESSAGE = 1 << 17, NAME = 15 * 6 + 1, INIT = 1 };

struct kept {
    struct kept *next;
    uint32_t tid;
    uint32_t size;
    char raw[]; /* what stands in the quotes of "msg" */
};

struct clo_lines {
    int fd;
    bool ended, skipping;
    size_t size, room; /* bytes in `raw`; in what is kept */
    uint64_t lost;
    struct kept *first, **end;
    char raw[ROOM];
    char message[MESSAGE];
};

static const char BEGIN[] = "{\"msg\":\"[";
enum { BEGIN_SIZE = sizeof BEGIN - 1, QUOTE_AT = BEGIN_SIZE - 1 };

/* Takes over `fd`, the reading end of a pipe that must not block, once it gives 0. */
int clo_lines_new(int fd, struct clo_lines **lines) {
    struct clo_lines *made = calloc(1, sizeof *made);
    if (!made) return -ENOMEM;
    made->fd = fd;
    made->end = &made->first;
    *lines = made;
    return 0;
}

static void drop_first(struct clo_lines *lines) {
    struct kept *kept = lines->first;
    lines->first = kept->next;
    if (!lines->first) lines->end = &lines->first;
    lines->room -= sizeof *kept + kept->size;
    free(kept);
}

/* Forgets what has come, as when what is asked of the sentry changes. */
void clo_lines_forget(struct clo_lines *lines) {
    while (lines->first) drop_first(lines);
}

void clo_lines_free(struct clo_lines *lines) {
    if (!lines) return;
    clo_lines_forget(lines);
    close(lines->fd);
    free(lines);
}

uint64_t clo_lines_lost(const struct clo_lines *lines) { return lines->lost; }

int clo_lines_ended(const struct clo_lines *lines) { return lines->ended; }

/* Whether the thread whose name begins there may have begun a call: the name itself may look like anything. */
static bool may_begin(const char *name, size_t size) {
    size_t most = size < NAME + 2 ? size : NAME + 2;
    for (size_t at = 0; at + 3 <= most; at++)
        if (memcmp(name + at, " E ", 3) == 0) return true;
    return false;
}

/* Keeps a line if it is of a call of the guest's; all others that sentry and proxy write are none of its acts. */
static void keep(struct clo_lines *lines, const char *line, size_t size) {
    if (size < BEGIN_SIZE || memcmp(line, BEGIN, BEGIN_SIZE) != 0) return;
    size_t at = BEGIN_SIZE;
    uint64_t tid = 0;
    while (at < size && line[at] == ' ') at++;
    for (; at < size && line[at] >= '0' && line[at] <= '9' && tid < UINT32_MAX; at++)
        tid = tid * 10 + (uint64_t)(line[at] - '0');
    const char *name = memchr(line + at, ']', size - at < 24 ? size - at : 24);
    if (tid <= INIT || tid > INT32_MAX || !name) return;
    name++;
    const char *end = line + QUOTE_AT; /* the quote that ends the message is the first without an odd row of '\' */
    for (end++; end < line + size && *end != '"'; end++)
        if (*end == '\\') end++;
    if (end >= line + size || !may_begin(name, (size_t)(end - name))) return;
    size_t length = (size_t)(end - (line + QUOTE_AT));
    struct kept *kept = malloc(sizeof *kept + length);
    if (!kept) {
        lines->lost++;
        return;
    }
    *kept = (struct kept){.tid = (uint32_t)tid, .size = (uint32_t)length};
    memcpy(kept->raw, line + QUOTE_AT, length);
    lines->room += sizeof *kept + length;
    *lines->end = kept;
    lines->end = &kept->next;
    while (lines->room > KEPT) {
        drop_first(lines);
        lines->lost++;
    }
}

/* Takes what has come, at most a buffer full; gives how many bytes, 0 if nothing is there. Never waits. */
int clo_lines_read(struct clo_lines *lines) {
    ssize_t got = read(lines->fd, lines->raw + lines->size, ROOM - lines->size);
    if (got <= 0) {
        lines->ended = lines->ended || got == 0;
        return 0;
    }
    size_t from = lines->size, begin = 0;
    lines->size += (size_t)got;
    for (char *end; (end = memchr(lines->raw + from, '\n', lines->size - from)); from = begin) {
        size_t next = (size_t)(end - lines->raw) + 1;
        if (!lines->skipping) keep(lines, lines->raw + begin, next - 1 - begin);
        lines->skipping = false;
        begin = next;
    }
    lines->size -= begin;
    memmove(lines->raw, lines->raw + begin, lines->size);
    if (lines->size == ROOM) { /* no line of a sentry's is that long */
        lines->lost += !lines->skipping;
        lines->skipping = true;
        lines->size = 0;
    }
    return (int)got;
}

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Gives the number that four digits are, -1 for none. */
static int32_t four(const char *raw, size_t left) {
    if (left < 4) return -1;
    int32_t value = 0;
    for (int n = 0; n < 4; n++) {
        if (hex(raw[n]) < 0) return -1;
        value = value * 16 + hex(raw[n]);
    }
    return value;
}

static size_t put(char *out, uint32_t code) {
    if (code < 0x80) return (void)(out[0] = (char)code), 1;
    if (code < 0x800) return (void)(out[0] = (char)(0xC0 | code >> 6)), (void)(out[1] = (char)(0x80 | (code & 63))), 2;
    size_t n = 0;
    if (code < 0x10000) {
        out[n++] = (char)(0xE0 | code >> 12);
    } else {
        out[n++] = (char)(0xF0 | code >> 18);
        out[n++] = (char)(0x80 | (code >> 12 & 63));
    }
    out[n++] = (char)(0x80 | (code >> 6 & 63));
    out[n++] = (char)(0x80 | (code & 63));
    return n;
}

/* Gives the text that a JSON string is, its size, or -EBADMSG; `out` has room for MESSAGE bytes. A byte that was no
 * UTF-8 is written as an escaped U+FFFD; a real one stands there as it is. */
static ssize_t unescaped(const char *raw, size_t size, char *out, uint32_t *flags) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    size_t end = 0;
    for (size_t at = 0; at < size;) {
        if (end + 4 > MESSAGE) return -EBADMSG;
        if (raw[at] != '\\') {
            out[end++] = raw[at++];
            continue;
        }
        if (++at == size) return -EBADMSG;
        const char *simple = memchr(from, raw[at], sizeof from - 1);
        if (simple) {
            out[end++] = to[simple - from];
            at++;
            continue;
        }
        int32_t code = raw[at] == 'u' ? four(raw + at + 1, size - at - 1) : -1;
        if (code <= 0 || (code >= 0xD800 && code < 0xE000)) return -EBADMSG; /* what is above U+FFFF is not escaped */
        if (code == 0xFFFD) *flags |= CLO_LINE_LOSSY;
        end += put(out + end, (uint32_t)code);
        at += 5;
    }
    return (ssize_t)end;
}

/* Gives what the line of a call says that this thread has begun, whose point was received; -ENOENT: there is none;
 * -EBADMSG: it can be read in more than one way. What the thread did before is forgotten. */
int clo_lines_take(struct clo_lines *lines, uint32_t tid, const char *call, const uint64_t *arguments,
                   struct clo_line *line) {
    struct kept **link = &lines->first;
    for (;;) {
        while (!*link)
            if (clo_lines_read(lines) == 0) return -ENOENT;
        if (!lines->first) return -ENOENT;
        struct kept *kept = *link;
        if (kept->tid != tid) {
            link = &kept->next;
            continue;
        }
        uint32_t flags = 0;
        ssize_t size = unescaped(kept->raw, kept->size, lines->message, &flags);
        *link = kept->next;
        if (lines->end == &kept->next) lines->end = link;
        lines->room -= sizeof *kept + kept->size;
        free(kept);
        if (size < 0) continue;
        int found = clo_line_parse(lines->message, (size_t)size, tid, call, arguments, line);
        if (found == -ENOENT) continue;
        line->flags |= flags;
        return found;
    }
}
