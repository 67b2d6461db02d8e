"""JSON for people: indented and coloured, numbers and texts as they stand, nothing that could steer a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import click

from cloche.patch import Document
from cloche.patch.pointer import Pointer
from cloche.units import one_line

_TOKEN: Final = re.compile(r'("(?:[^"\\]|\\.)*")(:?)|(\[\]|\{\})|([\[{])|([\]}])|(,)|([^\[\]{},:"]+)')
_SHORT: Final = 160
_MARKS: Final = {
    "add": ("+", "green"), "remove": ("-", "red"), "replace": ("~", "yellow"), "splice": ("~", "yellow"),
    "move": (">", "cyan"), "copy": ("&", "cyan"),
}  # fmt: skip


def indented(text: str) -> Iterator[str]:
    """Give canonical JSON text a line at a time, two blanks to a level, styled as ``click`` does."""
    line = ""
    level = 0
    for string, colon, empty, opening, closing, comma, other in _TOKEN.findall(text):
        if opening or comma:
            yield line + opening + comma
            level += bool(opening)
            line = "  " * level
        elif closing:
            yield line
            level -= 1
            line = "  " * level + closing
        elif string:
            line += click.style(escaped(string), fg="blue" if colon else "green") + (": " if colon else "")
        else:
            line += empty or click.style(other, fg="magenta")
    yield line


def escaped(text: str) -> str:
    r"""Give JSON text with what is no printable character written as ``\u202e`` is: it means the same."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def steps(document: Document, made: bytes) -> Iterator[str]:
    """Give a line for each operation of the patch ``made``, with what it takes away and puts there.

    Each is applied to ``document``, for the places of the next are those after it.
    """
    with Document(made) as patch:
        for number, operation in enumerate(patch.value()):
            kind, path = operation["op"], operation["path"]
            mark, colour = _MARKS[kind]
            sides = []
            if kind in {"move", "copy"}:
                sides.append(f"from {one_line(operation['from'])}")
            if kind in {"remove", "replace"}:
                sides.append(_short(document.get_text(path)))
            if kind in {"add", "replace"}:
                sides.append(_short(patch.get_text(Pointer.join(number, "value"))))
            if kind == "splice":
                insert = _short(patch.get_text(Pointer.join(number, "insert")))
                sides.append(f"from character {operation['at']:,} on {operation['remove']:,} are {insert}")
            yield click.style(f"{mark} {one_line(path) or '(all)'}", fg=colour) + "  " + " -> ".join(sides)
            document.apply(b"[" + patch.get_text(Pointer.join(number)) + b"]")


def _short(value: bytes) -> str:
    text = value.decode()
    return escaped(text) if len(text) <= _SHORT else f"{escaped(text[:_SHORT])}... ({len(text):,} characters)"
