/* Assembles the watch filter and the agent's filter that goes with it.
 *
 * Theory. The static filter is on the agent, and so on every program. What it refuses, the kernel refuses without
 * telling anybody: of several filters the strictest answer counts, and a refusal is stricter than a notification. So for
 * a box that is watched the agent's filter lets through what is watched, every program gets the watch filter besides,
 * which notifies, and whoever listens gives the refusal. The agent also must be able to put the watch filter on, which
 * the stricter levels refuse: the watch filter then refuses that, as it does all else that was opened and is not
 * watched (any more).
 *
 * A call whose answer does not depend on its arguments is answered by its number alone, so that the kernel keeps what
 * is not watched in its bitmap of allowed calls and never runs the program for it. */
#include <linux/filter.h>
#include <string.h>

#include "assemble.h"

enum { SECCOMP_FILTER = 1, NOT_LOADED = -1, HIGH = 4 };

enum outcome { ALLOW, NOTIFY, PLAIN };

/* Whether the row is about putting a filter on, which the agent does for every program. */
static bool is_own(const struct clo_watched *row) {
    return row->op == CLO_EQ && row->value == SECCOMP_FILTER && !strcmp(row->name, "seccomp");
}

/* What follows for a call that is these acts; in the agent's filter PLAIN is to stay as it is. */
static enum outcome judge(const struct clo_assembler *out, int number, uint64_t acts, bool own) {
    bool opened = own || acts & out->opened;
    enum outcome rest = opened == out->opens || out->plain[number] == CLO_V_ALLOW ? ALLOW : PLAIN;
    return !out->opens && acts & out->acts ? NOTIFY : rest;
}

static void emit_outcome(struct clo_assembler *out, int number, enum outcome outcome) {
    if (outcome == PLAIN && out->plain[number] == CLO_V_TEST)
        clo_emit_tests(out, number);
    else if (outcome == PLAIN)
        clo_emit_verdict(out, out->plain[number]);
    else
        clo_emit_verdict(out, outcome == NOTIFY ? CLO_V_NOTIFY : CLO_V_ALLOW);
}

static uint8_t size_of_outcome(struct clo_assembler *out, int number, enum outcome outcome) {
    size_t before = out->used, room = out->room;
    out->room = 0; /* measure only */
    emit_outcome(out, number, outcome);
    size_t size = out->used - before;
    out->used = before;
    out->room = room;
    return (uint8_t)size; /* a call has a handful of tests: see CLO_TESTS_MAX */
}

/* The next `below` instructions are only for what this row is about. */
static void emit_condition(struct clo_assembler *out, const struct clo_watched *row, int *loaded, uint8_t below) {
    if (*loaded != row->argument || row->op == CLO_WIDE) clo_emit_load(out, row->argument, 0);
    *loaded = row->argument;
    if (row->op == CLO_WIDE) {
        clo_emit(out, BPF_JMP | BPF_JSET | BPF_K, 2, 0, UINT32_MAX);
        clo_emit_load(out, row->argument, HIGH);
        *loaded = NOT_LOADED;
    }
    if (row->op == CLO_HAS || row->op == CLO_WIDE) {
        clo_emit(out, BPF_JMP | BPF_JSET | BPF_K, 0, below, row->op == CLO_WIDE ? UINT32_MAX : row->mask);
        return;
    }
    if (row->mask != UINT32_MAX) {
        clo_emit(out, BPF_ALU | BPF_AND | BPF_K, 0, 0, row->mask);
        *loaded = NOT_LOADED;
    }
    bool equal = row->op == CLO_EQ;
    clo_emit(out, BPF_JMP | BPF_JEQ | BPF_K, equal ? 0 : below, equal ? below : 0, row->value);
}

/* The row of a call after this one, NULL at its end; start with NULL. */
static const struct clo_watched *next_row(const struct clo_assembler *out, int number, size_t *place) {
    const struct clo_watched *row;
    if (!out->index.first[number]) return NULL;
    if (!*place) {
        *place = out->index.first[number];
        return clo_watched_row(*place - 1);
    }
    row = clo_watched_row(*place);
    if (!row || strcmp(row->name, clo_watched_row(*place - 1)->name)) return NULL;
    ++*place;
    return row;
}

/* Whether whatever its arguments are the same follows, and what. */
static bool is_uniform(const struct clo_assembler *out, int number, enum outcome *outcome) {
    const struct clo_watched *row;
    unsigned met = 0;
    bool always = false;
    for (size_t place = 0; (row = next_row(out, number, &place));) {
        *outcome = judge(out, number, row->acts, is_own(row));
        met |= 1U << *outcome;
        always |= row->op == CLO_ELSE;
    }
    if (!always) met |= 1U << (*outcome = judge(out, number, 0, false));
    return !(met & (met - 1));
}

static void emit_rows(struct clo_assembler *out, int number) {
    const struct clo_watched *row;
    enum outcome outcome;
    int loaded = NOT_LOADED;
    if (is_uniform(out, number, &outcome)) {
        emit_outcome(out, number, outcome);
        return;
    }
    for (size_t place = 0; (row = next_row(out, number, &place));) {
        outcome = judge(out, number, row->acts, is_own(row));
        if (row->op != CLO_ELSE) emit_condition(out, row, &loaded, size_of_outcome(out, number, outcome));
        emit_outcome(out, number, outcome);
        if (row->op == CLO_ELSE) return;
    }
    emit_outcome(out, number, judge(out, number, 0, false));
}

/* The answer of a number, CLO_V_TEST when it depends on arguments. */
static uint8_t verdict_of(const struct clo_assembler *out, int number) {
    enum outcome outcome;
    if (!is_uniform(out, number, &outcome)) return CLO_V_TEST;
    if (outcome == PLAIN) return out->plain[number];
    return outcome == NOTIFY ? CLO_V_NOTIFY : CLO_V_ALLOW;
}

static int assemble(struct clo_assembler *out, const struct clo_filter *plain) {
    uint8_t verdicts[CLO_NUMBERS];
    int failed = clo_assemble_plain(out, plain);
    if (failed) return failed;
    clo_watched_index(&out->index, plain->arch);
    for (int number = 0; number < CLO_NUMBERS; number++) verdicts[number] = verdict_of(out, number);
    return clo_assemble(out, verdicts, out->opens ? CLO_V_NOSYS : CLO_V_ALLOW, emit_rows);
}

/* The last place in reach of a jump where the answer is that of its target; the target itself if that is no answer. */
static uint8_t same_answer(const struct sock_filter *code, int count, int at, uint8_t jump) {
    const struct sock_filter *target = &code[at + 1 + jump];
    int far = count - at - 2;
    if (BPF_CLASS(target->code) != BPF_RET) return jump;
    for (far = far > UINT8_MAX ? UINT8_MAX : far; far > jump; far--)
        if (code[at + 1 + far].code == target->code && code[at + 1 + far].k == target->k) break;
    return (uint8_t)far;
}

/* Every program pays for the length of its filter (decision 33), and half of that is the same few answers: has them
 * shared, and leaves out what nothing leads to any more. Gives the new count. */
static int share_answers(struct sock_filter *code, int count) {
    bool reached[BPF_MAXINSNS] = {true};
    int place[BPF_MAXINSNS], kept = 0;
    if (count > BPF_MAXINSNS) return count;
    for (int at = 0; at < count; at++) { /* jumps lead forward only */
        struct sock_filter *one = &code[at];
        place[at] = kept;
        if (!reached[at]) continue;
        kept++;
        if (BPF_CLASS(one->code) == BPF_JMP && BPF_OP(one->code) != BPF_JA) {
            one->jt = same_answer(code, count, at, one->jt);
            one->jf = same_answer(code, count, at, one->jf);
            reached[at + 1 + one->jt] = reached[at + 1 + one->jf] = true;
        } else if (BPF_CLASS(one->code) != BPF_RET)
            reached[at + 1 + (BPF_CLASS(one->code) == BPF_JMP ? (int)one->k : 0)] = true;
    }
    for (int at = 0; at < count; at++) {
        struct sock_filter one = code[at];
        if (!reached[at]) continue;
        if (BPF_CLASS(one.code) == BPF_JMP && BPF_OP(one.code) == BPF_JA)
            one.k = (uint32_t)(place[at + 1 + (int)one.k] - place[at] - 1);
        else if (BPF_CLASS(one.code) == BPF_JMP) {
            one.jt = (uint8_t)(place[at + 1 + one.jt] - place[at] - 1);
            one.jf = (uint8_t)(place[at + 1 + one.jf] - place[at] - 1);
        }
        code[place[at]] = one;
    }
    return kept;
}

int clo_agent_program(const struct clo_filter *plain, uint64_t opened, void *code, size_t room) {
    struct clo_assembler out = {.code = code, .room = room, .opened = opened, .opens = true};
    return assemble(&out, plain);
}

int clo_watch_program(const struct clo_filter *plain, uint64_t acts, uint64_t opened, void *code, size_t room) {
    struct clo_assembler out = {.code = code, .room = room, .acts = acts, .opened = opened};
    int count = assemble(&out, plain);
    return count < 0 ? count : share_answers(out.code, count);
}
