"""Pointers are read and written as RFC 6901 has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche import SpecError
from cloche.patch.pointer import Pointer, escape, unescape


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", ()), ("/", ("",)), ("/foo", ("foo",)), ("/foo/0", ("foo", "0")), ("/a~1b", ("a/b",)),
        ("/m~0n", ("m~n",)), ("/~01", ("~1",)), ("/ ", (" ",)), ("//", ("", "")), ('/"\\', ('"\\',)),
        ("/é/-", ("é", "-")),
    ],
)  # fmt: skip
def test_text_becomes_steps_and_text_again(text: str, tokens: tuple[str, ...]) -> None:
    assert Pointer.parse(text).tokens == tokens
    assert str(Pointer(tokens)) == text


@given(st.lists(st.text()))
def test_any_names_come_back(names: list[str]) -> None:
    pointer = Pointer.join(*names)
    assert pointer.tokens == tuple(names)
    assert Pointer.parse(str(pointer)) == pointer


@given(st.text())
def test_an_escaped_name_has_no_slash_and_comes_back(name: str) -> None:
    assert "/" not in escape(name)
    assert unescape(escape(name)) == name


def test_pointers_are_put_together_from_names_and_indexes() -> None:
    assert str(Pointer.join("files", "a/b", 0, "-")) == "/files/a~1b/0/-"
    assert str(Pointer() / "x" / 3) == "/x/3"
    assert Pointer.join() == Pointer.parse("")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a", "begins with a slash"), ("a/b", "begins with a slash"), ("#/a", "begins with a slash"),
        ("/~", "another ~"), ("/a~2", "another ~"), ("/a~", "another ~"), (5, "is text"), (None, "is text"),
        (b"/a", "is text"),
    ],
)  # fmt: skip
def test_what_is_no_pointer_is_refused(text: object, why: str) -> None:
    with pytest.raises(SpecError, match=why):
        Pointer.parse(text)  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("step", [-1, True, None, 1.0, b"a"])
def test_a_step_is_a_name_or_an_index(step: object) -> None:
    with pytest.raises(SpecError, match="a name or an index"):
        Pointer.join(step)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(SpecError, match="text for each step"):
        Pointer((step,))  # type: ignore[arg-type]  # the same
    with pytest.raises(SpecError, match="text for each step"):
        Pointer("ab")  # type: ignore[arg-type]  # on purpose
