"""A program of the guest that yields, as the host has it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from cloche import ConsoleLine, Item, Ran, Running, SpecError, Stream
from cloche_wasm.python.door import unfit
from cloche_wasm.python.outcome import Told, value
from cloche_wasm.python.values import Crossing, pack

if TYPE_CHECKING:
    from cloche_wasm.python.live import PythonInterpreter


class PythonStream(Stream):
    """A program that yields."""

    def __init__(self, live: PythonInterpreter, given: dict[str, Any], running: Running, refused: Ran | None) -> None:
        """Run nothing yet."""
        self._live = live
        self._given: dict[str, Any] | None = given
        self._door = live.door(running)
        self._left = running.wall
        self._used = 0.0
        self._ended: Ran | None = refused
        self._lines: list[ConsoleLine] = []

    def next(self, sent: object = None) -> Item | Ran:
        """Run on to the next item, or give how the program ended."""
        if self._ended is not None:
            return self._ended
        given, self._given = self._given, None
        told = None if given is None else self._asked(given, keep=True)
        if told is None or told.end == "done":
            try:
                text = pack(sent, unfit)
            except Crossing as error:
                raise SpecError(f"what is sent: {error}") from None
            told = self._asked({"do": "next", "sent": text})
        if told.end == "item" and self._door.why is None:
            try:
                return Item(value(told))
            except (Crossing, TypeError):
                told = Told("crashed", detail="the guest gave no answer of its form")
        self._ended = self._live.ran(told, self._door, self._used, self._lines)
        return self._ended

    def close(self) -> None:
        """End it where it stands."""
        if self._ended is None and self._given is None and self._live.memory():
            self._ended = self._live.ran(self._asked({"do": "stop"}), self._door, self._used, self._lines)
        self._ended = self._ended or Ran("killed")

    def _asked(self, given: dict[str, Any], *, keep: bool = False) -> Told:
        begun = time.monotonic()
        try:
            told = self._live.asked(given, self._door, max(self._left, 0.001), keep=keep)
        finally:
            spent = time.monotonic() - begun
            self._left -= spent
            self._used += spent
        self._lines += told.lines
        return told
