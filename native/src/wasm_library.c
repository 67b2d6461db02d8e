/* The library of wasmtime, as it is loaded at run time, and the definitions of what guests import. */
#include "wasm.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The library stays loaded for good, as the objects of it that others hold must; so does what this gives. NULL: message
 * says why. */
struct clo_wasm_library *clo_wasm_load(const char *path, clo_wasm_asker *asker, char *message, size_t room) {
    void *loaded = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!loaded) {
        snprintf(message, room, "%s", dlerror());
        return NULL;
    }
    struct clo_wasm_library *library = calloc(1, sizeof *library);
    const char *missing = library ? NULL : "memory";
#define LOOK_UP(result, symbol, parameters) \
    if (!missing && !(*(void **)(void *)&library->symbol = dlsym(loaded, #symbol))) missing = #symbol;
    CLO_WASM_SYMBOLS(LOOK_UP)
#undef LOOK_UP
    if (missing) {
        snprintf(message, room, "%s: there is no %s", path, missing);
        free(library);
        return NULL;
    }
    library->asker = asker;
    return library;
}

/* From answer 1000 on: Python answers, by the number less 1000. 0, or -1: already defined, or no memory. */
int clo_wasm_define(struct clo_wasm_library *library, void *linker, const char *module, const char *name, void *type,
                    int answer) {
    struct clo_wasm_answered *env = malloc(sizeof *env);
    if (!env) return -1;
    *env = (struct clo_wasm_answered){library, answer};
    void *error = library->wasmtime_linker_define_func_unchecked(linker, module, strlen(module), name, strlen(name), type,
                                                                 clo_wasm_imported, env, free);
    if (!error) return 0;
    library->wasmtime_error_delete(error);
    return -1;
}
