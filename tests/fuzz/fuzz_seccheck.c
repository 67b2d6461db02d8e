/* sources: native/src/seccheck.c native/src/seccheck_fields.c native/src/seccheck_acts.c native/src/seccheck_paths.c native/src/seccheck_program.c native/src/seccheck_held.c native/src/seccheck_processes.c native/src/protobuf.c native/src/address.c native/src/programs.c native/src/paths_normal.c native/src/decode.c native/src/decode_table.c native/src/acts.c native/src/syscalls.c native/src/events.c native/src/seccheck_lines.c native/src/lines.c native/src/lines_call.c
 *
 * Packets of any bytes, one after another: each brings about records that pass every check, or is counted as bad. The first
 * byte says how it is decoded; before each packet stand its size, two bytes, and how much time has passed, one. */
#include <stdlib.h>
#include <string.h>

#include "seccheck.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int held) {
    if (!held) abort();
}

struct seen { uint64_t records, last; };

static void look(void *with, struct clo_event *record) {
    struct seen *seen = with;
    size_t at = 0;
    uint32_t fault = 0;
    check(clo_event_check(record, record->size, &at, &fault) == 1);
    check(record->source == CLO_SOURCE_GUEST && record->act <= CLO_ACT_SEND && record->number == 0);
    check(record->time_ns >= seen->last);
    check(!(record->flags & (CLO_EVENT_DENIED | CLO_EVENT_STATIC | CLO_EVENT_MATCHED | CLO_EVENT_PINNED)));
    check(!record->result || record->flags & CLO_EVENT_RESULT);
    seen->last = record->time_ns;
    seen->records++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    struct seen seen = {0, 0};
    struct clo_sentry_how how = {.sandbox = 1, .flags = data[0] & CLO_SENTRY_OWN_INIT};
    if (data[0] & 2) memset(how.shadows, 0xff, sizeof how.shadows);
    struct clo_sentry *sentry = calloc(1, sizeof *sentry);
    check(sentry != NULL);
    clo_sentry_init(sentry, &how, look, &seen);
    uint64_t now = CLO_SENTRY_HELD_NS;
    for (data++, size--; size >= 3;) {
        size_t length = (size_t)data[0] | (size_t)(data[1] & 0x3f) << 8;
        bool cut = data[1] & 0x80;
        now += (uint64_t)data[2] * 10000000;
        data += 3, size -= 3;
        if (length > size) length = size;
        char *packet = malloc(length ? length : 1); /* exactly the packet: a read past its end is found by the sanitizer */
        memcpy(packet, data, length);
        clo_sentry_feed(sentry, packet, length, cut, now);
        free(packet); /* nothing may be kept of it */
        data += length, size -= length;
    }
    clo_sentry_due(sentry, UINT64_MAX, now);
    check(sentry->held == 0 && sentry->counts.bad <= sentry->counts.packets);
    free(sentry);
    return 0;
}
