"""The bridge's protocol of the JavaScript guest: runs in one crossing, questions to the host, ends, deltas."""

from __future__ import annotations

import json
import signal
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloche_native import wasm
from tests.native.wasm_guests import mold_of, script, script_mold, script_parts

if TYPE_CHECKING:
    from collections.abc import Callable

NEVER_POLLS = b"Array.prototype.indexOf.call({length: 2**53 - 1}, 1)"


@pytest.fixture(scope="module")
def mold() -> wasm.Mold:
    return script_mold(memory=32 << 20)


def value(out: wasm.Outcome) -> Any:  # noqa: ANN401 - any JSON
    assert out.end == "done", out
    assert out.ok, out
    assert out.text is not None
    return json.loads(out.text).get("value")


# ---- Runs. ----


def test_what_is_declared_stays(mold: wasm.Mold) -> None:
    with script(mold) as live:
        assert value(live.run(b"let x = 1; const y = 2; class C {}; function f() { return x + y }", wall=5)) is None
        assert value(live.run(b"x += 4; f()", wall=5)) == 7
        assert value(live.run(b"typeof C", wall=5)) == "function"
    with script(mold) as other:
        assert value(other.run(b"typeof x", wall=5)) == "undefined"


def test_what_is_raised_is_told(mold: wasm.Mold) -> None:
    with script(mold) as live:
        out = live.run(b"throw new TypeError('bad')", wall=5)
        assert (out.end, out.ok, out.text) == ("done", False, b'{"error":"TypeError: bad"}')
        assert live.alive


def test_what_comes_before_the_code_is_known_to_it(mold: wasm.Mold) -> None:
    with script(mold) as live:
        assert value(live.run(b"prepared", wall=5, prepare="gr\u00fc\u00df dich".encode())) == "gr\u00fc\u00df dich"
        assert value(live.run(b"prepared", wall=5)) == "gr\u00fc\u00df dich"


def test_promises_are_followed_as_far_as_they_go(mold: wasm.Mold) -> None:
    with script(mold) as live:
        assert value(live.run(b"(async () => { await null; return 7 })()", wall=5)) == 7
        assert value(live.run(b"let z = await 5; z + 1", wall=5, top_await=True)) == {"value": 6}
        assert value(live.run(b"z", wall=5)) == 5
        out = live.run(b"let settle; new Promise((resolve) => { settle = resolve })", wall=5)
        assert (out.end, out.text) == ("pending", None)
        assert live.resume(wall=5).end == "pending"
        handle = live.mint(b"(text) => { settle(text) }")
        assert value(live.invoke(handle, (b"there",), wall=5)) == "there"


@pytest.mark.parametrize(
    ("code", "end", "text"),
    [
        (b"", "done", b"{}"),
        (b"\xff", "raised", None),
        (b"1 +", "done", b'{"error":"SyntaxError'),
        (b"'\0'", "raised", None),
        (b"'x'.repeat(300000)", "done", b'{"value":"xxxx'),
        (b"({toJSON() { throw new Error('no') }})", "raised", None),
    ],
)
def test_odd_code_is_an_outcome(mold: wasm.Mold, code: bytes, end: str, text: bytes | None) -> None:
    with script(mold) as live:
        out = live.run(code, wall=5)
        assert out.end == end
        assert out.text == text if text is None else (out.text or b"").startswith(text)
        assert value(live.run(b"1 + 1", wall=5)) == 2


def test_a_result_too_large_does_not_cross() -> None:
    with script(script_mold(result=1000)) as live:
        out = live.run(b"'x'.repeat(1000)", wall=5)
        assert (out.end, out.text) == ("size", None)
        assert value(live.run(b"'x'.repeat(900)", wall=5)) == "x" * 900


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=5000))
def test_texts_cross_unchanged(mold: wasm.Mold, text: str) -> None:
    with script(mold) as live:
        assert value(live.run(json.dumps(text).encode(), wall=5)) == text
        handle = live.mint(b"(...texts) => JSON.stringify({value: texts.join('|')})")
        assert value(live.invoke(handle, (text.encode("utf-8"), None, b"z"), wall=5)) == f"{text}||z"


def test_at_most_eight_texts_go_with_a_call(mold: wasm.Mold) -> None:
    with script(mold) as live:
        handle = live.mint(b"(...texts) => String(texts.length)")
        assert live.invoke(handle, (b"",) * 8, wall=5).text == b"8"
        with pytest.raises(ValueError, match="at most 8 texts, not 9"):
            live.invoke(handle, (b"",) * 9, wall=5)


def test_an_entry_that_raises_is_told_from_code_that_does(mold: wasm.Mold) -> None:
    with script(mold) as live:
        handle = live.mint(b"() => { throw new RangeError('far') }")
        out = live.invoke(handle, wall=5)
        assert (out.end, out.detail) == ("raised", "RangeError: far")
        with pytest.raises(wasm.Trap, match="raised: ReferenceError: q is not defined"):
            live.mint(b"q")


def test_handles_that_are_none_are_no_crash(mold: wasm.Mold) -> None:
    for handle in (0, 1, 0xFFFFFFFF, 123456):
        with script(mold) as live:
            assert live.invoke(handle, wall=5).end in {"raised", "trap", "guest"}


# ---- A guest that keeps to the protocol, or not. ----

FAKE = """(module
    (memory (export "memory") 1)
    (global $at (mut i32) (i32.const 0))
    (global $size (mut i32) (i32.const 0))
    (func (export "qjs_alloc") (param i32) (result i32) (i32.const {alloc}))
    (func (export "qjs_free") (param i32 i32))
    (func (export "qjs_result_free"))
    (func (export "free_value") (param i32))
    (func (export "new_string") (param i32 i32) (result i32) (i32.const 1))
    (func (export "new_bool") (param i32) (result i32) (i32.const 1))
    (func (export "new_undefined") (result i32) (i32.const 1))
    (func (export "eval_code") (param i32 i32 i32) (result i32)
        (global.set $at (local.get 0)) (global.set $size (local.get 1)) (i32.const {state}))
    (func (export "last_exception") (param i32) (result i32) (i32.const 0))
    (func (export "call_function") (param i32 i32 i32 i32 i32) (result i32) (i32.const {called}))
    (func (export "get_prop") (param i32 i32 i32 i32) (result i32) (i32.const 0))
    (func (export "get_string") (param i32) (result i32) (i32.const {string}))
    (func (export "qjs_last_ptr") (result i32) (i32.add (global.get $at) (i32.const {pointer})))
    (func (export "qjs_last_len") (result i32) (i32.add (global.get $size) (i32.const {length})))
    (func (export "execute_pending_jobs") (result i32) (i32.const 0))
)"""
HONEST = {"alloc": 64, "state": 0, "called": 0, "string": 0, "pointer": 0, "length": 0}


def fake(**more: int) -> wasm.Mold:
    entries = wasm.Entries(encode=1, poll=1, prepare=1)
    return mold_of(FAKE.format(**HONEST | more), entries=entries, memory=1 << 17)


def test_once_runs_in_an_instance_of_its_own() -> None:
    assert fake().once(b"echoed", wall=5, prepare=b"x").text == b"echoed"
    assert fake().once(b"echoed", wall=5).memory == 1 << 16
    with pytest.raises(wasm.StartError):
        mold_of('(module (memory (export "memory") 2))', memory=1 << 16).once(b"1", wall=5)
    with pytest.raises(RuntimeError, match="exports no function qjs_alloc"):
        mold_of("(module)").once(b"1", wall=5)


@pytest.mark.parametrize(
    ("lie", "end"),
    [
        ({"alloc": -1}, "guest"),
        ({"alloc": 65535}, "guest"),
        ({"alloc": 0}, "size"),
        ({"pointer": -100}, "guest"),
        ({"pointer": 65536 - 64}, "guest"),
        ({"length": 65536}, "guest"),
        ({"length": -7}, "guest"),
        ({"state": 1}, "done"),
        ({"state": 2}, "raised"),
        ({"state": -1}, "raised"),
        ({"called": 1}, "raised"),
        ({"called": 7}, "raised"),
        ({"string": 2}, "pending"),
    ],
)
def test_a_guest_that_lies_is_no_danger(lie: dict[str, int], end: str) -> None:
    mold = fake(**lie)
    assert mold.once(b"echoed", wall=5).end == end
    with mold.open() as instance:
        ends = {
            instance.invoke(1, (b"some", None), wall=5).end,
            instance.resume(wall=5).end,
            instance.run(b"code", wall=5, prepare=b"text").end,
        }
        assert ends <= {"guest", "done", "raised", "size", "pending", "dead"}
        assert instance.alive == (end != "guest")


# ---- Questions to the host. ----


def test_the_host_answers_by_text(mold: wasm.Mold) -> None:
    asked: list[Any] = []

    def calls(*question: object) -> bytes | None:
        asked.append(question)
        return None if len(asked) == 2 else b"caf\xc3\xa9"

    with script(mold) as live:
        out = live.run(b"[ask('a', 1, 'caf\xc3\xa9'), typeof ask()]", wall=5, calls=calls)
        assert value(out) == ["caf\u00e9", "undefined"]
        assert out.calls == 2
    assert asked == [("call", b"ask", (b"a", None, b"caf\xc3\xa9")), ("call", b"ask", ())]


def test_what_a_callback_raises_is_an_error_of_the_guest_without_its_text(mold: wasm.Mold) -> None:
    def calls(*_: object) -> bytes:
        raise ValueError("secret")

    with script(mold) as live:
        out = live.run(b"try { ask('x') } catch (error) { String(error) }", wall=5, calls=calls)
        assert value(out) == "HostError: Host function failed"
        assert isinstance(out.raised, ValueError)
        assert value(live.run(b"1", wall=5)) == 1


def test_without_callback_nobody_answers(mold: wasm.Mold) -> None:
    with script(mold) as live:
        assert value(live.run(b"try { ask('x') } catch (error) { String(error) }", wall=5)).startswith("HostError")


def test_what_ends_the_host_ends_the_run(mold: wasm.Mold) -> None:
    def calls(*_: object) -> bytes:
        raise KeyboardInterrupt

    with script(mold) as live:
        with pytest.raises(KeyboardInterrupt):
            live.run(b"for (;;) { try { ask('x') } catch {} }", wall=30, calls=calls)
        assert value(live.run(b"1", wall=5)) == 1


def test_large_answers_and_questions_cross(mold: wasm.Mold) -> None:
    with script(mold) as live:
        code = b"ask('y'.repeat(1000000)).length"
        out = live.run(code, wall=5, calls=lambda _kind, _name, texts: b"x" * (2 * len(texts[0] or b"")))
        assert value(out) == 2_000_000


def test_an_instance_is_not_run_from_its_own_callback(mold: wasm.Mold) -> None:
    with script(mold) as live:
        out = live.run(b"try { ask() } catch { 'no' }", wall=5, calls=lambda *_: live.run(b"1", wall=5).text)
        assert value(out) == "no"
        assert "runs already" in str(out.raised)


def test_another_instance_is_run_from_a_callback(mold: wasm.Mold) -> None:
    with script(mold) as outer, script(mold) as inner:
        assert value(outer.run(b"ask()", wall=5, calls=lambda *_: inner.run(b"5", wall=5).text)) == '{"value":5}'


def test_modules_are_named_and_given_by_the_host(mold: wasm.Mold) -> None:
    asked: list[Any] = []

    def calls(kind: str, _name: bytes, texts: tuple[bytes | None, ...]) -> bytes | None:
        asked.append((kind, texts))
        if kind == "normalize":
            return None if texts[1] == b"refused" else b"/" + (texts[1] or b"")
        return b"export const n = 42" if texts == (b"/good",) else None

    with script(mold) as live:
        assert value(live.run(b"import('good').then((m) => m.n)", wall=5, calls=calls)) == 42
        for name in (b"refused", b"missing"):
            out = live.run(b"import('" + name + b"').then(String, (e) => 'error: ' + e.name)", wall=5, calls=calls)
            assert value(out).startswith("error: ")
    assert [kind for kind, _ in asked[:2]] == ["normalize", "load"]


# ---- Ends. ----


def test_a_soft_end_keeps_the_session(mold: wasm.Mold) -> None:
    with script(mold) as live:
        begun = time.monotonic()
        out = live.run(b"let n = 1; for (;;) n++", wall=0.05)
        assert 0.045 < time.monotonic() - begun < 2
        assert (out.end, out.ok, out.interrupted) == ("done", False, True)
        out = live.run(b"n", wall=5)
        assert value(out) > 1
        assert not out.interrupted


def test_a_hard_end_leaves_what_was_kept(mold: wasm.Mold) -> None:
    with script(mold) as live:
        live.run(b"let kept = 'still'", wall=5)
        out = live.run(b"kept = 'gone'; " + NEVER_POLLS, wall=0.05, grace=0.05, keep=True)
        assert out.end == "stopped"
        assert not live.alive
        assert live.run(b"1", wall=5).end == "dead"
        with mold.revive(live.kept()) as again:
            assert value(again.run(b"kept", wall=5)) == "still"


def test_a_run_is_stopped_from_another_thread(mold: wasm.Mold) -> None:
    with script(mold) as live:
        for code, end in ((b"for (;;);", "done"), (NEVER_POLLS, "stopped")):
            timer = threading.Timer(0.05, live.stop, args=(0.05,))
            timer.start()
            out = live.run(code, wall=None)
            timer.join()
            assert out.end == end


@pytest.mark.parametrize(
    "code",
    [
        b"(function flood() { Promise.resolve().then(flood); Promise.resolve().then(flood) })(); new Promise(() => {})",
        b"/(a+)+$/.test('a'.repeat(40) + 'b')",
        b"({toJSON() { for (;;); }})",
        b"new Proxy({}, {ownKeys() { for (;;); }})",
        b"for (;;) { try { for (;;); } finally { for (;;); } }",
        b"JSON.stringify('x'.repeat(2**26))",
        b"new Array(2**32 - 1).join('')",
    ],
)
def test_nothing_runs_beyond_its_hard_end(mold: wasm.Mold, code: bytes) -> None:
    with script(mold) as live:
        begun = time.monotonic()
        live.run(code, wall=0.1, grace=0.2)
        assert time.monotonic() - begun < 3


def test_recursion_ends_by_the_stack(mold: wasm.Mold) -> None:
    with script(mold) as live:
        assert live.run(b"(function f() { return 1 + f() })()", wall=5).end == "stack"


def test_memory_ends_at_its_limit(mold: wasm.Mold) -> None:
    with script(mold) as live:
        out = live.run(b"const all = []; for (;;) all.push(new Array(1000).fill(1))", wall=30)
        assert out.memory == 32 << 20
        assert (out.end, out.ok) in {("done", False), ("memory", True)}


def test_signals_of_python_are_handled_while_a_guest_computes(mold: wasm.Mold) -> None:
    def interrupt(*_: object) -> None:
        raise TimeoutError("from the handler")

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with script(mold) as live, pytest.raises(TimeoutError, match="from the handler"):
            live.run(b"for (;;);", wall=20)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(("wall", "grace"), [(-1, 1), (float("nan"), 1), (1, -1)])
def test_times_that_are_none_are_refused(mold: wasm.Mold, wall: float, grace: float) -> None:
    with script(mold) as live, pytest.raises(ValueError, match="a time is a number of seconds from 0"):
        live.run(b"1", wall=wall, grace=grace)


# ---- Deltas. ----


def reference(image: bytes, memory: bytes, pointer: int) -> bytes:
    """Give the delta as Python makes it."""
    padded = image + bytes(len(memory) - len(image))
    pages = [at for at in range(0, len(memory), 4096) if memory[at : at + 4096] != padded[at : at + 4096]]
    head = struct.pack("<III", pointer, len(memory) >> 16, len(pages))
    numbers = b"".join(struct.pack("<I", at >> 12) for at in pages)
    return head + numbers + b"".join(memory[at : at + 4096] for at in pages)


@settings(max_examples=30)
@given(
    writes=st.lists(st.tuples(st.integers(0, (3 << 16) - 64), st.binary(min_size=1, max_size=64)), max_size=12),
    more=st.integers(0, 2),
)
def test_deltas_are_as_python_makes_them_and_restore_all(writes: list[tuple[int, bytes]], more: int) -> None:
    image = bytes(range(256)) * 256
    wat = (
        '(module (memory (export "memory") 1) (data (i32.const 0) "'
        + "".join(f"\\{byte:02x}" for byte in image)
        + '"))'
    )
    small = mold_of(wat, image=image, stack_pointer=5, memory=3 << 16)
    with small.open() as one:
        one.grow(more << 16)
        for at, data in writes:
            if at + len(data) <= one.memory:
                one.write(at, data)
        delta, memory = one.delta(), one.image()
        assert delta == reference(image, memory, 5)
        one.keep()
        with small.revive(one.kept()) as kept:
            assert kept.image() == memory
    with small.restore(delta) as other:
        assert other.image() == memory
        assert other.delta() == delta


@pytest.mark.parametrize("pages", [255, 256, 257, 1023, 1024, 1025, 2000])
def test_a_delta_holds_pages_however_scattered_they_are(pages: int) -> None:
    image = bytes(1 << 16)
    wide = mold_of('(module (memory (export "memory") 1))', image=image, memory=256 << 16)
    with wide.open() as one:
        one.grow(255 << 16)
        for number in range(pages):
            one.write(number * 8192, b"x")
        delta, memory = one.delta(), one.image()
    assert delta == reference(image, memory, 0)
    with wide.restore(delta) as other:
        assert other.image() == memory


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda delta: delta[:-1],
    "head alone": lambda delta: delta[:12],
    "longer": lambda delta: delta + bytes(4100),
    "another stack pointer": lambda delta: bytes(4) + delta[4:],
    "less memory": lambda delta: delta[:4] + struct.pack("<I", 1) + delta[8:],
    "too much memory": lambda delta: delta[:4] + struct.pack("<I", 65536) + delta[8:],
    "a page outside": lambda delta: delta[:12] + struct.pack("<I", 1 << 20) + delta[16:],
    "pages out of order": lambda delta: delta[:12] + delta[16:20] + delta[12:16] + delta[20:],
    "a page twice": lambda delta: delta[:12] + delta[16:20] + delta[16:],
    "a count too large": lambda delta: delta[:8] + b"\xff\xff\xff\xff" + delta[12:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_delta_that_is_none_is_refused(mold: wasm.Mold, damage: str) -> None:
    good = script_parts()[3]
    bad = DAMAGES[damage](good)
    with pytest.raises(wasm.DeltaError, match="can't be restored"):
        mold.check(bad)
    with pytest.raises(wasm.DeltaError, match="can't be restored"):
        mold.restore(bad)
    mold.check(good)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.integers(0, 1 << 20), bit=st.integers(0, 7))
def test_a_delta_with_a_bit_turned_is_refused_or_stays_in_its_box(mold: wasm.Mold, where: int, bit: int) -> None:
    delta = bytearray(script_parts()[3])
    delta[where % len(delta)] ^= 1 << bit
    try:
        live = mold.restore(bytes(delta))
    except wasm.DeltaError:
        return
    with live:
        assert live.run(b"1 + 1", wall=0.2, grace=0.2).end in {
            "done", "pending", "raised", "stopped", "stack", "memory", "size", "exited", "trap", "guest",
        }  # fmt: skip


def test_what_is_dead_between_calls_is_in_no_delta() -> None:
    image = bytes(1 << 16)
    with mold_of('(module (memory (export "memory") 1))', image=image, dead=8200).open() as instance:
        for at in (0, 8191, 8192, 65535):
            instance.write(at, b"x")
        assert struct.unpack_from("<IIIII", instance.delta()) == (0, 1, 2, 2, 15)
    with pytest.raises(ValueError, match="no more than the image"):
        mold_of("(module)", image=image, dead=65537)


def test_without_an_image_there_are_no_deltas() -> None:
    with mold_of('(module (memory (export "memory") 1))').open() as instance:
        for act in (instance.delta, instance.keep):
            with pytest.raises(ValueError, match="against the image of a template"):
                act()
        assert instance.kept() == b""
