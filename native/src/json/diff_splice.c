/* Changes inside of a long string, by an operation that RFC 6902 does not have.
 *
 * {"op":"splice","path":...,"at":...,"remove":...,"insert":...,"length":...,"hash":...}: from the code point `at` on, that
 * many are removed and a text is put in their place. `length` and `hash` are those of the string before. The splices of one
 * string are written from right to left, so that each counts in what was there; only the first tells length and hash. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diff.h"

enum { LONG = 200 /* bytes; shorter strings are replaced */ };

struct hunk {
    size_t old, old_end, new, new_end; /* bytes in each string */
    size_t at, removed;                /* code points */
};

struct splice {
    struct clo_json_diff *diff;
    const uint8_t *text[2]; /* without quotes */
    size_t size[2];
    struct hunk *hunks;
    size_t used, room;
    size_t counted, points; /* so many code points stand before that byte of the old string */
};

static size_t character(const uint8_t *text) {
    if (*text == '\\') return text[1] == 'u' ? 6 : 2;
    return *text < 0x80 ? 1 : *text < 0xe0 ? 2 : *text < 0xf0 ? 3 : 4;
}

static size_t count_points(const uint8_t *text, size_t begin, size_t end) {
    size_t count = 0;
    for (; begin < end; begin += character(text + begin)) count++;
    return count;
}

/* Words end behind a space, which is a character by itself wherever it stands. */
static bool look_at_words(struct splice *splice, int side, size_t begin, size_t end) {
    struct clo_json_items *items = &splice->diff->side[side].near;
    const uint8_t *text = splice->text[side];
    items->used = 0;
    while (begin < end) {
        const uint8_t *space = memchr(text + begin, ' ', end - begin);
        size_t next = space ? (size_t)(space - text) + 1 : end;
        struct clo_json_item *item = clo_json_diff_push(splice->diff, items);
        if (!item) return false;
        *item = (struct clo_json_item){.print = clo_json_diff_print(text + begin, next - begin)};
        item->child.value.begin = begin;
        item->child.value.end = next;
        begin = next;
    }
    return true;
}

/* Drop the characters that both begin with, and end with. */
static void trim(const struct splice *splice, struct hunk *hunk) {
    const uint8_t *old = splice->text[OLD], *new = splice->text[NEW];
    while (hunk->old < hunk->old_end && hunk->new < hunk->new_end) {
        size_t size = character(old + hunk->old);
        if (size != character(new + hunk->new) || memcmp(old + hunk->old, new + hunk->new, size)) break;
        hunk->old += size;
        hunk->new += size;
    }
    size_t left = hunk->old_end - hunk->old, right = hunk->new_end - hunk->new;
    size_t tail = clo_json_same_back(old + hunk->old_end, new + hunk->new_end, left < right ? left : right);
    size_t i = hunk->old, j = hunk->new;
    while (tail) { /* to where a character begins in both */
        while (i < hunk->old_end - tail) i += character(old + i);
        tail = hunk->old_end - i;
        while (j < hunk->new_end - tail) j += character(new + j);
        if (hunk->new_end - j == tail) break;
        tail = hunk->new_end - j;
    }
    hunk->old_end -= tail;
    hunk->new_end -= tail;
}

/* Hunks that are so close that two operations would be longer become one. */
static bool add_hunk(struct splice *splice, struct hunk hunk) {
    trim(splice, &hunk);
    size_t apart = sizeof "{\"op\":\"splice\",\"path\":\"\",\"at\":0,\"remove\":0,\"insert\":\"\"}," + splice->diff->path.size;
    struct hunk *last = splice->used ? &splice->hunks[splice->used - 1] : NULL;
    if (last && hunk.old - last->old_end < apart) {
        last->old_end = hunk.old_end;
        last->new_end = hunk.new_end;
        return true;
    }
    if (splice->used == splice->room) {
        size_t room = splice->room ? splice->room * 2 : 16;
        struct hunk *hunks = realloc(splice->hunks, room * sizeof *hunks);
        if (!hunks) return false;
        splice->hunks = hunks;
        splice->room = room;
    }
    splice->hunks[splice->used++] = hunk;
    return true;
}

static bool is_same_word(const struct splice *splice, const struct clo_json_item *old, const struct clo_json_item *new) {
    const struct clo_json_value *one = &old->child.value, *other = &new->child.value;
    size_t size = one->end - one->begin;
    return size == other->end - other->begin &&
           !memcmp(splice->text[OLD] + one->begin, splice->text[NEW] + other->begin, size);
}

/* What stands between words that stay. */
static bool find_hunks(struct splice *splice, size_t begin, size_t end, size_t new_end) {
    const struct clo_json_items *old = &splice->diff->side[OLD].near, *new = &splice->diff->side[NEW].near;
    size_t from = begin, new_from = begin;
    for (size_t i = 0; i <= old->used; i++) {
        const struct clo_json_item *word = i < old->used ? &old->data[i] : NULL;
        const struct clo_json_item *mate = word && word->mate ? &new->data[word->mate - 1] : NULL;
        if (word && (!mate || !is_same_word(splice, word, mate))) continue;
        size_t to = word ? word->child.value.begin : end, new_to = mate ? mate->child.value.begin : new_end;
        struct hunk hunk = {.old = from, .old_end = to, .new = new_from, .new_end = new_to};
        if ((from < to || new_from < new_to) && !add_hunk(splice, hunk)) return false;
        if (!word) break;
        from = word->child.value.end;
        new_from = mate->child.value.end;
    }
    return true;
}

static bool compare_words(struct splice *splice) {
    const uint8_t *old = splice->text[OLD], *new = splice->text[NEW];
    size_t size = splice->size[OLD], new_size = splice->size[NEW], shorter = size < new_size ? size : new_size;
    size_t head = clo_json_same(old, new, shorter);
    while (head && old[head - 1] != ' ') head--;
    size_t tail = clo_json_same_back(old + size, new + new_size, shorter - head);
    while (tail && old[size - tail] != ' ') tail--;
    const struct clo_json_items *words = &splice->diff->side[OLD].near, *others = &splice->diff->side[NEW].near;
    if (!look_at_words(splice, OLD, head, size - tail) || !look_at_words(splice, NEW, head, new_size - tail)) return false;
    return clo_json_diff_match(words->data, words->used, others->data, others->used) &&
           find_hunks(splice, head, size - tail, new_size - tail);
}

static void count_hunks(struct splice *splice) {
    for (size_t i = 0; i < splice->used; i++) {
        struct hunk *hunk = &splice->hunks[i];
        splice->points += count_points(splice->text[OLD], splice->counted, hunk->old);
        hunk->at = splice->points;
        hunk->removed = count_points(splice->text[OLD], hunk->old, hunk->old_end);
        splice->points += hunk->removed;
        splice->counted = hunk->old_end;
    }
    splice->points += count_points(splice->text[OLD], splice->counted, splice->size[OLD]);
}

static void write_hunks(struct splice *splice) {
    char guard[64];
    uint64_t hash = clo_json_hash_bytes(splice->text[OLD], splice->size[OLD]);
    int size = snprintf(guard, sizeof guard, ",\"length\":%zu,\"hash\":\"%016llx\"", splice->points, (unsigned long long)hash);
    for (size_t i = splice->used; i--;) {
        const struct hunk *hunk = &splice->hunks[i];
        clo_json_diff_splice_op(splice->diff, hunk->at, hunk->removed, splice->text[NEW] + hunk->new, hunk->new_end - hunk->new,
                                guard, i + 1 == splice->used ? (size_t)size : 0);
    }
}

/* Two strings. false: nothing is written, for it would be longer than the new one, or one is short. */
bool clo_json_diff_strings(struct clo_json_diff *diff, const struct clo_json_value *old, const struct clo_json_value *new) {
    if (old->end - old->begin < LONG || new->end - new->begin < LONG) return false;
    struct splice splice = {
        .diff = diff,
        .text = {diff->side[OLD].view->text + old->begin + 1, diff->side[NEW].view->text + new->begin + 1},
        .size = {old->end - old->begin - 2, new->end - new->begin - 2},
    };
    struct clo_json_mark mark = clo_json_diff_mark(diff);
    size_t most = clo_json_diff_cost(diff, new);
    if (!compare_words(&splice)) diff->failed = true;
    count_hunks(&splice);
    write_hunks(&splice);
    free(splice.hunks);
    if (diff->patch.size - mark.size < most) return true;
    clo_json_diff_give_up(diff, mark);
    return false;
}
