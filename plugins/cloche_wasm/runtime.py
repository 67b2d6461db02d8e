"""The runtime: boxes whose programs are WASI modules, and interpreters of languages without a process."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Final, cast

from cloche import (
    Check,
    Enforcement,
    Guarantee,
    Instance,
    InterpreterSpec,
    Language,
    Runtime,
    Spec,
    SpecError,
    StartError,
    Unsupported,
)
from cloche_wasm import needs, report
from cloche_wasm.instance import WasmInstance

LANGUAGES: Final[Mapping[str, str]] = {
    "javascript": "cloche_wasm.javascript.language:JavaScriptLanguage",
    "typescript": "cloche_wasm.javascript.language:typescript",
    "python": "cloche_wasm.python.language:PythonLanguage",
}
"""What prepares each language: ``module:name`` of what takes an ``InterpreterSpec`` and gives a ``Language``."""


class WasmRuntime(Runtime):
    """A language machine in this process: a guest makes no system call, it calls what it is given."""

    name: ClassVar[str] = "wasm"
    summary: ClassVar[str] = "WebAssembly in this process: WASI modules, and interpreters in microseconds"
    strength: ClassVar[int] = 30
    guarantees: ClassVar[frozenset[Guarantee]] = frozenset(
        {Guarantee.PROCESS, Guarantee.FILESYSTEM, Guarantee.NETWORK, Guarantee.SYSCALLS, Guarantee.CAPABILITIES}
        | {Guarantee.IDENTITY, Guarantee.MEMORY, Guarantee.PIDS, Guarantee.DISK}
    )
    languages: ClassVar[frozenset[str]] = frozenset(LANGUAGES)
    runs_programs: ClassVar[bool] = False

    def unavailable(self) -> str | None:
        """Run the smallest module there is."""
        return needs.tried()

    def enforcement(self, spec: Spec) -> Enforcement:
        """Report what a box keeps."""
        return report.of_box(spec)

    async def create(self, spec: Spec) -> Instance:
        """Make a box."""
        if problems := report.impossible(spec):
            raise SpecError("; ".join(problems))
        return WasmInstance(spec)

    def language(self, spec: InterpreterSpec) -> Language:
        """Prepare a language."""
        if (home := LANGUAGES.get(spec.language)) is None:
            known = ", ".join(sorted(LANGUAGES)) or "none"
            raise Unsupported(f"runtime {self.name!r} knows no language {spec.language!r:.80}; it knows: {known}")
        if spec.language != "python" and (reason := needs.lacking(needs.GUESTS)) is not None:  # that one is built
            raise StartError(f"language {spec.language!r}: {reason}")
        module, _, name = home.partition(":")
        prepare = cast("Callable[[InterpreterSpec], Language]", getattr(importlib.import_module(module), name))
        return prepare(spec)

    def checks(self) -> Sequence[Check]:
        """Say which packages there are."""
        return [*needs.checks(), *super().checks()]
