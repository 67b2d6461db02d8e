/* sources: native/src/program.c native/src/program_check.c native/src/judge.c native/src/texts.c native/src/windows.c native/src/sequences.c native/src/paths.c native/src/paths_automaton.c native/src/paths_cache.c native/src/paths_direct.c native/src/paths_lists.c native/src/paths_normal.c native/src/paths_parse.c native/src/paths_run.c native/src/paths_table.c native/src/paths_tree.c
 *
 * Any blob is refused at an offset inside, or is a program; and that judges any batch without looking outside, says of
 * each hit what its rules say, and the same when the batch is judged in pieces. */
#include <stdlib.h>
#include <string.h>

#include "program.h"

enum { ROOM = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int held) {
    if (!held) abort();
}

static void check_hit(const struct clo_program *program, const struct clo_hit *hit, const uint64_t *words) {
    uint32_t count = 0;
    size_t each = clo_program_words(program);
    for (size_t n = 0; n < each; n++) count += (uint32_t)__builtin_popcountll(words[hit->word + n]);
    check(count == hit->count && count > 0);
    check(hit->rule < program->blob.head->rules && words[hit->word + hit->rule / 64] >> hit->rule % 64 & 1);
    check(hit->answer == -(int32_t)program->blob.rules[hit->rule].answer && hit->evidence.steps <= CLO_STEPS_MAX);
    check(hit->evidence.more == program->blob.rules[hit->rule].more && hit->respond <= 255);
}

/* Judges a batch in pieces of at most `room` hits; how many hits there were. */
static size_t judge(struct clo_program *program, const void *batch, size_t size, size_t room, int *status) {
    const struct clo_state_sizes sizes = {.windows = 8, .distinct = 8, .sequences = 8, .novelties = 8, .seed = 7};
    struct clo_state *state = clo_state_new(program, &sizes);
    struct clo_hit *hits = calloc(room, sizeof *hits);
    uint64_t *words = calloc(room * clo_program_words(program) + 1, sizeof *words);
    check(state && hits && words);
    size_t all = 0, at = 0, used, next;
    do {
        *status = clo_judge_batch(program, state, (const char *)batch + at, size - at, hits, words, room, &used, &next);
        check(used <= room && next <= size - at);
        for (size_t n = 0; n < used; n++) check_hit(program, &hits[n], words);
        all += used;
        at += next;
    } while (*status == -ENOSPC);
    check(*status == -EBADMSG || (*status == 0 && at == size));
    free(words);
    free(hits);
    clo_state_free(state);
    return all;
}

/* The input: the blob's size in two bytes, the blob, of which the first eight bytes are put right, then records. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    size_t blob_size = (size_t)(data[0] | data[1] << 8);
    data += 2, size -= 2;
    if (blob_size > size) blob_size = size;
    uint8_t *blob = malloc(blob_size + 1);
    memcpy(blob, data, blob_size);
    const uint32_t begin[] = {CLO_BLOB_MAGIC, CLO_BLOB_VERSION};
    if (blob_size >= sizeof begin) memcpy(blob, begin, sizeof begin);
    struct clo_program *program;
    uint32_t at;
    int status = clo_program_load(blob, blob_size, &program, &at);
    free(blob);
    if (status < 0) {
        check(!program && at <= blob_size && status != -ENOMEM);
        return 0;
    }
    size_t left = size - blob_size;
    uint64_t *batch = malloc(left + 8);
    memcpy(batch, data + blob_size, left);
    int whole, pieces;
    size_t all = judge(program, batch, left, left / CLO_EVENT_HEAD + 1, &whole);
    check(judge(program, batch, left, ROOM, &pieces) == all && whole == pieces);
    free(batch);
    clo_program_drop(program);
    return 0;
}
