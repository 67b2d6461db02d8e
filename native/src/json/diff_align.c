/* What of an old container is gone, and what of a new one is fresh.
 *
 * Both are gone through together. As long as their bytes are the same, children are only counted. Where they differ, the
 * next children of both are looked at, more and more of them, for a place where they go on in the same way: members by
 * their keys, elements by their bytes, of which more must follow that are the same, for else [0,0,1] and the like would be
 * put together at random. Elements for which there is no such place nearby are matched as a whole. */
#include <stdlib.h>
#include <string.h>

#include "diff.h"
#include "pass.h"

enum {
    SURE = 64,       /* so many equal bytes in a row are no chance */
    FAR = 4096,      /* no more are compared to choose between two places */
    NEAR = 128,      /* how many children are looked at ahead */
    DOUBTS = 64,     /* that many places that were none, and the rest is matched as a whole */
};

/* Where a walk through a pair of containers is. */
struct course {
    struct clo_json_walk walk[2];
    size_t number[2]; /* of the next children */
    size_t same;      /* bytes from here on that are known to be equal */
    struct clo_json_ahead ahead; /* the next old child */
    size_t size;      /* of the new container */
    bool replaced;
};

static const uint8_t *text_of(const struct clo_json_diff *diff, int side) { return diff->side[side].view->text; }

static bool at_end(const struct course *course, int side) { return course->walk[side].at >= course->walk[side].end; }

static size_t begin_of(const struct clo_json_child *child) {
    return child->key_end > child->key_begin ? child->key_begin : child->value.begin;
}


uint64_t clo_json_diff_print(const uint8_t *bytes, size_t size) {
    uint64_t sample[4] = {0};
    if (size <= sizeof sample) {
        memcpy(sample, bytes, size);
    } else {
        memcpy(sample, bytes, 8);
        memcpy(sample + 1, bytes + size / 3, 8);
        memcpy(sample + 2, bytes + size / 3 * 2, 8);
        memcpy(sample + 3, bytes + size - 8, 8);
    }
    uint64_t print = size * 0x9e3779b97f4a7c15u;
    for (int i = 0; i < 4; i++) {
        print = (print ^ sample[i]) * 0xff51afd7ed558ccdu;
        print ^= print >> 32;
    }
    return print;
}

struct clo_json_item *clo_json_diff_push(struct clo_json_diff *diff, struct clo_json_items *items) {
    if (items->used == items->room) {
        size_t room = items->room ? items->room * 2 : 64;
        struct clo_json_item *data = realloc(items->data, room * sizeof *data);
        if (!data) {
            diff->failed = true;
            return NULL;
        }
        items->data = data;
        items->room = room;
    }
    return &items->data[items->used++];
}

static bool note(struct clo_json_diff *diff, int side, const struct clo_json_child *child, bool object, size_t number) {
    struct clo_json_item *item = clo_json_diff_push(diff, &diff->side[side].near);
    if (!item) return false;
    const uint8_t *text = text_of(diff, side);
    uint64_t print = object ? clo_json_hash_bytes(text + child->key_begin, child->key_end - child->key_begin)
                            : clo_json_diff_print(text + child->value.begin, child->value.end - child->value.begin);
    *item = (struct clo_json_item){.child = *child, .print = print, .number = number};
    return true;
}

/* Look at one child more of a side. */
static bool look(struct clo_json_diff *diff, int side, struct clo_json_walk *walk, size_t number) {
    struct clo_json_child child;
    return clo_json_next(walk, &child) && note(diff, side, &child, walk->object, number);
}

/* Go behind the children that lie within the equal bytes. */
static void pass_same(struct clo_json_diff *diff, struct course *course) {
    struct clo_json_walk *old = &course->walk[OLD], *new = &course->walk[NEW];
    size_t limit = old->at + course->same, shift = new->at - old->at, passed, end = 0;
    const uint8_t *text = text_of(diff, NEW);
    struct clo_json_walk last = *old;
    struct clo_json_ahead *ahead = &course->ahead;
    passed = clo_json_pass_within(&last, limit, &end, ahead);
    if (ahead->there && ahead->child.value.end <= limit) {
        uint8_t next = text[ahead->child.value.end + shift];
        if (next == ',' || next == ']' || next == '}') { /* and no number that goes on */
            end = ahead->child.value.end;
            last = ahead->after;
            clo_json_look_ahead(&last, ahead);
            passed++;
        }
    }
    if (!passed) return;
    if (last.entry != old->entry) {
        new->entry += last.entry - old->entry;
        new->origin = last.origin + shift;
    }
    size_t begin = old->at;
    *old = last;
    new->at = end + shift + (text[end + shift] == ',');
    course->number[OLD] += passed;
    course->number[NEW] += passed;
    course->same = limit > old->at ? limit - old->at : 0;
    if (old->at - begin != new->at - (begin + shift)) course->same = 0; /* one of them has ended */
}

static void compare_on(struct clo_json_diff *diff, struct course *course) {
    const struct clo_json_walk *old = &course->walk[OLD], *new = &course->walk[NEW];
    size_t left = old->end - old->at, right = new->end - new->at;
    course->same = clo_json_same(text_of(diff, OLD) + old->at, text_of(diff, NEW) + new->at, left < right ? left : right);
}

/* The first `count` children looked at are odd; the walk goes on behind them. */
static void take(struct clo_json_diff *diff, struct course *course, int side, size_t count,
                 const struct clo_json_walk *ahead) {
    const struct clo_json_items *near = &diff->side[side].near;
    for (size_t i = 0; i < count; i++) {
        struct clo_json_item *item = clo_json_diff_push(diff, &diff->side[side].odd);
        if (!item) return;
        *item = near->data[i];
    }
    struct clo_json_walk *walk = &course->walk[side];
    if (count == near->used) {
        *walk = *ahead;
    } else {
        const struct clo_json_child *next = &near->data[count].child;
        walk->at = begin_of(next);
        walk->entry = next->value.first;
        walk->origin = next->value.origin;
    }
    course->number[side] += count;
}

/* How far both go on in the same way from there, in bytes; 0: not at all; SIZE_MAX: to both ends. */
static size_t run_from(const struct clo_json_diff *diff, const struct course *course, size_t old, size_t new) {
    const struct clo_json_item *one = &diff->side[OLD].near.data[old], *other = &diff->side[NEW].near.data[new];
    if (one->print != other->print) return 0;
    size_t left = course->walk[OLD].end - one->child.value.begin, right = course->walk[NEW].end - other->child.value.begin;
    size_t most = left < right ? left : right;
    if (most > FAR) most = FAR;
    size_t same = clo_json_same(text_of(diff, OLD) + one->child.value.begin, text_of(diff, NEW) + other->child.value.begin, most);
    if (same == left && left == right) return SIZE_MAX;
    return same >= one->child.value.end - one->child.value.begin && same >= SURE ? same : 0;
}

struct place {
    size_t old, new;
};

/* One element changed, gone or fresh: which of these it is shows in what follows. */
static bool find_next(const struct clo_json_diff *diff, const struct course *course, struct place *found) {
    static const struct place places[] = {{1, 1}, {1, 0}, {0, 1}};
    size_t best = 0;
    for (int i = 0; i < 3; i++) {
        if (places[i].old >= diff->side[OLD].near.used || places[i].new >= diff->side[NEW].near.used) continue;
        size_t run = run_from(diff, course, places[i].old, places[i].new);
        if (run <= best) continue;
        best = run;
        *found = places[i];
    }
    return best > 0;
}

static bool find_near(const struct clo_json_diff *diff, const struct course *course, size_t *doubts, struct place *found) {
    const struct clo_json_items *old = &diff->side[OLD].near, *new = &diff->side[NEW].near;
    for (size_t sum = 1; sum + 1 < old->used + new->used; sum++) {
        size_t first = sum < new->used ? 0 : sum - new->used + 1;
        for (size_t i = first; i <= sum && i < old->used; i++) {
            if (old->data[i].print != new->data[sum - i].print) continue;
            if (run_from(diff, course, i, sum - i)) {
                *found = (struct place){i, sum - i};
                return true;
            }
            if (!--*doubts) return false;
        }
    }
    return false;
}

/* All that is left, but for what both end with. */
static void look_at_rest(struct clo_json_diff *diff, struct course *course, struct clo_json_walk ahead[2]) {
    const struct clo_json_walk *old = &course->walk[OLD], *new = &course->walk[NEW];
    size_t left = old->end - old->at, right = new->end - new->at;
    size_t tail = clo_json_same_back(text_of(diff, OLD) + old->end, text_of(diff, NEW) + new->end, left < right ? left : right);
    for (int side = OLD; side <= NEW; side++) {
        size_t number = course->number[side], stop = course->walk[side].end - tail;
        ahead[side] = course->walk[side];
        diff->side[side].near.used = 0;
        while (ahead[side].at < stop && look(diff, side, &ahead[side], number)) number++;
    }
    /* They stand at the same place of the common end, or one has gone too far: then that is not used. */
    if (old->end - ahead[OLD].at == new->end - ahead[NEW].at) return;
    for (int side = OLD; side <= NEW; side++) {
        size_t number = course->number[side] + diff->side[side].near.used;
        while (look(diff, side, &ahead[side], number)) number++;
    }
}

/* Whether some of the elements looked at differ in the order of members alone. */
static bool are_reordered(const struct clo_json_diff *diff) {
    const struct clo_json_items *old = &diff->side[OLD].near, *new = &diff->side[NEW].near;
    for (size_t i = 0; i < 8 && i < old->used && i < new->used; i++) {
        const struct clo_json_value *one = &old->data[i].child.value, *other = &new->data[i].child.value;
        if (one->end - one->begin == other->end - other->begin && text_of(diff, OLD)[one->begin] == '{' &&
            clo_json_hash_value(diff->side[OLD].view, one) == clo_json_hash_value(diff->side[NEW].view, other))
            return true;
    }
    return false;
}

static bool is_replaced(const struct clo_json_diff *diff, const struct course *course) {
    const struct clo_json_walk *old = &course->walk[OLD], *new = &course->walk[NEW];
    return clo_json_diff_is_replaced(diff, text_of(diff, OLD) + old->at, old->end - old->at, text_of(diff, NEW) + new->at,
                                     new->end - new->at, course->size) &&
           !are_reordered(diff);
}

static void match_rest(struct clo_json_diff *diff, struct course *course, struct clo_json_walk ahead[2]) {
    look_at_rest(diff, course, ahead);
    struct clo_json_items *old = &diff->side[OLD].near, *new = &diff->side[NEW].near;
    if (diff->failed || !clo_json_diff_match(old->data, old->used, new->data, new->used)) {
        diff->failed = true;
        return;
    }
    for (size_t i = 0; i < old->used; i++) {
        size_t mate = old->data[i].mate;
        if (mate && !clo_json_diff_same(diff, &old->data[i], &new->data[mate - 1])) old->data[i].mate = new->data[mate - 1].mate = 0;
    }
    for (int side = OLD; side <= NEW; side++) {
        const struct clo_json_items *near = &diff->side[side].near;
        for (size_t i = 0; i < near->used; i++) {
            if (near->data[i].mate) continue;
            struct clo_json_item *item = clo_json_diff_push(diff, &diff->side[side].odd);
            if (!item) return;
            *item = near->data[i];
        }
        course->walk[side].at = course->walk[side].end;
    }
}

/* Look at children ahead, up to that many of each side. */
static void look_ahead(struct clo_json_diff *diff, const struct course *course, struct clo_json_walk ahead[2], size_t most) {
    if (!diff->side[OLD].near.used && note(diff, OLD, &course->ahead.child, ahead[OLD].object, course->number[OLD]))
        ahead[OLD] = course->ahead.after;
    for (int side = OLD; side <= NEW; side++) {
        const struct clo_json_items *near = &diff->side[side].near;
        while (near->used < most && look(diff, side, &ahead[side], course->number[side] + near->used)) continue;
    }
}

static void meet_elements(struct clo_json_diff *diff, struct course *course) {
    struct clo_json_walk ahead[2] = {course->walk[OLD], course->walk[NEW]};
    struct place place;
    size_t doubts = DOUBTS;
    look_ahead(diff, course, ahead, 2);
    bool found = find_next(diff, course, &place);
    for (size_t most = 8; !found && doubts && most <= NEAR; most *= 4) {
        look_ahead(diff, course, ahead, most);
        found = find_near(diff, course, &doubts, &place);
    }
    if (!found) {
        course->replaced = is_replaced(diff, course);
        if (!course->replaced) match_rest(diff, course, ahead);
        return;
    }
    size_t known = place.old && place.new ? course->same : 0;
    struct clo_json_items *gone = &diff->side[OLD].odd, *fresh = &diff->side[NEW].odd;
    size_t first[2] = {gone->used, fresh->used};
    take(diff, course, OLD, place.old, &ahead[OLD]);
    take(diff, course, NEW, place.new, &ahead[NEW]);
    if (known && !diff->failed) gone->data[first[OLD]].known = fresh->data[first[NEW]].known = known;
}

static bool have_same_key(const struct clo_json_diff *diff, const struct clo_json_item *old,
                          const struct clo_json_item *new) {
    size_t size = old->child.key_end - old->child.key_begin;
    return old->print == new->print && size == new->child.key_end - new->child.key_begin &&
           !memcmp(text_of(diff, OLD) + old->child.key_begin, text_of(diff, NEW) + new->child.key_begin, size);
}

static bool find_key(const struct clo_json_diff *diff, struct place *found) {
    const struct clo_json_items *old = &diff->side[OLD].near, *new = &diff->side[NEW].near;
    for (size_t sum = 0; sum + 1 < old->used + new->used; sum++) {
        size_t first = sum < new->used ? 0 : sum - new->used + 1;
        for (size_t i = first; i <= sum && i < old->used; i++) {
            if (!have_same_key(diff, &old->data[i], &new->data[sum - i])) continue;
            *found = (struct place){i, sum - i};
            return true;
        }
    }
    return false;
}

/* Members whose keys are the same but not their values. */
static void meet_member(struct clo_json_diff *diff, struct course *course, struct clo_json_walk ahead[2]) {
    struct clo_json_items *gone = &diff->side[OLD].odd, *fresh = &diff->side[NEW].odd;
    take(diff, course, OLD, 1, &ahead[OLD]);
    take(diff, course, NEW, 1, &ahead[NEW]);
    if (diff->failed) return;
    struct clo_json_item *old = &gone->data[gone->used - 1], *new = &fresh->data[fresh->used - 1];
    size_t lead = old->child.value.begin - old->child.key_begin;
    old->known = new->known = course->same > lead ? course->same - lead : 0;
    old->mate = fresh->used;
    new->mate = gone->used;
}

static void meet_members(struct clo_json_diff *diff, struct course *course) {
    struct clo_json_walk ahead[2] = {course->walk[OLD], course->walk[NEW]};
    struct place place = {0, 0};
    bool found = false;
    for (size_t most = 1; !found && most <= NEAR; most = most == 1 ? 8 : most * 4) {
        look_ahead(diff, course, ahead, most);
        found = find_key(diff, &place);
        if (found && most == 1) {
            meet_member(diff, course, ahead);
            return;
        }
    }
    if (!found) place = (struct place){diff->side[OLD].near.used, diff->side[NEW].near.used};
    take(diff, course, OLD, place.old, &ahead[OLD]);
    take(diff, course, NEW, place.new, &ahead[NEW]);
}

static void take_rest(struct clo_json_diff *diff, struct course *course, int side) {
    struct clo_json_items *near = &diff->side[side].near;
    struct clo_json_walk ahead = course->walk[side];
    near->used = 0;
    while (look(diff, side, &ahead, course->number[side] + near->used)) continue;
    take(diff, course, side, near->used, &ahead);
}

/* Both are containers of one kind, not equal, with `known` equal bytes at their begin. */
struct clo_json_odd clo_json_diff_align(struct clo_json_diff *diff, const struct clo_json_value *old,
                                        const struct clo_json_value *new, size_t known) {
    struct clo_json_odd odd = {.gone = diff->side[OLD].odd.used, .fresh = diff->side[NEW].odd.used};
    struct course course = {.same = known ? known - 1 : 0, .size = new->end - new->begin};
    course.walk[OLD] = clo_json_walk(diff->side[OLD].view, old);
    course.walk[NEW] = clo_json_walk(diff->side[NEW].view, new);
    while (!diff->failed) {
        pass_same(diff, &course);
        if (at_end(&course, OLD) || at_end(&course, NEW)) break;
        diff->side[OLD].near.used = diff->side[NEW].near.used = 0;
        if (course.walk[OLD].object)
            meet_members(diff, &course);
        else
            meet_elements(diff, &course);
        if (course.replaced) break;
        compare_on(diff, &course);
    }
    odd.replaced = course.replaced;
    if (!odd.replaced) {
        take_rest(diff, &course, OLD);
        take_rest(diff, &course, NEW);
    }
    odd.gone_end = diff->side[OLD].odd.used;
    odd.fresh_end = diff->side[NEW].odd.used;
    return odd;
}
