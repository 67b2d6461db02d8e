"""How a crossing ended, told as the run's own end: which reason, which value, what was printed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from cloche import ConsoleLine, GuestError, Reason
from cloche_native.wasm import End, Outcome
from cloche_wasm.javascript import codec

_NO_CONSOLE: Final = 2
_PLAIN: Final = 0
_TAGGED: Final = 1
_ERROR: Final = 2
_REASONS: Final[dict[End, Reason]] = {
    "stopped": "timeout", "stack": "limit:stack", "memory": "limit:memory", "size": "limit:size",
    "raised": "crashed", "exited": "crashed", "trap": "crashed", "guest": "crashed", "dead": "crashed",
}  # fmt: skip
_NOTHING: Final = GuestError("Uncaught", "null")
_STUCK: Final = GuestError("Error", "the code waits for a promise that nothing will settle")


@dataclass(slots=True)
class Told:
    """What came of code, before it is known what it used."""

    reason: Reason
    value: Any = None
    error: GuestError | None = None
    detail: str = ""
    console: list[ConsoleLine] = field(default_factory=list)


def told(out: Outcome, why: Reason | None, *, full: bool = False) -> Told:
    """Tell what ``out`` means; ``why`` is what the run was ended for, if it was; ``full``: it has all its memory.

    Without memory for an error the guest throws ``null``.
    """
    if out.end == "done" and out.text is not None:
        heard = _heard(out.text)
        if full and heard.error == _NOTHING:
            heard = Told("limit:memory", console=heard.console)
        stopped = out.interrupted or (why is not None and (heard.reason == "error" or why.startswith("limit:")))
        return Told(why or "timeout", console=heard.console) if stopped else heard
    if out.end in {"pending", "stopped", "raised"} and (why is not None or out.interrupted):
        return Told(why or "timeout")
    if out.end == "pending":
        return Told("error", error=_STUCK)
    if "out of memory" in out.detail or "no memory left" in out.detail:
        return Told("limit:memory", detail=out.detail)
    return Told(_REASONS.get(out.end, "crashed"), detail=out.detail)


def lines(text: bytes) -> list[ConsoleLine]:
    """Give what was printed, of the guest's text."""
    return _heard(text).console


def _heard(text: bytes) -> Told:
    """Read ``[kind, value, console]`` as ``guest/runner.js`` writes it."""
    try:
        said = codec.parsed(text)
        if not isinstance(said, list) or len(said) not in {2, 3}:
            return Told("crashed", detail="the guest gave no answer of its form")
        meant = _meant(said[0], said[1])
        if len(said) > _NO_CONSOLE:
            meant.console = [_line(one) for one in said[2]]
    except codec.ForeignText as error:
        return Told("crashed", detail=str(error))
    return meant


def _meant(kind: object, value: Any) -> Told:  # noqa: ANN401 - any JSON
    if kind == _PLAIN:
        return Told("completed", value)
    if kind == _TAGGED:
        return Told("completed", codec.unpack(value, tagged=True))
    if kind != _ERROR:
        return Told("limit:size", detail=str(value))
    error = codec.guest_error(value)
    if error.name == "InternalError" and error.message == "out of memory":
        return Told("limit:memory", error=error)
    if error.name == "InternalError" and error.message == "string too long":
        return Told("limit:size", error=error)
    return Told("error", error=error)


def _line(one: Any) -> ConsoleLine:  # noqa: ANN401 - any JSON
    match one:
        case [str(level), str(text)]:
            return ConsoleLine(level, text)
    raise codec.ForeignText("a line of the console is two texts")
