/* Instances of WebAssembly modules, driven through the C interface of a wasmtime library that is loaded at run time.
 * Read by cffi as it is, and so without preprocessor lines. */
enum {
    CLO_WASM_DONE,    /* all went well */
    CLO_WASM_PENDING, /* what was called gave no text, and no job is left */
    CLO_WASM_RAISED,  /* the code that was to give the text raised */
    CLO_WASM_STOPPED, /* ended hard; with this and all to DEAD but SIZE the instance is dead */
    CLO_WASM_STACK,
    CLO_WASM_MEMORY,
    CLO_WASM_SIZE, /* a text larger than may cross */
    CLO_WASM_EXITED,
    CLO_WASM_TRAP,
    CLO_WASM_GUEST, /* it gave a pointer outside of its memory, or broke another rule */
    CLO_WASM_DEAD,
    CLO_WASM_BUSY,        /* in use by another thread, or by a call that this one is made from */
    CLO_WASM_NO_EXPORT,   /* what is needed is not exported, or is no function */
    CLO_WASM_STACK_SMALL, /* the stack of this thread is smaller than what the guest may use */
    CLO_WASM_NO_HOST_MEMORY,
    CLO_WASM_NOT_STARTED, /* the instance could not be made */

    CLO_WASM_NAMES = 64,       /* exports that one mold can call */
    CLO_WASM_NUMBERS = 16,     /* parameters of a function */
    CLO_WASM_TEXTS = 8,        /* texts that go with a call in either direction */
    CLO_WASM_MESSAGE = 512,    /* bytes of a message, its end included */
    CLO_WASM_PAGE = 4096,      /* bytes of a page of a delta */
    CLO_WASM_DELTA_HEAD = 12,  /* stack pointer, memory in 64 KiB, pages: 32 bits each */

    CLO_WASM_ASK_CALL = 0, /* what a guest may ask of Python */
    CLO_WASM_ASK_NORMALIZE,
    CLO_WASM_ASK_LOAD,
    CLO_WASM_ASK_NUMBERS,
    CLO_WASM_ASK_TICK,

    CLO_WASM_AWAIT = 1, /* of a run: top-level await */
    CLO_WASM_KEEP = 2,  /* remember the state before it */
    CLO_WASM_TICKS = 4, /* let Python handle its signals now and then */

    CLO_WASM_I32 = 0,
    CLO_WASM_I64 = 1,
    CLO_WASM_NOTHING = 255 /* as the kind of a result */
};

struct clo_wasm_text {
    const char *text; /* NULL: none */
    size_t size;
};

/* What a guest asks of Python. The answer's text goes to room, which clo_wasm_room makes larger. */
struct clo_wasm_asked {
    uint32_t kind, id, count;
    struct clo_wasm_text name, texts[8];
    int64_t *numbers;
    char *room;
    size_t room_size, answer_size;
    int64_t result;
};

/* 1: there is an answer, 0: it is undefined, -1: refused, or an error of the guest; -2: end the guest's call. */
typedef int clo_wasm_asker(struct clo_wasm_asked *asked, void *python);

struct clo_wasm_library;
struct clo_wasm_library *clo_wasm_load(const char *path, clo_wasm_asker *asker, char *message, size_t room);
int clo_wasm_define(struct clo_wasm_library *library, void *linker, const char *module, const char *name, void *type,
                    int answer);
int clo_wasm_answer(const char *module, const char *name, const char *type);

struct clo_wasm_engine; /* with a thread that ends what runs too long */
struct clo_wasm_engine *clo_wasm_engine_new(struct clo_wasm_library *library, void *engine, size_t stack);
void clo_wasm_engine_free(struct clo_wasm_engine *engine);
void clo_wasm_engine_forked(struct clo_wasm_engine *engine);

struct clo_wasm_how {
    void *pre;                 /* wasmtime_instance_pre_t */
    const void *image;         /* the memory that a fresh instance has; NULL: not known */
    size_t image_size;
    size_t dead;               /* bytes from 0 on that mean nothing between calls: a stack, and in no delta */
    int64_t memory;            /* bytes that an instance may have */
    size_t text;               /* bytes of one text that crosses */
    uint64_t frozen;           /* nanoseconds that each clock shows */
    uint32_t encode, poll, prepare, undefined, yes, no; /* handles of the guest, 0: none */
    int32_t stack_pointer;
    uint32_t clock_frozen, stops; /* stops: it exports a function, stop, that asks it to */
};

struct clo_wasm_mold; /* what instances are made of */
struct clo_wasm_mold *clo_wasm_mold_new(struct clo_wasm_engine *engine, const struct clo_wasm_how *how);
void clo_wasm_mold_free(struct clo_wasm_mold *mold);
int clo_wasm_name(struct clo_wasm_mold *mold, const char *name);

/* What one crossing is to do, and how it went. */
struct clo_wasm_run {
    const char *code, *before; /* before: the text for prepare, NULL: none */
    size_t code_size, before_size;
    uint64_t wall, grace; /* nanoseconds; wall 0: no end */
    void *python;         /* goes to the asker; NULL: nobody answers */
    uint32_t flags;
    uint32_t handle; /* of the function to be invoked */
    struct clo_wasm_text texts[8];
    uint32_t count;
    /* how it went */
    int32_t raised, interrupted, exit_code;
    uint32_t calls;
    uint64_t memory;
    char *room; /* the caller's; a longer text comes in large, which clo_wasm_forget frees */
    size_t room_size;
    char *large;
    size_t size;
    char message[512];
};

struct clo_wasm_instance;
int clo_wasm_open(struct clo_wasm_mold *mold, struct clo_wasm_instance **instance, char *message);
int clo_wasm_close(struct clo_wasm_instance *instance);
int clo_wasm_once(struct clo_wasm_mold *mold, struct clo_wasm_run *run);
int clo_wasm_eval(struct clo_wasm_instance *instance, struct clo_wasm_run *run);
int clo_wasm_tell(struct clo_wasm_instance *instance, struct clo_wasm_run *run);
int clo_wasm_invoke(struct clo_wasm_instance *instance, struct clo_wasm_run *run);
int clo_wasm_resume(struct clo_wasm_instance *instance, struct clo_wasm_run *run);
int clo_wasm_mint(struct clo_wasm_instance *instance, struct clo_wasm_run *run);
int clo_wasm_function(struct clo_wasm_instance *instance, struct clo_wasm_run *run);
void clo_wasm_forget(struct clo_wasm_run *run);
void clo_wasm_stop(struct clo_wasm_instance *instance, uint64_t grace);
int clo_wasm_call(struct clo_wasm_instance *instance, int name, int64_t *numbers, uint32_t count,
                  struct clo_wasm_run *run);
int clo_wasm_kinds(struct clo_wasm_instance *instance, int name, uint8_t *kinds, uint32_t *count, uint8_t *result);
void clo_wasm_room(struct clo_wasm_asked *asked, size_t size);
int clo_wasm_alive(const struct clo_wasm_instance *instance);
uint8_t *clo_wasm_memory(struct clo_wasm_instance *instance, size_t *size);
int clo_wasm_grow(struct clo_wasm_instance *instance, uint64_t pages);
int clo_wasm_get(struct clo_wasm_instance *instance, const char *name, int64_t *value);
int clo_wasm_set(struct clo_wasm_instance *instance, const char *name, int64_t value);

/* ---- Deltas: the pages that differ from the image (wasm_delta.c). ---- */
enum {
    CLO_WASM_DELTA_OK,
    CLO_WASM_DELTA_SHORT,   /* not as long as it says */
    CLO_WASM_DELTA_POINTER, /* another stack pointer */
    CLO_WASM_DELTA_MEMORY,  /* less memory than the image has, or more than an instance may have */
    CLO_WASM_DELTA_PAGES,   /* pages out of order or outside of the memory */
    CLO_WASM_DELTA_GROW     /* the memory could not be had */
};
int64_t clo_wasm_delta(struct clo_wasm_instance *instance, void *out, size_t room);
int clo_wasm_delta_check(const struct clo_wasm_mold *mold, const void *delta, size_t size);
int clo_wasm_delta_apply(struct clo_wasm_instance *instance, const void *delta, size_t size);

/* ---- Packed: of these pages the blocks that differ (wasm_blocks.c). ---- */
int clo_wasm_revive(struct clo_wasm_instance *instance, const void *packed, size_t size);
int clo_wasm_keep(struct clo_wasm_instance *instance);
const uint8_t *clo_wasm_kept(const struct clo_wasm_instance *instance, size_t *size);
int64_t clo_wasm_rest(struct clo_wasm_instance *instance); /* wasm_rest.c */

struct clo_wasm_budget; /* what the memories of several engines may have together */
struct clo_wasm_budget *clo_wasm_budget_new(struct clo_wasm_library *library, size_t most);
void clo_wasm_budget_free(struct clo_wasm_budget *budget);
int clo_wasm_budget_lend(struct clo_wasm_budget *budget, void *config);
void clo_wasm_budget_set(struct clo_wasm_budget *budget, size_t most);
void clo_wasm_budget_look(struct clo_wasm_budget *budget, uint64_t figures[3]);

/* ---- These made small (wasm_words.c). ---- */
size_t clo_words_shrink(const void *data, size_t size, void *out);
int64_t clo_words_expand(const void *data, size_t size, void *out, size_t room);
