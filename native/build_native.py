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
    "-fvisibility=hidden", "-fstack-protector-strong",
]  # fmt: skip
LINK: list[str] = []
if os.environ.get("CLOCHE_SANITIZE") == "1":
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    COMPILE += [*sanitize, "-fno-omit-frame-pointer", "-g", "-O1"]
    LINK += sanitize

ffi = FFI()
ffi.cdef((NATIVE / "src/cdef.h").read_text(encoding="utf-8"))
ffi.set_source(
    "cloche_native._lib",
    '#include "cloche_native.h"\n#pragma GCC diagnostic ignored "-Wmissing-prototypes"',  # cffi's own code has none
    sources=sorted(path.relative_to(ROOT).as_posix() for path in (NATIVE / "src").glob("*.c")),
    depends=sorted(path.relative_to(ROOT).as_posix() for path in (NATIVE / "src").glob("*.h")),
    include_dirs=["native/src"],
    define_macros=[("_GNU_SOURCE", "1")],
    extra_compile_args=COMPILE,
    extra_link_args=LINK,
)
