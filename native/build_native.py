"""The cffi description of cloche_native._lib; read by setup.py.

CLOCHE_SANITIZE=1 builds with AddressSanitizer and UndefinedBehaviorSanitizer: build such a module into a folder of
its own (``pip install --target build/asan``), never in place, and run it with libasan preloaded.
"""

import os
from pathlib import Path

from cffi import FFI

NATIVE = Path(__file__).resolve().parent
ROOT = NATIVE.parent

COMPILE = [
    "-std=c11", "-O2", "-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes", "-Wmissing-prototypes",
    "-fvisibility=hidden", "-fstack-protector-strong", "-pthread",
]  # fmt: skip
LINK = ["-pthread"]
if os.environ.get("CLOCHE_SANITIZE") == "1":
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    COMPILE += [*sanitize, "-fno-omit-frame-pointer", "-g", "-O1"]
    LINK += sanitize

ffi = FFI()
DECLARED = (
    "cdef.h", "cdef_rules.h", "cdef_guest.h", "cdef_lines.h", "cdef_sentry.h", "cdef_wasm.h", "cdef_json.h",
    "cdef_json_diff.h",
    "cdef_json_apply.h",
)  # fmt: skip
for name in DECLARED:
    ffi.cdef((NATIVE / "src" / name).read_text(encoding="utf-8"))
ffi.cdef('extern "Python" int clo_wasm_ask(struct clo_wasm_asked *, void *);')
ffi.set_source(
    "cloche_native._lib",
    '#include "cloche_native.h"\n#pragma GCC diagnostic ignored "-Wmissing-prototypes"',  # cffi's own code has none
    sources=sorted(path.relative_to(ROOT).as_posix() for path in (NATIVE / "src").rglob("*.c")),
    depends=sorted(path.relative_to(ROOT).as_posix() for path in (NATIVE / "src").rglob("*.h")),
    include_dirs=["native/src"],
    define_macros=[("_GNU_SOURCE", "1")],
    extra_compile_args=COMPILE,
    extra_link_args=LINK,
)
