"""A program that yields at its top level: an asynchronous generator of the guest, moved on by the host."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

from cloche import ConsoleLine, Item, Ran, Running, Stream
from cloche_wasm.javascript import codec
from cloche_wasm.javascript.outcome import told

if TYPE_CHECKING:
    from cloche_native import wasm
    from cloche_wasm.javascript.language import JavaScriptLanguage
    from cloche_wasm.javascript.live import JavaScriptInterpreter

_CLOSING: Final = 1.0
"""Seconds, at most, in which a program that is ended early runs its ``finally`` blocks."""


class JavaScriptStream(Stream):
    """Stands at a ``yield``, or before its first line."""

    def __init__(
        self,
        live: JavaScriptInterpreter,
        language: JavaScriptLanguage,
        code: str,
        variables: Mapping[str, object] | None,
        running: Running,
    ) -> None:
        """Prepare the interpreter; nothing of the program runs yet. Raises ``SpecError`` for such variables."""
        self._live = live
        self._gate = language.gate(running)
        self._left = running.wall
        self._spent = 0.0
        self._printed: list[ConsoleLine] = []
        self._end: Ran | None = None
        source = language.source(code, yields=True)
        if isinstance(source, Ran):
            self._end = source
            return
        live.keep()
        began = time.monotonic()
        self._before = live.standing()
        text = live.prepared(variables, running)
        if text is not None:
            live.prepare(text, self._gate, running.wall)
        out = live.drive(live.command(self._gate, "start", source.decode()), self._gate, running.wall)
        self._left -= time.monotonic() - began
        if out.text != b"":
            self._end = self._finish(out, began)

    def next(self, sent: object = None) -> Item | Ran:
        """Run on to the next ``yield``."""
        if self._end is not None:
            return self._end
        packed = None if sent is None else codec.pack(sent)
        began = time.monotonic()
        out = self._live.drive(self._live.command(self._gate, "next", packed), self._gate, self._left)
        item = self._item(out)
        ran = self._finish(out, began) if item is None else None
        spent = time.monotonic() - began
        self._left, self._spent = self._left - spent, self._spent + spent
        if ran is None:
            return cast("Item", item)
        value = codec.alone(ran.value.get("value")) if isinstance(ran.value, dict) else None
        usage = replace(ran.usage, wall=self._spent)
        self._end = replace(ran, value=value, console=(*self._printed, *ran.console), usage=usage)
        return self._end

    def close(self) -> None:
        """Have the program return where it stands."""
        if self._end is not None:
            return
        began = time.monotonic()
        seconds = max(min(self._left, _CLOSING), 0.0)
        self._end = self._finish(self._live.drive(self._live.command(self._gate, "stop"), self._gate, seconds), began)

    def _item(self, out: wasm.Outcome) -> Item | None:
        """Give what was yielded; ``None``: the program has ended, in whatever way."""
        if out.end != "done" or out.interrupted or self._gate.why is not None or out.raised is not None:
            return None
        meant = told(out, None)
        if meant.reason != "completed" or not isinstance(meant.value, dict) or meant.value.get("done") is not False:
            return None
        self._printed += meant.console
        return Item(codec.alone(meant.value.get("value")))

    def _finish(self, out: wasm.Outcome, began: float) -> Ran:
        return self._live.ended(out, self._gate, began, self._before)
