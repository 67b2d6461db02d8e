/* Records of events (cdef.h): made, checked, read. */
#ifndef CLO_EVENTS_H
#define CLO_EVENTS_H

#include "cloche_native.h"

/* A text of a record that was checked or packed here; its size is event->text[which]. Not ended by a NUL. */
static inline const char *clo_event_text(const struct clo_event *event, enum clo_text which) {
    const char *text = (const char *)event + CLO_EVENT_HEAD;
    for (uint32_t before = 0; before < (uint32_t)which; before++) text += event->text[before];
    return text;
}

/* The record after this one, of a batch that was checked. */
static inline const struct clo_event *clo_event_next(const struct clo_event *event) {
    return (const struct clo_event *)(const void *)((const char *)event + event->size);
}

/* Writes one record: head->text says how long each of `texts` is, head->size is not looked at. Gives the record's size,
 * -ENOSPC when `room` is too small (nothing is written), -EINVAL when a text is longer than CLO_TEXT_MAX. What the
 * texts hold is not looked at. `out` is aligned as a uint64_t. A text of size 0 may be NULL. */
int clo_event_pack(const struct clo_event *head, const char *const texts[CLO_TEXTS], void *out, size_t room);

#endif
