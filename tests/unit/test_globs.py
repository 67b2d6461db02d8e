"""Patterns over paths: equal to a plain recursive matcher, and quick whatever their shape."""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche import SpecError
from cloche.files.globs import PATTERN_BYTES, Globs, check_glob, plain


def name_matches(pattern: str, name: str) -> bool:
    """Decide as glob(7) words it, one character after another, trying everything."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return name_matches(pattern[1:], name) or (name != "" and name_matches(pattern, name[1:]))
    if not name:
        return False
    if pattern[0] == "[":
        inner = pattern[1:]
        negated = inner[0] in "!^"
        inner = inner[1:] if negated else inner
        end = inner.index("]", 1)
        chars, at, hit = inner[:end], 0, False
        while at < len(chars):
            if at + 2 < len(chars) and chars[at + 1] == "-":
                hit = hit or chars[at] <= name[0] <= chars[at + 2]
                at += 3
            else:
                hit = hit or chars[at] == name[0]
                at += 1
        return hit != negated and name_matches(inner[end + 1 :], name[1:])
    return pattern[0] in ("?", name[0]) and name_matches(pattern[1:], name[1:])


def names_match(pattern: list[str], path: list[str]) -> bool:
    if not pattern:
        return True  # a pattern covers what is below what it matches
    if pattern[0] == "**":
        return names_match(pattern[1:], path) or (path != [] and names_match(pattern, path[1:]))
    return path != [] and name_matches(pattern[0], path[0]) and names_match(pattern[1:], path[1:])


def split(path: str) -> list[str]:
    return [name for name in path.split("/") if name]


def covers(pattern: str, path: str) -> bool:
    globs = Globs([check_glob(pattern, "pattern")])
    return globs.first(globs.walk(split(path))) is not None


piece = st.sampled_from(
    ["a", "b", ".", "é", "\udcff", "*", "?", "[ab]", "[!a]", "[^b]", "[a-c]", "[]a]", "[a-]", "[!]]", "[*]"]
)
pattern_name = st.one_of(
    st.just("**"),
    st.lists(piece, min_size=1, max_size=5).map("".join).filter(lambda n: "**" not in n and n not in (".", "..")),
)
path_name = st.text("abc.é\udcff]-*[!", min_size=1, max_size=5).filter(lambda n: n not in (".", ".."))
patterns = st.lists(pattern_name, min_size=0, max_size=5).map(lambda names: "/" + "/".join(names))
paths = st.lists(path_name, min_size=0, max_size=6).map(lambda names: "/" + "/".join(names))


@given(st.lists(patterns, max_size=5, unique=True), paths)
def test_many_patterns_side_by_side_equal_the_plain_matcher(several: list[str], path: str) -> None:
    globs = Globs(several)
    expected = next((p for p in several if names_match(split(p), split(path))), None)
    assert globs.first(globs.walk(split(path))) == expected


@given(patterns, paths, paths)
def test_what_is_not_awaited_below_a_folder_is_not_covered_there(pattern: str, folder: str, rest: str) -> None:
    globs = Globs([pattern])
    whole = split(folder) + split(rest)
    if names_match(split(pattern), whole) and rest != "/":
        assert globs.awaited(globs.walk(split(folder))) == pattern
    if globs.awaited(globs.walk(split(folder))) is None:
        assert globs.walk(whole) == 0


@given(paths)
def test_a_plain_path_covers_itself_and_what_is_below_and_nothing_else(path: str) -> None:
    literal = path.replace("*", "x").replace("[", "x")
    assert plain(literal) == (literal.rstrip("/") or "/")
    assert covers(literal, literal)
    assert covers(literal, literal.rstrip("/") + "/x/y")
    if literal != "/":
        assert not covers(literal, literal + "x")
        assert not covers(literal, literal.rpartition("/")[0] or "/")


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/data/*.key", "/data/a.key", True), ("/data/*.key", "/data/.key", True),
        ("/data/*.key", "/data/x/a.key", False),
        ("/data/*.key", "/data/a.key/inside", True), ("/data/**/*.key", "/data/a.key", True),
        ("/data/**/*.key", "/data/x/y/a.key", True), ("/data/**", "/data", True), ("/data/**", "/database", False),
        ("/**/.git/hooks", "/workspace/a/.git/hooks/pre-commit", True), ("/a?c", "/abc", True), ("/a?c", "/ac", False),
        ("/a?c", "/a/c", False), ("/[!a]b", "/ab", False), ("/[!a]b", "/xb", True), ("/[a-c]", "/b", True),
        ("/x[*]", "/x*", True), ("/x[*]", "/xy", False), ("/x[[]", "/x[", True), ("/", "/anything", True),
        ("/**", "/", True), ("/*", "/", False), ("/DATA", "/data", False), ("/caf?", "/café", True),
        ("/x?", os.fsdecode(b"/x\xff"), True), ("/x??", os.fsdecode(b"/x\xff"), False),
    ],
)  # fmt: skip
def test_patterns_mean_what_they_say(pattern: str, path: str, expected: bool) -> None:  # noqa: FBT001 - a row of a table
    assert covers(pattern, path) is expected
    assert names_match(split(pattern), split(path)) is expected


@pytest.mark.parametrize(
    ("pattern", "word"),
    [
        ("data", "absolute"), ("/a/../b", "absolute"), ("/a//b", "absolute"), ("/a/", "absolute"), ("", "absolute"),
        ("/a\0b", "NUL"), ("/a**", "whole names"), ("/***", "whole names"), ("/[", "without its"),
        ("/a[b", "without its"),
        ("/[]", "without its"), ("/[!]", "without its"), ("/[z-a]", "empty"), ("/" + "a" * PATTERN_BYTES, "too long"),
        ("/\ud800", "not valid text"), (7, "text is needed"), (b"/a", "text is needed"), (None, "text is needed"),
    ],
)  # fmt: skip
def test_what_is_no_pattern_is_refused_by_name(pattern: object, word: str) -> None:
    with pytest.raises(SpecError, match=word):
        check_glob(pattern, "paths.forbidden")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "pattern",
    [
        "/" + "*a" * 2000, "/**/" + "/".join(["*a*", "**"] * 500) + "/b", "/" + "?*" * 2000, "/" + "[!b]*" * 800,
        "/**" * 1300 + "/b", "/" + "a*" * 2000 + "b", "/" + "[" + "a" * 4000 + "]",
    ],
)  # fmt: skip
def test_hostile_patterns_cost_no_more_than_their_length(pattern: str) -> None:
    globs = Globs([check_glob(pattern, "pattern")])
    began = time.process_time()
    for path in (["a" * 255] * 16, ["a" * 4095], ["a"] * 2047):
        globs.first(globs.walk(path))
    assert time.process_time() - began < 10  # a backtracking matcher would not end in a lifetime


def test_as_many_patterns_as_are_allowed_are_matched_side_by_side() -> None:
    several = [f"/**/{i:03}*[0-9]/**/x{i}" for i in range(256)]
    globs = Globs(several)
    assert globs.first(globs.walk(["a", "255b7", "c", "x255"])) == several[255]
    assert globs.first(globs.walk(["a", "255b7", "c", "x254"])) is None


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("/a/b", "/a/b"), ("/a/**", "/a"), ("/**", "/"), ("/a[*]/[[]x[?]", "/a*/[x?"), ("/a]b", "/a]b"),
        ("/a/**/b", None),
        ("/a*", None), ("/a?", None), ("/[ab]", None), ("/[!a]", None), ("/[*]*", None), ("/[]]", "/]"), ("/[-]", "/-"),
    ],
)  # fmt: skip
def test_a_pattern_for_one_path_is_known_as_such(pattern: str, path: str | None) -> None:
    check_glob(pattern, "pattern")
    assert plain(pattern) == path
    if path is not None:
        assert covers(pattern, path)
