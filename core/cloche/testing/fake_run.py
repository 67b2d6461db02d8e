"""How a program of the fake language runs, statement by statement."""

from __future__ import annotations

import ast
import json
import operator
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

from cloche.errors import SpecError
from cloche.interpreters.contract import Item, Running
from cloche.interpreters.values import ConsoleLine, GuestError, Ran, Reason, RunUsage
from cloche.spec import Violation

if TYPE_CHECKING:
    from cloche.testing.fake_language import FakeInterpreter

_OPERATORS: Final[Mapping[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
}  # fmt: skip
Steps = Generator[Any, Any, Any]


class Raised(Exception):
    """What the code raised."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class Ended(Exception):
    """The code was ended; ``hard``: so that its state is lost."""

    def __init__(self, reason: Reason, *, hard: bool = False) -> None:
        super().__init__(reason)
        self.reason: Reason = reason
        self.hard = hard


class FakeRun:
    """One program on its way."""

    def __init__(
        self,
        live: FakeInterpreter,
        code: str,
        variables: Mapping[str, object] | None,
        running: Running,
        *,
        streams: bool,
    ) -> None:
        self._live, self._running, self._streams = live, running, streams
        self._left = running.wall
        self._until = 0.0
        self._wall = 0.0
        self._calls = self._printed = 0
        self._console: list[ConsoleLine] = []
        self._violations: list[Violation] = []
        self._globals = live.begin()
        self._before = dict(self._globals)
        self._globals |= _copied(variables or {}, live.spec.bounds.value)
        self._steps = self._program(code)
        live.pause()

    def go(self, sent: object) -> Item | Ran:
        """Run on to the next item, or to the end."""
        self._live.begin()
        began = time.monotonic()
        self._until = began + self._left
        try:
            return Item(self._steps.send(sent))
        except StopIteration as stop:
            return self._ran("completed", began, value=stop.value)
        except Raised as error:
            return self._ran("error", began, error=GuestError(error.name, str(error)))
        except Ended as end:
            if end.hard:
                self._live.roll_back(self._before)
            return self._ran(end.reason, began, rolled_back=end.hard)
        finally:
            self._wall += time.monotonic() - began
            self._left -= time.monotonic() - began
            self._live.pause()

    def close(self) -> None:
        """End it where it stands."""
        self._steps.close()

    def _ran(self, reason: Reason, began: float, **more: Any) -> Ran:  # noqa: ANN401 - fields of a Ran
        usage = RunUsage(self._wall + time.monotonic() - began, self._live.memory(), self._calls)
        return Ran(
            reason, console=tuple(self._console), usage=usage, violations=tuple(self._violations), **more
        )  # fmt: skip

    def _program(self, code: str) -> Steps:
        if len(code) > self._live.spec.bounds.source:
            raise Ended("limit:size")
        try:
            tree = ast.parse(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise Raised("SyntaxError", str(error)) from None
        value: Any = None
        for statement in tree.body:
            value = None
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=given):
                    self._globals[name] = yield from self._value(given)
                case ast.Expr(value=given):
                    value = yield from self._value(given)
                case ast.Raise(exc=ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=text)])):
                    raise Raised(name, str(text))
                case ast.While():
                    while True:
                        self._live.check_time(self._until)
                case _:
                    raise Raised("SyntaxError", f"there is no {type(statement).__name__} in this language")
        if len(json.dumps(value)) > self._live.spec.bounds.value:
            raise Ended("limit:size")
        return value

    def _value(self, tree: ast.expr) -> Steps:
        match tree:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                if name not in self._globals:
                    raise Raised("ReferenceError", f"{name} is not defined")
                return self._globals[name]
            case ast.List(elts=items):
                values = []
                for item in items:
                    values.append((yield from self._value(item)))  # noqa: PERF401 - yields in between
                return values
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                first, second = (yield from self._value(left)), (yield from self._value(right))
                return _OPERATORS[type(op)](first, second)
            case ast.Yield(value=item) if self._streams:
                given = None if item is None else (yield from self._value(item))
                return (yield given)
            case ast.Call(func=ast.Name(id=name), args=given):
                args: list[Any] = []
                for one in given:
                    args.append((yield from self._value(one)))  # noqa: PERF401 - as above
                return self._call(name, args)
            case _:
                raise Raised("SyntaxError", f"there is no {type(tree).__name__} in this language")

    def _call(self, name: str, args: list[Any]) -> Any:  # noqa: ANN401 - whatever the function gives
        own: Callable[..., Any] | None = getattr(self, f"_do_{name}", None)
        if own is not None:
            return own(*args)
        calls = self._running.calls
        kind = None if calls is None else calls.is_async(name)
        if calls is None or kind is None:
            raise Raised("ReferenceError", f"{name} is not defined")
        self._calls += 1
        if self._calls > self._live.spec.bounds.host_calls:
            raise Ended("limit:host_calls")
        if kind:
            calls.start(self._calls, name, args)
            done: Sequence[Any] = ()
            while not done:
                self._live.check_time(self._until)
                done = calls.wait(self._until - time.monotonic())
            completion = done[0]
        else:
            completion = calls.call(name, args)
        self._live.check_time(self._until)
        if completion.error is not None:
            raise Raised("Error", completion.error)
        try:
            return json.loads(json.dumps(completion.value))
        except (TypeError, ValueError):
            raise Raised("TypeError", f"{name} gave what can't be handed over") from None

    def _do_print(self, *args: object, level: str = "log") -> None:
        text = " ".join(str(arg) for arg in args)
        self._printed += len(text) + 1
        if self._printed > (self._live.spec.limits.output or self._printed):
            raise Ended("limit:output")
        line = ConsoleLine(level, text)
        if self._live.spec.console == "off":
            return
        if self._running.on_console is not None:
            self._running.on_console(line)
        else:
            self._console.append(line)

    def _do_warn(self, *args: object) -> None:
        self._do_print(*args, level="warn")

    def _do_grow(self, size: int) -> None:
        self._live.grow(size)

    def _do_spin(self) -> NoReturn:
        while True:
            try:
                self._live.check_time(self._until)
            except Ended as end:
                raise Ended(end.reason, hard=True) from None

    def _do_recurse(self) -> NoReturn:
        raise Ended("limit:stack", hard=True)

    def _do_refused(self, name: str) -> NoReturn:
        self._violations.append(Violation("module:denied", "import", name, "allow it", mechanism="module"))
        raise Raised("Error", f"{name} may not be imported")

    def _do_crash(self) -> NoReturn:
        raise Ended("crashed", hard=True)


def _copied(variables: Mapping[str, object], most: int) -> dict[str, Any]:
    try:
        text = json.dumps(dict(variables))
    except (TypeError, ValueError) as error:
        raise SpecError(f"variables: they can't be handed over: {error}") from None
    if len(text) > most:
        raise SpecError(f"variables: they take {len(text)} bytes; at most {most} (bounds.value)")
    copied: dict[str, Any] = json.loads(text)
    return copied
