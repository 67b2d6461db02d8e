from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloche import (
    UNDEFINED,
    BigInt,
    Bounds,
    Completion,
    ConsoleLine,
    GuestError,
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
    StartError,
    StateError,
)
from cloche_levels import ENHANCED
from cloche_wasm.cache import Cache
from cloche_wasm.javascript.language import JavaScriptLanguage, typescript

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMITS = Limits(memory="32M", wall=5, output="1M", disk="64K", files=16)
MODULES = Modules(
    allow=frozenset({"plain", "esm", "gone", "broken", "data.json", "@scope/*"}),
    sources={
        "plain": "exports.five = 5; exports.far = require('@scope/pkg/a').far",
        "@scope/pkg/a": "exports.far = require('./b').far",
        "@scope/pkg/b": "exports.far = 'b'",
        "esm": "export const named = 3; export default 4",
        "broken": "throw new Error('while loading')",
        "data.json": '{"a": [1]}',
    },
    preload=("plain",),
)


class Functions:
    """Functions of a host, answered in this thread; asynchronous ones end when they are waited for."""

    def __init__(self, functions: Mapping[str, Callable[..., object]], *, later: frozenset[str] = frozenset()) -> None:
        self.functions, self.later = functions, later
        self.started: list[tuple[int, str, Sequence[Any]]] = []

    def call(self, name: str, args: Sequence[Any]) -> Completion:
        return self._ended(0, name, args)

    def start(self, token: int, name: str, args: Sequence[Any]) -> None:
        self.started.append((token, name, args))

    def wait(self, timeout: float) -> Sequence[Completion]:
        if not self.started:
            time.sleep(min(timeout, 0.01))
        ended = [self._ended(*one) for one in self.started]
        self.started = []
        return ended

    def is_async(self, name: str) -> bool | None:
        return name in self.later if name in self.functions else None

    def _ended(self, token: int, name: str, args: Sequence[Any]) -> Completion:
        if name not in self.functions:
            return Completion(token, error="there is no such function")
        try:
            return Completion(token, self.functions[name](*args))
        except ValueError as error:
            return Completion(token, error=str(error))


def refuse(*_: object) -> None:
    raise ValueError("no")


FUNCTIONS: dict[str, Callable[..., object]] = {
    "add": lambda a, b: a + b,
    "same": lambda a: a,
    "refuse": refuse,
    "odd": object,
    "later": lambda a: [a],
}


@pytest.fixture(scope="module")
def prepare(guest_cache: Cache) -> Callable[..., JavaScriptLanguage]:
    def prepared(**changed: Any) -> JavaScriptLanguage:  # noqa: ANN401 - fields of a spec
        given = {"limits": LIMITS, "modules": MODULES, "functions": FUNCTIONS, **changed}
        return JavaScriptLanguage(InterpreterSpec("javascript", ENHANCED, **given), cache=guest_cache)

    return prepared


@pytest.fixture(scope="module")
def language(prepare: Callable[..., JavaScriptLanguage]) -> JavaScriptLanguage:
    return prepare()


@pytest.fixture
def live(language: JavaScriptLanguage) -> Iterator[LiveInterpreter]:
    live = language.open()
    yield live
    live.close()


def running(wall: float = 10.0, on_console: Callable[[ConsoleLine], object] | None = None) -> Running:
    return Running(wall, Functions(FUNCTIONS, later=frozenset({"later"})), on_console)


def run(live: LiveInterpreter, code: str, variables: Mapping[str, object] | None = None, *, wall: float = 10.0) -> Ran:
    return live.run(code, variables, running(wall))


def value(live: LiveInterpreter, code: str, **variables: object) -> Any:  # noqa: ANN401 - of any type
    ran = run(live, code, variables)
    assert ran.reason == "completed", ran
    return ran.value


# ---- Values ----


def test_the_last_expression_is_the_value(live: LiveInterpreter) -> None:
    assert value(live, "1 + 2") == 3
    assert value(live, "let x = 1") is None
    assert value(live, "") is None
    assert value(live, "null") is None
    assert value(live, "({a: [1, 'b', true, null, 1.5]})") == {"a": [1, "b", True, None, 1.5]}


def test_values_that_json_lacks_come_out(live: LiveInterpreter) -> None:
    assert value(live, "[5n, -7n, 10n ** 30n]") == [5, -7, 10**30]
    assert isinstance(value(live, "5n"), BigInt)
    assert value(live, "new Date(1e12)") == datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)
    assert value(live, "new Map([['a', new Set([1])]])") == {"a": {1}}
    assert value(live, "[new Uint8Array([0, 255]), new Uint8Array([1, 2]).buffer]") == [b"\0\xff", b"\1\2"]
    assert value(live, "[undefined, , 1]") == [UNDEFINED, UNDEFINED, 1]
    error = value(live, "new RangeError('far')")
    assert (error.name, error.message) == ("RangeError", "far")
    assert value(live, "[function f() {}, Symbol('s'), /a/g]") == [
        Opaque("[Function: f]"), Opaque("Symbol(s)"), Opaque("/a/g"),
    ]  # fmt: skip
    numbers = value(live, "[NaN, Infinity, -Infinity, -0, 2 ** 60, 1e300]")
    assert math.isnan(numbers[0])
    assert numbers[1:] == [math.inf, -math.inf, -0.0, float(2**60), 1e300]
    assert math.copysign(1, numbers[3]) == -1


def test_an_object_that_looks_like_a_tag_stays_an_object(live: LiveInterpreter) -> None:
    for found in ({"$t": "date", "v": 1}, {"$t": 1}, {"a": [{"$t": None}]}, {"__proto__": 1, "toJSON": 2}):
        assert value(live, "v", v=found) == found


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.just(UNDEFINED),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.sets(st.integers()),
    max_leaves=20,
)


@given(values)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_goes_in_comes_out(live: LiveInterpreter, given: object) -> None:
    assert value(live, "given", given=[given]) == [given]
    assert value(live, "same(given)", given=[given]) == [given]


def test_circles_and_deep_nesting_end_as_errors(live: LiveInterpreter) -> None:
    ran = run(live, "const a = []; a.push(a); a")
    assert ran.error is not None
    assert "holds itself" in ran.error.message
    ran = run(live, "let deep = 1; for (let i = 0; i < 500; i++) deep = [deep]; deep")
    assert ran.error is not None
    assert "deeper" in ran.error.message
    assert value(live, "const one = {}; [one, one]") == [{}, {}]


def test_a_value_that_grows_in_crossing_ends_as_too_large(prepare: Callable[..., JavaScriptLanguage]) -> None:
    live = prepare(bounds=Bounds(value=10_000)).open()
    assert run(live, "'x'.repeat(10_001)").reason == "limit:size"
    assert run(live, "let d = []; for (let i = 0; i < 40; i++) d = [d, d]; d").reason == "limit:size"
    with pytest.raises(SpecError, match="10000 may cross"):
        run(live, "1", {"big": "x" * 10_001})
    assert value(live, "'x'.repeat(100)") == "x" * 100
    live.close()


def test_variables_that_can_not_cross_are_refused(live: LiveInterpreter) -> None:
    with pytest.raises(SpecError, match="can't go"):
        run(live, "1", {"a": object()})
    with pytest.raises(SpecError, match="a name is text"):
        run(live, "1", {3: 1})  # type: ignore[dict-item]
    with pytest.raises(SpecError, match="code is text"):
        live.run(b"1", None, running())  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="Unicode"):
        run(live, "'\ud800'")
    assert value(live, "1") == 1


# ---- Runs and their state ----


def test_names_stay_from_run_to_run(live: LiveInterpreter) -> None:
    assert value(live, "let a = 1; const b = 2; function f() { return a + b } class C { m() { return 'm' } } a") == 1
    assert value(live, "a += 10; f()") == 13
    assert value(live, "new C().m()") == "m"
    assert value(live, "const c = await Promise.resolve(5); c") == 5
    assert value(live, "c") == 5


def test_a_promise_is_awaited(live: LiveInterpreter) -> None:
    assert value(live, "(async () => { await null; return 7 })()") == 7
    assert value(live, "await (async () => 8)()") == 8
    assert (
        run(live, "Promise.reject(new TypeError('no'))").error == run(live, "Promise.reject(new TypeError('no'))").error
    )
    assert run(live, "await Promise.reject(new TypeError('no'))").reason == "error"
    stuck = run(live, "await new Promise(() => {})")
    assert stuck.error is not None
    assert "nothing will settle" in stuck.error.message
    assert value(live, "1") == 1


def test_jobs_are_through_before_the_run_ends(live: LiveInterpreter) -> None:
    ran = run(live, "Promise.resolve().then(() => console.log('job')); console.log('code'); 1")
    assert [line.text for line in ran.console] == ["code", "job"]


def test_more_jobs_than_the_guest_runs_at_a_time_are_all_run(live: LiveInterpreter) -> None:
    assert value(live, "let n = 0; for (let i = 0; i < 300000; i++) { await null; n++ } n") == 300_000
    assert value(live, "let left = 300000; (function f() { if (left) Promise.resolve(left--).then(f) })(); 1") == 1
    assert value(live, "left") == 0


def test_what_was_thrown_is_the_error(live: LiveInterpreter) -> None:
    ran = run(live, "throw new TypeError('bad')")
    assert ran.reason == "error"
    assert ran.error is not None
    assert (ran.error.name, ran.error.message) == ("TypeError", "bad")
    assert "<eval>" in ran.error.stack
    thrown = run(live, "throw {a: 1}").error
    assert thrown == GuestError("Uncaught", '{"a":1}')
    syntax = run(live, "let = ").error
    assert syntax is not None
    assert syntax.name == "SyntaxError"


def test_once_keeps_nothing(language: JavaScriptLanguage) -> None:
    assert language.once("globalThis.left = 1; left", None, running()).value == 1
    assert language.once("typeof left", None, running()).value == "undefined"


def test_a_closed_interpreter_says_so(language: JavaScriptLanguage) -> None:
    live = language.open()
    live.close()
    live.close()
    with pytest.raises(StateError, match="closed"):
        run(live, "1")
    assert live.memory() == 0


def test_usage_says_what_a_run_took(live: LiveInterpreter) -> None:
    usage = run(live, "add(1, 2); const until = Date.now() + 25; while (Date.now() < until);").usage
    assert usage.host_calls == 1
    assert usage.wall > 0.02
    assert usage.memory == live.memory() > 1 << 20


# ---- Bounds ----


def test_a_loop_is_stopped_and_the_session_lives(live: LiveInterpreter) -> None:
    run(live, "let kept = 1")
    ran = run(live, "kept = 2; for (;;);", wall=2.5)
    assert (ran.reason, ran.rolled_back) == ("timeout", False)
    assert 2 < ran.usage.wall < 4
    assert value(live, "kept") == 2


@pytest.mark.parametrize(
    "code",
    [
        "Array.prototype.indexOf.call({length: 2 ** 53 - 1}, 1)",
        "new Array(2 ** 32 - 1).join('')",
    ],
)
def test_a_native_loop_is_ended_and_the_session_is_as_before(live: LiveInterpreter, code: str) -> None:
    run(live, "let kept = 1")
    ran = run(live, f"kept = 2; {code}", wall=0.2)
    assert (ran.reason, ran.rolled_back) == ("timeout", True)
    assert value(live, "kept") == 1
    assert value(live, "add(1, 2)") == 3


@pytest.mark.parametrize(
    ("code", "reasons"),
    [
        ("/(a+)+$/.test('a'.repeat(40) + 'b')", {"timeout"}),
        ("(function f() { Promise.resolve().then(f) })()", {"timeout"}),
        ("(async () => { await null; for (;;); })()", {"timeout"}),
        ("const all = []; for (;;) all.push(new Array(1000).fill(1))", {"limit:memory"}),
        ("'a'.repeat(2 ** 29).length", {"limit:memory"}),
        ("let s = 'x'; for (;;) s += s", {"limit:size"}),
        ("new Uint8Array(2 ** 31)", {"limit:memory", "error"}),
        ("function f() { return 1 + f() } f()", {"limit:stack"}),
        ("JSON.parse('['.repeat(1000000))", {"limit:stack", "error"}),
        ("for (;;) add(1, 2)", {"limit:host_calls"}),
        ("for (;;) console.log('x'.repeat(10000))", {"limit:output"}),
        ("for (;;) Promise.resolve().then(() => 1)", {"limit:memory", "timeout"}),
    ],
)
def test_abuse_ends_with_its_reason_and_the_session_goes_on(
    live: LiveInterpreter, code: str, reasons: set[str]
) -> None:
    run(live, "let kept = 1")
    ran = run(live, code, wall=2.0)
    assert ran.reason in reasons, ran.explain()
    assert value(live, "kept") == 1
    assert value(live, "Promise.resolve(3)") == 3


def test_source_that_is_too_long_is_not_run(prepare: Callable[..., JavaScriptLanguage]) -> None:
    live = prepare(bounds=Bounds(source=100)).open()
    assert run(live, "1;" * 100).reason == "limit:size"
    assert value(live, "1") == 1
    live.close()


def test_output_is_bounded_however_it_is_printed(prepare: Callable[..., JavaScriptLanguage]) -> None:
    live = prepare(limits=Limits(memory="32M", wall=5, output=1000)).open()
    code = "for (let i = 0; i < 100; i++) console.log('x'.repeat(99))"
    ran = run(live, code)
    assert ran.reason == "limit:output"
    assert 8 <= len(ran.console) <= 10
    seen: list[ConsoleLine] = []
    assert live.run(code, None, running(on_console=seen.append)).reason == "limit:output"
    assert 8 <= len(seen) <= 10
    assert run(live, "console.log('x'.repeat(900))").ok
    live.close()


def test_a_run_is_interrupted_from_another_thread(live: LiveInterpreter) -> None:
    timer = threading.Timer(0.2, live.interrupt, ("killed",))
    timer.start()
    assert run(live, "for (;;);", wall=20).reason == "killed"
    timer.join()
    live.interrupt("killed")  # nothing runs: the next one is not hit
    assert value(live, "1") == 1


# ---- What is there and what is not ----


def test_the_console_has_levels_and_shows_values(live: LiveInterpreter) -> None:
    code = (
        "console.log('a', {b: [1, 'c'], d: new Map([[1, 2]])}, 5n, undefined); console.error(new Set([1])); "
        "const o = {}; o.o = o; console.warn(o, [,1].length, -0, function f() {}, class A {}, Symbol('s'))"
    )
    ran = run(live, code)
    assert ran.console == (
        ConsoleLine("log", 'a { b: [ 1, "c" ], d: Map(1) { 1 => 2 } } 5n undefined'),
        ConsoleLine("error", "Set(1) { 1 }"),
        ConsoleLine("warn", "{ o: [Circular] } 2 -0 [Function: f] [class: A] Symbol(s)"),
    )
    assert run(live, "1").console == ()


def test_the_console_may_be_heard_at_once_or_be_off(
    live: LiveInterpreter, prepare: Callable[..., JavaScriptLanguage]
) -> None:
    seen: list[ConsoleLine] = []
    ran = live.run("console.log('a'); console.log('b')", None, running(on_console=seen.append))
    assert [line.text for line in seen] == ["a", "b"]
    assert ran.console == ()
    assert [line.text for line in run(live, "console.log('c')").console] == ["c"]
    off = prepare(console="off").open()
    assert off.run("console.log('a'); 1", None, running()).console == ()
    off.close()


def test_files_have_a_quota(live: LiveInterpreter) -> None:
    assert value(live, "$fs.write('/a/../b//c.txt', 'hello'); [$fs.list(), $fs.read('b/c.txt')]") == [
        ["/b/c.txt"],
        "hello",
    ]
    assert value(live, "$fs.write('x', new Uint8Array([1])); $fs.append('b/c.txt', '!'); $fs.read('x')") == b"\1"
    assert value(live, "$fs.remove('x'); [$fs.exists('x'), $fs.exists('b/c.txt')]") == [False, True]
    code = "(() => {{ try {{ {} }} catch (error) {{ return error.code }} }})()"
    assert value(live, code.format("$fs.write('p', '1'); $fs.protect('p'); $fs.write('p', '2')")) == "EACCES"
    assert value(live, code.format("$fs.write('big', 'x'.repeat(1 << 16))")) == "ENOSPC"
    assert value(live, code.format("for (let i = 0; i < 100; i++) $fs.write('f' + i, '')")) == "EMFILE"
    assert value(live, code.format("$fs.read('gone')")) == "ENOENT"
    assert value(live, "$fs.usage().disk") == 64 << 10


def test_modules_are_those_that_are_allowed(live: LiveInterpreter) -> None:
    assert value(live, "require('plain')") == {"five": 5, "far": "b"}
    assert value(live, "[(await import('esm')).named, (await import('esm')).default]") == [3, 4]
    assert value(live, "(await import('plain')).default.five") == 5
    assert value(live, "require('data.json')") == {"a": [1]}
    gone = run(live, "require('gone')")
    assert gone.error is not None
    assert "there is no module" in gone.error.message
    assert gone.violations == ()
    broken = run(live, "require('broken')")
    assert broken.error is not None
    assert broken.error.message == "while loading"


@pytest.mark.parametrize("name", ["fs", "@scope", "@scope/", "@scopes/a", "plain/../fs", ""])
def test_a_module_that_is_not_allowed_is_a_violation(live: LiveInterpreter, name: str) -> None:
    for code in (f"require('{name}')", f"await import('{name}')"):
        ran = run(live, code)
        assert ran.reason == "error"
        assert [(v.rule, v.operation, v.target) for v in ran.violations] == [("module:not-allowed", "import", name)]
    assert run(live, "1").violations == ()


def test_modules_come_from_a_folder_and_never_from_beside_it(
    tmp_path: Path, prepare: Callable[..., JavaScriptLanguage]
) -> None:
    folder = tmp_path / "modules"
    (folder / "@a").mkdir(parents=True)
    (folder / "@a" / "one.js").write_text("exports.one = 1")
    (folder / "two.json").write_text("[2]")
    (folder / "bytes.js").write_bytes(b"\xff")
    (tmp_path / "outside.js").write_text("exports.out = 1")
    (folder / "link.js").symlink_to(tmp_path / "outside.js")
    allow = frozenset({"@a/*", "two.json", "link", "bytes", "../outside"})
    language = prepare(modules=Modules(allow=allow, folder=str(folder)))
    live = language.open()
    assert value(live, "[require('@a/one'), require('two.json')]") == [{"one": 1}, [2]]
    for name in ("link", "bytes", "../outside", "@a/../two.json"):
        assert run(live, f"require('{name}')").reason == "error"
    live.close()
    language.close()
    with pytest.raises(SpecError, match="can't be opened"):
        prepare(modules=Modules(folder=str(tmp_path / "gone")))


def test_a_preload_must_be_allowed_and_have_a_text(prepare: Callable[..., JavaScriptLanguage]) -> None:
    with pytest.raises(SpecError, match="not allowed"):
        prepare(modules=Modules(sources={"a": ""}, preload=("a",)))
    with pytest.raises(SpecError, match="has no text"):
        prepare(modules=Modules(allow=frozenset({"a"}), preload=("a",)))


def test_functions_of_the_host_are_called(live: LiveInterpreter) -> None:
    assert value(live, "[add(1, 2), add('a', 'b'), same(new Map([[1, 5n]]))]") == [3, "ab", {1: 5}]
    assert value(live, "await later(1)") == [1]
    assert value(live, "Promise.all([later(1), later(2)])") == [[1], [2]]
    assert value(live, "let n = 0; for (const i of [1, 2, 3]) n += (await later(i))[0]; n") == 6


def test_errors_of_the_host_are_the_guests_as_texts(live: LiveInterpreter) -> None:
    for code in ("refuse()", "await later(refuse())"):
        error = run(live, code).error
        assert error is not None
        assert (error.name, error.message) == ("HostError", "no")
    odd = run(live, "odd()").error
    assert odd is not None
    assert "can't cross" in odd.message
    assert value(live, "(() => { try { refuse() } catch (error) { return error.message } })()") == "no"
    assert run(live, "same(same)").reason == "error"  # what a function would be on the way back


def test_a_name_that_can_not_be_called_is_refused(prepare: Callable[..., JavaScriptLanguage]) -> None:
    for name in ("a b", "", "1a", "a.b"):
        with pytest.raises(SpecError, match="no name that JavaScript can call"):
            prepare(functions={name: len})


def test_there_is_no_authority_around(live: LiveInterpreter) -> None:
    names = [
        "process",
        "WebAssembly",
        "std",
        "os",
        "fetch",
        "Deno",
        "Atomics",
        "__host",
        "__boot",
        "__encode",
        "__command",
    ]
    assert value(live, f"[{', '.join(f'typeof {name}' for name in names)}]") == ["undefined"] * len(names)


def test_what_the_language_brings_is_frozen_and_can_be_inherited_from(live: LiveInterpreter) -> None:
    for code in ("Object.prototype.polluted = 1", "'use strict'; Array.prototype.map = 1", "Math.random = 1"):
        run(live, code)
    assert value(live, "[({}).polluted, typeof [].map, typeof Math.random]") == [UNDEFINED, "function", "function"]
    assert (
        value(live, "class E extends Error { constructor(m) { super(m); this.name = 'E' } } String(new E('m'))")
        == "E: m"
    )
    assert value(live, "const o = {}; o.toString = () => 'mine'; String(o)") == "mine"
    assert value(live, "function P() {} P.prototype.toString = () => 'P'; String(new P())") == "P"
    assert value(live, "({__proto__: null, constructor: 1})") == {"constructor": 1}


def test_without_hardening_the_language_can_be_changed_in_one_interpreter(
    prepare: Callable[..., JavaScriptLanguage],
) -> None:
    language = prepare(harden=False)
    first, second = language.open(), language.open()
    run(first, "Object.prototype.polluted = 1; Array.prototype.push = JSON.stringify = null")
    assert value(first, "console.log([1], {}); [{}.polluted, new Map([[1, [2]]])]") == [1, {1: [2]}]
    assert value(second, "typeof {}.polluted") == "undefined"
    first.close()
    second.close()


def test_random_numbers_differ_between_interpreters_unless_they_are_to_be_alike(
    prepare: Callable[..., JavaScriptLanguage], language: JavaScriptLanguage
) -> None:
    drawn = {language.once("Math.random()", None, running()).value for _ in range(5)}
    assert len(drawn) == 5
    assert all(0 <= number < 1 for number in drawn)
    alike = prepare(random=False)
    assert len({alike.once("Math.random()", None, running()).value for _ in range(3)}) == 1


def test_a_clock_may_stand_still(prepare: Callable[..., JavaScriptLanguage], live: LiveInterpreter) -> None:
    assert abs(value(live, "Date.now()") / 1000 - time.time()) < 60
    frozen = prepare(clock="frozen")
    code = "const a = Date.now(), b = performance.now(); for (let i = 0; i < 1e5; i++); "
    code += "[Date.now() - a, performance.now() - b]"
    assert frozen.once(code, None, running()).value == [0, 0]


# ---- Streams ----


def test_a_program_yields_what_it_likes(live: LiveInterpreter) -> None:
    loop = "for (let i = 0; i < 2; i++) { const got = yield {i}; console.log(got) }"
    flow = live.stream(f"console.log('s'); {loop} return await later(9)", None, running())
    assert flow.next() == Item({"i": 0})
    assert flow.next("a") == Item({"i": 1})
    end = flow.next([1])
    assert isinstance(end, Ran)
    assert end.value == [9]
    assert [line.text for line in end.console] == ["s", "a", "[ 1 ]"]
    assert flow.next() is end


def test_a_stream_is_ended_where_it_stands(live: LiveInterpreter) -> None:
    seen: list[ConsoleLine] = []
    flow = live.stream(
        "try { yield 1; yield 2 } finally { console.log('over') }", None, running(on_console=seen.append)
    )
    assert flow.next() == Item(1)
    flow.close()
    flow.close()
    assert [line.text for line in seen] == ["over"]
    assert isinstance(flow.next(), Ran)
    assert value(live, "1") == 1


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("yield (", "error"),
        ("throw new Error('e')", "error"),
        ("for (;;);", "timeout"),
        ("(function f() { f() })()", "limit:stack"),
    ],
)
def test_a_stream_ends_with_its_reason(live: LiveInterpreter, code: str, reason: str) -> None:
    run(live, "let kept = 1")
    flow = live.stream(code, None, running(0.3))
    end = flow.next()
    assert isinstance(end, Ran)
    assert end.reason == reason
    assert value(live, "kept") == 1


def test_time_is_that_of_all_pieces(live: LiveInterpreter) -> None:
    flow = live.stream(
        "for (;;) { const until = Date.now() + 60; while (Date.now() < until); yield 1 }", None, running(0.5)
    )
    taken = 0
    while isinstance(flow.next(), Item):
        taken += 1
    assert 2 <= taken <= 9


# ---- Snapshots ----


def test_a_saved_interpreter_goes_on_where_it_was(language: JavaScriptLanguage, live: LiveInterpreter) -> None:
    run(live, "class A { #p = 1; up() { return ++this.#p } } const a = new A(); function* g() { yield 1; yield 2 } "
              "const it = g(); it.next(); $fs.write('f', 'kept'); Math.random()")  # fmt: skip
    saved = live.snapshot()
    assert len(saved) < 100_000
    for _ in range(2):
        again = language.restore(saved)
        assert value(again, "[a.up(), it.next().value, $fs.read('f'), add(1, 2)]") == [2, 2, "kept", 3]
        again.close()
    first, second = language.restore(saved), language.restore(saved)
    assert value(first, "Math.random()") != value(second, "Math.random()")
    first.close()
    second.close()


def test_a_restored_interpreter_is_told_anew_how_to_print(language: JavaScriptLanguage, live: LiveInterpreter) -> None:
    live.run("console.log('live')", None, running(on_console=lambda _: None))
    again = language.restore(live.snapshot())
    assert [line.text for line in run(again, "console.log('kept')").console] == ["kept"]
    again.close()


def test_a_thread_with_too_little_stack_is_refused(prepare: Callable[..., JavaScriptLanguage]) -> None:
    language = prepare(bounds=Bounds(stack=64 << 20))
    refused: list[str] = []

    def work() -> None:
        with pytest.raises(StartError, match="less stack"):
            language.once("1", None, running())
        refused.append("yes")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert refused == ["yes"]


def test_a_call_that_was_going_on_does_not_outlive_the_snapshot(
    language: JavaScriptLanguage, live: LiveInterpreter
) -> None:
    run(live, "let pending = later(1); 0")
    again = language.restore(live.snapshot())
    error = run(again, "await pending").error
    assert error is not None
    assert "did not outlive" in error.message
    again.close()


def test_a_snapshot_of_another_template_is_refused(
    live: LiveInterpreter, prepare: Callable[..., JavaScriptLanguage]
) -> None:
    with pytest.raises(SnapshotError, match="another template"):
        prepare(harden=False).restore(live.snapshot())


def test_a_snapshot_that_needs_more_memory_than_there_may_be_is_refused(
    live: LiveInterpreter, prepare: Callable[..., JavaScriptLanguage]
) -> None:
    run(live, "const big = new Uint8Array(8 << 20).fill(1); 0")
    with pytest.raises(SnapshotError):
        prepare(limits=Limits(memory="4M", wall=5)).restore(live.snapshot())


@given(st.data())
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_damaged_snapshot_is_refused(
    language: JavaScriptLanguage, live: LiveInterpreter, data: st.DataObject
) -> None:
    saved = bytearray(live.snapshot())
    if data.draw(st.booleans()):
        del saved[data.draw(st.integers(0, len(saved) - 1)) :]
    else:
        saved[data.draw(st.integers(0, len(saved) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SnapshotError):
        language.restore(bytes(saved))


def test_what_is_no_snapshot_is_refused(language: JavaScriptLanguage) -> None:
    for text in (b"", b"clochejs", b"x" * 1000):
        with pytest.raises(SnapshotError, match="no snapshot"):
            language.restore(text)
    with pytest.raises(SnapshotError, match="bytes"):
        language.restore("text")  # type: ignore[arg-type]


# ---- TypeScript ----


def test_typescript_runs_without_its_types(guest_cache: Cache) -> None:
    language = typescript(InterpreterSpec("typescript", ENHANCED, LIMITS), cache=guest_cache)
    live = language.open()
    assert value(live, "interface P { x: number }\nconst p: P = { x: 4 }; p.x as number") == 4
    assert value(live, "enum E { A = 3 }; E.A + p.x") == 7
    assert value(live, "const y: number = await Promise.resolve(2); y") == 2
    flow = live.stream("for (const i of [1, 2] as number[]) yield i; return 'end' as string", None, running())
    assert [flow.next(), flow.next()] == [Item(1), Item(2)]
    end = flow.next()
    assert isinstance(end, Ran)
    assert end.value == "end"
    syntax = run(live, "const x: = 1").error
    assert syntax is not None
    assert syntax.name == "SyntaxError"
    live.close()
