/* An index while it is made. All memory is the builder's; one thread at a time. */
#include "parse.h"

#include <stdlib.h>

int clo_json_builder_init(struct clo_json_builder *builder, uint32_t depth) {
    *builder = (struct clo_json_builder){.depth = depth, .room = 16, .cpu = clo_json_best()};
    builder->frames = calloc(builder->room, sizeof *builder->frames);
    return builder->frames ? CLO_JSON_FINE : CLO_JSON_MEMORY;
}

void clo_json_builder_free(struct clo_json_builder *builder) {
    free(builder->index.data);
    free(builder->frames);
    free(builder->keys);
    free(builder->table);
    *builder = (struct clo_json_builder){0};
}

void clo_json_builder_reset(struct clo_json_builder *builder) {
    builder->index.used = builder->holes = builder->keys_used = 0;
    builder->level = 0;
    builder->frames[0] = (struct clo_json_frame){0};
}

/* Remove the entries given up; those of open containers move with the rest. */
static void remove_holes(struct clo_json_builder *builder) {
    struct clo_json_entry *data = builder->index.data;
    size_t to = 0;
    uint32_t level = 1;
    for (size_t from = 0; from < builder->index.used; from++) {
        if (level <= builder->level && builder->frames[level].slot == from) {
            builder->frames[level].slot = to;
            builder->frames[level++].holes = 0;
        } else if (!data[from].size) {
            continue;
        }
        data[to++] = data[from];
    }
    builder->index.used = to;
    builder->holes = 0;
}

static int more_entries(struct clo_json_builder *builder, size_t more) {
    struct clo_json_entries *index = &builder->index;
    if (builder->holes > index->used / 2) remove_holes(builder);
    if (more <= index->room - index->used) return CLO_JSON_FINE;
    if (more > SIZE_MAX / 4 / sizeof *index->data - index->used) return CLO_JSON_MEMORY;
    size_t room = (index->used + more) * 2;
    if (room < 32) room = 32;
    struct clo_json_entry *data = realloc(index->data, room * sizeof *data);
    if (!data) return CLO_JSON_MEMORY;
    index->data = data;
    index->room = room;
    return CLO_JSON_FINE;
}

static int more_frames(struct clo_json_builder *builder) {
    if (builder->level >= builder->depth) return CLO_JSON_DEEP;
    uint32_t room = builder->room * 4;
    struct clo_json_frame *frames = realloc(builder->frames, room * sizeof *frames);
    if (!frames) return CLO_JSON_MEMORY;
    builder->frames = frames;
    builder->room = room;
    return CLO_JSON_FINE;
}

int clo_json_open(struct clo_json_builder *builder, size_t begin) {
    int kind = builder->level + 1 >= builder->room ? more_frames(builder) : CLO_JSON_FINE;
    if (!kind && builder->index.used == builder->index.room) kind = more_entries(builder, 1);
    if (kind) return kind;
    if (builder->level >= builder->depth) return CLO_JSON_DEEP;
    size_t slot = builder->index.used++;
    builder->index.data[slot] = (struct clo_json_entry){.gap = begin - builder->frames[builder->level].origin};
    builder->frames[++builder->level] = (struct clo_json_frame){
        .begin = begin, .slot = slot, .origin = begin, .holes = builder->holes, .keys = builder->keys_used};
    return CLO_JSON_FINE;
}

/* Its entry is kept, popped, or, if it has others inside, left as a hole of size 0: then they count from what is before
 * it. */
void clo_json_close(struct clo_json_builder *builder, size_t end, uint64_t count) {
    struct clo_json_frame *frame = &builder->frames[builder->level--], *outer = frame - 1;
    struct clo_json_entry *entry = &builder->index.data[frame->slot];
    size_t size = end - frame->begin;
    builder->keys_used = frame->keys;
    if (size - frame->covered >= CLO_JSON_OWN) {
        entry->size = size;
        entry->inside = builder->index.used - frame->slot - 1 - (builder->holes - frame->holes);
        entry->count = count;
        outer->origin = end;
        outer->covered += size;
    } else if (!frame->covered) {
        builder->index.used = frame->slot;
    } else {
        /* A hole remembers its first entry, to which its gap is handed on. */
        size_t first = frame->slot + 1;
        if (!builder->index.data[first].size) first = builder->index.data[first].count;
        entry->count = first;
        builder->index.data[first].gap += entry->gap;
        builder->holes++;
        outer->origin = frame->origin;
        outer->covered += frame->covered;
    }
}

int clo_json_copy(struct clo_json_builder *builder, size_t begin, const struct clo_json_entry *entries, size_t count) {
    if (!count) return CLO_JSON_FINE;
    if (count > builder->index.room - builder->index.used) {
        int kind = more_entries(builder, count);
        if (kind) return kind;
    }
    struct clo_json_frame *frame = &builder->frames[builder->level];
    struct clo_json_entry *to = builder->index.data + builder->index.used;
    memcpy(to, entries, count * sizeof *to);
    builder->index.used += count;
    to->gap = begin - frame->origin;
    size_t at = frame->origin;
    for (size_t i = 0; i < count; i += 1 + to[i].inside) {
        at += to[i].gap + to[i].size;
        frame->covered += to[i].size;
    }
    frame->origin = at;
    return CLO_JSON_FINE;
}

void clo_json_finish(struct clo_json_builder *builder) {
    if (builder->holes) remove_holes(builder);
}
