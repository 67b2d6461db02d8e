from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche_wasm import typescript
from cloche_wasm.typescript import TypeScriptError, to_javascript


@pytest.fixture(autouse=True)
def _forget() -> None:
    typescript._remembered.cache_clear()


def squeezed(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("source", "javascript"),
    [
        ("const a: number = 1; a as unknown", "const a = 1; a;"),
        ("interface I { x: string }\nlet y: I | undefined", "let y;"),
        ("function f<T>(x: T, y?: string): T { return x! }", "function f(x, y) { return x; }"),
        ("class P { constructor(private q: number) {} }", "class P { q; constructor(q) { this.q = q; } }"),
        ("1 + 1", "1 + 1;"),
        ("", ""),
    ],
)
def test_types_are_taken_out(source: str, javascript: str) -> None:
    assert squeezed(to_javascript(source)).rstrip("; ") == javascript.rstrip("; ")


def test_an_enum_is_written_out() -> None:
    assert 'A[A["Y"] = 2] = "Y"' in to_javascript("enum A { X = 1, Y }")


def test_in_a_session_a_constant_may_be_declared_again() -> None:
    assert squeezed(to_javascript("const a: number = 1; { const b = a }", session=True)).startswith("var a = 1")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("let x: = 5", r"^my\\x1b\.ts: Unexpected token"),
        ("let a = 'a\x1b[31m\n", r"^my\\x1b\.ts: Unterminated string"),
        ("(" * 100_000, "nested too deeply"),
        ("let x = " + "(a=>" * 5000 + "1" + ")" * 5000, "nested too deeply"),
        ("let a = '\ud800'", "a lone surrogate"),
    ],
)
def test_what_can_t_be_read_is_a_typed_error_and_the_next_source_is_read(source: str, says: str) -> None:
    with pytest.raises(TypeScriptError, match=says) as failed:
        to_javascript(source, name="my\x1b.ts")
    assert str(failed.value).isprintable()
    assert to_javascript("1 as number").startswith("1")


def test_a_source_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    to_javascript("1")
    monkeypatch.setattr(typescript, "SECONDS", 0.005)
    with pytest.raises(TypeScriptError, match=r"takes more than 0\.005 s"):
        to_javascript("let a: number = 1;\n" * 100_000)


def test_a_source_that_is_too_large_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typescript, "MEMORY", 8 << 20)
    monkeypatch.setattr(typescript, "_spare", [])
    with pytest.raises(TypeScriptError, match=r"more than the transformer can take|gave way"):
        to_javascript("let a: number = 1;\n" * 500_000)


def test_threads_do_not_meet() -> None:
    seen: dict[int, list[str]] = {}

    def work(number: int) -> None:
        seen[number] = [to_javascript(f"let a{number}: number = {turn}") for turn in range(30)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        assert [squeezed(text) for text in seen[number]] == [f"let a{number} = {turn};" for turn in range(30)]


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="abA:<>(){}[]=;'\"`$!?|&.,*/+-01 \n\\@#\u2028é", max_size=60))
def test_any_text_is_read_or_refused(source: str) -> None:
    try:
        assert isinstance(to_javascript(source), str)
    except TypeScriptError as error:
        assert str(error).isprintable()  # noqa: PT017 - either outcome is right
