from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any, cast

import pytest
import wasmtime

from cloche import StartError
from cloche_wasm import boot
from cloche_wasm.boot import Recipe, Script
from cloche_wasm.cache import Cache
from cloche_wasm.engine import engine
from cloche_wasm.template import Template, prepare

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

RECIPE = Recipe(
    scripts=(
        Script("first.js", "let kept = 41; const random = Math.random(); Promise.resolve(1).then(() => { kept += 1 })"),
        Script("second.js", "if (kept !== 42) throw new Error(`the job was not run: ${kept}`)"),
        Script("third.js", "(code) => String(eval(code))", keep="run"),
    ),
    functions=("host",),
)  # fmt: skip


def link(linker: wasmtime.Linker, imports: Sequence[wasmtime.ImportType]) -> None:
    """Answer everything with 0."""
    for wanted in imports:
        assert isinstance(wanted.type, wasmtime.FuncType)
        result = 0 if wanted.type.results else None
        linker.define_func(wanted.module, wanted.name or "", wanted.type, lambda *_, result=result: result)


@pytest.fixture(scope="module")
def template(guest_cache: Cache) -> Template:
    return prepare(RECIPE, engine(), link, cache=guest_cache)


class Guest:
    """An instance of a template, in which code is run."""

    def __init__(self, template: Template) -> None:
        self.store = wasmtime.Store(template.engine.wasm)
        self.store.set_epoch_deadline(1)
        self.template = template
        self.exports = template.pre.instantiate(self.store).exports(self.store)
        self.memory = cast("wasmtime.Memory", self.exports["memory"])

    def call(self, name: str, *given: int) -> int:
        answer: Any = cast("wasmtime.Func", self.exports[name])(self.store, *given)
        return int(answer or 0)

    def run(self, code: str) -> str:
        at = self.call("qjs_alloc", len(code) + 8)
        self.memory.write(self.store, code.encode(), at)
        text = self.call("new_string", at, len(code))
        self.memory.write(self.store, text.to_bytes(4, "little"), at)
        assert self.call("call_function", self.template.handles["run"], text, at, 1, at + 4) == 0
        answer = int.from_bytes(self.memory.read(self.store, at + 4, at + 8), "little")
        assert self.call("get_string", answer) == 0
        start = self.call("qjs_last_ptr")
        return bytes(self.memory.read(self.store, start, start + self.call("qjs_last_len"))).decode()


@pytest.fixture
def guest(template: Template) -> Iterator[Guest]:
    guest = Guest(template)
    yield guest
    guest.store.close()


def test_an_instance_begins_where_the_scripts_ended(guest: Guest) -> None:
    assert guest.run("kept + 1") == "43"
    assert guest.run("typeof host") == "function"


def test_what_one_instance_does_another_does_not_see(template: Template) -> None:
    one, other = Guest(template), Guest(template)
    one.run("kept = 7; globalThis.mine = 1; Object.prototype.all = 2")
    assert one.run("[kept, mine, ({}).all]") == "7,1,2"
    assert other.run("[kept, typeof mine, ({}).all]") == "42,undefined,"
    one.store.close()
    other.store.close()


def test_the_image_is_the_memory_that_an_instance_begins_with(guest: Guest, template: Template) -> None:
    assert bytes(guest.memory.read(guest.store)) == template.image[:]
    assert template.image[: template.stack_pointer] == bytes(template.stack_pointer)


def test_equal_recipes_give_equal_templates_wherever_they_are_made(template: Template, tmp_path: Path) -> None:
    again = prepare(RECIPE, engine(1 << 20), link, cache=Cache(tmp_path / "wasm"))
    assert again.digest == template.digest
    assert again.handles == template.handles
    assert again.source() == template.source()


def test_a_process_that_comes_later_compiles_nothing(
    guest_cache: Cache, template: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wasmtime, "Module", type("Module", (wasmtime.Module,), {"__init__": None}))
    again = prepare(RECIPE, engine(1 << 20), link, cache=guest_cache)
    assert again.digest == template.digest
    assert Guest(again).run("kept") == "42"


def test_other_scripts_give_another_template(guest_cache: Cache, template: Template) -> None:
    other = Recipe(scripts=(*RECIPE.scripts, Script("more.js", "let more = 1")), functions=RECIPE.functions)
    assert other.digest() != RECIPE.digest()
    assert prepare(other, engine(), link, cache=guest_cache).digest != template.digest


def test_sources_are_given_to_scripts_that_ask_for_them(guest_cache: Cache) -> None:
    recipe = Recipe(
        scripts=(
            Script("a.js", 'if (host("require", "m") !== "text" || host("require", "n") || host()) throw 1'),
            Script("b.js", 'let got; import("mod").then(m => { got = m.default })'),
            Script("c.js", "if (got !== 5) throw new Error(String(got))"),
        ),
        functions=("host",), answers={("require", "m"): "text"}, modules={"mod": "export default 5"},
    )  # fmt: skip
    assert prepare(recipe, engine(), link, cache=guest_cache).handles == {}


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("x x", r"bad\.js: SyntaxError"),
        ('throw new TypeError("a \\x1b[31m message")', r"bad\.js: TypeError: a \\x1b\[31m message"),
        ("throw 5", "threw something without a text"),
        ("(function f() { return 1 + f() })()", "call stack exhausted"),
        ("const all = []; for (;;) all.push(new Array(1e6).fill(1))", "out of memory"),
    ],
)  # fmt: skip
def test_a_script_that_fails_says_which_and_why(guest_cache: Cache, source: str, says: str) -> None:
    with pytest.raises(StartError, match=says) as failed:
        prepare(Recipe(scripts=(Script("bad.js", source),)), engine(), link, cache=guest_cache)
    assert str(failed.value).isprintable()


def test_a_script_that_does_not_end_is_ended(guest_cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot, "SECONDS", 0.3)
    with pytest.raises(StartError, match=r"its scripts took more than 0\.3 s"):
        prepare(Recipe(scripts=(Script("bad.js", "for (;;);"),)), engine(), link, cache=guest_cache)


def test_the_plugin_loads_without_the_library() -> None:
    """It is an extra, and every host loads every plugin."""
    check = "import sys, cloche_wasm, cloche_wasm.guests; assert 'wasmtime' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)
