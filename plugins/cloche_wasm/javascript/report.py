"""What interpreters of JavaScript keep, feature by feature."""

from __future__ import annotations

from cloche import Enforced, Enforcement, Guarantee, InterpreterSpec
from cloche_wasm.report import of_code


def of(spec: InterpreterSpec) -> Enforcement:
    """Give the report for ``spec``."""
    return of_code(
        spec,
        {
            Guarantee.FILESYSTEM: Enforced("code sees the files in its own memory, and none of the host's"),
            Guarantee.NETWORK: Enforced("code is given nothing that opens a connection"),
            Guarantee.SYSCALLS: Enforced("code can make no system call; it calls the functions that it is given"),
            Guarantee.MEMORY: Enforced(
                "memory of the machine does not grow beyond the limit; code sees that it has none left"
            ),
            "output": Enforced("what is printed is counted"),
            "wall": Enforced("code is asked to stop, and ended where it does not heed that"),
            Guarantee.DISK: Enforced("bytes of files in the interpreter are counted, and are part of its memory"),
            "files": Enforced("files in the interpreter are counted"),
        },
    )
