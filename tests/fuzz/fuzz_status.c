/* sources: native/src/guest.c native/src/guest_user.c
 *
 * Any text of a /proc/PID/status, and of a stat, gives the numbers of its lines or an error, and nothing past its end is read. */
#include <stdlib.h>
#include <string.h>

#include "guest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size); /* exactly that: one byte more is found by the sanitizer */
    if (size) memcpy(text, data, size);
    struct clo_guest_status status;
    int result = clo_guest_parse_status(text, size, &status);
    if (result != 0 && result != -EBADMSG) abort();
    uint32_t number;
    result = clo_guest_parse_stat(text, size, &number);
    if (result ? result != -ENXIO : number >= 2048) abort();
    free(text);
    return 0;
}
