"""The gate: what the guest's scripts ask the host while code runs, each question answered with a text.

A question is an operation and up to two texts; the scripts of ``guest/`` say which there are. Whatever code the guest
runs, it can't ask anything else. Nothing but an error of cloche itself is raised here.
"""

from __future__ import annotations

import heapq
import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from cloche import Completion, ConsoleLine, InterpreterSpec, Reason, Running, SpecError, Violation
from cloche_wasm.javascript import codec
from cloche_wasm.javascript.sources import Sources
from cloche_wasm.modules import RefusedModules

_ALIKE: Final = "[1779033703,-1150833019,1013904242,-1521486534]"
"""Seeds of random numbers that are to be alike in all interpreters (the first words of SHA-256, as good as any)."""
_MODULE: Final = re.compile(r"^\s*(import|export)\b", re.MULTILINE)
_LEVELS: Final = frozenset({"log", "info", "warn", "error", "debug"})
_FILES_PER_MIB: Final = 256
ROOM: Final = 65536
"""Bytes that the guest prints before it asks the host for more, as in ``guest/console.js``."""


class Runner(Protocol):
    """Who runs the code."""

    def stopped(self, gate: Gate, why: str) -> None:
        """End the run softly, whatever the guest does."""


class Gate:
    """Answers in one run."""

    def __init__(self, spec: InterpreterSpec, sources: Sources, running: Running) -> None:
        """Answer nothing yet."""
        self._spec = spec
        self._sources = sources
        self._running = running
        limit = spec.limits.output
        self._printed = 0 if running.on_console is not None else ROOM if limit is None else min(ROOM, limit)
        self._refused: RefusedModules | None = None
        self.calls = 0
        self.waiting = 0
        """Functions of the host that were started and have not ended, and timers that have not come."""
        self._timers: list[tuple[float, int]] = []
        self._woken: threading.Event | None = None
        self.why: Reason | None = None
        """What the run was ended for, set by who ended it."""
        self.deadline = 0.0
        """When its time is over, by the monotonic clock."""
        self.insisted_on = False
        """Whether stopping it will be tried once more."""
        self.runner: Runner | None = None
        """Set while code runs."""

    def __call__(self, kind: str, _name: bytes, args: tuple[bytes | None, ...]) -> bytes | None:
        """Answer a question of the scripts, or one for a module of ``import``."""
        texts = [(part or b"").decode(errors="replace") for part in args]
        if kind == "normalize":
            return self._normalize(texts[1]) if len(texts) > 1 else None
        if kind == "load":
            return self._load(texts[0]) if texts else None
        operation, first, second, *_ = [*texts, "", "", ""]
        answer = _OPERATIONS.get(operation)
        return answer(self, first, second).encode(errors="surrogatepass") if answer is not None else None

    def stop(self, why: str) -> None:
        """End the run, if code runs."""
        if (runner := self.runner) is not None:
            runner.stopped(self, why)

    def violations(self) -> tuple[Violation, ...]:
        """Give what was refused, each thing once."""
        return () if self._refused is None else tuple(self._refused.values())

    def _allows(self, name: str) -> bool:
        """Say whether a module may be had, and note it if not."""
        if self._sources.allows(name):
            return True
        if self._refused is None:
            self._refused = RefusedModules()
        self._refused.add(name)
        return False

    def wait(self, seconds: float) -> Sequence[Completion]:
        """Wait for functions that were started, and for timers."""
        if not self._timers:
            return () if self._running.calls is None else self._running.calls.wait(seconds)
        left = max(0.0, min(self._timers[0][0] - time.monotonic(), seconds))
        done: list[Completion] = []
        if self._running.calls is not None and self.waiting > len(self._timers):
            done += self._running.calls.wait(left)
        elif self._woken is not None and left:
            self._woken.wait(min(left, threading.TIMEOUT_MAX))
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            done.append(Completion(heapq.heappop(self._timers)[1]))
        return done

    def wake(self) -> None:
        """Have ``wait`` come back, as far as it waits for timers; from any thread."""
        if (woken := self._woken) is not None:
            woken.set()

    def settled(self, ended: Completion) -> list[object]:
        """Give how a function that was started has ended, for the guest."""
        self.waiting -= 1
        return [ended.token, self._answer(ended)]

    def _limits(self, _first: str, _second: str) -> str:
        limits = self._spec.limits
        disk = limits.disk if limits.disk is not None else limits.memory or 0
        files = limits.files if limits.files is not None else max(_FILES_PER_MIB, (disk >> 20) * _FILES_PER_MIB)
        return json.dumps([disk, files])

    def _seed(self, _first: str, _second: str) -> str:
        if not self._spec.random:
            return _ALIKE
        words = [int.from_bytes(secrets.token_bytes(4), "little", signed=True) for _ in range(4)]
        return json.dumps([words[0] | 1, *words[1:]])  # not all of them zero

    def _room(self, size: str, _second: str) -> str:
        """Give the guest bytes to print, as long as the limit has some."""
        limit = self._spec.limits.output
        wanted = _number(size)
        room = max(wanted, 1 << 20)
        if limit is not None and self._printed + room > limit:
            room = limit - self._printed
            if wanted > room:
                self.stop("limit:output")
        self._printed += room
        return str(room)

    def _log(self, level: str, text: str) -> str:
        limit = self._spec.limits.output
        self._printed += len(text) + 1
        if limit is not None and self._printed > limit:
            self.stop("limit:output")
        elif self._running.on_console is not None and level in _LEVELS:
            self._running.on_console(ConsoleLine(level, text))
        return "."

    def _require(self, name: str, _second: str) -> str:
        if not self._allows(name):
            return "!"
        text = self._sources.find(name)
        return "?" if text is None else "+" + text

    def _normalize(self, name: str) -> bytes | None:
        if not self._allows(name):
            return None
        return name.encode(errors="surrogatepass")

    def _load(self, name: str) -> bytes | None:
        """Give a module for ``import``; one that is written for ``require`` becomes the default export."""
        text = self._sources.find(name) if self._sources.allows(name) else None
        if text is None:
            return None
        if name.endswith(".json") or _MODULE.search(text) is None:
            text = f"export default globalThis.require({json.dumps(name)});\n"
        return text.encode(errors="surrogatepass")

    def _counted(self) -> bool:
        """Count a call of a function of the host; say whether it may be made."""
        self.calls += 1
        if self.calls > self._spec.bounds.host_calls:
            self.stop("limit:host_calls")
            return False
        return True

    def _call(self, name: str, packed: str) -> str:
        calls = self._running.calls
        if not self._counted() or calls is None:
            return "ethe host's functions can't be called here"
        try:
            args = codec.unpack_arguments(packed)
        except codec.ForeignText as error:
            return f"e{error}"
        return self._answer(calls.call(name, args))

    def _start(self, which: str, packed: str) -> str:
        calls = self._running.calls
        token, _, name = which.partition(" ")
        if not self._counted() or calls is None or not _number(token):
            return "ethe host's functions can't be called here"
        try:
            args = codec.unpack_arguments(packed)
        except codec.ForeignText as error:
            return f"e{error}"
        self.waiting += 1
        calls.start(_number(token), name, args)
        return "."

    def _timer(self, token: str, delay: str) -> str:
        """Wake the guest after so many milliseconds."""
        if not self._counted() or not _number(token):
            return "eno more timers can be had"
        self._woken = self._woken or threading.Event()
        self.waiting += 1
        heapq.heappush(self._timers, (time.monotonic() + _number(delay) / 1000, _number(token)))
        return "."

    def _answer(self, ended: Completion) -> str:
        """Give what a function came to, as ``calls.js`` takes it."""
        if ended.error is not None:
            return "e" + ended.error
        try:
            packed = codec.pack(ended.value)
        except SpecError as error:
            return f"ethe host's function gave what can't cross: {error}"
        if len(packed) > self._spec.bounds.value:
            return f"ethe host's function gave more than the {self._spec.bounds.value} bytes that may cross"
        return packed


def _number(text: str) -> int:
    """Give a number that the scripts count by; 0 for what is none."""
    return int(text) if text.isdecimal() and len(text) < len(str(1 << 53)) else 0


_OPERATIONS: Final[Mapping[str, Callable[[Gate, str, str], str]]] = {
    "limits": Gate._limits,  # noqa: SLF001 - its own
    "seed": Gate._seed,  # noqa: SLF001
    "room": Gate._room,  # noqa: SLF001
    "log": Gate._log,  # noqa: SLF001
    "require": Gate._require,  # noqa: SLF001
    "call": Gate._call,  # noqa: SLF001
    "start": Gate._start,  # noqa: SLF001
    "timer": Gate._timer,  # noqa: SLF001
}
