"""Python prepared under one spec."""

from __future__ import annotations

import keyword
from collections.abc import Mapping

from cloche import (
    Enforced,
    Enforcement,
    Guarantee,
    InterpreterSpec,
    LiveInterpreter,
    Ran,
    Running,
    SnapshotError,
    SpecError,
)
from cloche_wasm.living import Molded
from cloche_wasm.python.live import PythonInterpreter
from cloche_wasm.python.machine import machine
from cloche_wasm.python.sources import Sources
from cloche_wasm.report import of_code


class PythonLanguage(Molded):
    """Interpreters of one spec."""

    magic = b"clochepy"

    def __init__(self, spec: InterpreterSpec) -> None:
        """Build the template, where the user's cache has none: that takes a minute, once.

        Raises ``SpecError`` for functions or modules that can't be, ``RuntimeUnavailable``, ``StartError``.
        """
        for name in spec.functions:
            if not (isinstance(name, str) and name.isidentifier()) or keyword.iskeyword(name):
                raise SpecError(f"functions: {name!r:.80} is no name that Python can call")
        self.spec = spec
        self.enforcement = _kept(spec)
        self.sources = Sources(spec.modules)
        try:
            used = machine(spec.bounds.stack)
            self._mold = used.mold(spec)
        except BaseException:
            self.sources.close()
            raise
        self.template = used.template.digest

    def open(self) -> LiveInterpreter:
        """Give a fresh interpreter."""
        return PythonInterpreter(self, self.opened())

    def once(self, code: str, variables: Mapping[str, object] | None, running: Running) -> Ran:
        """Run ``code`` in an interpreter of its own, whose state before the run nobody will want."""
        live = PythonInterpreter(self, self.opened(), keeps=False)
        running.interrupt = live.interrupt
        try:
            return live.run(code, variables, running)
        finally:
            live.close()

    def restore(self, snapshot: bytes) -> LiveInterpreter:
        """Give an interpreter in the state of ``snapshot``."""
        live = PythonInterpreter(self, self.unsaved(snapshot), restored=True)
        if not live.answers():
            live.close()
            raise SnapshotError("the snapshot holds no interpreter that answers")
        return live

    def close(self) -> None:
        """Close the folder of modules."""
        self.sources.close()


def _kept(spec: InterpreterSpec) -> Enforcement:
    return of_code(
        spec,
        {
            Guarantee.FILESYSTEM: Enforced("code is given no folder, and so sees no file at all"),
            Guarantee.NETWORK: Enforced("code is given no address that it may connect to"),
            Guarantee.SYSCALLS: Enforced("code can make no system call; it calls functions of WASI, which refuse"),
            Guarantee.MEMORY: Enforced("memory of the machine does not grow beyond the limit; code gets a MemoryError"),
            "output": Enforced("what is printed is counted as it is told to the host"),
            "wall": Enforced("code is asked to stop, by an exception, and ended where it goes on"),
            Guarantee.DISK: Enforced("there are no files"),
            "files": Enforced("there are no files"),
        },
    )
