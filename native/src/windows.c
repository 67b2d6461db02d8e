/* What is counted over time, by keys, in tables of a fixed size. A table that is full where a key belongs counts as a
 * match, and is told: a guest that makes many keys can't hide behind them. */
#include <string.h>

#include "tables.h"

static uint64_t hash_bytes(uint64_t hash, uint64_t secret, const char *bytes, size_t size) {
    hash = clo_mix(hash ^ size, secret);
    for (; size >= 8; bytes += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        hash = clo_mix(hash ^ word, secret);
    }
    uint64_t word = 0;
    memcpy(&word, bytes, size);
    return clo_mix(hash ^ word, secret);
}

static uint64_t hash_path(struct look *look, uint64_t hash, uint64_t secret, bool folder) {
    uint32_t which = look->event->text[CLO_TEXT_PATH] ? CLO_TEXT_PATH : CLO_TEXT_RESOLVED;
    clo_look_normal(look, which);
    size_t size = look->size[which];
    while (folder && size && look->path[which][size - 1] != '/') size--;
    return hash_bytes(hash, secret, look->path[which], size);
}

/* The values of the fields `keys` of an event as one number, never 0. Who does not know the state's seed can't choose
 * events of which two have the same; by chance two have in 2^-63 of cases. */
uint64_t clo_look_key(struct look *look, uint32_t keys, uint64_t salt) {
    const struct clo_event *event = look->event;
    uint64_t secret = look->state->seed | 1, hash = clo_mix(look->state->seed ^ salt, 0x9e3779b97f4a7c15ull);
    if (keys & CLO_KEY_SANDBOX) hash = clo_mix(hash ^ event->sandbox, secret);
    if (keys & CLO_KEY_PID) hash = clo_mix(hash ^ (uint32_t)event->pid, secret);
    if (keys & CLO_KEY_EXEC) hash = clo_mix(hash ^ event->exec, secret);
    if (keys & CLO_KEY_ARG0) hash = clo_mix(hash ^ event->arg[0], secret);
    if (keys & CLO_KEY_ARG1) hash = clo_mix(hash ^ event->arg[1], secret);
    if (keys & CLO_KEY_ACT) hash = clo_mix(hash ^ event->act, secret);
    if (keys & CLO_KEY_DIR) hash = hash_path(look, hash, secret, true);
    if (keys & CLO_KEY_PATH) hash = hash_path(look, hash, secret, false);
    if (keys & CLO_KEY_TARGET)
        hash = hash_bytes(hash, secret, clo_event_text(event, CLO_TEXT_TARGET), event->text[CLO_TEXT_TARGET]);
    return hash | 1;
}

void *clo_table_find(struct table table, uint64_t key, uint64_t now, bool *fresh) {
    char *free_slot = NULL;
    *fresh = false;
    for (uint64_t n = 0; n < TABLE_PROBES; n++) {
        char *slot = (char *)table.slots + (((key >> 1) + n) & table.mask) * table.size;
        struct slot_head *head = (void *)slot;
        if (head->key == key && head->until > now) return slot;
        if (!free_slot && head->until <= now) free_slot = slot;
    }
    *fresh = free_slot != NULL;
    return free_slot;
}

static void lose(struct look *look, enum clo_table table, struct clo_evidence *evidence) {
    look->state->lost[table]++;
    evidence->lost = 1;
}

/* Time goes by in steps of a seventh of the window, of which the last eight are counted. */
enum { STEPS_OF_WINDOW = 7, STEPS_KEPT = 8 };

static void forget_old(struct window_slot *slot, uint64_t epoch) {
    uint64_t gone = epoch - slot->epoch;
    for (uint64_t n = 1; n <= gone && n <= STEPS_KEPT; n++) slot->bucket[(slot->epoch + n) % STEPS_KEPT] = 0;
    slot->epoch = epoch;
}

static uint32_t add_event(struct window_slot *slot, uint64_t epoch) {
    forget_old(slot, epoch);
    uint32_t *now = &slot->bucket[epoch % STEPS_KEPT];
    if (*now < UINT32_MAX) ++*now;
    uint64_t sum = 0;
    for (int n = 0; n < STEPS_KEPT; n++) sum += slot->bucket[n];
    return sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX;
}

/* Adds a value, or says that it was seen again; gives how many were within the window. Of more than there is room for,
 * those seen last are kept. */
static uint32_t add_value(struct distinct_slot *slot, uint64_t epoch, uint64_t value) {
    uint32_t oldest = 0, live = 0, at = slot->count;
    for (uint32_t n = 0; n < slot->count; n++) {
        if (slot->value[n] == value) at = n;
        if (slot->epoch[n] < slot->epoch[oldest]) oldest = n;
    }
    if (at == slot->count && slot->count < CLO_DISTINCT_MAX)
        slot->count++;
    else if (at == slot->count)
        at = oldest;
    slot->value[at] = value;
    slot->epoch[at] = epoch;
    for (uint32_t n = 0; n < slot->count; n++) live += epoch - slot->epoch[n] < STEPS_KEPT;
    return live;
}

/* Counts the event, and gives how many there are; evidence->lost where that is not known. */
static void count_event(struct look *look, uint32_t number, struct clo_evidence *evidence) {
    const struct clo_window *window = &look->program->blob.windows[number];
    struct clo_state *state = look->state;
    uint64_t width = (window->per_ns + STEPS_OF_WINDOW - 1) / STEPS_OF_WINDOW, epoch = state->now / width;
    uint64_t key = clo_look_key(look, window->key, number), until = (epoch + STEPS_KEPT) * width;
    bool fresh;
    if (!window->distinct) {
        struct table table = {state->windows, sizeof *state->windows, state->masks[CLO_TABLE_WINDOWS]};
        struct window_slot *slot = clo_table_find(table, key, state->now, &fresh);
        if (!slot) {
            lose(look, CLO_TABLE_WINDOWS, evidence);
            return;
        }
        if (fresh) *slot = (struct window_slot){.key = key, .epoch = epoch};
        slot->until = until;
        evidence->count = add_event(slot, epoch);
    } else {
        struct table table = {state->distinct, sizeof *state->distinct, state->masks[CLO_TABLE_DISTINCT]};
        struct distinct_slot *slot = clo_table_find(table, key, state->now, &fresh);
        if (!slot) {
            lose(look, CLO_TABLE_DISTINCT, evidence);
            return;
        }
        if (fresh) slot->key = key, slot->count = 0;
        slot->until = until;
        evidence->count = add_value(slot, epoch, clo_look_key(look, window->distinct, 0));
    }
}

/* A window that several rules share counts an event once, for the first of them. */
bool clo_window_over(struct look *look, uint32_t number, struct clo_evidence *evidence) {
    struct window_last *last = &look->state->window_last[number];
    if (last->event != look->state->events) {
        count_event(look, number, evidence);
        *last = (struct window_last){look->state->events, evidence->count, evidence->lost != 0};
    }
    evidence->count = last->count;
    evidence->lost = last->lost;
    return last->lost || last->count > look->program->blob.windows[number].limit;
}
