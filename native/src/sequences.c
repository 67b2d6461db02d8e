/* Sequences of steps, and rows of acts that were never learned. */
#include <string.h>

#include "tables.h"

static struct sequence_slot *find(struct look *look, uint32_t number, uint64_t *key, bool *fresh) {
    struct clo_state *state = look->state;
    struct table table = {state->sequences, sizeof *state->sequences, state->masks[CLO_TABLE_SEQUENCES]};
    *key = clo_look_key(look, look->program->blob.sequences[number].key, number);
    return clo_table_find(table, *key, state->now, fresh);
}

/* Of each length of chain the one that began last is kept: if any is in time, it is. So that no event is taken for two
 * steps, an event is looked at as the last step first (the order of the conditions). */
void clo_sequence_step(struct look *look, const struct step *step) {
    const struct clo_sequence *sequence = &look->program->blob.sequences[step->sequence];
    struct clo_state *state = look->state;
    uint64_t key;
    bool fresh;
    struct sequence_slot *slot = find(look, step->sequence, &key, &fresh);
    if (!step->number) {
        if (!slot) {
            state->lost[CLO_TABLE_SEQUENCES]++;
            state->blind_until[step->sequence] = state->now + sequence->within_ns;
            return;
        }
        if (fresh) *slot = (struct sequence_slot){.key = key};
        slot->until = state->now + sequence->within_ns + 1;
    } else {
        if (!slot || fresh || !(slot->have >> (step->number - 1) & 1)) return;
        memcpy(slot->chain[step->number], slot->chain[step->number - 1], step->number * sizeof(uint64_t));
    }
    slot->chain[step->number][step->number] = state->now;
    slot->have |= 1u << step->number;
}

bool clo_sequence_done(struct look *look, uint32_t number, struct clo_evidence *evidence) {
    const struct clo_sequence *sequence = &look->program->blob.sequences[number];
    uint64_t key, now = look->state->now;
    bool fresh;
    struct sequence_slot *slot = find(look, number, &key, &fresh);
    uint32_t last = sequence->count - 1;
    if (slot && !fresh && slot->have >> last & 1 && now - slot->chain[last][0] <= sequence->within_ns) {
        memcpy(evidence->time, slot->chain[last], sequence->count * sizeof(uint64_t));
        evidence->time[sequence->count] = now;
        evidence->steps = sequence->count + 1;
        return true;
    }
    evidence->lost = now <= look->state->blind_until[number];
    return evidence->lost;
}

static bool is_learned(const struct gram_table *table, uint64_t row) {
    for (uint64_t at = clo_gram_slot(row + 1, table->mask); table->slots[at]; at = (at + 1) & table->mask)
        if (table->slots[at] == row + 1) return true;
    return false;
}

bool clo_novelty_over(struct look *look, uint32_t number, struct clo_evidence *evidence) {
    const struct clo_novelty *novelty = &look->program->blob.novelties[number];
    struct clo_state *state = look->state;
    struct table table = {state->novelties, sizeof *state->novelties, state->masks[CLO_TABLE_NOVELTIES]};
    uint64_t key = clo_look_key(look, novelty->key, number);
    bool fresh;
    struct novelty_slot *slot = clo_table_find(table, key, state->now, &fresh);
    if (!slot) {
        state->lost[CLO_TABLE_NOVELTIES]++;
        evidence->lost = 1;
        return true;
    }
    if (fresh) *slot = (struct novelty_slot){.key = key};
    slot->until = state->now + novelty->forget_ns;
    slot->row = (slot->row << 6 | look->event->act) & ((1ull << 6 * novelty->length) - 1);
    if (slot->acts < novelty->length) slot->acts++;
    bool novel = slot->acts == novelty->length && !is_learned(&look->program->grams[number], slot->row);
    slot->recent = slot->recent << 1 | novel;
    evidence->count = (uint32_t)__builtin_popcountll(slot->recent);
    return evidence->count >= novelty->least;
}
