/* Operations on the elements of one array, from left to right.
 *
 * While they are written the array is: what is new so far, among it elements that wait, for they belong further right;
 * then what is old. An element that moves is taken from the right when its place is reached, or was left waiting. How
 * many wait, or were taken, before some element is counted in trees of partial sums. */
#include <stdlib.h>

#include "diff.h"

/* What it takes to know where an element stands. */
struct places {
    uint32_t *taken, *waiting; /* sums of gone elements, each numbered from 1; NULL if none moves */
    size_t *left_at;           /* how many new ones were to the left of one that waits */
    size_t count, waiting_count;
};

struct script {
    struct clo_json_diff *diff;
    struct clo_json_odd odd;
    struct places places;
    size_t gone, fresh;         /* the next of each list */
    size_t gone_to, fresh_to;   /* the ends of the gap that it is in */
    size_t gone_left, fresh_left; /* in the gap, without those that move */
    size_t old, new;            /* numbers of the next elements */
};

static struct clo_json_item *gone_at(const struct script *script, size_t i) {
    return &script->diff->side[OLD].odd.data[i];
}

static struct clo_json_item *fresh_at(const struct script *script, size_t i) {
    return &script->diff->side[NEW].odd.data[i];
}

static void count_in(uint32_t *sums, size_t count, size_t i, uint32_t by) {
    for (i++; i <= count; i += i & -i) sums[i] += by;
}

/* How many of those before element i. */
static size_t count_before(const uint32_t *sums, size_t i) {
    size_t sum = 0;
    for (; i; i -= i & -i) sum += sums[i];
    return sum;
}

/* Go over what stays; find where the gap ends. false: there is none. */
static bool next_gap(struct script *script) {
    size_t gone_left = SIZE_MAX, fresh_left = SIZE_MAX;
    if (script->gone < script->odd.gone_end) gone_left = gone_at(script, script->gone)->number - script->old;
    if (script->fresh < script->odd.fresh_end) fresh_left = fresh_at(script, script->fresh)->number - script->new;
    size_t stay = gone_left < fresh_left ? gone_left : fresh_left;
    if (stay == SIZE_MAX) return false;
    script->old += stay;
    script->new += stay;
    script->gone_left = script->fresh_left = 0;
    size_t i = script->gone, j = script->fresh;
    for (; i < script->odd.gone_end && gone_at(script, i)->number - script->old == i - script->gone; i++)
        script->gone_left += !gone_at(script, i)->mate;
    for (; j < script->odd.fresh_end && fresh_at(script, j)->number - script->new == j - script->fresh; j++)
        script->fresh_left += !fresh_at(script, j)->mate;
    script->gone_to = i;
    script->fresh_to = j;
    return true;
}

/* Small values that could as well be replaced where they are do not move: the pointers for that would be longer. */
static void drop_dear_moves(const struct script *script) {
    struct script run = *script;
    while (next_gap(&run)) {
        bool even = run.gone_to - run.gone == run.fresh_to - run.fresh;
        run.old += run.gone_to - run.gone;
        run.new += run.fresh_to - run.fresh;
        for (; run.gone < run.gone_to; run.gone++) gone_at(&run, run.gone)->even = even;
        for (; run.fresh < run.fresh_to; run.fresh++) fresh_at(&run, run.fresh)->even = even;
    }
    for (size_t i = script->odd.gone; i < script->odd.gone_end; i++) {
        struct clo_json_item *gone = gone_at(script, i);
        if (!gone->mate || !gone->even || gone->child.value.end - gone->child.value.begin >= script->diff->path.size) continue;
        struct clo_json_item *fresh = fresh_at(script, gone->mate - 1);
        if (fresh->even) gone->mate = fresh->mate = 0;
    }
}

static size_t place_of(const struct script *script) { return script->new + script->places.waiting_count; }

static size_t into(const struct script *script, size_t number) {
    return clo_json_diff_into_number(script->diff, number);
}

/* It waits where it is, or has been taken already. */
static void leave(struct script *script) {
    struct places *places = &script->places;
    size_t i = script->gone - script->odd.gone;
    script->old++;
    if (gone_at(script, script->gone++)->done) return;
    places->left_at[i] = script->new;
    count_in(places->waiting, places->count, i, 1);
    places->waiting_count++;
}

static void write_move(const struct script *script, size_t from, size_t to) {
    size_t path = into(script, from);
    clo_json_diff_move_from(script->diff);
    clo_json_diff_out_of(script->diff, path);
    path = into(script, to);
    clo_json_diff_move_to(script->diff);
    clo_json_diff_out_of(script->diff, path);
}

/* The next new element is one that is to the right, or waits. */
static void fetch(struct script *script) {
    struct places *places = &script->places;
    size_t source = fresh_at(script, script->fresh)->mate - 1, i = source - script->odd.gone;
    struct clo_json_item *gone = gone_at(script, source);
    if (source >= script->gone) {
        size_t taken = count_before(places->taken, i) - count_before(places->taken, script->gone - script->odd.gone);
        size_t to = place_of(script);
        write_move(script, to + (gone->number - script->old) - taken, to);
        count_in(places->taken, places->count, i, 1);
        gone->done = true;
    } else {
        size_t from = places->left_at[i] + count_before(places->waiting, i);
        count_in(places->waiting, places->count, i, (uint32_t)-1);
        places->waiting_count--;
        if (from != place_of(script)) write_move(script, from, place_of(script));
    }
    script->fresh++;
    script->new++;
}

static void go(struct script *script) {
    clo_json_diff_remove(script->diff);
    script->gone++;
    script->old++;
    script->gone_left--;
}

static void come(struct script *script) {
    clo_json_diff_add(script->diff, &fresh_at(script, script->fresh)->child.value);
    script->fresh++;
    script->new++;
    script->fresh_left--;
}

static bool are_akin(const struct script *script, const struct clo_json_value *old, const struct clo_json_value *new) {
    const struct clo_json_side *side = script->diff->side;
    uint8_t kind = side[OLD].view->text[old->begin];
    size_t size = old->end - old->begin, new_size = new->end - new->begin;
    return (kind == '{' || kind == '[') && kind == side[NEW].view->text[new->begin] && size / 2 <= new_size &&
           new_size / 2 <= size;
}

/* Make one of the other, if that is short, or if as many are gone as are fresh. */
static bool change(struct script *script, bool first) {
    struct clo_json_diff *diff = script->diff;
    const struct clo_json_item *gone = gone_at(script, script->gone), *fresh = fresh_at(script, script->fresh);
    struct clo_json_value old = gone->child.value, new = fresh->child.value; /* the lists move as it goes deeper */
    size_t known = first && gone->known == fresh->known ? gone->known : 0, limit = diff->limit;
    bool even = script->gone_left == script->fresh_left;
    if (!even && (!diff->waste || !are_akin(script, &old, &new))) return false;
    struct clo_json_mark mark = clo_json_diff_mark(diff);
    size_t most = even ? SIZE_MAX : clo_json_diff_cost(diff, &new) / 2;
    if (!even && limit > mark.size + most) diff->limit = mark.size + most;
    clo_json_diff_values(diff, &old, &new, known);
    diff->limit = limit;
    if (diff->patch.size - mark.size > most) {
        size_t size = old.end - old.begin + new.end - new.begin;
        diff->waste -= size < diff->waste ? size : diff->waste;
        clo_json_diff_give_up(diff, mark);
        return false;
    }
    script->gone++, script->old++, script->gone_left--;
    script->fresh++, script->new++, script->fresh_left--;
    return true;
}

/* Neither moves, and at least one of both is there. */
static void change_or_replace(struct script *script, bool has_gone, bool has_fresh, bool first) {
    size_t path = into(script, place_of(script));
    if (!has_gone)
        come(script);
    else if (!has_fresh)
        go(script);
    else if (!change(script, first)) {
        if (script->gone_left > script->fresh_left)
            go(script);
        else
            come(script);
    }
    clo_json_diff_out_of(script->diff, path);
}

static void fill_gap(struct script *script) {
    size_t first_gone = script->gone, first_fresh = script->fresh;
    while ((script->gone < script->gone_to || script->fresh < script->fresh_to) && !script->diff->failed &&
           script->diff->patch.size <= script->diff->limit) {
        bool has_gone = script->gone < script->gone_to, has_fresh = script->fresh < script->fresh_to;
        if (has_gone && gone_at(script, script->gone)->mate)
            leave(script);
        else if (has_fresh && fresh_at(script, script->fresh)->mate)
            fetch(script);
        else
            change_or_replace(script, has_gone, has_fresh, script->gone == first_gone && script->fresh == first_fresh);
    }
}

static size_t count_moves(const struct script *script) {
    size_t count = 0;
    for (size_t i = script->odd.gone; i < script->odd.gone_end; i++) count += gone_at(script, i)->mate > 0;
    return count;
}

static bool make_places(struct script *script) {
    size_t count = script->odd.gone_end - script->odd.gone;
    struct places *places = &script->places;
    places->count = count;
    places->taken = calloc(count + 1, sizeof *places->taken);
    places->waiting = calloc(count + 1, sizeof *places->waiting);
    places->left_at = malloc(count * sizeof *places->left_at);
    return places->taken && places->waiting && places->left_at;
}

/* false: nothing is written, for the moves alone would be too long. */
bool clo_json_diff_array(struct clo_json_diff *diff, struct clo_json_odd odd) {
    struct script script = {.diff = diff, .odd = odd, .gone = odd.gone, .fresh = odd.fresh};
    clo_json_diff_mate_values(diff, odd);
    if (diff->failed) return true;
    size_t moves = count_moves(&script);
    if (moves) {
        drop_dear_moves(&script);
        moves = count_moves(&script);
    }
    size_t least = moves * (sizeof "{\"op\":\"move\",\"from\":\"/0\",\"path\":\"/0\"}," + 2 * diff->path.size);
    if (least > diff->limit || diff->patch.size > diff->limit - least) return false;
    if (moves && !make_places(&script)) diff->failed = true;
    while (!diff->failed && diff->patch.size <= diff->limit && next_gap(&script)) fill_gap(&script);
    free(script.places.taken);
    free(script.places.waiting);
    free(script.places.left_at);
    return true;
}
