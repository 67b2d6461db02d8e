"""What the guest's Python asks the host while code runs, each question answered with a text."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Final, NoReturn

from cloche import Completion, ConsoleLine, InterpreterSpec, Running, Violation
from cloche_wasm.modules import RefusedModules
from cloche_wasm.python.sources import Sources
from cloche_wasm.python.values import Crossing, pack, unpack

_LOOK: Final = 0.02
"""Seconds after which code that sleeps is looked at: it may be to end."""
_GRACE: Final = 0.05
_LEVELS: Final = frozenset({"log", "error"})


class Door:
    """Answers in one run, and counts."""

    def __init__(self, spec: InterpreterSpec, sources: Sources, running: Running) -> None:
        """Answer nothing yet."""
        self._spec = spec
        self._sources = sources
        self.running = running
        self.calls = 0
        self.printed = 0
        self.raised: BaseException | None = None
        self.why: str | None = None
        """What the run is ended for."""
        self.until = 0.0
        """When its code is asked to stop, by the monotonic clock."""
        self.end: Callable[[float], None] = _nobody
        """Ends it, softly, and so many seconds later hard."""
        self._refused = RefusedModules()

    def stop(self, why: str) -> None:
        """Have nothing more wait, and nothing more answered."""
        self.why = self.why or why

    def sleep(self, seconds: float) -> None:
        """Wait so long, or until the run is to end."""
        until = min(time.monotonic() + seconds, self.until)
        while self.why is None and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK))
        if time.monotonic() >= self.until:
            self.stop("timeout")

    def violations(self) -> tuple[Violation, ...]:
        """Give what was refused, each thing once."""
        return tuple(self._refused.values())

    def __call__(self, name: str, text: str) -> str:
        """Answer; never raises."""
        try:
            return self._answered(name, text)
        except Crossing as error:
            return _error(f"what came can't be read: {error}")
        except BaseException as error:  # noqa: BLE001 - Ctrl-C, for one: it passes the guest by, and is raised behind it
            self.raised = error
            self.stop("killed")
            self.end(_GRACE)
            return _end("killed")

    def _answered(self, name: str, text: str) -> str:
        if self.why is not None:
            return _end(self.why)
        if len(text) > self._spec.bounds.value:
            return _error(f"more than the {self._spec.bounds.value} bytes that may cross")
        if name == "$line":
            return self._line(text)
        if name == "$module":
            return self._module(unpack(text, str))
        return self._function(name, unpack(text, str))

    def _line(self, text: str) -> str:
        match json.loads(text):
            case [str(level), str(line)] if level in _LEVELS:
                self.printed += len(line.encode(errors="replace")) + 1
                if self._spec.limits.output is not None and self.printed > self._spec.limits.output:
                    return self._ended("limit:output")
                if self.running.on_console is not None:
                    self.running.on_console(ConsoleLine(level, line))
                return _value(None)
        raise Crossing("a line of the console is two texts")

    def _module(self, name: object) -> str:
        if not isinstance(name, str):
            raise Crossing("a module's name is a text")
        if not self._sources.allows(name):
            if not name.rpartition(".")[2].startswith("_"):  # the standard library tries those, and does without
                self._refused.add(name)
            return _value(None)
        found = self._sources.find(name)
        return _value(list(found) if found is not None else None)

    def _function(self, name: str, args: object) -> str:
        calls = self.running.calls
        waits = calls.is_async(name) if calls is not None else None
        if calls is None or waits is None or not isinstance(args, list):
            return _error("there is no such function of the host")
        self.calls += 1
        if self.calls > self._spec.bounds.host_calls:
            return self._ended("limit:host_calls")
        if not waits:
            return self._given(calls.call(name, args))
        calls.start(self.calls, name, args)
        while (left := self.until - time.monotonic()) > 0 and self.why is None:
            for ended in calls.wait(left):
                if ended.token == self.calls:
                    return self._given(ended)
        return _end(self.why or "timeout")

    def _given(self, ended: Completion) -> str:
        if ended.error is not None:
            return _error(ended.error)
        try:
            text = pack(ended.value, unfit)
        except Crossing as error:
            return _error(f"the host's function gave what can't cross: {error}")
        if len(text) > self._spec.bounds.value:
            return _error(f"the host's function gave more than the {self._spec.bounds.value} bytes that may cross")
        return f'{{"value": {json.dumps(text)}}}'

    def _ended(self, why: str) -> str:
        self.why = why  # code that goes on all the same gets nothing more, and ends at its wall time
        return _end(why)


def _nobody(_grace: float) -> None:
    """End nothing: nothing runs."""


def _value(value: object) -> str:
    return json.dumps({"value": pack(value, unfit)})


def _error(text: str) -> str:
    return json.dumps({"error": text})


def _end(why: str) -> str:
    return json.dumps({"end": why})


def unfit(value: object) -> NoReturn:
    """Refuse what has no form in the guest. Raises ``Crossing``."""
    raise Crossing(
        f"a {type(value).__name__} can't go to the guest; it takes None, bool, int, float, complex, str, bytes,"
        " Decimal, dates and times, and lists, tuples, dicts and sets of these"
    )
