"""The functions that the linked module imports besides clocks and randomness: calls of the host, and waiting.

They are the same for all interpreters; who answers is the one whose thread it is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from cloche_native.wasm import Instance

_REFUSED: Final = b'{"error": "the host can not be called now"}'
_ALARMS_MOST: Final = 1000


class Answering(Protocol):
    """Who answers the guest, in one thread, as long as that runs it."""

    def __call__(self, name: str, text: str) -> str:
        """Answer a call. Raises nothing."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait so long, or until the run is to end."""
        ...


class _Here(threading.local):
    answering: Answering | None = None
    told: bytes = b""
    alarms: tuple[float, ...] = ()


_here = _Here()


class Serving:
    """A context in which ``answering`` answers what this thread runs."""

    __slots__ = ("_answering", "_before")

    def __init__(self, answering: Answering) -> None:
        """Answer nothing yet."""
        self._answering = answering

    def __enter__(self) -> None:
        self._before, _here.answering = _here.answering, self._answering

    def __exit__(self, *_: object) -> None:
        _here.answering = self._before


def _ask(instance: Instance, name: int, name_size: int, text: int, size: int) -> int:
    """Answer ``call(name, text)``: give the size of what ``take`` then puts into memory."""
    answering = _here.answering
    if answering is None:
        _here.told = _REFUSED
    else:
        given = [instance.read(*place).decode(errors="replace") for place in ((name, name_size), (text, size))]
        _here.told = answering(*given).encode(errors="replace")
    return len(_here.told)


def _take(instance: Instance, at: int) -> None:
    told, _here.told = _here.told, b""
    instance.write(at, told)


def _alarm(_instance: Instance, nanoseconds: int) -> int:
    """Give the number of a time to wait for."""
    until = time.monotonic() + max(0, nanoseconds) / 1e9
    _here.alarms = (*_here.alarms[-_ALARMS_MOST:], until)
    return len(_here.alarms)


def _wait(instance: Instance, at: int, count: int) -> int:
    """Wait for the first of some alarms, and say which of them it was. Those that are not known are over."""
    read = instance.read(at, 4 * min(count, _ALARMS_MOST))
    numbers = [int.from_bytes(read[place : place + 4], "little") for place in range(0, len(read), 4)]
    known = _here.alarms
    until = [known[number - 1] if 0 < number <= len(known) else 0.0 for number in numbers]
    first = min(range(len(until)), key=until.__getitem__, default=0)
    _here.alarms = ()
    if until and _here.answering is not None and (left := until[first] - time.monotonic()) > 0:
        _here.answering.sleep(left)
    return first


FUNCTIONS: Final[Mapping[tuple[str, str], Callable[..., int | None]]] = {
    ("cloche", "ask"): _ask, ("cloche", "take"): _take, ("cloche", "alarm"): _alarm, ("cloche", "wait"): _wait,
}  # fmt: skip
