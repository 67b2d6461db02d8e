/* Rules: which events match, and what the guest is told. Read by cffi after cdef.h, and so without preprocessor lines.
 *
 * A program is a blob: struct clo_blob, then the arrays it counts, in the order it counts them, then the bytes; nothing
 * between or after. Host byte order. What `first` and `count` name is a range of the array said. Fields "zero" are 0. */
enum {
    CLO_BLOB_MAGIC = 0x526f6c43, CLO_BLOB_VERSION = 1, CLO_BLOB_MAX = 67108864,
    CLO_RULES_MAX = 1024, CLO_CONDITIONS_MAX = 4096, CLO_BLOB_TESTS_MAX = 16384, CLO_NUMBERS_MAX = 262144,
    CLO_GRAMS_MAX = 262144, CLO_STEPS_MAX = 4, CLO_DISTINCT_MAX = 64,
    CLO_NO_RULE = 0xffff
};

struct clo_blob {
    uint32_t magic, version;
    uint32_t rules;      /* struct clo_rule; the rule of number n has the condition of number n */
    uint32_t conditions; /* struct clo_condition; those after the rules' are steps of sequences */
    uint32_t tests;      /* struct clo_number_test */
    uint32_t texts;      /* struct clo_text_test */
    uint32_t windows;    /* struct clo_window */
    uint32_t sequences;  /* struct clo_sequence */
    uint32_t novelties;  /* struct clo_novelty */
    uint32_t patterns;   /* struct clo_blob_pattern */
    uint32_t grams;      /* uint64_t */
    uint32_t numbers;    /* uint32_t */
    uint32_t bytes;
    uint32_t sets;       /* how many sets of paths the patterns make */
};

/* An event meets it that is of one of its acts and passes every test, or one at least of those joined by "or". */
struct clo_condition { uint64_t acts; uint32_t first_test, tests, first_text, texts; };

enum clo_more { CLO_MORE_NONE = 0, CLO_MORE_WINDOW = 1, CLO_MORE_SEQUENCE = 2, CLO_MORE_NOVELTY = 3 };

struct clo_rule {
    uint32_t answer;     /* errno that the guest is told; 0: it may go on */
    uint32_t respond;    /* 0 to 255, the more the graver; what it means is not known here */
    uint32_t more, item; /* clo_more, and the number of that; only a window may be more than one rule's */
};

enum clo_field {
    CLO_FIELD_ARG0 = 0, CLO_FIELD_ARG1 = 1, CLO_FIELD_ARG2 = 2, CLO_FIELD_ARG3 = 3, CLO_FIELD_RESULT = 4,
    CLO_FIELD_FLAGS = 5, CLO_FIELD_PID = 6, CLO_FIELD_TID = 7, CLO_FIELD_CALL = 8, CLO_FIELD_EXEC = 9,
    CLO_FIELD_SOURCE = 10, CLO_FIELD_SANDBOX = 11, CLO_FIELDS = 12
};
enum clo_compare { /* of v = field & mask, both 64 bits */
    CLO_IS_EQUAL = 0, CLO_IS_DIFFERENT = 1, CLO_IS_ANY = 2, /* v is not 0 */ CLO_IS_LESS = 3, /* signed */ CLO_IS_LEAST = 4,
    CLO_IS_COUNT = 5
};
enum { CLO_OR_NEXT = 0x100 }; /* beside an op; or_next is 1: this test or the one after it in the condition must pass */
struct clo_number_test { uint32_t field, op; uint64_t mask; int64_t value; };

enum clo_text_how {
    /* of paths in their normal form; the range is of `numbers`, numbers of sets */
    CLO_TEXT_IN = 0,      /* one of the texts is in one of the sets */
    CLO_TEXT_NONE = 1,    /* none of the texts is in any of the sets */
    CLO_TEXT_OUTSIDE = 2, /* one of the texts, which is there, is in none of the sets */
    /* of one text as it is; the range is of the bytes */
    CLO_TEXT_EQUAL = 3, CLO_TEXT_PREFIX = 4, CLO_TEXT_SUFFIX = 5, CLO_TEXT_CONTAINS = 6, CLO_TEXT_HOWS = 7
};
enum clo_text_option {       /* only of bytes */
    CLO_TEXT_NEGATE = 1,     /* passes where it would not */
    CLO_TEXT_FOLD = 2,       /* ASCII letters of either case are the same */
    CLO_TEXT_SPACED = 4,     /* of TARGET: without a NUL at the end, each other NUL a space */
    CLO_TEXT_OPTIONS = 7
};
struct clo_text_test { uint32_t how, texts; /* bits 1 << clo_text */ uint32_t options, first, count, or_next; };

enum clo_key { /* what events are told apart by; DIR and PATH: of PATH in its normal form, of RESOLVED where there is none */
    CLO_KEY_SANDBOX = 1, CLO_KEY_PID = 2, CLO_KEY_EXEC = 4, CLO_KEY_DIR = 8, CLO_KEY_PATH = 16, CLO_KEY_ARG0 = 32,
    CLO_KEY_ARG1 = 64, CLO_KEY_TARGET = 128, CLO_KEY_ACT = 256, CLO_KEYS = 511
};

/* Matches when more than `limit` events came, or more than `limit` values of the fields `distinct`. An event of several
 * rules that share it is counted once, and over for all of them or for none. Every event of the
 * last per_ns is counted; none is that is older than 8/7 of it, and 8 ns. */
struct clo_window { uint64_t per_ns; uint32_t limit, key, distinct, zero; };
/* Matches when the earlier steps came before, in order, the first not over within_ns ago. Their conditions are from
 * `first` on, the latest first; those of the sequences follow one another from the rules' conditions on. */
struct clo_sequence { uint64_t within_ns; uint32_t key, first, count, zero; };
/* Matches when of the last 64 events at least `least` ended a row of `length` acts that is not among the grams. A key
 * of which nothing came for forget_ns begins anew. A gram has 6 bits an act, the latest lowest. */
struct clo_novelty { uint64_t forget_ns; uint32_t length, least, key, first, count, zero; };
struct clo_blob_pattern { uint32_t set, first, count, zero; };

/* Sizes of a state's tables in entries, rounded up to powers of two; 0: as many as is usual. */
struct clo_state_sizes { uint32_t windows, distinct, sequences, novelties; uint64_t seed; /* 0: a random one */ };

/* Why the rule that decided matched. */
struct clo_evidence {
    uint32_t more;     /* clo_more */
    uint32_t count;    /* of a window; of novel rows among the last 64 */
    uint32_t set;      /* the first set that a text was in; CLO_NO_RULE: none was asked for */
    uint32_t text;     /* and which text: clo_text */
    uint32_t lost;     /* 1: a table was full, so it is not known, and counts as a match */
    uint32_t steps;    /* how many times there are */
    uint64_t time[4];  /* of the steps of a sequence, the last one's last */
};

struct clo_judged {
    uint64_t *rules;  /* given: clo_program_words() words; out: a bit for each rule that matched */
    uint32_t count;   /* how many did */
    int32_t answer;   /* 0, or -errno to tell the guest: of the first rule that matched and has one */
    uint32_t rule;    /* that decided: that one, or else the first of the gravest response; CLO_NO_RULE: none matched */
    uint32_t respond; /* the gravest of all that matched */
    struct clo_evidence evidence;
};

struct clo_hit {
    uint64_t offset;  /* of the record in the batch */
    uint64_t word;    /* where its bits begin among the words */
    uint32_t count, rule, respond;
    int32_t answer;
    struct clo_evidence evidence;
};

enum clo_program_which {
    CLO_ACTS_LOOKED = 0,   /* acts that a rule looks at */
    CLO_ACTS_ANSWERED = 1, /* that a rule may refuse */
    CLO_ACTS_PATHS = 2,    /* whose paths, as asked for or as found, are looked at */
    CLO_ACTS_RESOLVED = 3  /* whose paths as found are */
};
enum clo_table { CLO_TABLE_WINDOWS = 0, CLO_TABLE_DISTINCT = 1, CLO_TABLE_SEQUENCES = 2, CLO_TABLE_NOVELTIES = 3, CLO_TABLES = 4 };

/* A program may be used by threads at once; a state by one at a time. */
struct clo_program;
struct clo_state;
int clo_program_load(const void *blob, size_t size, struct clo_program **out, uint32_t *at);
void clo_program_keep(struct clo_program *program);
void clo_program_drop(struct clo_program *program);
uint64_t clo_program_acts(const struct clo_program *program, uint32_t which);
size_t clo_program_words(const struct clo_program *program);
struct clo_state *clo_state_new(struct clo_program *program, const struct clo_state_sizes *sizes);
void clo_state_free(struct clo_state *state);
uint64_t clo_state_matches(const struct clo_state *state, uint32_t rule);
uint64_t clo_state_lost(const struct clo_state *state, uint32_t table);
int clo_judge(const struct clo_program *program, struct clo_state *state, const struct clo_event *event,
              struct clo_judged *verdict);
int clo_judge_batch(const struct clo_program *program, struct clo_state *state, const void *records, size_t size,
                    struct clo_hit *hits, uint64_t *words, size_t room, size_t *used, size_t *next);
uint64_t clo_event_walk(const void *records, size_t size);

/* What a supervisor (cdef.h) does with rules: the record of an event that matched has CLO_EVENT_MATCHED, and which rules
 * did is told apart from it. */
struct clo_match {
    uint32_t size;    /* of this and the words */
    uint16_t act;     /* 0 */
    uint16_t words;   /* uint64_t each, which follow: a bit for each rule that matched */
    uint64_t number;  /* of the record */
    uint32_t count, rule, respond; /* as in clo_judged */
    int32_t answer;
    struct clo_evidence evidence;
};

struct clo_observed;
int clo_observed_judge(struct clo_observed *box, struct clo_program *program);
int clo_observed_matched(struct clo_observed *box, uint64_t *counts, size_t room);
int64_t clo_observed_take_matches(struct clo_observed *box, void *out, size_t room);
