/* Memories that share one budget: wasmtime asks us for each memory of an engine, and they grow only as far as the sum of
 * all may go.
 *
 * Each is one mapping of all that it can become and of the guard behind, which nobody may touch: what is not used yet
 * costs nothing, and nothing moves. A budget is used by many threads at once, and stays until its last memory, its last
 * engine and its owner have let go. */
#include "wasm.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { HOLDS_MOST = 1 << 30 };

struct clo_wasm_budget {
    struct clo_wasm_library *library;
    _Atomic size_t most, used, peak;
    _Atomic uint64_t refused;
    _Atomic int holders;
};

struct memory {
    struct clo_wasm_budget *budget;
    uint8_t *data;
    size_t size, room, mapped;
};

static void let_go(void *held) {
    struct clo_wasm_budget *budget = held;
    if (atomic_fetch_sub(&budget->holders, 1) == 1) free(budget);
}

static bool take(struct clo_wasm_budget *budget, size_t more) {
    size_t used = budget->used, now;
    do {
        size_t most = budget->most;
        if (used > most || more > most - used) {
            budget->refused++;
            return false;
        }
        now = used + more;
    } while (!atomic_compare_exchange_weak(&budget->used, &used, now));
    size_t peak = budget->peak;
    while (peak < now && !atomic_compare_exchange_weak(&budget->peak, &peak, now)) continue;
    return true;
}

static void *refuse(struct clo_wasm_budget *budget) {
    return budget->library->wasmtime_error_new("the programs of its sandbox hold all the memory that they may");
}

static uint8_t *where(void *env, size_t *size, size_t *room) {
    struct memory *memory = env;
    *size = memory->size;
    *room = memory->room;
    return memory->data;
}

static void *grow(void *env, size_t size) {
    struct memory *memory = env;
    if (size <= memory->size) return NULL;
    size_t more = size - memory->size;
    if (size > memory->room || !take(memory->budget, more)) return refuse(memory->budget);
    if (mprotect(memory->data + memory->size, more, PROT_READ | PROT_WRITE)) {
        memory->budget->used -= more;
        return refuse(memory->budget);
    }
    memory->size = size;
    return NULL;
}

static void end(void *env) {
    struct memory *memory = env;
    munmap(memory->data, memory->mapped);
    memory->budget->used -= memory->size;
    let_go(memory->budget);
    free(memory);
}

/* maximum: SIZE_MAX for none; reserved: what compiled code relies on being ours, and guard behind it. */
static void *make(void *env, const void *type, size_t minimum, size_t maximum, size_t reserved, size_t guard,
                  struct wt_linear *made) {
    (void)type;
    struct clo_wasm_budget *budget = env;
    size_t most = (size_t)1 << 32, room = reserved ? reserved : maximum < most ? maximum : most;
    if (room < minimum) room = minimum;
    struct memory *memory = guard <= SIZE_MAX - room ? calloc(1, sizeof *memory) : NULL;
    if (!memory) return refuse(budget);
    *memory = (struct memory){.budget = budget, .room = room, .mapped = room + guard};
    if (memory->mapped)
        memory->data = mmap(NULL, memory->mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory->data == MAP_FAILED) {
        free(memory);
        return refuse(budget);
    }
    budget->holders++;
    void *error = grow(memory, minimum);
    if (error) {
        end(memory);
        return error;
    }
    *made = (struct wt_linear){memory, where, grow, end};
    return NULL;
}

/* The caller's, who frees it; NULL: no memory. */
struct clo_wasm_budget *clo_wasm_budget_new(struct clo_wasm_library *library, size_t most) {
    struct clo_wasm_budget *budget = calloc(1, sizeof *budget);
    if (!budget) return NULL;
    budget->library = library;
    budget->most = most;
    budget->holders = 1;
    return budget;
}

void clo_wasm_budget_free(struct clo_wasm_budget *budget) { let_go(budget); }

/* Has all memories of the engines that are made of a configuration of wasmtime's share the budget; none of them is then
 * mapped from a module's image, which the library takes for granted where the memory is another's. 0, or -1: too many. */
int clo_wasm_budget_lend(struct clo_wasm_budget *budget, void *config) {
    if (budget->holders >= HOLDS_MOST) return -1;
    struct wt_creator creator = {budget, make, let_go};
    budget->holders++;
    budget->library->wasmtime_config_memory_init_cow_set(config, false);
    budget->library->wasmtime_config_host_memory_creator_set(config, &creator);
    return 0;
}

/* What is held already stays, also where that is more. */
void clo_wasm_budget_set(struct clo_wasm_budget *budget, size_t most) { budget->most = most; }

/* Bytes now, the most that there were, and how often more was refused. */
void clo_wasm_budget_look(struct clo_wasm_budget *budget, uint64_t figures[3]) {
    figures[0] = budget->used;
    figures[1] = budget->peak;
    figures[2] = budget->refused;
}
