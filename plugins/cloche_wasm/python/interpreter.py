"""What runs in the guest, in CPython: it runs code, and tells the host what came of it. Nothing of cloche is there.

It is the guest's own: code that it runs may change whatever is in this memory, this module included. So the host
believes no word of it, and counts what is counted here as well.
"""

from __future__ import annotations

import io
import json
import random
import signal
import sys
import traceback
from collections.abc import Callable, Generator
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from typing import Any

from cloche_wasm.python.programs import FILE, program, run
from cloche_wasm.python.values import Crossing, pack, unpack

_SHOWN_MOST, _STACK_MOST = 2000, 20_000


class Ended(BaseException):
    """Code is to end, for a reason that the host knows."""


class HostError(Exception):
    """What the guest sees of a function of the host that failed."""


class Interpreter:
    """The globals that code shares from run to run, and the host behind ``call(name, text) -> text``."""

    def __init__(self, call: Callable[[str, str], str]) -> None:
        self._call = call
        self._globals: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
        self._lines: list[tuple[str, str]] = []
        self._room = 0
        self._live = False
        self._runs = False
        self._ended: str | None = None
        self._value_most = 0
        self._stream: Generator[Any, Any, Any] | None = None
        self._out, self._err = _Console(self, "log"), _Console(self, "error")
        sys.meta_path.append(_Finder(self.ask))
        signal.signal(signal.SIGINT, self._stopped)

    def answer(self, text: str) -> str:
        """Do what the host asks for, and tell it what came of it: JSON, whatever the code did."""
        given = json.loads(text)
        self._lines, self._ended = [], None
        self._room, self._live, self._value_most = given["room"], "live" in given, given["value"]
        sys.stdout, sys.stderr = self._out, self._err
        self._out.part = self._err.part = ""
        told: dict[str, Any]
        try:
            self._runs = True
            told = self._done(given)
            self._runs = False
            self._out.finish()
            self._err.finish()
        except Ended as ended:
            told = {"end": str(ended)}
        except BaseException as error:  # noqa: BLE001 - that code raises anything at all is a way to end
            self._runs = False
            told = {"end": "error", "error": _described(error)}
        self._runs = False
        if self._lines:
            told["lines"] = self._lines
        if self._ended is not None:  # though the code went on
            told["end"] = self._ended
        return json.dumps(told)

    def ask(self, name: str, value: object) -> Any:  # noqa: ANN401 - what a function of the host gives
        """Ask the host. Raises ``HostError`` with what it says, ``Ended`` when it wants the code to end."""
        try:
            answer = json.loads(self._call(name, pack(value, _unfit)))
        except Crossing as error:
            raise HostError(f"an argument can't go to the host: {error}") from None
        if "end" in answer:
            self.end(str(answer["end"]))
        if "error" in answer:
            raise HostError(answer["error"])
        return unpack(answer["value"], str)

    def print(self, level: str, line: str) -> None:
        """Take a line that code printed."""
        self._room -= len(line.encode(errors="replace")) + 1
        if self._room < 0:
            self.end("limit:output")
        if self._live:
            self._call("$line", json.dumps([level, line]))
        else:
            self._lines.append((level, line))

    def end(self, why: str) -> None:
        """End the code."""
        self._ended = why
        raise Ended(why)

    def _stopped(self, *_: object) -> None:
        """End the code, if it is that which runs: the host asked for it, between two instructions."""
        if self._runs:
            raise Ended("stopped")

    def _done(self, given: dict[str, Any]) -> dict[str, Any]:
        if "prepare" in given:
            self._prepare(given["prepare"])
        if "variables" in given:
            self._globals.update(unpack(given["variables"], str))
        match given["do"]:
            case "run":
                return self._packed("done", run(given["code"], self._globals))
            case "start":
                self._stream = program(given["code"], self._globals)
            case "next":
                return self._next(unpack(given["sent"], str))
            case "stop":
                stream, self._stream = self._stream, None
                if stream is not None:
                    stream.close()
        return {"end": "done"}

    def _prepare(self, given: dict[str, Any]) -> None:
        if given["random"] is not None:
            random.seed(None if given["random"] else 0)
        for name, waits in given["functions"]:
            self._globals[name] = _function(self.ask, name, waits=waits)
        for name in given["preload"]:
            __import__(name)

    def _next(self, sent: object) -> dict[str, Any]:
        if self._stream is None:
            raise RuntimeError("no program is running")
        try:
            return self._packed("item", self._stream.send(sent))
        except StopIteration as done:
            self._stream = None
            return self._packed("done", done.value)

    def _packed(self, end: str, value: object) -> dict[str, Any]:
        if value is None:
            return {"end": end}
        try:
            text = pack(value, _opaque)
        except Crossing as error:
            return {"end": "error", "error": ["ValueError", str(error), ""]}
        if len(text) > self._value_most:
            return {"end": "limit:size"}
        return {"end": end, "value": text}


class _Console(io.TextIOBase):
    """Hands lines on as they are full."""

    def __init__(self, owner: Interpreter, level: str) -> None:
        self._owner = owner
        self._level = level
        self.part = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        *full, self.part = (self.part + text).split("\n")
        for line in full:
            self._owner.print(self._level, line)
        if len(self.part) > 1 << 16:
            self.finish()
        return len(text)

    def finish(self) -> None:
        """Hand on what has no end yet."""
        part, self.part = self.part, ""
        if part:
            self._owner.print(self._level, part)


class _Finder:
    """Finds modules at the host: after all others, so only what the guest does not have."""

    def __init__(self, ask: Callable[[str, object], Any]) -> None:
        self._ask = ask

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        found = self._ask("$module", name)
        if found is None:
            return None
        source, package = found
        return ModuleSpec(name, _Loader(source), origin=f"<{name}>", is_package=package)


class _Loader(Loader):
    def __init__(self, source: str) -> None:
        self._source = source

    def create_module(self, spec: ModuleSpec) -> None:
        """Have the usual one made."""

    def exec_module(self, module: Any) -> None:  # noqa: ANN401 - a module is what it holds
        exec(compile(self._source, module.__spec__.origin, "exec"), module.__dict__)  # noqa: S102 - it is what it is for


def _function(ask: Callable[[str, object], Any], name: str, *, waits: bool) -> Callable[..., Any]:
    async def waiting(*given: object) -> Any:  # noqa: ANN401 - what a function of the host gives
        return ask(name, list(given))

    made = waiting if waits else lambda *given: ask(name, list(given))
    made.__name__ = made.__qualname__ = name
    return made


def _described(error: BaseException) -> list[str]:
    """Give an error's name, message and the part of its traceback that is the code's own."""
    kept = error.__traceback__
    while kept is not None and kept.tb_frame.f_code.co_filename != FILE:
        kept = kept.tb_next
    try:
        stack = "".join(traceback.format_exception(type(error), error, kept, limit=-50))
        message = str(error)
    except Exception:  # noqa: BLE001 - errors may be anything, and what shows them is the code's own
        stack, message = "", "it can't be shown"
    return [type(error).__name__, message[:_SHOWN_MOST], stack[-_STACK_MOST:]]


def _unfit(value: object) -> object:
    raise Crossing(f"a {type(value).__name__} has no form outside")


def _opaque(value: object) -> object:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a repr may do anything
        text = f"<{type(value).__name__}>"
    return {"$t": "opaque", "v": text[:_SHOWN_MOST]}
