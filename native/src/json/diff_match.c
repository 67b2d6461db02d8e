/* Which elements of two sequences go together in order, by their prints.
 *
 * Those that are there once on each side are anchors, of which the longest rising row is kept; between two of them what is
 * equal at either end goes together, and what then is left by the fewest insertions and deletions, as long as these are
 * few. So the work stays within some n log n, whatever the sequences. */
#include <stdlib.h>
#include <string.h>

#include "diff.h"
#include "diff_table.h"

enum { MOST = 192 /* insertions and deletions between two anchors */ };

/* Two sequences, and room for the work. */
struct match {
    uint64_t *old, *new;            /* prints */
    struct clo_json_item *to, *back; /* the items, whose mates are set */
    uint32_t *partner;              /* of old ones: that of the new sequence, + 1; MANY: one of either is there twice */
    uint32_t *tails, *before;       /* for the longest rising row */
    int32_t *trace;                 /* Myers' rows; NULL until it is needed */
    size_t work;                    /* left for it */
    bool failed;
};

static const uint32_t MANY = UINT32_MAX;

static void join(struct match *match, size_t old, size_t new) {
    match->to[old].mate = new + 1;
    match->back[new].mate = old + 1;
}

/* Find the partners of those that are there once on each side. Few are missed: the table looks only so far. */
static void find_partners(struct match *match, struct clo_json_table *table, size_t begin, size_t end, size_t new_begin,
                          size_t new_end) {
    for (size_t i = begin; i < end; i++) {
        uint32_t *slot = clo_json_table_find(table, match->old, match->old[i]);
        if (slot && !*slot)
            *slot = (uint32_t)i + 1;
        else
            match->partner[slot ? *slot - 1 : i] = match->partner[i] = MANY;
    }
    for (size_t j = new_begin; j < new_end; j++) {
        const uint32_t *slot = clo_json_table_find(table, match->old, match->new[j]);
        if (!slot || !*slot) continue;
        uint32_t *partner = &match->partner[*slot - 1];
        *partner = *partner ? MANY : (uint32_t)j + 1;
    }
}

/* Join the longest row of old ones whose partners rise. */
static void join_rising(struct match *match, size_t begin, size_t end) {
    const uint32_t *partner = match->partner;
    size_t length = 0;
    for (size_t i = begin; i < end; i++) {
        if (!partner[i] || partner[i] == MANY) continue;
        size_t low = 0, high = length;
        if (length && partner[match->tails[length - 1]] < partner[i]) low = length;
        while (low < high) {
            size_t middle = (low + high) / 2;
            if (partner[match->tails[middle]] < partner[i])
                low = middle + 1;
            else
                high = middle;
        }
        match->before[i] = low ? match->tails[low - 1] + 1 : 0;
        match->tails[low] = (uint32_t)i;
        if (low == length) length++;
    }
    for (size_t i = length ? match->tails[length - 1] + (size_t)1 : 0; i; i = match->before[i - 1])
        join(match, i - 1, partner[i - 1] - 1);
}

/* Where Myers' rows are: row d has 2d + 1 places, of diagonals -d to d; every second is used. */
static int32_t *row_of(const struct match *match, int32_t d) { return match->trace + (size_t)d * (size_t)d + d; }

static int32_t step_to(const struct match *match, int32_t d, int32_t k) {
    const int32_t *before = row_of(match, d - 1);
    bool down = k == -d || (k != d && before[k - 1] < before[k + 1]);
    return down ? before[k + 1] : before[k - 1] + 1;
}

static void walk_back(struct match *match, size_t begin, size_t new_begin, int32_t d, int32_t x, int32_t y) {
    for (; d >= 0; d--) {
        int32_t k = x - y, start = d ? step_to(match, d, k) : 0;
        while (x > start) {
            x--, y--;
            join(match, begin + (size_t)x, new_begin + (size_t)y);
        }
        if (!d) return;
        const int32_t *before = row_of(match, d - 1);
        bool down = k == -d || (k != d && before[k - 1] < before[k + 1]);
        if (down)
            y--;
        else
            x--;
    }
}

/* One row of Myers' shortest edit script; true: it has reached the end of both. */
static bool fill_row(struct match *match, const uint64_t *old, int32_t width, const uint64_t *new, int32_t height, int32_t d) {
    int32_t *row = row_of(match, d);
    size_t steps = 0;
    for (int32_t k = -d; k <= d; k += 2) {
        int32_t x = d ? step_to(match, d, k) : 0, from = x;
        while (x < width && x - k < height && old[x] == new[x - k]) x++;
        row[k] = x;
        if (x == width && x - k == height) return true;
        steps += (size_t)(x - from) + 1;
    }
    match->work -= steps < match->work ? steps : match->work;
    return false;
}

/* Nothing is joined if it takes more than MOST steps. */
static void find_shortest(struct match *match, size_t begin, size_t end, size_t new_begin, size_t new_end) {
    size_t most = end - begin + new_end - new_begin;
    if (most > INT32_MAX / 2 || !match->work) return;
    if (most > MOST) most = MOST;
    if (!match->trace) match->trace = malloc(sizeof(int32_t) * (MOST + 1) * (MOST + 1));
    if (!match->trace) {
        match->failed = true;
        return;
    }
    int32_t width = (int32_t)(end - begin), height = (int32_t)(new_end - new_begin);
    for (int32_t d = 0; d <= (int32_t)most && match->work; d++) {
        if (!fill_row(match, match->old + begin, width, match->new + new_begin, height, d)) continue;
        walk_back(match, begin, new_begin, d, width, height);
        return;
    }
}

static bool has_many(const struct match *match, size_t begin, size_t end) {
    for (; begin < end; begin++)
        if (match->partner[begin] == MANY) return true;
    return false;
}

/* Between anchors. Of what is there once nothing more can go together: it would have been in a longer row. */
static void match_between(struct match *match, size_t begin, size_t end, size_t new_begin, size_t new_end) {
    const uint64_t *old = match->old, *new = match->new;
    while (begin < end && new_begin < new_end && old[begin] == new[new_begin]) join(match, begin++, new_begin++);
    while (begin < end && new_begin < new_end && old[end - 1] == new[new_end - 1]) join(match, --end, --new_end);
    if (begin < end && new_begin < new_end && has_many(match, begin, end))
        find_shortest(match, begin, end, new_begin, new_end);
}

static void match_all(struct match *match, struct clo_json_table *table, size_t count, size_t new_count) {
    size_t begin = 0, end = count, new_end = new_count;
    const uint64_t *old = match->old, *new = match->new;
    for (; begin < end && begin < new_end && old[begin] == new[begin]; begin++) join(match, begin, begin);
    while (begin < end && begin < new_end && old[end - 1] == new[new_end - 1]) join(match, --end, --new_end);
    if (begin == end || begin == new_end) return;
    find_partners(match, table, begin, end, begin, new_end);
    join_rising(match, begin, end);
    size_t from = begin, new_from = begin;
    for (size_t i = begin; i < end; i++) {
        if (!match->to[i].mate) continue;
        size_t mate = match->to[i].mate - 1;
        match_between(match, from, i, new_from, mate);
        from = i + 1;
        new_from = mate + 1;
    }
    match_between(match, from, end, new_from, new_end);
}

/* false: no memory. The mates of all are 0 before. */
bool clo_json_diff_match(struct clo_json_item *old, size_t count, struct clo_json_item *new, size_t new_count) {
    if (!count || !new_count) return true;
    if (count >= UINT32_MAX / 4 || new_count >= UINT32_MAX / 4) return true; /* so many are replaced one by one */
    struct match match = {.to = old, .back = new, .work = 16 * (count + new_count) + (1 << 16)};
    struct clo_json_table table;
    match.old = malloc((count + new_count) * sizeof *match.old);
    match.partner = calloc(count, 3 * sizeof *match.partner);
    bool has_table = clo_json_table_init(&table, count);
    if (match.old && match.partner && has_table) {
        match.new = match.old + count;
        match.tails = match.partner + count;
        match.before = match.tails + count;
        for (size_t i = 0; i < count; i++) match.old[i] = old[i].print;
        for (size_t i = 0; i < new_count; i++) match.new[i] = new[i].print;
        match_all(&match, &table, count, new_count);
    } else {
        match.failed = true;
    }
    free(match.old);
    free(match.partner);
    free(match.trace);
    free(table.slots);
    return !match.failed;
}
