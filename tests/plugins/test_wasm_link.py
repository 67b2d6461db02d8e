"""Components are read, and their modules linked, or refused with a reason."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st

from cloche import SpecError
from cloche_wasm import component
from cloche_wasm.link import link
from cloche_wasm.parts import parts

COMPONENT = """
(component
  (import "demo:host/log@0.2.9" (instance $log (export "say" (func (param "x" u32))) (export "not" (func))))
  (core module $main
    (memory (export "memory") 1)
    (table (export "table") 4 funcref)
    (global (export "__stack_pointer") (mut i32) (i32.const 64))
    (global (export "base") i32 (i32.const 1))
    (global (export "place") (mut i32) (i32.const 40))
    (data (i32.const 40) "\\07"))
  (core module $shim
    (type $t (func (param i32)))
    (table (export "$imports") 1 funcref)
    (func (export "0") (param i32) (call_indirect (type $t) (local.get 0) (i32.const 0))))
  (core module $lib
    (type $unary (func (param i32) (result i32)))
    (import "env" "memory" (memory 1))
    (import "env" "table" (table 4 funcref))
    (import "env" "base" (global $base i32))
    (import "env" "place" (global $place (mut i32)))
    (import "env" "__stack_pointer" (global $sp (mut i32)))
    (import "out" "say" (func $say (param i32)))
    (import "out" "not" (func $not))
    (global $own i32 (i32.const 5))
    (func $double (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
    (func $unused (param i64 f64) (result f64) (call $not) (f64.const 1.5))
    (elem (global.get $base) func $double $unused)
    (func (export "run") (param $x i32) (result i32) (local i64 f32)
      (global.set $sp (i32.sub (global.get $sp) (i32.const 16)))
      (call $say (local.get $x))
      (block $a (block $b (br_table $a $b $a (local.get $x))) (nop))
      (i32.add
        (call_indirect (type $unary) (local.get $x) (global.get $base))
        (i32.add (i32.load8_u (global.get $place)) (global.get $own)))
      (global.set $sp (i32.add (global.get $sp) (i32.const 16)))))
  (core module $fix
    (import "" "$imports" (table 1 funcref))
    (import "" "0" (func (param i32)))
    (elem (i32.const 0) func 0))
  (core module $start
    (import "env" "place" (global $place (mut i32)))
    (func (global.set $place (i32.const 40))))
  (core instance $m (instantiate $main))
  (core instance $s (instantiate $shim))
  (core func $not (canon lower (func $log "not")))
  (core instance $l (instantiate $lib
    (with "env" (instance $m))
    (with "out" (instance (export "say" (func $s "0")) (export "not" (func $not))))))
  (core func $say (canon lower (func $log "say")))
  (core instance (instantiate $fix
    (with "" (instance (export "$imports" (table $s "$imports")) (export "0" (func $say))))))
  (core instance (instantiate $start (with "env" (instance (export "place" (global $m "place"))))))
  (func (export "run") (param "x" u32) (result u32) (canon lift (core func $l "run"))))
"""
GLUE = """
(module
  (import "host" "heard" (func $heard (param i32)))
  (import "env" "run" (func $run (param i32) (result i32)))
  (import "env" "memory" (memory 0))
  (func (export "demo:host/log#say") (param i32) (call $heard (local.get 0)))
  (func (export "twice") (param i32) (result i32) (call $run (call $run (local.get 0)))))
"""


def binary(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


def linked(text: str = COMPONENT, glue: str = GLUE, exports: Iterable[str] = ("run", "twice")) -> bytes:
    return link(component.read(binary(text)), binary(glue), exports)


def test_modules_that_call_each_other_become_one() -> None:
    wasm = linked()
    engine = wasmtime.Engine()
    module = wasmtime.Module(engine, wasm)
    assert [(one.module, one.name) for one in module.imports] == [("host", "heard")]
    heard: list[int] = []
    store = wasmtime.Store(engine)
    say = wasmtime.Func(store, wasmtime.FuncType([wasmtime.ValType.i32()], []), heard.append)
    exports = wasmtime.Instance(store, module, [say]).exports(store)
    run, twice, pointer = exports["run"], exports["twice"], exports["__stack_pointer"]
    assert isinstance(run, wasmtime.Func)
    assert isinstance(twice, wasmtime.Func)
    assert isinstance(pointer, wasmtime.Global)
    assert run(store, 3) == 3 * 2 + 7 + 5
    assert twice(store, 0) == 12 * 2 + 12
    assert heard == [3, 0, 12]
    assert pointer.value(store) == 64


def test_what_nothing_sets_any_more_is_a_constant() -> None:
    mutable = [one.mutable for one in parts(linked(), {}).globals]
    assert mutable.count(True) == 1


REFUSED = [
    ("(func $unused", "(start $begin) (func $begin) (func $unused", "section 8"),
    ("(global $own i32 (i32.const 5))", "(global $own i64 (i64.const 5))", "constant"),
    ("(elem (global.get $base) func $double $unused)", "(elem func $double)", "elements of kind"),
    ("(data (i32.const 40)", "(data", "when it likes"),
    ("(nop)", "(drop (ref.null func)) (drop (table.size 0))", "instruction"),
    ('(memory (export "memory") 1)', '(memory (export "memory") 1 2 shared)', "shared"),
    ('(table (export "table") 4 funcref)', '(table (export "table") 4 funcref) (table 1 funcref)', "2 tables"),
]


@pytest.mark.parametrize(("old", "new", "why"), REFUSED)
def test_what_is_not_understood_is_refused(old: str, new: str, why: str) -> None:
    assert old in COMPONENT
    with pytest.raises(SpecError, match=why):
        linked(COMPONENT.replace(old, new))


def test_what_is_asked_for_must_be_there() -> None:
    with pytest.raises(SpecError, match="'gone'"):
        linked(exports=["gone"])
    with pytest.raises(SpecError, match="'gone'"):
        linked(glue='(module (import "env" "gone" (func)) (export "x" (func 0)))', exports=["x"])


def test_what_is_no_component_is_refused() -> None:
    whole = binary(COMPONENT)
    for wrong in (b"", b"\0asm", binary("(module)"), whole[: len(whole) // 2], whole + b"\2\1"):
        with pytest.raises(SpecError):
            component.read(wrong)


@given(st.data())
def test_no_bytes_break_the_reader(data: st.DataObject) -> None:
    whole = bytearray(binary(COMPONENT))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(8, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        link(component.read(bytes(whole)), binary(GLUE), ("run",))
    except SpecError as error:
        assert str(error)  # noqa: PT017 - either outcome is right
