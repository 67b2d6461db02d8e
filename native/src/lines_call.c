/* What strace says of one call: its texts, between numbers that are known from its registers.
 *
 * A text is the guest's and may hold what looks like the rest of the line. The numbers around it are known, so every
 * way to read the line is tried: where there is but one it is right, where there are more nothing is believed.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cloche_native.h"

enum { NAME_MAX_BYTES = 15, WAYS = 2 };

/* How arguments are written: p a path, f a folder's or file's descriptor with its path, x a number, o in octal, m
 * permissions as words. */
static const struct {
    const char *call, *arguments;
} CALLS[] = {
    {"mkdir", "po"}, {"mkdirat", "fpx"}, {"mknod", "pmx"}, {"mknodat", "fpmx"}, {"unlink", "p"}, {"unlinkat", "fpx"},
    {"rmdir", "p"}, {"rename", "pp"}, {"renameat", "fpxp"}, {"renameat2", "fpxpx"}, {"link", "pp"},
    {"linkat", "fpxpx"}, {"symlink", "pp"}, {"symlinkat", "pfp"}, {"chmod", "pm"}, {"fchmodat", "fpm"},
    {"fchmod", "fm"}, {"chown", "pxx"}, {"lchown", "pxx"}, {"fchownat", "fpxxx"}, {"fchown", "fxx"},
    {"truncate", "px"}, {"mount", "pppxp"}, {"umount2", "px"},
};

struct reading {
    const char *arguments; /* of CALLS */
    const uint64_t *value;
    const char *end;
    struct clo_line line; /* as far as it is read */
    struct clo_line *found;
    int ways;
};

static const char UNREAD[] = "(error decoding path: ";
static const char NO_FILE[] = "(bad FD)";

/* What stands before an argument's text, or is all of it. Gives its size. */
static size_t begins(char kind, uint64_t value, char out[24]) {
    if (kind == 'f' && (int32_t)value == -100) return (size_t)snprintf(out, 24, "AT_FDCWD ");
    if (kind == 'f' && (int32_t)value < 0) return (size_t)snprintf(out, 24, "-0x%" PRIx32 " ", 0 - (uint32_t)value);
    if (kind == 'f') return (size_t)snprintf(out, 24, "0x%" PRIx32 " ", (uint32_t)value);
    if (kind == 'p' && !value) return (size_t)snprintf(out, 24, "<null>");
    if (kind == 'p') return (size_t)snprintf(out, 24, "0x%" PRIx64 " ", value);
    if (kind == 'o') return (size_t)snprintf(out, 24, value ? "0o%" PRIo32 : "0o0", (uint32_t)value);
    return (size_t)snprintf(out, 24, "0x%" PRIx64, value);
}

static bool is_next(const char *at, const char *end, const char *text, size_t size) {
    return (size_t)(end - at) >= size && memcmp(at, text, size) == 0;
}

static void read_on(struct reading *reading, const char *at, uint32_t argument);

/* Goes on behind an argument that ends there. */
static void read_next(struct reading *reading, const char *at, uint32_t argument) {
    if (!reading->arguments[argument + 1]) {
        if (at != reading->end) return;
        if (reading->ways++ == 0) *reading->found = reading->line;
        return;
    }
    if (is_next(at, reading->end, ", ", 2)) read_on(reading, at + 2, argument + 1);
}

static void read_text(struct reading *reading, const char *at, uint32_t argument) {
    struct clo_line before = reading->line;
    bool last = !reading->arguments[argument + 1];
    for (const char *end = last ? reading->end : at; end <= reading->end && reading->ways < WAYS; end++) {
        if (!last && !(end = memmem(end, (size_t)(reading->end - end), ", ", 2))) break;
        size_t size = (size_t)(end - at);
        if (is_next(at, end, UNREAD, sizeof UNREAD - 1) || (size == sizeof NO_FILE - 1 && is_next(at, end, NO_FILE, size)))
            reading->line.flags |= CLO_LINE_BAD;
        uint32_t n = reading->line.texts++;
        reading->line.text[n].argument = argument;
        reading->line.text[n].size = (uint32_t)size;
        reading->line.text[n].text = at;
        read_next(reading, end, argument);
        reading->line = before;
    }
}

/* Reads the arguments from the one that begins there. */
static void read_on(struct reading *reading, const char *at, uint32_t argument) {
    char known[24];
    char kind = reading->arguments[argument];
    if (kind == 'm') { /* words of which none has a comma */
        const char *end = memchr(at, ',', (size_t)(reading->end - at));
        read_next(reading, end ? end : reading->end, argument);
        return;
    }
    size_t size = begins(kind, reading->value[argument], known);
    bool cut = kind == 'x' && !is_next(at, reading->end, known, size); /* some numbers are written as 32 bits */
    if (cut) size = begins(kind, (uint32_t)reading->value[argument], known);
    if (!is_next(at, reading->end, known, size)) return;
    if ((kind == 'p' && reading->value[argument]) || kind == 'f')
        read_text(reading, at + size, argument);
    else
        read_next(reading, at + size, argument);
}

/* Reads "[TID:TID] NAME E CALL(ARGUMENTS)". -ENOENT: it is not that; -EBADMSG: it may be several things. */
int clo_line_parse(const char *message, size_t size, uint32_t tid, const char *call, const uint64_t *arguments,
                   struct clo_line *line) {
    struct reading reading = {.value = arguments, .end = message + size - 1, .found = line};
    for (size_t n = 0; n < sizeof CALLS / sizeof *CALLS; n++)
        if (strcmp(CALLS[n].call, call) == 0) reading.arguments = CALLS[n].arguments;
    const char *name = size ? memchr(message, ']', size < 24 ? size : 24) : NULL;
    if (!reading.arguments || !name || message[size - 1] != ')' || (size_t)(message + size - name) < 2) return -ENOENT;
    name += 2; /* "] " */
    (void)tid; /* whoever keeps lines keeps them by it */
    char begin[CLO_LINE_CALL_MAX + 8];
    size_t length = (size_t)snprintf(begin, sizeof begin, " E %s(", call);
    size_t character = 0; /* bytes that were no UTF-8 have become three, so a name is counted in characters */
    for (const char *at = name; character <= NAME_MAX_BYTES && at < reading.end; at++) {
        if ((*at & 0xC0) == 0x80) continue;
        if (is_next(at, reading.end, begin, length)) read_on(&reading, at + length, 0);
        character++;
    }
    return reading.ways == 0 ? -ENOENT : reading.ways > 1 ? -EBADMSG : 0;
}
