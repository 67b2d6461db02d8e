from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche import (
    Bounds,
    Completion,
    ConsoleLine,
    GuestError,
    Host,
    InterpreterSpec,
    Item,
    Limits,
    LiveInterpreter,
    Modules,
    Opaque,
    Ran,
    Running,
    SnapshotError,
    SpecError,
)
from cloche_wasm import needs
from cloche_wasm.python.language import PythonLanguage
from cloche_wasm.python.values import Crossing, pack, unpack

pytest.importorskip("componentize_py")
pytestmark = pytest.mark.timeout(900)  # the first one builds CPython

LEVEL = Host().levels["maximum"]
MEMORY = 96 << 20


class Calls:
    """Functions of the host as a run has them."""

    def __init__(self, **functions: Callable[..., object]) -> None:
        self.functions = functions
        self.started: list[tuple[int, str, Sequence[Any]]] = []

    def call(self, name: str, args: Sequence[Any]) -> Completion:
        try:
            return Completion(0, self.functions[name](*args))
        except Exception as error:  # noqa: BLE001 - as the contract says: it becomes a text
            return Completion(0, error=f"{type(error).__name__}: {error}")

    def start(self, token: int, name: str, args: Sequence[Any]) -> None:
        self.started.append((token, name, args))

    def wait(self, timeout: float) -> Sequence[Completion]:
        if not self.started:
            time.sleep(timeout)
            return ()
        token, name, args = self.started.pop()
        return [Completion(token, self.call(name, args).value)]

    def is_async(self, name: str) -> bool | None:
        return name.startswith("slow") if name in self.functions else None


def spec(**options: Any) -> InterpreterSpec:  # noqa: ANN401 - those of InterpreterSpec
    limits = options.pop("limits", Limits(memory=MEMORY, output=10_000))
    return InterpreterSpec("python", LEVEL, limits, **options)


def opened(**options: Any) -> LiveInterpreter:  # noqa: ANN401 - the same
    return PythonLanguage(spec(**options)).open()


@pytest.fixture
def live() -> Iterator[LiveInterpreter]:
    live = opened()
    yield live
    live.close()


def run(live: LiveInterpreter, code: str, *, wall: float = 20, calls: Calls | None = None, **variables: object) -> Ran:
    return live.run(code, variables, Running(wall, calls))


def failure(ran: Ran) -> GuestError:
    assert ran.error is not None, ran
    return ran.error


# -- values ----------------------------------------------------------------------------------------------------------

LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
    | st.complex_numbers(allow_nan=False) | st.dates() | st.datetimes() | st.times() | st.timedeltas()
    | st.decimals(allow_nan=False)
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.just("$t"), inner) | st.tuples(inner, inner)
        | st.sets(st.text() | st.integers()) | st.frozensets(st.binary())
    ),
    max_leaves=12,
)  # fmt: skip


def refuse(value: object) -> object:
    raise Crossing(f"no {value}")


@given(VALUES)
def test_values_come_back_as_they_were(value: object) -> None:
    again = unpack(pack(value, refuse), Opaque)
    assert again == value
    assert type(again) is type(value)


KINDS = st.sampled_from(["set", "dict", "int", "bytes", "datetime", "opaque", "decimal", "complex", "timedelta"])


@given(
    st.recursive(
        st.none() | st.text(max_size=5) | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["$t", "v", "a"]), inner | KINDS),
    )
)
def test_whatever_the_guest_sends_is_read_or_refused(sent: object) -> None:
    try:
        unpack(json.dumps(sent), Opaque)
    except Crossing as error:
        assert str(error)  # noqa: PT017 - either outcome is right


FOREIGN = [
    "",
    "{",
    "[" * 100_000,
    '{"$t": "eval", "v": "1"}',
    '{"$t": 5}',
    '{"$t": "set", "v": [[1]]}',
    "[" * 300 + "]" * 300,
]


@pytest.mark.parametrize("text", FOREIGN)
def test_a_text_that_is_no_value_is_refused(text: str) -> None:
    with pytest.raises(Crossing):
        unpack(text, Opaque)


def test_values_go_in_and_come_out(live: LiveInterpreter) -> None:
    value = {
        "a": [1, 2.5, None, True, "é😀", (1, (2,)), {3, 4}, frozenset({5}), b"\0\xff", 1 + 2j, 2**100],
        "when": [datetime(2026, 1, 2, 3, 4, 5, 6, UTC), date(2026, 1, 2), clock_time(3, 4), timedelta(1, 2, 3)],
        "b": [Decimal("1.10"), {1: {"$t": 2}}],
    }  # fmt: skip
    assert run(live, "value", value=value).value == value
    assert run(live, "type(value['b'][0]).__name__, value['a'][5][1]").value == ("Decimal", (2,))


def test_what_can_t_come_out_is_shown_and_what_can_t_go_in_is_refused(live: LiveInterpreter) -> None:
    shown = run(live, "len").value
    assert shown == Opaque("<built-in function len>")
    for value in (object(), len, {"a": [object()]}):
        with pytest.raises(SpecError, match="can't go to the guest"):
            run(live, "1", value=value)
    with pytest.raises(SpecError, match="a name is text"):
        live.run("1", cast("Any", {5: 1}), Running(1))
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(SpecError, match="holds itself"):
        run(live, "1", value=circle)
    assert run(live, "a = []; a.append(a); a").reason == "error"


# -- runs ------------------------------------------------------------------------------------------------------------


def test_what_a_run_declares_is_there_in_the_next(live: LiveInterpreter) -> None:
    assert run(live, "x = 41\ndef f(y): return x + y").value is None
    assert run(live, "f(1)").value == 42
    assert run(live, "import math; math.floor(2.5)").value == 2
    assert run(live, "math.pi > 3").value is True


def test_nothing_of_one_interpreter_is_in_another() -> None:
    language = PythonLanguage(spec())
    one, other = language.open(), language.open()
    run(one, "import builtins, math; builtins.secret = 1; math.secret = 1; secret = 1")
    for code in ("secret", "import math; math.secret"):
        assert run(other, code).reason == "error"
    numbers = {run(live, "import random; random.random()").value for live in (one, other)}
    assert len(numbers) == 2
    one.close()
    other.close()


def test_random_numbers_are_alike_where_that_is_asked_for() -> None:
    numbers = set()
    for _ in range(2):
        live = opened(random=False)
        numbers.add(run(live, "import random; random.random()").value)
        live.close()
    assert len(numbers) == 1


def test_an_error_is_described_with_the_code_s_own_lines(live: LiveInterpreter) -> None:
    ran = run(live, "def f():\n    raise KeyError('k')\nf()")
    assert ran.reason == "error"
    assert ran.error is not None
    assert (ran.error.name, ran.error.message) == ("KeyError", "'k'")
    assert 'File "<code>", line 2, in f' in ran.error.stack
    assert "interpreter.py" not in ran.error.stack
    assert failure(run(live, "x x")).name == "SyntaxError"


def test_what_is_printed_is_told_by_line_and_stream(live: LiveInterpreter) -> None:
    ran = run(live, "import sys\nprint('a', 1)\nprint('b', file=sys.stderr)\nprint('c', end='')")
    assert ran.console == (ConsoleLine("log", "a 1"), ConsoleLine("error", "b"), ConsoleLine("log", "c"))
    told: list[ConsoleLine] = []
    ran = live.run("print('now')", None, Running(20, on_console=told.append))
    assert (told, ran.console) == ([ConsoleLine("log", "now")], ())


@pytest.mark.parametrize(
    "code",
    [
        "open('/etc/passwd')",
        "import os; os.listdir('/')",
        "import os; os.environ['PATH']",
        "import os; os.system('true')",
        "import os; os.fork()",
        "import socket; socket.create_connection(('127.0.0.1', 22), 1)",
        "import socket; socket.getaddrinfo('localhost', 80)",
        "import threading; threading.Thread(target=print).start()",
        "import subprocess; subprocess.run(['true'])",
        "import ctypes",
    ],
)
def test_code_has_no_world_outside(live: LiveInterpreter, code: str) -> None:
    ran = run(live, code)
    assert ran.reason == "error"
    assert run(live, "1 + 1").value == 2


# -- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def f(): return f()\nf()", "limit:stack"),
        ("a = 'x' * (1 << 30)", "limit:memory"),
        ("a = [0]\nwhile True: a = a + a", "limit:memory"),
        ("print('x' * 20_000)", "limit:output"),
        ("while True: print('line')", "limit:output"),
        ("'x' * 200_000", "limit:size"),
        ("1 " * 100_000, "limit:size"),
    ],
)
def test_code_that_goes_over_a_limit_is_told_which_and_the_session_lives(code: str, reason: str) -> None:
    live = opened(bounds=Bounds(value=100_000, source=100_000))
    run(live, "kept = 1")
    assert run(live, code).reason == reason
    assert run(live, "kept").value == 1
    live.close()


@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "def f():\n while True: g()\ndef g(): return [0] * 100\nf()",
        "import time; time.sleep(60)",
        "while True:\n try: 1 / 0\n except Exception: pass",
    ],
)
def test_code_that_does_not_end_is_asked_to_and_its_session_goes_on(live: LiveInterpreter, code: str) -> None:
    run(live, "x = 1")
    begun = time.monotonic()
    ran = run(live, f"x = 2\n{code}", wall=0.5)
    assert (ran.reason, ran.rolled_back, ran.error) == ("timeout", False, None)
    assert time.monotonic() - begun < 3
    assert run(live, "x").value == 2


UNHEEDING = ["sum(range(10 ** 12))", "while True:\n try:\n  while True: 1\n except BaseException: pass"]


@pytest.mark.parametrize("code", UNHEEDING)
def test_code_that_does_not_heed_being_asked_is_undone(live: LiveInterpreter, code: str) -> None:
    run(live, "x = 1")
    begun = time.monotonic()
    ran = run(live, f"x = 2\n{code}", wall=0.3)
    assert (ran.reason, ran.rolled_back) == ("timeout", True)
    assert time.monotonic() - begun < 3
    assert run(live, "x").value == 1


def test_code_that_takes_away_what_would_stop_it_is_undone(live: LiveInterpreter) -> None:
    assert run(live, "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN) is not None").value is True
    assert run(live, "while True: pass", wall=0.3).rolled_back
    assert run(live, "1").value == 1


def test_what_is_done_once_leaves_nothing_to_go_back_to() -> None:
    language = PythonLanguage(spec())
    ran = language.once("sum(range(10 ** 12))", None, Running(0.3))
    assert (ran.reason, ran.rolled_back) == ("timeout", False)
    language.close()


# -- states ----------------------------------------------------------------------------------------------------------


def test_a_saved_interpreter_goes_on_where_it_stood() -> None:
    language = PythonLanguage(spec(functions={"f": print}))
    live = language.open()
    calls = Calls(f=lambda number: number + 1)
    code = "import random\nclass Kept:\n x = [1]\ndef ones():\n while True: yield f(0)\nmade = ones()\nnext(made)"
    assert run(live, code, calls=calls).value == 1
    saved = live.snapshot()
    run(live, "Kept.x.append(2)")
    live.close()
    numbers = set()
    for _ in range(2):
        again = language.restore(saved)
        assert run(again, "next(made), Kept.x", calls=calls).value == (1, [1])
        numbers.add(run(again, "random.random()").value)
        assert again.memory() > 0
        again.close()
    assert len(numbers) == 2
    for wrong in (b"", saved[:-1], bytes(len(saved)), saved[:60] + bytes(50) + saved[110:], b"clochejs" + saved[8:]):
        with pytest.raises(SnapshotError):
            language.restore(wrong)
    with pytest.raises(SnapshotError, match="bytes"):
        language.restore(cast("Any", "text"))
    language.close()


def test_a_crafted_state_is_refused_or_runs_as_any_guest_does(live: LiveInterpreter) -> None:
    language = PythonLanguage(spec())
    run(live, "x = 1")
    saved = live.snapshot()
    head, body = saved[:44], bytearray(saved[44:])
    for at in range(0, len(body), max(1, len(body) // 40)):
        body[at] ^= 0x55
        made = head[:40] + zlib.crc32(body).to_bytes(4, "little") + bytes(body)
        try:
            again = language.restore(made)
        except SnapshotError:
            continue
        run(again, "1", wall=1)
        again.close()
    language.close()


SAVER = """
import sys
from cloche import Host
with Host() as host:
    python = host.interpreter("python", limits={"memory": "96M"})
    with python.session() as session:
        session.run("total = 41")
        sys.stdout.buffer.write(session.snapshot())
"""


def test_a_session_goes_on_in_another_process() -> None:
    saved = subprocess.run([sys.executable, "-c", SAVER], capture_output=True, check=True, timeout=600).stdout
    with Host() as host:
        python = host.interpreter("python", limits={"memory": "96M"})
        with python.restore(saved) as session:
            assert session.run("total + 1").value == 42


def test_a_frozen_clock_stands_and_sleep_still_takes_its_time() -> None:
    live = opened(clock="frozen")
    code = "import time\nbefore = time.time(), time.monotonic(), time.perf_counter()\ntime.sleep(0.05)\n"
    ran = run(live, f"{code}before == (time.time(), time.monotonic(), time.perf_counter())")
    assert ran.value is True
    assert ran.usage.wall >= 0.05
    live.close()


def test_memory_is_told_and_too_little_to_begin_with_is_refused(live: LiveInterpreter) -> None:
    small = run(live, "1").usage.memory
    assert run(live, "held = bytearray(30_000_000)").usage.memory >= small + 20_000_000
    assert live.memory() >= small + 20_000_000
    with pytest.raises(SpecError, match="begins with"):
        PythonLanguage(spec(limits=Limits(memory=8 << 20)))


def test_a_run_is_ended_from_another_thread_and_no_other_is(live: LiveInterpreter) -> None:
    other = opened()
    live.interrupt("killed")  # nothing runs
    assert run(live, "1").value == 1
    threading.Timer(0.2, live.interrupt, ["killed"]).start()
    assert run(live, "while True: pass").reason == "killed"
    assert run(other, "2").value == 2
    other.close()


def test_code_that_replaces_what_tells_the_host_is_told_as_crashed(live: LiveInterpreter) -> None:
    ran = run(live, "from cloche_wasm.python.interpreter import Interpreter\nInterpreter.answer = lambda *_: 'garbage'")
    assert ran.reason == "completed"
    ran = run(live, "1")
    assert ran.reason == "crashed"
    assert ran.rolled_back


# -- functions of the host, modules -----------------------------------------------------------------------------------


def test_functions_of_the_host_are_called_with_copies() -> None:
    given: list[object] = []
    functions: dict[str, Callable[..., object]] = {
        "keep": given.append,
        "add": lambda a, b: a + b,
        "fail": lambda: 1 / 0,
        "odd": object,
        "slow": lambda x: x * 2,
    }
    calls = Calls(**functions)
    live = opened(functions=functions)
    assert run(live, "add((1,), (2,)), add(b'a', b'b')", calls=calls).value == ((1, 2), b"ab")
    assert run(live, "mine = [1]\nkeep(mine)\nmine.append(2)", calls=calls).ok
    assert given == [[1]]
    assert failure(run(live, "fail()", calls=calls)).message == "ZeroDivisionError: division by zero"
    assert "can't cross" in failure(run(live, "odd()", calls=calls)).message
    assert run(live, "async def f(): return await slow(4)\nawait f() + await slow(1)", calls=calls).value == 10
    assert run(live, "try: fail()\nexcept Exception as e: x = type(e).__name__\nx", calls=calls).value == "HostError"
    assert run(live, "add(1, 2)").reason == "error"  # a run without functions
    live.close()


def test_calls_are_counted_and_code_that_goes_on_gets_no_more() -> None:
    made: list[int] = []
    live = opened(functions={"tick": made.append}, bounds=Bounds(host_calls=5))
    ran = run(live, "for i in range(100):\n try: tick(i)\n except Exception: pass", calls=Calls(tick=made.append))
    assert (ran.reason, made) == ("limit:host_calls", [0, 1, 2, 3, 4])
    assert run(live, "tick(9)", calls=Calls(tick=made.append)).ok
    live.close()


def test_a_function_that_does_not_come_back_is_bounded_by_the_wall_time() -> None:
    live = opened(functions={"slow": print})
    calls = Calls(slow=print)
    calls.start = lambda *_: None  # type: ignore[method-assign]
    assert run(live, "await slow()", calls=calls, wall=0.3).reason == "timeout"
    live.close()


def test_a_name_that_can_t_be_called_is_refused() -> None:
    for name in ("a b", "class", "", "1x"):
        with pytest.raises(SpecError, match="no name that Python can call"):
            PythonLanguage(spec(functions={name: print}))


def test_modules_come_from_the_embedder_and_others_are_refused(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "mods").mkdir()
    (tmp_path / "inside" / "mods" / "__init__.py").write_text("from .part import z")
    (tmp_path / "inside" / "mods" / "part.py").write_text("z = 3")
    (tmp_path / "secret.py").write_text("leaked = 1")
    (tmp_path / "inside" / "out.py").symlink_to(tmp_path / "secret.py")
    modules = Modules(
        allow=frozenset({"mine", "pkg", "mods", "out", "gone"}), folder=str(tmp_path / "inside"), preload=("mine",),
        sources={"mine": "x = 5\nprint('once')", "pkg.sub": "y = 2"},
    )  # fmt: skip
    live = opened(modules=modules)
    assert [line.text for line in run(live, "import mine; mine.x").console] == ["once"]
    assert run(live, "import pkg.sub, mods; pkg.sub.y + mods.z").value == 5
    for name in ("out", "gone"):
        ran = run(live, f"import {name}")
        assert failure(ran).name == "ModuleNotFoundError"
        assert ran.violations == ()
    ran = run(live, "import requests")
    assert [violation.target for violation in ran.violations] == ["requests"]
    live.close()


# -- streams ---------------------------------------------------------------------------------------------------------


def test_a_program_yields_and_what_it_assigns_is_kept(live: LiveInterpreter) -> None:
    code = "total = 0\nfor i in range(3):\n    total += i\n    got = yield i\n    print(got)"
    stream = live.stream(code, {"start": 1}, Running(20))
    assert [stream.next(), stream.next("a"), stream.next("b")] == [Item(0), Item(1), Item(2)]
    ended = stream.next("c")
    assert isinstance(ended, Ran)
    assert ended.ok
    assert [line.text for line in ended.console] == ["a", "b", "c"]
    assert stream.next() == ended
    assert run(live, "total, got, start").value == (3, "c", 1)


def test_a_program_that_is_closed_runs_its_finally(live: LiveInterpreter) -> None:
    stream = live.stream("try:\n    yield 1\n    yield 2\nfinally:\n    done = True", None, Running(20))
    assert stream.next() == Item(1)
    stream.close()
    stream.close()
    assert run(live, "done").value is True


@pytest.mark.parametrize(("code", "reason"), [("yield 1\n1 / 0", "error"), ("yield 1\nwhile True: pass", "timeout")])
def test_a_program_may_end_badly(live: LiveInterpreter, code: str, reason: str) -> None:
    stream = live.stream(code, None, Running(0.5))
    assert stream.next() == Item(1)
    ended = stream.next()
    assert isinstance(ended, Ran)
    assert ended.reason == reason
    stream.close()


# -- from outside ----------------------------------------------------------------------------------------------------


def test_a_host_runs_python_like_any_language() -> None:
    with Host() as host:
        python = host.interpreter("python", functions={"add": lambda a, b: a + b}, limits={"memory": MEMORY})
        assert python.run("add(x, 2)", {"x": 40}).value == 42
        with python.session() as session:
            session.run("kept = (1, 2)")
            assert session.run("kept").value == (1, 2)
            assert list(session.stream("for number in kept: yield number")) == [1, 2]
        assert python.run("while True: pass", timeout=0.2).reason == "timeout"


def test_a_forked_child_ends_its_own_runs(live: LiveInterpreter) -> None:
    run(live, "1")
    child = os.fork()
    if not child:
        ended = "no"
        try:
            ended = run(opened(), "while True: pass", wall=0.2).reason
        finally:
            os._exit(0 if ended == "timeout" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert run(live, "while True: pass", wall=0.2).reason == "timeout"


def test_the_doctor_says_whether_python_can_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {check.name: check for check in needs.checks()}["python"]
    assert (found.ok, found.fix) == (None, "")
    monkeypatch.setattr(needs, "PYTHON", ("no-such-package", (1,), (2,)))
    lacking = {check.name: check for check in needs.checks()}["python"]
    assert (lacking.ok, lacking.fix) == (None, "pip install 'cloche[wasm-python]'")
