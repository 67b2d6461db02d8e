"""One JavaScript interpreter: runs, streams, is saved, and is as it was before a run that had to be ended hard."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from cloche import ConsoleLine, Ran, Reason, Running, RunUsage, StartError, Stream
from cloche_native import wasm
from cloche_wasm.javascript.gate import Gate
from cloche_wasm.javascript.outcome import Told, lines, told
from cloche_wasm.javascript.stream import JavaScriptStream
from cloche_wasm.living import STOP_GRACE, Living, walls

if TYPE_CHECKING:
    from cloche_wasm.javascript.language import JavaScriptLanguage

_DRAIN: Final = 0.02
"""Seconds in which the jobs that are left after a soft stop must end."""
_AGAIN: Final = 0.02
_LONG: Final = 0.02
"""Seconds after which it is looked whether there are jobs left: the guest runs a million or so at a time."""
_PAGE: Final = 65536


class JavaScriptInterpreter(Living["JavaScriptLanguage"]):
    """An instance of the language's template, and who answers it."""

    def __init__(self, language: JavaScriptLanguage, instance: wasm.Instance, *, keeps: bool = True) -> None:
        """Take the instance over. With ``keeps`` the state before each run is kept, to go back to."""
        super().__init__(language, instance, keeps=keeps)
        self._console = "collect"
        self._set_up = False
        self._gate: Gate | None = None

    def run(self, code: str, variables: Mapping[str, object] | None, running: Running) -> Ran:
        """Run ``code``, its value awaited where it is a promise."""
        began = time.monotonic()
        source = self._language.source(code)
        if isinstance(source, Ran):
            return source
        gate = self._language.gate(running)
        before = self.standing()
        top_await = b"await" in source
        prepare = self.prepared(variables, running, top_await=top_await)
        first = partial(
            self._live().run, source, prepare=prepare, calls=gate, top_await=top_await, keep=self._keeps
        )  # fmt: skip
        return self.ended(self.drive(first, gate, running.wall), gate, began, before)

    def stream(self, code: str, variables: Mapping[str, object] | None, running: Running) -> Stream:
        """Start a program that may ``yield``, ``await`` and ``return`` at its top level; its names are its own."""
        return JavaScriptStream(self, self._language, code, variables, running)

    def interrupt(self, why: str) -> None:
        """End the run that is going on."""
        with self._lock:
            if self._gate is not None:
                self.stopped(self._gate, why)

    def prepared(
        self, variables: Mapping[str, object] | None, running: Running, *, top_await: bool = False
    ) -> bytes | None:
        """Give what the guest is told before a run; ``None``: nothing that it does not know."""
        asked: dict[str, object] = {"await": True} if top_await else {}
        if not self._set_up:
            asked |= self._language.setup(running)
            self._set_up = True
        mode = self._language.console(running)
        if mode != self._console:
            asked["console"] = self._console = mode
        if variables:
            asked["variables"] = self._language.packed(variables)
        return json.dumps(asked).encode() if asked else None

    def command(self, gate: Gate, name: str, sent: str | None = None) -> Callable[..., wasm.Outcome]:
        """Give what calls a command of ``guest/runner.js``, with ``wall`` and ``grace``."""
        args = (name.encode(), None if sent is None else sent.encode(errors="surrogatepass"))
        return partial(self._live().invoke, self._language.commands, args, calls=gate)

    def prepare(self, text: bytes, gate: Gate, seconds: float) -> wasm.Outcome:
        """Tell the guest something outside of a run."""
        wall, grace = walls(seconds)
        return self._live().invoke(self._language.prepares, (text,), wall=wall, grace=grace, calls=gate)

    def standing(self) -> tuple[str, bool]:
        """Give what is known of the guest's settings, for ``ended``."""
        return self._console, self._set_up

    def keep(self) -> None:
        """Keep the state as it is now, to go back to."""
        self._live().keep()

    def drive(self, first: Callable[..., wasm.Outcome], gate: Gate, seconds: float) -> wasm.Outcome:
        """Cross once, and again for each function of the host that the code waits for, ``seconds`` in all."""
        gate.deadline = time.monotonic() + seconds
        gate.runner = self
        self._gate = gate
        try:
            wall, grace = walls(seconds)
            try:
                out = first(wall=wall, grace=grace)
            except RuntimeError as error:
                raise StartError(f"no code can be run here: {error}") from error
            while out.end == "pending" and gate.why is None and not out.interrupted:
                left = gate.deadline - time.monotonic()
                if left <= 0:
                    gate.why = "timeout"
                elif gate.waiting:
                    if done := gate.wait(left):
                        out = self._settled(gate, json.dumps([gate.settled(one) for one in done]))
                else:
                    out, through = self._resumed(gate)
                    if through:
                        break
            return out
        finally:
            with self._lock:
                self._gate = gate.runner = None

    def ended(self, out: wasm.Outcome, gate: Gate, began: float, before: tuple[str, bool]) -> Ran:
        """Give the run's end; where the instance did not survive it, one in the state before takes its place."""
        if out.raised is not None:
            raise out.raised
        meant = told(out, gate.why, full=out.memory > self._language.memory - _PAGE)
        if out.end == "done" and not out.interrupted and time.monotonic() - began < _LONG:
            return self._ran(meant, gate, began, out.memory, rolled_back=False)
        instance = self._live()
        long = (out.interrupted and out.end == "pending") or time.monotonic() - began > _LONG
        stopped = flooded = False
        if self._keeps and long and instance.alive:
            stopped, flooded = self._drained(gate)
        if (stopped or flooded) and meant.reason == "completed":
            meant = Told("timeout", console=meant.console)
        if instance.alive and out.end != "done":
            meant.console += self._printed(gate)
        rolled_back = False
        if flooded or not instance.alive:
            rolled_back = self._roll_back(instance)
            self._console, self._set_up = before
        return self._ran(meant, gate, began, out.memory, rolled_back=rolled_back)

    def _ran(self, meant: Told, gate: Gate, began: float, memory: int, *, rolled_back: bool) -> Ran:
        usage = RunUsage(time.monotonic() - began, memory, gate.calls)
        return Ran(
            meant.reason, meant.value, meant.error, tuple(meant.console), usage, rolled_back, gate.violations(),
            meant.detail,
        )  # fmt: skip

    def _resumed(self, gate: Gate) -> tuple[wasm.Outcome, bool]:
        """Run jobs, of which the guest runs only so many at a time; say whether they are through."""
        began = time.monotonic()
        wall, grace = walls(gate.deadline - began)
        out = self._live().resume(wall=wall, grace=grace, calls=gate)
        return out, not out.interrupted and time.monotonic() - began < _LONG

    def _drained(self, gate: Gate) -> tuple[bool, bool]:
        """Run the jobs that the code left; say whether they had to be stopped, and whether there are still some.

        Those would be in the way of every later run.
        """
        gate.deadline = max(gate.deadline, time.monotonic() + _DRAIN)
        stopped = through = False
        while not through and self._live().alive and time.monotonic() < gate.deadline:
            out, through = self._resumed(gate)
            stopped |= out.interrupted
        return stopped, not through

    def _settled(self, gate: Gate, sent: str) -> wasm.Outcome:
        """Tell the guest what came of calls that it waits for."""
        wall, grace = walls(gate.deadline - time.monotonic())
        return self.command(gate, "settle", sent)(wall=wall, grace=grace)

    def _printed(self, gate: Gate) -> list[ConsoleLine]:
        out = self.command(gate, "lines")(wall=STOP_GRACE, grace=STOP_GRACE)
        return lines(out.text) if out.text is not None else []

    def stopped(self, gate: Gate, why: str) -> None:
        """Stop softly, then hard; say so once more a little later, for the run may not have begun yet."""
        gate.why = gate.why or _reason(why)
        gate.wake()
        instance = self._instance
        if self._gate is gate and instance is not None:
            instance.stop(STOP_GRACE)
            if not gate.insisted_on:
                gate.insisted_on = True
                again = threading.Timer(_AGAIN, self._insist, (gate,))
                again.daemon = True
                again.start()

    def _insist(self, gate: Gate) -> None:
        with self._lock:
            if self._gate is gate:
                self.stopped(gate, "killed")


def _reason(why: str) -> Reason:
    reasons: Mapping[str, Reason] = {
        "timeout": "timeout", "limit:output": "limit:output", "limit:host_calls": "limit:host_calls",
        "limit:memory": "limit:memory",
    }  # fmt: skip
    return reasons.get(why, "killed")
