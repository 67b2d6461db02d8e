"""Patterns of paths against the reference, and against the regular expressions that say the same."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
import re2  # pyright: ignore[reportMissingImports]  # where the environment is older than this need
from hypothesis import example, given
from hypothesis import strategies as st

from cloche_native import paths
from tests.native import reference_paths as ref

ATOMS = [
    b"a",
    b"b",
    b"ab",
    b".",
    b"-",
    b"\xff",
    b"*",
    b"*",
    b"?",
    b"[ab]",
    b"[!a]",
    b"[a-c.]",
    b"[--.]",
    b"\\*",
    b"\\b",
]
NAMES = [
    b"a",
    b"b",
    b"ab",
    b"aab",
    b"ba",
    b".a",
    b"a.b",
    b"\xff",
    b"*",
    b"c",
    b"-",
    b"abab",
    b"long-enough-a",
    b"x" * 17,
]


def _is_component(part: bytes) -> bool:
    return b"**" not in part and part not in {b".", b".."}


components = st.lists(st.sampled_from(ATOMS), min_size=1, max_size=5).map(b"".join).filter(_is_component)
deep = st.just(b"**")


@st.composite
def patterns(draw: st.DrawFn) -> bytes:
    parts = draw(st.lists(components | deep, min_size=1, max_size=5))
    return (b"" if parts[0] == b"**" and draw(st.booleans()) else b"/") + b"/".join(parts)


def fills(unit: ref.Unit) -> st.SearchStrategy[bytes]:
    """Give what a unit of a component takes."""
    if isinstance(unit, str):
        return st.sampled_from([b"", b"", b"a", b"b", b"ab", b"x" * 9])
    numbers = sorted(unit)
    return st.sampled_from([*numbers[::7], *numbers[-3:]]).map(lambda number: bytes([number]))


@st.composite
def near(draw: st.DrawFn, pattern: bytes) -> bytes:
    """Give a path that a pattern matches, or would but for little."""
    parts: list[bytes] = []
    names = st.lists(st.sampled_from(NAMES), max_size=2)
    for part in pattern.removeprefix(b"/").split(b"/"):
        if part == b"**":
            parts += draw(names)
            continue
        taken = [draw(fills(unit)) for unit in ref.units(part)]
        parts.append(b"".join(taken))
    parts += draw(names.map(lambda more: more[:1]) if draw(st.booleans()) else st.just([]))
    if parts and draw(st.integers(0, 3)) == 0:
        parts[draw(st.integers(0, len(parts) - 1))] = draw(st.sampled_from([*NAMES, b""]))
    return b"/" + b"/".join(parts)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[tuple[bytes, int]], int, list[bytes]]:
    sets = draw(st.sampled_from([1, 3, 64, 65, 200]))
    asked = draw(st.lists(st.tuples(patterns(), st.integers(0, sets - 1)), min_size=1, max_size=12))
    close = st.sampled_from(asked).flatmap(lambda one: near(one[0]))
    texts = draw(st.lists(close | st.binary(max_size=12).map(lambda text: b"/" + text), min_size=1, max_size=12))
    return asked, sets, [*texts, b"/", b"", b"a"]


@given(cases(), st.sampled_from([0, 0, 1, 2, 7, 30]))
@example(([(b"/**/**", 0), (b"**/*", 0), (b"**/*/**", 0)], 1, [b"/", b"/a", b"//", b"/a/"]), 0)
@example(([(b"/a?c", 0), (b"/abd", 1), (b"/abd/**", 2)], 3, [b"/abc", b"/abd", b"/axc", b"/abd/x", b"/abdx"]), 0)
def test_a_path_is_in_the_sets_that_the_reference_says(
    case: tuple[list[tuple[bytes, int]], int, list[bytes]], states: int
) -> None:
    asked, sets, texts = case
    made = paths.Patterns(asked, sets=sets, states=states)
    for text in texts:
        assert made.match(text) == {number for pattern, number in asked if ref.matches(pattern, text)}, text


@given(patterns().filter(lambda pattern: b"\\" not in pattern), st.data())
def test_a_pattern_says_what_its_regular_expression_says(pattern: bytes, data: st.DataObject) -> None:
    bytewise = re2.Options()
    bytewise.encoding = re2.Options.Encoding.LATIN1
    text = data.draw(near(pattern).filter(lambda text: b"//" not in text))
    expected = re2.fullmatch(ref.to_regex(pattern), text, bytewise) is not None
    assert bool(paths.Patterns([(pattern, 0)], sets=1).match(text)) == expected
    assert ref.matches(pattern, text) == expected


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        (b"/", b"/", b"/a"),
        (b"/etc/shadow", b"/etc/shadow", b"/etc/shadow-"),
        (b"/etc/**", b"/etc", b"/etcetera"),
        (b"/etc/**", b"/etc/ssh/keys", b"/x/etc/ssh"),
        (b"/etc/cron*", b"/etc/cron.d", b"/etc/cron.d/x"),
        (b"/proc/*/mem", b"/proc/1/mem", b"/proc/1/2/mem"),
        (b"/*", b"/a", b"/"),
        (b"**", b"/", b"relative"),
        (b"**/*.pem", b"/a/b/.pem", b"/a/b.pem/c"),
        (b"**/id_rsa", b"/id_rsa", b"/my_id_rsa"),
        (b"**/.ssh/**", b"/root/.ssh", b"/root/.ssh2"),
        (b"/a/**/b", b"/a/b", b"/ab"),
        (b"/a/**/b", b"/a/x/y/b", b"/a/x/y/b/c"),
        (b"/a[!b-d]", b"/ae", b"/a/"),
        (b"/a\\*", b"/a*", b"/ab"),
        (b"/a[\\]\\[]", b"/a[", b"/a\\"),
        (b"/\xff?", b"/\xff\xfe", b"/\xff"),
    ],
)
def test_the_grammar_means_what_is_written(pattern: bytes, inside: bytes, outside: bytes) -> None:
    for states in (0, 1):  # an automaton, and by itself
        made = paths.Patterns([(pattern, 0)], sets=1, states=states)
        assert made.match(inside) == {0}
        assert made.match(outside) == frozenset()
        assert made.info().direct == states


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (b"", "is empty"),
        (b"/" + b"a" * 4095, "more than 4095 bytes"),
        (b"/a\0b", "NUL"),
        (b"etc/shadow", "begins neither"),
        (b"*/a", "begins neither"),
        (b"**a", "begins neither"),
        (b"/etc/", "empty component"),
        (b"//etc", "empty component"),
        (b"**/", "empty component"),
        (b"/a/../b", "'..'"),
        (b"/\\.", "'.'"),
        (b"/a/b**", "within a component"),
        (b"/***", "within a component"),
        (b"/a\\", "lone backslash"),
        (b"/a\\/b", "lone backslash"),
        (b"/[", "bad class"),
        (b"/[]", "bad class"),
        (b"/[!]", "bad class"),
        (b"/[a", "bad class"),
        (b"/[a-", "bad class"),
        (b"/[a/b]", "bad class"),
        (b"/[^a]", "bad class"),
        (b"/[b-a]", "bad class"),
        (b"/[[:alpha:]]", "bad class"),
        (b"/[a\\", "bad class"),
    ],
)
def test_what_is_no_pattern_is_refused_with_the_reason(pattern: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why.replace(".", "\\.")):
        paths.check_pattern(pattern)
    with pytest.raises(ValueError, match=why.replace(".", "\\.")):
        paths.Patterns([(b"/fine", 0), (pattern, 1)], sets=2)


@given(st.binary(max_size=20) | st.text("/*?[]!-\\a.", max_size=12).map(str.encode))
def test_any_bytes_are_a_pattern_or_are_refused(text: bytes) -> None:
    try:
        paths.check_pattern(text)
    except ValueError:
        with pytest.raises(ValueError, match="pattern"):
            paths.Patterns([(text, 0)], sets=1)
    else:
        assert paths.Patterns([(text, 0)], sets=1).info().patterns == 1


def test_bounds_hold_and_are_said() -> None:
    assert paths.Patterns([], sets=1).match(b"/a") == frozenset()
    assert paths.Patterns([(b"/" + b"a" * 4094, 1023)], sets=1024).match(b"/" + b"a" * 4094) == {1023}
    for sets in (0, -1, 1025):
        with pytest.raises(ValueError, match=f"1024, not {sets}"):
            paths.Patterns([], sets=sets)
    for number in (2, -1):
        with pytest.raises(ValueError, match=f"is of set {number}; there are 2"):
            paths.Patterns([(b"/a", number)], sets=2)
    with pytest.raises(ValueError, match="at most 16384"):
        paths.Patterns([(b"/a", 0)] * 16385, sets=1)
    with pytest.raises(ValueError, match="1048576 bytes"):
        paths.Patterns([(b"/" + b"a" * 4094, 0)] * 257, sets=1)
    pairs = itertools.islice(itertools.combinations(range(128, 256), 2), 512)
    with pytest.raises(ValueError, match="512 different classes"):
        paths.Patterns([(b"/[%b]" % bytes(pair), 0) for pair in pairs], sets=1)


@pytest.mark.parametrize("pattern", ["/a", None, 3])
def test_what_is_no_bytes_is_a_type_error(pattern: object) -> None:
    with pytest.raises(TypeError):
        paths.Patterns([(pattern, 0)], sets=1)  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError):
        paths.Patterns([], sets=1).match(pattern)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_a_pattern_that_makes_too_many_states_is_matched_by_itself() -> None:
    bad = b"**/*a" + b"?" * 30 + b"/**"  # the automaton would have to remember the last 31 bytes
    made = paths.Patterns([(b"/etc/**", 0), (bad, 1), (b"**/.ssh/**", 2)], sets=3)
    assert (made.info().direct, made.info().automata) == (1, 2)
    name = b"b" * 40 + b"a" + b"b" * 30
    assert made.match(b"/.ssh/" + name + b"/x") == {1, 2}
    assert made.match(b"/.ssh/" + name + b"b") == {2}


@pytest.mark.parametrize("states", [0, 1])
def test_a_long_pattern_is_right_wherever_its_stars_stand(states: int) -> None:
    for size in [*range(56, 68), *range(120, 132)]:  # by itself, a set of its positions is words of 64 bits
        name = b"/" + b"a" * size
        for pattern, text in (
            (name + b"/**/*b", name + b"/x/ab"),
            (name + b"/**/*b", name + b"/b"),
            (name + b"*b", name + b"aab"),
            (b"/*" + name[1:] + b"/**", name + b"a/b/c"),
        ):
            made = paths.Patterns([(pattern, 0)], sets=1, states=states)
            assert made.match(text) == {0}, (pattern, text)
            assert made.match(text.replace(b"b", b"")) == (
                {0} if ref.matches(pattern, text.replace(b"b", b"")) else set()
            )


def test_patterns_that_make_too_many_states_together_become_several_automata() -> None:
    asked = [(b"**/x%d/**/y%d" % (number, number), number) for number in range(40)]  # which x were met: 2^40
    made = paths.Patterns(asked, sets=40)
    assert made.info().direct == 0
    assert made.info().automata > 1
    assert made.info().states < 32768
    assert made.match(b"/x3/x21/a/x39/y21") == {21}
    assert made.match(b"/" + b"/".join(b"x%d" % number for number in range(40)) + b"/y7") == {7}


def test_patterns_that_would_take_too_long_to_put_together_are_matched_by_themselves() -> None:
    asked = [(b"**/w%d/**/k%d?z*/**/[a-f]*g" % (number, number % 1000), number % 7) for number in range(8000)]
    made = paths.Patterns(asked, sets=7)
    assert 0 < made.info().states < 100_000  # 300,000, of automata of three patterns each, without that bound
    assert made.info().direct > 0
    for number in (0, 5000, 7999):
        assert made.match(b"/w%d/x/k%d-z/y/f0g" % (number, number % 1000)) == {number % 7}


def test_many_plain_patterns_are_no_burden() -> None:
    asked = [(b"/srv/%d/%d/data/file-%d.bin" % (n % 7, n, n * n), n % 1024) for n in range(paths.PATTERNS_MAX)]
    made = paths.Patterns(asked, sets=1024)
    assert made.info().direct == 0
    assert made.match(b"/srv/3/3/data/file-9.bin") == {3}
    assert made.match(b"/srv/3/3/data/file-8.bin") == frozenset()


@given(cases(), st.lists(st.integers(0, 14), max_size=30), st.integers(0, 30))
def test_a_cache_tells_what_the_patterns_tell(
    case: tuple[list[tuple[bytes, int]], int, list[bytes]], again: list[int], cleared: int
) -> None:
    asked, sets, texts = case
    made = paths.Patterns(asked, sets=sets)
    cache = paths.PathCache(made)
    for number, which in enumerate(again):
        if number == cleared:
            cache.clear()
        text = texts[which % len(texts)]
        assert cache.match(text) == made.match(text)


def test_a_cache_holds_when_more_and_longer_paths_come_than_it_keeps() -> None:
    asked = [(b"**/%d/**" % number, number) for number in range(200)] + [(b"**/*%d" % n, 200 + n) for n in range(10)]
    made = paths.Patterns(asked, sets=210)
    cache = paths.PathCache(made)
    texts = [b"/" + b"x" * (number % 150) + b"/%d/%d" % (number % 211, number) for number in range(1000)]
    for text in [*texts, *texts[::-1], *texts[::7]]:
        assert cache.match(text) == made.match(text)
        assert cache.match(text) == made.match(text)


def test_paths_that_a_guest_made_to_share_their_place_in_a_cache_are_told_apart() -> None:
    zero = (0xD1B54A32D192ED03).to_bytes(8, "little")  # as the second eight bytes it makes the first not count
    made = paths.Patterns([(b"/secret*", 0), (b"**/*.txt", 1)], sets=2)
    cache = paths.PathCache(made)
    for start in (b"/secret1", b"/public1", b"/secret2", b"/public2") * 2:
        text = start + zero + b"-some-where.txt"
        assert cache.match(text) == made.match(text)


def test_threads_may_share_patterns() -> None:
    made = paths.Patterns([(b"/%d/**" % number, number) for number in range(100)], sets=100)
    texts = [b"/%d/x" % (number % 100) for number in range(4000)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(made.match, texts))
    assert found == [{number % 100} for number in range(4000)]


@pytest.mark.parametrize("more", [(), (b"**/xetc",), (b"**/*c",), (b"**/a/etc",), (b"**/etc/**",)])
def test_a_name_is_found_beside_all_that_end_as_it_does(more: tuple[bytes, ...]) -> None:
    texts = (b"**/etc", b"**/*etc", *more)
    every = paths.Patterns([(text, number) for number, text in enumerate(texts)], sets=len(texts))
    for path in (b"/etc", b"/a/etc", b"/xetc", b"/a/xetc", b"/etc/a", b"/c", b"/"):
        assert every.match(path) == {number for number, text in enumerate(texts) if ref.matches(text, path)}
