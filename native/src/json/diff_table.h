/* A table of numbers by prints that stand elsewhere. It looks only so far: one that is not found has no place. */
#ifndef CLOCHE_JSON_DIFF_TABLE_H
#define CLOCHE_JSON_DIFF_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

enum { CLO_JSON_TABLE_FAR = 16 };

struct clo_json_table {
    uint32_t *slots; /* numbers + 1; the caller frees them */
    size_t mask;
};

static inline bool clo_json_table_init(struct clo_json_table *table, size_t count) {
    size_t room = 16;
    while (room < count * 2) room *= 2;
    table->mask = room - 1;
    table->slots = calloc(room, sizeof *table->slots);
    return table->slots != NULL;
}

/* The slot of that print, or an empty one for it; NULL: there is none nearby. */
static inline uint32_t *clo_json_table_find(const struct clo_json_table *table, const uint64_t *prints, uint64_t print) {
    for (size_t i = 0; i < CLO_JSON_TABLE_FAR; i++) {
        uint32_t *slot = &table->slots[(print + i) & table->mask];
        if (!*slot || prints[*slot - 1] == print) return slot;
    }
    return NULL;
}

#endif
