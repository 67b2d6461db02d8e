/* Whether an event meets a condition: its numbers, its texts, and the sets that its paths are in. */
#include <string.h>

#include "program.h"

static uint64_t field(const struct clo_event *event, uint32_t which) {
    switch (which) {
    case CLO_FIELD_RESULT: return (uint64_t)event->result;
    case CLO_FIELD_FLAGS: return event->flags;
    case CLO_FIELD_PID: return (uint64_t)event->pid;
    case CLO_FIELD_TID: return (uint64_t)event->tid;
    case CLO_FIELD_CALL: return (uint64_t)event->call;
    case CLO_FIELD_EXEC: return event->exec;
    case CLO_FIELD_SOURCE: return event->source;
    case CLO_FIELD_SANDBOX: return event->sandbox;
    default: return event->arg[which & 3];
    }
}

static bool number_passes(const struct clo_event *event, const struct clo_number_test *test) {
    uint64_t value = field(event, test->field) & test->mask;
    switch (test->op & ~(uint32_t)CLO_OR_NEXT) {
    case CLO_IS_EQUAL: return value == (uint64_t)test->value;
    case CLO_IS_DIFFERENT: return value != (uint64_t)test->value;
    case CLO_IS_ANY: return value != 0;
    case CLO_IS_LESS: return (int64_t)value < test->value;
    default: return (int64_t)value >= test->value;
    }
}

_Static_assert(('.' | 1) == '/', "one bit tells them apart");

/* Whether what begins at `at` is no "//", "/./" or "/../". "/..x" is taken for one too, which costs time and no more. */
static bool is_plain(const char *path, size_t size, size_t at) {
    if (path[at] != '/' || at + 1 == size) return true;
    if (path[at + 1] != '.') return path[at + 1] != '/';
    return at + 2 < size && (path[at + 2] | 1) != '/';
}

typedef uint8_t sixteen __attribute__((vector_size(16)));
enum { NEAR = sizeof(sixteen) + 2 };

/* Marks where, of sixteen bytes, a component begins that is not plain. Two bytes more are read. */
static inline sixteen not_plain(const char *path) {
    sixteen here, after, then;
    memcpy(&here, path, sizeof here);
    memcpy(&after, path + 1, sizeof after);
    memcpy(&then, path + 2, sizeof then);
    return (sixteen)((here == '/') & ((after == '/') | ((after == '.') & ((then | 1) == '/'))));
}

/* Whether a path is as its normal form would be: a '/' first, none last, each component plain. */
static bool is_normal(const char *path, size_t size) {
    if (path[0] != '/' || (size > 1 && path[size - 1] == '/')) return false;
    if (size < NEAR) {
        for (size_t at = 0; at < size; at++)
            if (!is_plain(path, size, at)) return false;
        return true;
    }
    sixteen found = not_plain(path + (size - NEAR));
    for (size_t at = 0; size - at > NEAR; at += sizeof found) found |= not_plain(path + at);
    uint64_t marks[2];
    memcpy(marks, &found, sizeof marks);
    return !(marks[0] | marks[1]) && is_plain(path, size, size - 2);
}

/* The environment of a program stands where other acts have a path. */
static bool is_path(const struct clo_event *event, uint32_t which) {
    return event->text[which] && !(which == CLO_TEXT_TARGET_RESOLVED && event->act == CLO_ACT_EXEC);
}

/* What a symbolic link says is looked up from the folder of the link, everything else from the root folder. */
static size_t base_of(struct look *look, uint32_t which) {
    if (which != CLO_TEXT_TARGET || look->event->act != CLO_ACT_SYMLINK) return 0;
    clo_look_normal(look, CLO_TEXT_PATH);
    size_t size = look->size[CLO_TEXT_PATH];
    while (size && look->path[CLO_TEXT_PATH][size - 1] != '/') size--;
    return size;
}

/* Finds the normal form of a text, unless that was done: look->path[which], of size 0 where the event has no such text. */
void clo_look_normal(struct look *look, uint32_t which) {
    if (look->normal >> which & 1) return;
    look->normal |= 1u << which;
    const char *text = clo_event_text(look->event, (enum clo_text)which);
    size_t size = is_path(look->event, which) ? look->event->text[which] : 0;
    look->path[which] = text;
    look->size[which] = size;
    if (!size || is_normal(text, size)) return;
    bool climbs;
    size_t base = text[0] == '/' ? 0 : base_of(look, which);
    const char *folder = look->path[CLO_TEXT_PATH];
    look->path[which] = look->room[which];
    look->size[which] = clo_path_normalise(folder, base, text, size, look->room[which], NORMAL_ROOM, &climbs);
}

/* A path as found is mostly the one that was asked for. */
static bool is_as_asked(const struct look *look, uint32_t which) {
    const struct clo_event *event = look->event;
    size_t size = event->text[CLO_TEXT_PATH];
    if (which != CLO_TEXT_RESOLVED || !(look->looked >> CLO_TEXT_PATH & 1) || event->text[which] != size) return false;
    const char *path = clo_event_text(event, CLO_TEXT_PATH);
    return !memcmp(path, path + size, size);
}

/* Finds the sets that a text is in, unless that was done: look->sets[which]. */
void clo_look_sets(struct look *look, uint32_t which) {
    if (look->looked >> which & 1) return;
    look->looked |= 1u << which;
    look->sets[which] = look->found[which];
    if (is_as_asked(look, which)) {
        look->sets[which] = look->sets[CLO_TEXT_PATH];
        return;
    }
    const char *text = clo_event_text(look->event, (enum clo_text)which); /* normal if kept, since only such are */
    if (is_path(look->event, which) && clo_path_cache_find(look->state->cache, text, look->event->text[which], look->found[which])) return;
    clo_look_normal(look, which);
    if (look->size[which])
        clo_path_cache_match(look->state->cache, look->path[which], look->size[which], look->found[which]);
    else
        memset(look->found[which], 0, look->program->set_words * sizeof(uint64_t));
}

/* The first set of the test's that the text is in; -1: it is in none. */
static int64_t common_set(struct look *look, uint32_t test, uint32_t which) {
    clo_look_sets(look, which);
    struct set_range range = look->program->sets_of[test];
    for (uint32_t n = 0; n < range.count; n++) {
        const struct set_word *word = &look->program->set_words_of[range.first + n];
        uint64_t both = look->sets[which][word->word] & word->bits;
        if (both) return word->word * 64 + __builtin_ctzll(both);
    }
    return -1;
}

static bool sets_pass(struct look *look, uint32_t number, const struct clo_text_test *test) {
    for (uint32_t texts = test->texts; texts; texts &= texts - 1) {
        uint32_t which = (uint32_t)__builtin_ctz(texts);
        bool inside = common_set(look, number, which) >= 0;
        if (test->how == CLO_TEXT_OUTSIDE ? !inside && is_path(look->event, which) : inside) return test->how != CLO_TEXT_NONE;
    }
    return test->how == CLO_TEXT_NONE;
}

static char lower(char byte) { return byte >= 'A' && byte <= 'Z' ? (char)(byte | 0x20) : byte; }

static bool same(const char *one, const char *other, size_t size, bool fold) {
    if (!fold) return !memcmp(one, other, size);
    for (size_t n = 0; n < size; n++)
        if (lower(one[n]) != lower(other[n])) return false;
    return true;
}

static bool contains(const char *text, size_t size, const char *wanted, size_t count, bool fold) {
    if (!fold) return memmem(text, size, wanted, count) != NULL;
    for (size_t at = 0; at + count <= size; at++)
        if (same(text + at, wanted, count, true)) return true;
    return false;
}

/* The arguments with spaces between: the NUL after the last is left out. */
static const char *words_of(struct look *look, size_t *size) {
    const char *text = clo_event_text(look->event, CLO_TEXT_TARGET);
    if (*size && !text[*size - 1]) --*size;
    for (size_t n = 0; n < *size && !look->spaced; n++) look->words[n] = text[n] ? text[n] : ' ';
    look->spaced = true;
    return look->words;
}

static bool bytes_pass(struct look *look, const struct clo_text_test *test) {
    uint32_t which = (uint32_t)__builtin_ctz(test->texts);
    const char *wanted = look->program->blob.bytes + test->first;
    size_t size = look->event->text[which], count = test->count;
    bool there = size > 0, fold = test->options & CLO_TEXT_FOLD, spaced = test->options & CLO_TEXT_SPACED;
    const char *text = spaced ? words_of(look, &size) : clo_event_text(look->event, (enum clo_text)which);
    bool held = count <= size && (there || !spaced);
    if (held && test->how == CLO_TEXT_CONTAINS)
        held = contains(text, size, wanted, count, fold);
    else if (held)
        held = (test->how != CLO_TEXT_EQUAL || count == size) &&
               same(test->how == CLO_TEXT_SUFFIX ? text + (size - count) : text, wanted, count, fold);
    return held != (bool)(test->options & CLO_TEXT_NEGATE);
}

static bool text_passes(struct look *look, uint32_t number) {
    const struct clo_text_test *test = &look->program->blob.texts[number];
    return test->how <= CLO_TEXT_OUTSIDE ? sets_pass(look, number, test) : bytes_pass(look, test);
}

/* Whether an event, which is of one of its acts, passes every test of a condition; of tests joined by "or" one will do. */
bool clo_condition_met(struct look *look, uint32_t condition) {
    const struct blob_view *blob = &look->program->blob;
    const struct clo_condition *asked = &blob->conditions[condition];
    const struct clo_number_test *tests = &blob->tests[asked->first_test];
    const struct clo_text_test *texts = &blob->texts[asked->first_text];
    bool passed = false;
    for (uint32_t n = 0; n < asked->tests; n++) {
        passed = passed || number_passes(look->event, &tests[n]);
        if (tests[n].op & CLO_OR_NEXT && n + 1 < asked->tests) continue;
        if (!passed) return false;
        passed = false;
    }
    for (uint32_t n = 0; n < asked->texts; n++) {
        passed = passed || text_passes(look, asked->first_text + n);
        if (texts[n].or_next && n + 1 < asked->texts) continue;
        if (!passed) return false;
        passed = false;
    }
    return true;
}

/* Writes which text was in which set by the first such test of a condition that is met. */
void clo_look_evidence(struct look *look, uint32_t condition, struct clo_evidence *evidence) {
    const struct blob_view *blob = &look->program->blob;
    const struct clo_condition *asked = &blob->conditions[condition];
    evidence->set = CLO_NO_RULE;
    evidence->text = 0;
    for (uint32_t n = 0; n < asked->texts; n++) {
        const struct clo_text_test *test = &blob->texts[asked->first_text + n];
        if (test->how != CLO_TEXT_IN) continue;
        for (uint32_t texts = test->texts; texts; texts &= texts - 1) {
            int64_t set = common_set(look, asked->first_text + n, (uint32_t)__builtin_ctz(texts));
            if (set < 0) continue;
            evidence->set = (uint32_t)set;
            evidence->text = (uint32_t)__builtin_ctz(texts);
            return;
        }
    }
}
