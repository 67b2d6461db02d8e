from __future__ import annotations

import contextlib
import math
import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche import SpecError, units


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1),
        ("1", 1),
        ("512M", 512 << 20),
        ("512m", 512 << 20),
        ("512 MiB", 512 << 20),
        ("512MB", 512 << 20),
        ("1.5G", 3 << 29),
        (" 2K ", 2048),
        ("1T", 1 << 40),
        (units.SIZE_MAX, units.SIZE_MAX),
    ],
)
def test_a_size_is_an_int_or_text_with_a_unit(value: int | str, expected: int) -> None:
    assert units.size(value, "memory") == expected


@given(st.integers(1, 1 << 10), st.sampled_from("KMGT"))
def test_a_unit_multiplies_by_its_power_of_1024(number: int, unit: str) -> None:
    assert units.size(f"{number}{unit}", "x") == number << 10 * (1 + "KMGT".index(unit))


@pytest.mark.parametrize(
    "value",
    [0, -1, True, 1.0, None, b"1M", "", "M", "-1M", "1 X", "1MM", "1e9", "inf", "nan", "0x10", "1M\n1", "1\0", "٣M",
     units.SIZE_MAX + 1, "9" * 400, "1" * 5000, "99999T", ["1M"]],
)  # fmt: skip
def test_anything_else_is_no_size(value: object) -> None:
    with pytest.raises(SpecError, match=r"^limits\.memory: "):
        units.size(value, "limits.memory")  # type: ignore[arg-type]


def test_a_size_below_the_least_is_refused() -> None:
    assert units.size(10, "x", least=10) == 10
    with pytest.raises(SpecError, match="10 to"):
        units.size(9, "x", least=10)


@given(st.text() | st.integers() | st.floats() | st.none())
def test_a_size_is_given_or_a_spec_error_raised(value: object) -> None:
    try:
        assert 1 <= units.size(value, "x") <= units.SIZE_MAX  # type: ignore[arg-type]
    except SpecError:
        pass
    else:
        assert isinstance(value, str | int)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, 1.0), (0.25, 0.25), ("250ms", 0.25), ("30s", 30.0), ("30", 30.0), ("15m", 900.0), ("2h", 7200.0),
     ("1.5 H", 5400.0), (math.inf, math.inf)],
)  # fmt: skip
def test_a_duration_is_seconds_or_text_with_a_unit(value: float | str, expected: float) -> None:
    assert units.duration(value, "timeout") == expected


@pytest.mark.parametrize(
    "value",
    [0, -1, True, None, math.nan, -math.inf, "", "s", "-1s", "1d", "inf", "1e3", "٣s", "9" * 400, 10**400, [1]],
)
def test_anything_else_is_no_duration(value: object) -> None:
    with pytest.raises(SpecError, match=r"^timeout: "):
        units.duration(value, "timeout")  # type: ignore[arg-type]


def test_an_endless_duration_can_be_forbidden() -> None:
    with pytest.raises(SpecError, match="timeout"):
        units.duration(math.inf, "timeout", infinite=False)


@given(st.text() | st.integers() | st.floats())
def test_a_duration_is_more_than_nothing_or_a_spec_error(value: float | str) -> None:
    with contextlib.suppress(SpecError):
        assert units.duration(value, "x") > 0


def test_a_count_is_a_whole_number_in_its_range() -> None:
    assert units.count(3, "pids", most=3) == 3
    for bad in (0, 4, True, 2.0, "2", None):
        with pytest.raises(SpecError, match=r"^pids: "):
            units.count(bad, "pids", most=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["a", "A.b-c_9", "0x", "a" * 63])
def test_a_name_is_letters_digits_and_a_few_signs(value: str) -> None:
    assert units.identifier(value, "name") == value


@pytest.mark.parametrize(
    "value", ["", ".a", "-a", "_a", "a" * 64, "a/b", "../a", "a b", "a\n", "a\0", "é", "٣", None, 1, b"a", ["a"]]
)
def test_anything_else_is_no_name(value: object) -> None:
    with pytest.raises(SpecError, match=r"^name: "):
        units.identifier(value, "name")  # type: ignore[arg-type]


def test_text_may_hold_bytes_that_are_not_utf_8_the_way_python_reads_them() -> None:
    assert units.text("a\udcff", "argument") == "a\udcff"


@pytest.mark.parametrize("value", ["a\0b", "\ud800", "x" * 4097, "é" * 2049, b"a", None, 3])
def test_text_for_the_kernel_has_no_nul_no_lone_surrogate_and_a_bound(value: object) -> None:
    with pytest.raises(SpecError, match=r"^argument: "):
        units.text(value, "argument")  # type: ignore[arg-type]


@given(st.text("/.ab\0\n ", max_size=12))
def test_a_guest_path_never_yields_dots_or_empty_parts(value: str) -> None:
    try:
        path = units.guest_path(value, "cwd")
    except SpecError:
        return
    assert path == value == posixpath.normpath(value)
    assert path.startswith("/")
    assert not {"..", "."} & set(path.split("/"))
    assert "\0" not in path


@pytest.mark.parametrize("value", ["", "a", "./a", "//", "/a/", "/a//b", "/./a", "/..", "/a/../b", "/a\0", None])
def test_a_path_that_is_not_plain_and_absolute_is_refused(value: object) -> None:
    with pytest.raises(SpecError, match=r"^cwd: "):
        units.guest_path(value, "cwd")  # type: ignore[arg-type]


def test_what_cannot_be_printed_is_one_line_of_escapes() -> None:
    assert units.one_line("a\x1b[0m\n\u202e\ud800") == "a\\x1b[0m\\n\\u202e\\ud800"
    assert units.one_line("x" * 500, most=80) == "x" * 80
