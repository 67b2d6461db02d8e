"""Lines of gVisor's strace: each text of a call comes back as its guest gave it, or the line is not believed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche_native.lines import Line, Lines, parse_line

FORMS = {
    "mkdir": "po", "mkdirat": "fpx", "mknodat": "fpmx", "unlink": "p", "unlinkat": "fpx", "rename": "pp",
    "renameat2": "fpxpx", "linkat": "fpxpx", "symlinkat": "pfp", "fchmodat": "fpm", "chown": "pxx", "mount": "pppxp",
}  # fmt: skip
text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
pointer = st.integers(0x10000, (1 << 47) - 1)


def written(call: str, registers: list[int], texts: list[str], name: str = "sh", tid: int = 7) -> str:
    """Give the message that a sentry would write."""
    left, parts = list(texts), []
    for kind, value in zip(FORMS[call], registers, strict=False):
        if kind == "p":
            parts.append(f"{value:#x} {left.pop(0)}")
        elif kind == "f":
            parts.append(f"AT_FDCWD {left.pop(0)}" if value == FDCWD else f"{value & 0xFFFFFFFF:#x} {left.pop(0)}")
        else:
            parts.append({"x": f"{value:#x}", "o": f"0o{value:o}", "m": "S_ISUID|0o755"}[kind])
    return f"[{tid:4d}:{tid:4d}] {name} E {call}({', '.join(parts)})"


FDCWD = (1 << 64) - 100


@st.composite
def begun(draw: st.DrawFn) -> tuple[str, list[int], list[str]]:
    call = draw(st.sampled_from(sorted(FORMS)))
    one = {"p": pointer, "f": st.integers(0, 99) | st.just(FDCWD), "x": st.integers(0, (1 << 64) - 1)}
    registers = [draw(one.get(kind, st.integers(0, 0o7777))) for kind in FORMS[call]]
    texts = [draw(text) for kind in FORMS[call] if kind in "pf"]
    return call, registers + [0] * (6 - len(registers)), texts


@given(begun(), st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=15))
def test_texts_come_back_as_they_were_or_are_not_believed(made: tuple[str, list[int], list[str]], name: str) -> None:
    call, registers, texts = made
    try:
        line = parse_line(written(call, registers, texts, name[:15]).encode(), call, registers)
    except ValueError:
        return
    assert line is not None
    assert list(line.texts.values()) == [one.encode() for one in texts]


@given(st.binary(max_size=200), begun())
def test_any_bytes_are_a_line_or_none(raw: bytes, made: tuple[str, list[int], list[str]]) -> None:
    call, registers, texts = made
    whole = written(call, registers, texts).encode()
    for cut in (raw, whole[: len(raw)], whole[:-1] + raw, raw + whole):
        try:
            line = parse_line(cut, call, registers)
        except ValueError:
            continue
        assert line is None or all(isinstance(one, bytes) for one in line.texts.values())


def test_a_text_that_looks_like_the_rest_is_not_believed() -> None:
    registers = [0x10000, 0x20000, 0, 0, 0, 0]
    line = written("rename", registers, ["a, 0x20000 b", "c"])
    with pytest.raises(ValueError, match="more than one way"):
        parse_line(line.encode(), "rename", registers)
    plain = parse_line(written("rename", registers, ["a, 0x2000 b", ") = 0 (0x0)"]).encode(), "rename", registers)
    assert plain == Line({0: b"a, 0x2000 b", 1: b") = 0 (0x0)"})


def test_a_name_that_looks_like_a_call_hides_nothing() -> None:
    registers = [0x10000, 0, 0, 0, 0, 0]
    for name in ("x E unlink(0x1 ", " X unlink(", "E", " E ", "\x1b[2J"):
        assert parse_line(written("unlink", registers, ["/a"], name).encode(), "unlink", registers) == Line({0: b"/a"})


def test_what_could_not_be_read_is_said() -> None:
    assert parse_line(
        b"[   2:   2] a E unlink(0x8 (error decoding path: bad address))", "unlink", [8, *[0] * 5]
    ) == Line({0: b"(error decoding path: bad address)"}, bad=True)
    assert parse_line(b"[   2:   2] a E unlink(<null>)", "unlink", [0] * 6) == Line({})


# -- from a pipe -----------------------------------------------------------------------------------------------------


@pytest.fixture
def pipe() -> Iterator[tuple[Lines, int]]:
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    lines = Lines(ours)
    yield lines, theirs
    lines.close()
    lines.close()
    os.close(theirs)


def entry(message: str) -> bytes:
    told = {"msg": message, "level": "info", "time": "2026-01-01T00:00:00Z"}
    return json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


REGISTERS = [0x10000, 0, 0, 0, 0, 0]


def test_each_thread_has_its_own_lines_in_their_order(pipe: tuple[Lines, int]) -> None:
    lines, end = pipe
    for tid, path in ((7, "/a"), (8, "/b"), (7, "/c")):
        raw = written("unlink", REGISTERS, [path], tid=tid)
        os.write(end, entry(raw) + entry(raw.replace(" E ", " X ", 1) + " = 0 (0x0) (1µs)"))
    os.write(end, entry("EXEC: [/bin/sh]") + b"garbage\n" + b'{"msg":"[ 7')
    assert lines.take(8, "unlink", REGISTERS) == Line({0: b"/b"})
    assert lines.take(7, "unlink", REGISTERS) == Line({0: b"/a"})
    assert lines.take(8, "unlink", REGISTERS) is None
    assert lines.take(7, "unlink", REGISTERS) == Line({0: b"/c"})
    os.write(end, b':  7] sh E unlink(0x10000 /d)","level":"info"}\n')
    assert lines.take(7, "unlink", REGISTERS) == Line({0: b"/d"}), "a line may come in pieces"
    assert lines.lost == 0
    assert not lines.ended


def test_what_stands_for_bytes_that_are_no_utf_8_is_told(pipe: tuple[Lines, int]) -> None:
    lines, end = pipe
    os.write(end, entry(written("unlink", REGISTERS, ["X"])).replace(b"X", rb"\ufffd\u0001\u003c"))
    assert lines.take(7, "unlink", REGISTERS) == Line({0: "\ufffd\x01<".encode()}, lossy=True)
    os.write(end, entry(written("unlink", REGISTERS, ["X"])).replace(b"X", "\ufffd\U0001f514".encode()))
    assert lines.take(7, "unlink", REGISTERS) == Line({0: "\ufffd\U0001f514".encode()}), "that one was really there"


def test_a_flood_is_bounded_and_counted(pipe: tuple[Lines, int]) -> None:
    lines, end = pipe
    raw = entry(written("unlink", REGISTERS, ["/" + "x" * 900]))
    for _ in range(8000):
        os.write(end, raw)
        lines.read()
    assert 2000 < lines.lost < 6000
    os.write(end, entry(written("unlink", REGISTERS, ["/last"], tid=9)))
    assert lines.take(9, "unlink", REGISTERS) == Line({0: b"/last"})
    lines.forget()
    assert lines.take(7, "unlink", REGISTERS) is None


def test_a_line_without_an_end_is_given_up(pipe: tuple[Lines, int]) -> None:
    lines, end = pipe
    for _ in range(300):
        os.write(end, b"x" * 1024)
        lines.read()
    os.write(end, b"\n" + entry(written("unlink", REGISTERS, ["/a"])))
    assert lines.take(7, "unlink", REGISTERS) == Line({0: b"/a"})
    assert lines.lost == 1


def test_bad_input_is_an_error() -> None:
    with pytest.raises(ValueError, match="6 arguments"):
        parse_line(b"", "unlink", [1])
    ours, theirs = os.pipe()
    os.close(theirs)
    lines = Lines(ours)
    assert lines.read() == 0
    assert lines.ended
    lines.close()
    with pytest.raises(ValueError, match="closed"):
        lines.read()
