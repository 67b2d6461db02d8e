/* Tables of a state: open-addressed, of a fixed size, keyed by hashes with the state's seed. */
#ifndef CLO_TABLES_H
#define CLO_TABLES_H

#include "program.h"

enum { TABLE_PROBES = 8 };

/* How every entry begins. It is free once `until` has come. */
struct slot_head { uint64_t key, until; };
struct table { void *slots; size_t size; uint64_t mask; };

/* The entry of a key; else, with *fresh, a free one that may be taken; NULL: there is none where it belongs. */
void *clo_table_find(struct table table, uint64_t key, uint64_t now, bool *fresh);

#endif
