/* The native module: what its C files share. Everything Python may call is declared in cdef.h and cdef_rules.h. */
#ifndef CLOCHE_NATIVE_H
#define CLOCHE_NATIVE_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cdef.h"
#include "cdef_rules.h"
#include "cdef_guest.h"
#include "cdef_lines.h"
#include "cdef_sentry.h"
#include "cdef_wasm.h"
#include "cdef_json.h"
#include "cdef_json_diff.h"
#include "cdef_json_apply.h"

#endif
