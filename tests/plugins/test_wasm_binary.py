from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche import RuntimeUnavailable, SpecError
from cloche_wasm import guests
from cloche_wasm.bake import PAGE, WASM_PAGE, bake
from cloche_wasm.binary import Kind, Reader, exports, imports, section, sections, signed, unsigned

if TYPE_CHECKING:
    from pathlib import Path

COUNTER = wasmtime.wat2wasm("""(module
  (import "env" "tell" (func $tell (param i32)))
  (memory (export "memory") 1 4)
  (global $top (export "top") (mut i32) (i32.const 7))
  (global $fixed f64 (f64.const 1.5))
  (data (i32.const 16) "given at first")
  (start $begin)
  (func $begin (i32.store8 (i32.const 0) (i32.const 1)))
  (func (export "next") (result i32)
    (i32.store (i32.const 70000) (i32.add (i32.load (i32.const 70000)) (i32.const 1)))
    (call $tell (i32.load (i32.const 70000)))
    (i32.add (i32.load (i32.const 70000)) (global.get $top))))""")


def instance(wasm: bytes | bytearray) -> tuple[wasmtime.Store, wasmtime.Memory, wasmtime.Global, wasmtime.Func]:
    engine = wasmtime.Engine()
    store = wasmtime.Store(engine)
    tell = wasmtime.Func(store, wasmtime.FuncType([wasmtime.ValType.i32()], []), lambda _: None)
    found = wasmtime.Instance(store, wasmtime.Module(engine, bytes(wasm)), [tell]).exports(store)
    return (
        store,
        cast("wasmtime.Memory", found["memory"]),
        cast("wasmtime.Global", found["top"]),
        cast("wasmtime.Func", found["next"]),
    )


def test_a_baked_module_goes_on_where_its_instance_stood() -> None:
    store, memory, top, step = instance(COUNTER)
    memory.grow(store, 1)
    top.set_value(store, -100)
    assert [step(store), step(store)] == [-99, -98]
    held = bytes(memory.read(store))
    assert held[0] == 1  # what the start function did
    baked = bake(bytes(COUNTER), held, {"top": -100})
    again, memory, top, step = instance(baked)
    assert bytes(memory.read(again)) == held
    assert memory.type(again).limits == wasmtime.Limits(2, 4)
    assert step(again) == -97


def test_pages_of_zeros_take_no_room_in_a_baked_module() -> None:
    held = bytearray(2 * WASM_PAGE)
    held[PAGE * 5] = held[PAGE * 6] = held[-1] = 1
    baked = bake(bytes(COUNTER), bytes(held), {"top": 0})
    assert 3 * PAGE < len(baked) < 3 * PAGE + len(COUNTER) + 64
    store, memory, *_ = instance(baked)
    assert bytes(memory.read(store)) == held


def test_what_a_module_gives_and_wants_is_read() -> None:
    assert {name: found.kind for name, found in exports(bytes(COUNTER)).items()} == {
        "memory": Kind.MEMORY, "top": Kind.GLOBAL, "next": Kind.FUNCTION,
    }  # fmt: skip
    assert [(wanted.module, wanted.name, wanted.kind) for wanted in imports(bytes(COUNTER))] == [
        ("env", "tell", Kind.FUNCTION)
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('(module (import "a" "m" (memory 1)))', "imports its memory"),
        ("(module)", "without a memory"),
        ("(module (memory 1) (memory 1))", "2 memories"),
        ("(module (memory 1 2 shared))", "shared"),
        ("(module (memory i64 1))", "64 bits"),
        ('(module (memory 1) (data "passive"))', "passive data"),
        ("(module (memory 1) (global (mut i32) (i32.const 1)))", "its value is not known"),
        ("(module (memory 0 0))", "more than the 0"),
    ],
)
def test_a_module_whose_state_is_more_than_its_memory_is_refused(text: str, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        bake(bytes(wasmtime.wat2wasm(text)), bytes(WASM_PAGE), {})


def test_values_that_the_module_has_no_global_for_are_refused() -> None:
    for values, says in (
        ({"bottom": 1}, "no global 'bottom'"), ({"next": 1}, "no global 'next'"), ({"top": 1 << 31}, "32 bits"),
    ):  # fmt: skip
        with pytest.raises(SpecError, match=says):
            bake(bytes(COUNTER), bytes(WASM_PAGE), values)
    with pytest.raises(SpecError, match="whole pages"):
        bake(bytes(COUNTER), bytes(100), {"top": 1})
    wide = bytes(wasmtime.wat2wasm('(module (memory 1) (global (export "g") (mut i64) (i64.const 1)))'))
    with pytest.raises(SpecError, match="no 32-bit integer"):
        bake(wide, bytes(WASM_PAGE), {"g": 1})


@pytest.mark.parametrize(
    ("wasm", "says"),
    [
        (b"", "begins with b''"),
        (b"#!/bin/sh\n", "begins with b'#!/b'"),
        (b"\0asm\x0d\0\1\0", "a component"),
        (b"\0asm\1\0\0\0\7", "1 bytes wanted"),
        (b"\0asm\1\0\0\0\7\x05\1", "5 bytes wanted"),
        (b"\0asm\1\0\0\0" + section(7, b"\xff\xff\xff\xff\x0f"), "4294967295 things"),
        (b"\0asm\1\0\0\0" + section(7, b"\xff\xff\xff\xff\xff\x0f"), "more than 32 bits"),
        (b"\0asm\1\0\0\0" + section(7, b"\1\2\xff\xff\0\0"), "no UTF-8"),
        (b"\0asm\1\0\0\0" + section(7, b"\1\1a\x09\0"), "kind 9"),
        (b"\0asm\1\0\0\0" + section(7, b"\2\1a\0\0\1a\0\0"), "exports 'a' twice"),
        (b"\0asm\1\0\0\0" + section(7, b"\0") * 2, "section 7 is there twice"),
    ],
)
def test_what_is_no_module_is_a_typed_error(wasm: bytes, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        exports(wasm)


@given(st.integers(0, (1 << 32) - 1))
def test_unsigned_numbers_come_back(value: int) -> None:
    reader = Reader(unsigned(value))
    assert (reader.unsigned(), reader.left) == (value, 0)


@given(st.integers(-(1 << 31), (1 << 31) - 1))
def test_signed_numbers_come_back(value: int) -> None:
    reader = Reader(signed(value))
    assert (reader.signed(), reader.left) == (value, 0)


@given(st.binary(max_size=200))
def test_any_bytes_behind_the_magic_are_read_or_refused(rest: bytes) -> None:
    for read in (exports, imports, lambda wasm: list(sections(wasm))):
        try:
            read(b"\0asm\1\0\0\0" + rest)
        except SpecError as error:
            assert str(error).startswith("not a module")  # noqa: PT017 - either outcome is right


@settings(max_examples=300)
@given(st.data())
def test_a_module_with_some_bytes_changed_is_baked_or_refused(data: st.DataObject) -> None:
    wasm = bytearray(COUNTER)
    for _ in range(data.draw(st.integers(1, 4))):
        wasm[data.draw(st.integers(8, len(wasm) - 1))] = data.draw(st.integers(0, 255))
    try:
        baked = bake(bytes(wasm[: data.draw(st.integers(8, len(wasm)))]), bytes(WASM_PAGE), {"top": 1})
    except SpecError:
        return
    assert list(sections(baked))


def test_the_guests_are_those_that_were_looked_at() -> None:
    assert len(guests.read(guests.QUICKJS)) == 741_660
    assert len(guests.read(guests.TRANSFORM)) == 1_195_740


def test_a_guest_that_is_not_there_or_another_one_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "quickjs_rs"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "quickjs_rs", raising=False)
    guests.read.cache_clear()
    with pytest.raises(RuntimeUnavailable, match=r"can't be read: .*pip install --force-reinstall \"quickjs-rs==0.2.6"):
        guests.read(guests.QUICKJS)
    (package / "_guest.wasm").write_bytes(COUNTER)
    with pytest.raises(RuntimeUnavailable, match=r"is not the file that this cloche knows \(sha256"):
        guests.read(guests.QUICKJS)
    guests.read.cache_clear()
