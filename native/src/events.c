/* Records of events: one is written, a batch from an untrusted source is looked through wholly. */
#include <stdbool.h>
#include <string.h>

#include "events.h"

_Static_assert(sizeof(struct clo_event) == CLO_EVENT_HEAD && offsetof(struct clo_event, number) == 8 &&
                   offsetof(struct clo_event, flags) == 28 && offsetof(struct clo_event, pid) == 32 &&
                   offsetof(struct clo_event, call) == 40 && offsetof(struct clo_event, result) == 48 &&
                   offsetof(struct clo_event, arg) == 56 && offsetof(struct clo_event, text) == 88,
               "Python packs this");
_Static_assert(CLO_EVENT_MAX == (CLO_EVENT_HEAD + CLO_TEXTS * CLO_TEXT_MAX + 7) / 8 * 8, "any four texts fit");
_Static_assert(CLO_ACTS <= 64, "sets of acts are uint64_t");

enum { KNOWN_FLAGS = 0x1ffff };
static const uint64_t PATH_TARGETS = 1ull << CLO_ACT_RENAME | 1ull << CLO_ACT_LINK | 1ull << CLO_ACT_SYMLINK | 1ull << CLO_ACT_MOUNT;

static size_t padded(size_t size) { return (size + 7) & ~(size_t)7; }

int clo_event_pack(const struct clo_event *head, const char *const texts[CLO_TEXTS], void *out, size_t room) {
    size_t size = CLO_EVENT_HEAD;
    for (int which = 0; which < CLO_TEXTS; which++) {
        if (head->text[which] > CLO_TEXT_MAX) return -EINVAL;
        size += head->text[which];
    }
    size_t whole = padded(size);
    if (whole > room) return -ENOSPC;
    memcpy(out, head, CLO_EVENT_HEAD);
    ((struct clo_event *)out)->size = (uint32_t)whole;
    char *at = (char *)out + CLO_EVENT_HEAD;
    for (int which = 0; which < CLO_TEXTS; which++) {
        if (head->text[which]) memcpy(at, texts[which], head->text[which]);
        at += head->text[which];
    }
    memset(at, 0, whole - size);
    return (int)whole;
}

/* An act that has a number of its own: between the guest's and the host's there are some that mean nothing yet. */
static bool known_act(uint32_t act) { return act <= CLO_ACT_SEND || (act >= CLO_ACT_CREATED && act < CLO_ACTS); }

static uint32_t texts_fault(const struct clo_event *head, const char *texts, size_t room) {
    size_t used = 0;
    for (int which = 0; which < CLO_TEXTS; which++) {
        if (head->text[which] > CLO_TEXT_MAX) return CLO_FAULT_TEXT;
        used += head->text[which];
    }
    if (padded(used) != room) return CLO_FAULT_TEXT;
    for (; used < room; room--)
        if (texts[room - 1]) return CLO_FAULT_PADDING;
    for (int which = 0; which < CLO_TEXTS; texts += head->text[which], which++) {
        bool path = which < CLO_TEXT_TARGET || (which == CLO_TEXT_TARGET ? PATH_TARGETS >> head->act & 1
                                                                         : head->act != CLO_ACT_EXEC);
        if (path && memchr(texts, 0, head->text[which])) return CLO_FAULT_NUL;
    }
    return 0;
}

static uint32_t head_fault(const struct clo_event *head) {
    if (!known_act(head->act)) return CLO_FAULT_ACT;
    if (head->source > CLO_SOURCE_OTHER) return CLO_FAULT_SOURCE;
    if (head->flags & ~(uint32_t)KNOWN_FLAGS) return CLO_FAULT_FLAGS;
    if (head->pid < 0 || head->tid < 0 || head->call < -1) return CLO_FAULT_NUMBER;
    return 0;
}

/* Looks through a batch from anywhere, at any address: how many records it has, or -EBADMSG with the offset of the bad
 * record and what is wrong with it (clo_event_fault). */
int64_t clo_event_check(const void *records, size_t size, size_t *at, uint32_t *fault) {
    const char *bytes = records;
    int64_t count = 0;
    *fault = 0;
    for (size_t offset = 0; offset < size; count++) {
        struct clo_event head;
        *at = offset;
        size_t left = size - offset;
        if (left < CLO_EVENT_HEAD) {
            *fault = CLO_FAULT_SHORT;
            return -EBADMSG;
        }
        memcpy(&head, bytes + offset, CLO_EVENT_HEAD);
        if (head.size < CLO_EVENT_HEAD || head.size > CLO_EVENT_MAX || head.size % 8)
            *fault = CLO_FAULT_SIZE;
        else if (head.size > left)
            *fault = CLO_FAULT_SHORT;
        else if (!(*fault = head_fault(&head)))
            *fault = texts_fault(&head, bytes + offset + CLO_EVENT_HEAD, head.size - CLO_EVENT_HEAD);
        if (*fault) return -EBADMSG;
        offset += head.size;
    }
    return count;
}
