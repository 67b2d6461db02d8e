"""What a guest's answer means: which reason, which value, what was printed. The guest's code may have written it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cloche import ConsoleLine, GuestError, Opaque
from cloche_native.wasm import End, Outcome
from cloche_wasm.python.values import Crossing, unpack
from cloche_wasm.text import one_line

_FOREIGN: Final = "the guest gave no answer of its form"
_ERRORS: Final[Mapping[str, str]] = {"MemoryError": "limit:memory", "RecursionError": "limit:stack"}
"""Errors of the guest that say a limit was reached."""
_SAID: Final = frozenset({"limit:output", "limit:host_calls", "limit:size"})
"""Ends that are told as the guest says."""
_DIED: Final[Mapping[End, str]] = {
    "stopped": "timeout", "stack": "limit:stack", "memory": "limit:memory", "size": "limit:size",
}  # fmt: skip


@dataclass(slots=True)
class Told:
    """What a guest told, or how it ended without."""

    end: str
    said: dict[str, Any] = field(default_factory=dict)
    lines: list[ConsoleLine] = field(default_factory=list)
    memory: int = 0
    detail: str = ""
    foreign: bool = False
    """Whether it is nothing that our half of the guest would say: the code has put itself in its place."""
    rolled_back: bool = False


def heard(out: Outcome, why: str | None) -> Told:
    """Read an answer. ``why`` is what the run was ended for, if it was."""
    if out.end != "done" or out.text is None:
        return Told(why or _DIED.get(out.end, "crashed"), memory=out.memory, detail=one_line(out.detail, most=300))
    try:
        answer: Any = json.loads(out.text)
        match answer:
            case {"end": str(end)} as said:
                lines = [ConsoleLine(str(level), str(text)) for level, text in said.get("lines", ())]
                return Told(why or "timeout" if out.interrupted else end, said, lines, out.memory)
    except (ValueError, TypeError, RecursionError):
        pass  # as whatever else it may be
    return Told("crashed", memory=out.memory, detail=_FOREIGN, foreign=True)


def meant(told: Told, why: str | None) -> tuple[str, Any, GuestError | None, str]:
    """Give the reason, the value, the error and the detail of a run's end."""
    end = why or told.end
    try:
        if end == "done":
            return "completed", value(told), None, ""
        if end == "error":
            name, message, stack = told.said["error"]
            error = GuestError(str(name), str(message), str(stack))
            return _ERRORS.get(error.name, "error"), None, error, ""
    except (Crossing, KeyError, TypeError, ValueError) as error:
        return "crashed", None, None, f"{_FOREIGN}: {one_line(str(error))}"
    known = end in _SAID or end in _DIED.values() or end == "killed"
    return end if known else "crashed", None, None, told.detail


def value(told: Told) -> Any:  # noqa: ANN401 - what the code came to
    """Give the value of an answer. Raises ``Crossing``, ``TypeError``."""
    return unpack(told.said["value"], Opaque) if "value" in told.said else None
