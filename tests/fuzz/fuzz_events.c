/* sources: native/src/events.c
 *
 * A batch of any bytes, at any address: it is refused at an offset inside, or each of its records is within the batch,
 * its texts within the record, and packing it again gives the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "events.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int held) {
    if (!held) abort();
}

static void check_record(const uint8_t *raw, size_t left) {
    const struct clo_event *event = (const struct clo_event *)(const void *)raw;
    check(event->size <= left && event->size <= CLO_EVENT_MAX);
    const char *texts[CLO_TEXTS];
    for (int which = 0; which < CLO_TEXTS; which++) texts[which] = clo_event_text(event, (enum clo_text)which);
    uint64_t again[CLO_EVENT_MAX / 8];
    check(clo_event_pack(event, texts, again, event->size - 1) == -ENOSPC);
    check(clo_event_pack(event, texts, again, sizeof again) == (int)event->size);
    check(!memcmp(raw, again, event->size));
}

/* The first byte moves what follows off its alignment. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    size_t shift = data[0] % 8;
    data++, size--;
    uint8_t *batch = malloc(shift + size + 1);
    memcpy(batch + shift, data, size);
    size_t at = 0;
    uint32_t fault = 0;
    int64_t count = clo_event_check(batch + shift, size, &at, &fault);
    if (count < 0) {
        check(count == -EBADMSG && at < size && fault >= CLO_FAULT_SHORT && fault <= CLO_FAULT_NUL);
    } else {
        memmove(batch, batch + shift, size);
        size_t offset = 0;
        for (; count > 0; count--) {
            check_record(batch + offset, size - offset);
            offset += ((const struct clo_event *)(const void *)(batch + offset))->size;
        }
        check(offset == size && fault == 0);
    }
    free(batch);
    return 0;
}
