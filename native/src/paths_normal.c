/* A path as its text says it, without looking at any file. */
#include <string.h>

#include "paths.h"

/* Takes the last component off: 0 if there is none. */
static int go_up(const char *out, size_t *size) {
    if (!*size) return 0;
    while (out[--*size] != '/') continue;
    return 1;
}

/* Adds the components of text to out, each with a '/' before it. 0 if they don't fit. */
static int add_components(const char *text, size_t size, char *out, size_t room, size_t *used, _Bool *climbs) {
    for (size_t at = 0; at < size;) {
        const char *slash = memchr(text + at, '/', size - at);
        size_t length = slash ? (size_t)(slash - text) - at : size - at;
        const char *name = text + at;
        at += length + !!slash;
        if (!length || (length == 1 && name[0] == '.')) continue;
        if (length == 2 && name[0] == '.' && name[1] == '.') {
            if (!go_up(out, used)) *climbs = 1;
            continue;
        }
        if (*used == room || length > room - *used - 1) return 0;
        out[(*used)++] = '/';
        memcpy(out + *used, name, length);
        *used += length;
    }
    return 1;
}

/* Writes path, which is looked up from the folder base unless it is absolute, as an absolute one without "//", "." and
 * "..", and without a '/' at its end: its size, at least 1, and no NUL; 0 if it does not fit, which can't be with
 * base_size + size + 2 of room. *climbs: a ".." stood where there was only the root, which the kernel takes as the root.
 * "x/.." is taken away even if x is a link to elsewhere. out must not overlap the others; any bytes will do. */
size_t clo_path_normalise(const char *base, size_t base_size, const char *path, size_t size, char *out, size_t room,
                          _Bool *climbs) {
    size_t used = 0;
    *climbs = 0;
    if (!room) return 0;
    if ((!size || path[0] != '/') && !add_components(base, base_size, out, room, &used, climbs)) return 0;
    if (!add_components(path, size, out, room, &used, climbs)) return 0;
    if (!used) out[used++] = '/';
    return used;
}
