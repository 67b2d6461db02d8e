/* sources: native/src/wasm_delta.c native/src/wasm_blocks.c native/src/wasm_instance.c native/src/wasm_watch.c native/src/wasm_pages.c native/src/thread.c
 *
 * Any bytes as a delta, or as a packed one, are refused, and then nothing has changed, or are applied within the memory;
 * what is kept of what came of it gives the same again. */
#include <stdlib.h>
#include <string.h>

#include "wasm.h"

enum { IMAGE = 65536, LIMIT = 3 * 65536 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A memory in place of wasmtime's: exactly as large as it says, so that one byte more is found by the sanitizer. */
struct memory {
    uint8_t *data;
    size_t size;
};

static uint8_t *memory_data(const void *context, const struct wt_item *item) {
    (void)item;
    return ((const struct memory *)context)->data;
}

static size_t memory_size(const void *context, const struct wt_item *item) {
    (void)item;
    return ((const struct memory *)context)->size;
}

static void *memory_grow(void *context, const struct wt_item *item, uint64_t pages, uint64_t *before) {
    (void)item;
    struct memory *memory = context;
    *before = memory->size / 65536;
    memory->data = realloc(memory->data, memory->size + pages * 65536);
    memset(memory->data + memory->size, 0, pages * 65536);
    memory->size += pages * 65536;
    return NULL;
}

static void fresh(struct memory *memory, const uint8_t *image) {
    *memory = (struct memory){malloc(IMAGE), IMAGE};
    memcpy(memory->data, image, IMAGE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct clo_wasm_library library;
    static uint8_t image[IMAGE];
    for (int i = 0; i < IMAGE; i++) image[i] = (uint8_t)(i / 256);
    library.wasmtime_memory_data = memory_data;
    library.wasmtime_memory_data_size = memory_size;
    library.wasmtime_memory_grow = memory_grow;
    static struct clo_wasm_engine engine = {.lock = PTHREAD_MUTEX_INITIALIZER, .pagemap = -1};
    struct clo_wasm_mold mold = {
        .engine = &engine,
        .how = {.image = image, .image_size = IMAGE, .memory = LIMIT, .stack_pointer = 0x61616161}};
    struct memory one, other;
    fresh(&one, image);
    fresh(&other, image);
    struct clo_wasm_instance *instance = calloc(1, sizeof *instance);
    *instance = (struct clo_wasm_instance){.library = &library, .mold = &mold, .context = &one, .has_memory = true};
    uint8_t *given = malloc(size);
    if (size) memcpy(given, data, size);
    int status = clo_wasm_revive(instance, given, size);
    if (status && (one.size != IMAGE || memcmp(one.data, image, IMAGE))) abort();
    if (status) {
        status = clo_wasm_delta_apply(instance, given, size);
        if (status != clo_wasm_delta_check(&mold, given, size)) abort();
        if (status && (one.size != IMAGE || memcmp(one.data, image, IMAGE))) abort();
    }
    if (clo_wasm_keep(instance)) abort();
    size_t kept_size;
    const uint8_t *packed = clo_wasm_kept(instance, &kept_size);
    uint8_t *kept = malloc(kept_size);
    memcpy(kept, packed, kept_size);
    instance->context = &other;
    if (clo_wasm_revive(instance, kept, kept_size)) abort();
    if (one.size != other.size || memcmp(one.data, other.data, one.size)) abort();
    free(instance->kept);
    free(instance);
    free(given);
    free(kept);
    free(one.data);
    free(other.data);
    return 0;
}
