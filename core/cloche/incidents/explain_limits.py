"""Which limit a program met, by how it ended and by what its sandbox used."""

from __future__ import annotations

import signal as signals
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from cloche.spec import Violation

if TYPE_CHECKING:
    from cloche.spec import Result, Spec

_FULL: Final = {"disk": 64 << 10, "files": 1}
"""With less than so much left a folder counts as full: bytes, since a write that did not fit was larger; and files."""
COUNTED: Final = (
    "pids", "pids_peak", "pids_refused", "oom_kills", "memory_refused", "open_files_refused", "file_size_refused",
)  # fmt: skip
"""Figures of a sandbox that are nothing when it begins, and say by growing which limit was met."""
SHELL: Final = 128
"""What a shell adds to the number of the signal that ended its program."""
_TIMES: Final = {
    "timeout": "the call's timeout= came first; give it more time",
    "limit:wall": "a call may take no longer; limits=Limits(wall=...) gives more",
    "limit:lifetime": "its sandbox's time was over; lifetime= gives more",
    "limit:idle_timeout": "nothing had run in its sandbox for too long; idle_timeout= gives more",
}
_SIZES: Final = (("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10))


def of_result(
    result: Result, spec: Spec, stats: Mapping[str, float] | None = None, before: Mapping[str, float] | None = None
) -> tuple[Violation, ...]:
    """Give the limits that a program met, each with its size and how to raise it; none for one that ended well.

    ``stats`` are the sandbox's when it had ended (``box.stats()``), ``before`` when it began; both may be missing.
    """
    return () if result.ok else tuple(_met(result, spec, stats or {}, before or {}))


def _met(result: Result, spec: Spec, stats: Mapping[str, float], before: Mapping[str, float]) -> Iterator[Violation]:
    limits = spec.limits
    grew = {name for name, now in stats.items() if name in before and now > before[name]}
    room = {name: stats[f"{name}_size"] - stats.get(f"{name}_used", 0) for name in _FULL if stats.get(f"{name}_size")}
    if result.reason == "out_of_memory" or not grew.isdisjoint({"oom_kills", "memory_refused"}):
        yield _limit(result, "memory", "use memory", _raised("the sandbox may use {}", "memory", limits.memory))
    if result.reason == "limit:output":
        hint = _raised("it may print {}", "output", limits.output)
        yield _limit(result, "output", "print", f"{hint}, or write to a file")
    if (time := _TIMES.get(result.reason)) is not None:
        bound = f"{limits.wall:g} s; " if result.reason == "limit:wall" and limits.wall is not None else ""
        yield _limit(result, result.reason.removeprefix("limit:"), "run", bound + time)
    too_large = result.signal == signals.SIGXFSZ or result.exit_code == SHELL + signals.SIGXFSZ
    if too_large or "file_size_refused" in grew:
        hint = _raised("one file may have {}", "file_size", limits.file_size)
        yield _limit(result, "file_size", "write", hint)
    if "open_files_refused" in grew:
        hint = _raised("a program may have {} files open", "open_files", limits.open_files, size=False)
        yield _limit(result, "open_files", "open", hint)
    peak = stats.get("pids_peak", 0) - before.get("pids", 0) if "pids_peak" in grew else 0
    if "pids_refused" in grew or (limits.pids is not None and peak >= limits.pids):
        hint = _raised("{} processes and threads may live at once", "pids", limits.pids, size=False)
        yield _limit(result, "pids", "fork", hint if "pids_refused" in grew else f"likely; {hint}")
    for name, left in room.items():
        if left < _FULL[name]:
            hint = _raised("its folders hold {}, and are full", name, int(stats[f"{name}_size"]), size=name == "disk")
            yield _limit(result, name, "write", hint)


def _limit(result: Result, name: str, operation: str, hint: str) -> Violation:
    program = result.args[0] if result.args else ""
    return Violation(f"limit:{name}", operation, program, hint, mechanism="limit")


def _raised(text: str, name: str, bound: int | None, *, size: bool = True) -> str:
    if bound is None:
        return f"limits=Limits({name}=...) sets how much"
    shown = _size(bound) if size else str(bound)
    more = f'"{_size(2 * bound)}"' if size else str(2 * bound)
    return f"{text.format(shown)}; limits=Limits({name}={more})"


def _size(value: int) -> str:
    for letter, factor in _SIZES:
        if value >= factor:
            return f"{value / factor:.1f}".removesuffix(".0") + letter
    return str(value)
