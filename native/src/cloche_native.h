/* The native module: what its C files share. Everything Python may call is declared in cdef.h. */
#ifndef CLOCHE_NATIVE_H
#define CLOCHE_NATIVE_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cdef.h"

#endif
