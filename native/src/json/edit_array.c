/* The elements of open arrays: pieces that are cut, put in and taken out. */
#include "edit.h"

/* A piece is cut so that none of what was walked over is longer: the next walk to it is short. */
enum { SHORT = 128, BLOCK = 256 };

struct place {
    size_t block, piece;
};

/* The first `elements` of a piece, and what follows them; 0 < elements < those of the piece. */
struct halves {
    struct clo_edit_piece before, after;
};

/* Past elements that have an entry each, which arrays of records are made of; gives where the last of them ends. */
static size_t hop(struct clo_json_walk *walk, size_t elements, size_t *hopped) {
    const struct clo_json_entry *entries = walk->view->entries;
    size_t end = 0, i = 0;
    for (; i < elements && walk->entry < walk->last; i++) {
        const struct clo_json_entry *entry = &entries[walk->entry];
        if (walk->origin + entry->gap != walk->at) break;
        walk->entry += 1 + entry->inside;
        walk->origin = end = walk->at + entry->size;
        walk->at = end + 1;
    }
    *hopped = i;
    return end;
}

static struct halves cut(const struct clo_edit_piece *piece, size_t elements) {
    const struct clo_edit_value *value = &piece->value;
    struct clo_json_view view = clo_edit_view(value);
    struct clo_json_walk walk = {.view = &view,
                                 .end = value->size,
                                 .last = value->count,
                                 .origin = value->count ? value->first - value->entries->gap : 0};
    size_t hopped, end = hop(&walk, elements, &hopped);
    struct clo_json_child child;
    for (; hopped < elements && clo_json_next(&walk, &child); hopped++) end = child.value.end;
    struct halves halves = {{elements, *value}, {piece->elements - elements, {0}}};
    halves.before.value.size = end;
    halves.before.value.count = walk.entry;
    halves.after.value = (struct clo_edit_value){
        .text = value->text + walk.at, .size = value->size - walk.at, .count = value->count - walk.entry};
    if (halves.after.value.count) {
        halves.after.value.entries = value->entries + walk.entry;
        halves.after.value.first = walk.origin + halves.after.value.entries->gap - walk.at;
    }
    return halves;
}

static struct clo_edit_piece all_elements(const struct clo_edit_value *array) {
    struct clo_json_view view = clo_edit_view(array);
    struct clo_json_value value = clo_edit_whole(array);
    bool own = array->count && array->first == 0;
    struct clo_edit_piece piece = {clo_json_count(&view, &value), *array};
    piece.value.levels -= 1;
    piece.value.text += 1;
    piece.value.size -= 2;
    if (own) {
        piece.value.entries += 1;
        piece.value.count -= 1;
        piece.value.first = piece.value.count ? piece.value.entries->gap - 1 : 0;
    } else if (piece.value.count) {
        piece.value.first -= 1;
    }
    return piece;
}

/* Room for one more: of `room` items of that size, all of them used. */
static void *grown(struct clo_edit *edit, const void *items, size_t size, size_t *room) {
    size_t more = *room ? 2 * *room : 2;
    void *made = clo_edit_room(edit, more * size);
    if (!made) return NULL;
    if (*room) memcpy(made, items, *room * size);
    *room = more;
    return made;
}

/* A new block without pieces at that place. */
static int add_block(struct clo_edit *edit, struct clo_edit_open *array, size_t at) {
    if (array->used == array->room) {
        void *blocks = grown(edit, array->of.blocks, sizeof *array->of.blocks, &array->room);
        if (!blocks) return CLO_PATCH_MEMORY;
        array->of.blocks = blocks;
    }
    struct clo_edit_block *block = array->of.blocks + at;
    memmove(block + 1, block, (array->used - at) * sizeof *block);
    *block = (struct clo_edit_block){0};
    array->used++;
    return CLO_PATCH_FINE;
}

/* Half of a full block becomes one of its own, behind it; `place` is where it was. */
static int halve(struct clo_edit *edit, struct clo_edit_open *array, struct place *place) {
    int kind = add_block(edit, array, place->block + 1);
    if (kind) return kind;
    struct clo_edit_block *block = array->of.blocks + place->block, *behind = block + 1;
    size_t stay = block->used / 2;
    behind->pieces = clo_edit_room(edit, block->room * sizeof *block->pieces);
    if (!behind->pieces) return CLO_PATCH_MEMORY;
    behind->room = block->room;
    behind->used = block->used - stay;
    memcpy(behind->pieces, block->pieces + stay, behind->used * sizeof *block->pieces);
    for (size_t i = 0; i < behind->used; i++) behind->elements += behind->pieces[i].elements;
    block->elements -= behind->elements;
    block->used = stay;
    if (place->piece >= stay) {
        place->block++;
        place->piece -= stay;
    }
    return CLO_PATCH_FINE;
}

/* Puts a piece before the one at `place`, which then is that of the new one. */
static int put_piece(struct clo_edit *edit, struct clo_edit_open *array, struct place *place,
                     const struct clo_edit_piece *piece) {
    if (array->of.blocks[place->block].used == BLOCK) {
        int kind = halve(edit, array, place);
        if (kind) return kind;
    }
    struct clo_edit_block *block = array->of.blocks + place->block;
    if (block->used == block->room) {
        void *pieces = grown(edit, block->pieces, sizeof *block->pieces, &block->room);
        if (!pieces) return CLO_PATCH_MEMORY;
        block->pieces = pieces;
    }
    struct clo_edit_piece *at = block->pieces + place->piece;
    memmove(at + 1, at, (block->used - place->piece) * sizeof *at);
    *at = *piece;
    block->used++;
    block->elements += piece->elements;
    return CLO_PATCH_FINE;
}

int clo_edit_list(struct clo_edit *edit, struct clo_edit_open *array, const struct clo_edit_value *value) {
    struct clo_edit_piece piece = all_elements(value);
    int kind = add_block(edit, array, 0);
    array->children = piece.elements;
    return kind || !piece.elements ? kind : put_piece(edit, array, &(struct place){0, 0}, &piece);
}

/* Cuts the piece at `place` in two, and goes to the second. */
static int divide(struct clo_edit *edit, struct clo_edit_open *array, struct place *place, size_t elements) {
    struct clo_edit_block *block = array->of.blocks + place->block;
    struct halves halves = cut(&block->pieces[place->piece], elements);
    block->pieces[place->piece] = halves.after;
    block->elements -= elements;
    int kind = put_piece(edit, array, place, &halves.before);
    place->piece++;
    return kind;
}

/* The piece that has the element `*index`, which is then counted from the piece's begin. */
static int locate(struct clo_edit *edit, struct clo_edit_open *array, size_t *index, struct place *place) {
    const struct clo_edit_block *block = array->of.blocks;
    while (*index >= block->elements) *index -= block++->elements;
    const struct clo_edit_piece *piece = block->pieces;
    while (*index >= piece->elements) *index -= piece++->elements;
    *place = (struct place){(size_t)(block - array->of.blocks), (size_t)(piece - block->pieces)};
    int kind = CLO_PATCH_FINE;
    for (; !kind && *index > SHORT; *index -= SHORT) kind = divide(edit, array, place, SHORT);
    return kind;
}

/* Cuts so that a piece begins with the element; behind the last one if the index is the length. */
static int part(struct clo_edit *edit, struct clo_edit_open *array, size_t index, struct place *place) {
    if (index == array->children) {
        *place = (struct place){array->used - 1, array->of.blocks[array->used - 1].used};
        return CLO_PATCH_FINE;
    }
    int kind = locate(edit, array, &index, place);
    return kind || !index ? kind : divide(edit, array, place, index);
}

/* Cuts so that the element is a piece of its own. */
static int single(struct clo_edit *edit, struct clo_edit_open *array, size_t index, struct place *place) {
    int kind = part(edit, array, index, place);
    if (kind || array->of.blocks[place->block].pieces[place->piece].elements == 1) return kind;
    kind = divide(edit, array, place, 1);
    place->piece--;
    return kind;
}

int clo_edit_element(struct clo_edit *edit, struct clo_edit_open *array, size_t index,
                     struct clo_edit_value **element) {
    struct place place;
    int kind = single(edit, array, index, &place);
    if (kind) return kind;
    *element = &array->of.blocks[place.block].pieces[place.piece].value;
    return CLO_PATCH_FINE;
}

int clo_edit_insert(struct clo_edit *edit, struct clo_edit_open *array, size_t index,
                    const struct clo_edit_value *value) {
    struct place place;
    int kind = part(edit, array, index, &place);
    if (!kind) kind = put_piece(edit, array, &place, &(struct clo_edit_piece){1, *value});
    if (kind) return kind;
    array->children++;
    return CLO_PATCH_FINE;
}

int clo_edit_delete(struct clo_edit *edit, struct clo_edit_open *array, size_t index) {
    struct place place;
    int kind = single(edit, array, index, &place);
    if (kind) return kind;
    struct clo_edit_block *block = array->of.blocks + place.block;
    struct clo_edit_piece *piece = block->pieces + place.piece;
    memmove(piece, piece + 1, (block->used - place.piece - 1) * sizeof *piece);
    block->used--;
    block->elements--;
    array->children--;
    return CLO_PATCH_FINE;
}
