/* Lists of numbers, each kept once and known by its number. */
#include <stdlib.h>
#include <string.h>

#include "paths.h"

enum { SLOTS_MIN = 1024 };

/* Sorts (Shell's way: mostly there are a few) and takes out what comes again; how many are left. */
size_t clo_sort_unique(uint32_t *items, size_t count) {
    size_t gap = 1, used = 0;
    while (gap < count / 3) gap = gap * 3 + 1;
    for (; gap; gap /= 3) {
        for (size_t i = gap; i < count; i++) {
            uint32_t item = items[i];
            size_t at = i;
            for (; at >= gap && items[at - gap] > item; at -= gap) items[at] = items[at - gap];
            items[at] = item;
        }
    }
    for (size_t i = 0; i < count; i++)
        if (!used || items[used - 1] != items[i]) items[used++] = items[i];
    return used;
}

static uint32_t hash_of(const uint32_t *items, size_t count) {
    uint64_t hash = count + 1;
    for (size_t i = 0; i < count; i++) {
        hash = (hash ^ items[i]) * 0x9e3779b97f4a7c15ULL;
        hash ^= hash >> 32;
    }
    return (uint32_t)hash;
}

static int make_slots(struct clo_lists *lists) {
    size_t wanted = lists->n_slots ? lists->n_slots * 2 : SLOTS_MIN;
    uint32_t *slots = calloc(wanted, sizeof *slots);
    if (!slots) return -ENOMEM;
    for (size_t i = 0; i < lists->count; i++) {
        size_t slot = lists->list[i].hash & (wanted - 1);
        while (slots[slot]) slot = (slot + 1) & (wanted - 1);
        slots[slot] = (uint32_t)i + 1;
    }
    free(lists->slots);
    lists->slots = slots;
    lists->n_slots = wanted;
    return 0;
}

static int append(struct clo_lists *lists, const uint32_t *items, size_t count, uint32_t hash) {
    struct clo_list *list = clo_grown(lists->list, &lists->list_room, lists->count, sizeof *list);
    if (!list) return -ENOMEM;
    lists->list = list;
    while (count > lists->pool_room - lists->used) {
        uint32_t *pool = clo_grown(lists->pool, &lists->pool_room, lists->pool_room, sizeof *pool);
        if (!pool) return -ENOMEM;
        lists->pool = pool;
    }
    if (count) memcpy(lists->pool + lists->used, items, count * sizeof *items);
    list[lists->count++] = (struct clo_list){.first = (uint32_t)lists->used, .count = (uint32_t)count, .hash = hash};
    lists->used += count;
    return 0;
}

/* The number of a list, a new one if it was not there; or -ENOMEM. */
int64_t clo_list_add(struct clo_lists *lists, const uint32_t *items, size_t count) {
    if (lists->count >= lists->n_slots / 2 && make_slots(lists)) return -ENOMEM;
    uint32_t hash = hash_of(items, count);
    size_t slot = hash & (lists->n_slots - 1);
    for (; lists->slots[slot]; slot = (slot + 1) & (lists->n_slots - 1)) {
        const struct clo_list *list = &lists->list[lists->slots[slot] - 1];
        if (list->hash == hash && list->count == count &&
            (!count || !memcmp(lists->pool + list->first, items, count * sizeof *items)))
            return lists->slots[slot] - 1;
    }
    if (append(lists, items, count, hash)) return -ENOMEM;
    lists->slots[slot] = (uint32_t)lists->count;
    return (int64_t)lists->count - 1;
}

void clo_lists_clear(struct clo_lists *lists) {
    lists->used = lists->count = 0;
    if (lists->n_slots) memset(lists->slots, 0, lists->n_slots * sizeof *lists->slots);
}

void clo_lists_free(struct clo_lists *lists) {
    free(lists->pool);
    free(lists->slots);
    free(lists->list);
}
