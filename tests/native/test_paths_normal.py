from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche_native import paths
from tests.native import reference_paths as ref

pieces = st.sampled_from([b"/", b"//", b".", b"..", b"...", b"a", b"bc", b".x", b"\xff", b"\0", b"-"])
texts = st.lists(pieces, max_size=12).map(b"".join) | st.binary(max_size=40)


@given(texts, texts)
def test_a_path_is_normalised_as_the_reference_does(base: bytes, path: bytes) -> None:
    assert paths.normalise(base, path) == ref.normalise(base, path)


@given(texts)
def test_an_absolute_path_is_normalised_as_python_does(path: bytes) -> None:
    expected = os.path.normpath(b"/" + path)  # POSIX leaves two slashes at the start alone
    assert paths.normalise(b"/elsewhere", b"/" + path)[0] == b"/" + expected.lstrip(b"/")


@given(texts, texts)
def test_a_normal_path_stays_as_it_is(base: bytes, path: bytes) -> None:
    normal = paths.normalise(base, path)[0]
    assert paths.normalise(b"/elsewhere", normal) == (normal, False)


@pytest.mark.parametrize(
    ("base", "path", "expected"),
    [
        (b"/", b"", (b"/", False)),
        (b"/home/me", b"", (b"/home/me", False)),
        (b"/home/me", b"../you/./x//y/", (b"/home/you/x/y", False)),
        (b"/home/me", b"../../..", (b"/", True)),
        (b"/home/me", b"../../../etc/passwd", (b"/etc/passwd", True)),
        (b"/home/me", b"/..", (b"/", True)),
        (b"/home", b"/a/../..b", (b"/..b", False)),
    ],
)
def test_dots_go_up_and_the_root_holds_them(base: bytes, path: bytes, expected: tuple[bytes, bool]) -> None:
    assert paths.normalise(base, path) == expected


@given(texts, texts, st.integers(0, 60))
def test_no_byte_is_written_past_the_room_that_was_given(base: bytes, path: bytes, room: int) -> None:
    out, climbs = paths._ffi.new("char[]", b"\xee" * (room + 8)), paths._ffi.new("_Bool *")
    size = paths._c.clo_path_normalise(base, len(base), path, len(path), out, room, climbs)
    expected = ref.normalise(base, path)[0]
    assert bytes(paths._ffi.buffer(out, room + 8))[room:] == b"\xee" * 8
    assert bytes(paths._ffi.buffer(out, size)) in {b"", expected}
    if not size:
        assert room < len(base) + len(path) + 2
