"""What the runtime stands on: the packages of the extra, in versions that it knows."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from typing import Final

from cloche import Check

MACHINE: Final = ("wasmtime", (50,), (51,))
"""The package of the machine; from which version on, and before which."""
GUESTS: Final = ("quickjs-rs", (0, 2, 6), (0, 3))
"""The package with the interpreter of JavaScript and the TypeScript stripper."""
PYTHON: Final = ("componentize-py", (0, 25, 1), (0, 26))
"""The package that builds Python. Once that is built it is not needed any more."""
FIX: Final = "pip install 'cloche[wasm]'"
_NOTHING: Final = bytes.fromhex("0061736d01000000")  # magic and version: the smallest module


def lacking(need: tuple[str, tuple[int, ...], tuple[int, ...]]) -> str | None:
    """Give what is wrong with a package, or ``None`` if it is there in a version that is known."""
    name, least, before = need
    try:
        found = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return f"the package {name} is not installed: {FIX}"
    if not least <= _numbers(found) < before:
        return f"{name} {found} is installed, and {_text(least)} up to {_text(before)} is needed: {FIX}"
    return None


def tried() -> str | None:
    """Give why the machine can't run here, or ``None`` if it just did."""
    if (reason := lacking(MACHINE)) is not None:
        return reason
    try:
        import wasmtime  # noqa: PLC0415 - an extra, and 0.1 s of the start of a process that may never want it

        engine = wasmtime.Engine()
        with wasmtime.Store(engine) as store:
            wasmtime.Instance(store, wasmtime.Module(engine, _NOTHING), [])
    except Exception as error:  # noqa: BLE001 - a shared library that does not load raises whatever it likes
        return f"{MACHINE[0]} does not work here: {type(error).__name__}: {error}"
    return None


def checks() -> Sequence[Check]:
    """Give a line for each package."""
    out = []
    for what, need in (("machine", MACHINE), ("guests", GUESTS)):
        reason = lacking(need)
        found = reason or f"{need[0]} {importlib.metadata.version(need[0])}"
        out.append(Check(what, found, ok=reason is None, fix="" if reason is None else FIX))
    reason = lacking(PYTHON)
    found = f"can't be built: {PYTHON[0]} is not there" if reason else f"is built by {PYTHON[0]} when it is first used"
    fix = "pip install 'cloche[wasm-python]'"
    out.append(Check("python", found, ok=None, fix=fix if reason else ""))  # what was built before may be in the cache
    return out


def _numbers(version: str) -> tuple[int, ...]:
    """Give the leading numbers of a version; what follows them (rc, dev) is left out."""
    out = []
    for part in version.split("."):
        if not part.isdecimal():
            break
        out.append(int(part))
    return tuple(out)


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
