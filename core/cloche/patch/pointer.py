"""JSON Pointers (RFC 6901): the names of places in a document."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from cloche.errors import SpecError
from cloche.units import shown

_STRAY: Final = re.compile(r"~(?![01])")


@dataclass(frozen=True, slots=True)
class Pointer:
    """A place in a document: the names and indexes that lead there, none for the document itself.

    >>> str(Pointer.parse("/files") / "src/main.py" / 0)
    '/files/src~1main.py/0'
    """

    tokens: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.tokens, str) or not all(isinstance(token, str) for token in self.tokens):
            raise SpecError(f"a pointer is made of text for each step, not of {shown(self.tokens)}; see Pointer.join")

    @classmethod
    def parse(cls, text: str) -> Pointer:
        """Give the pointer that ``text`` writes, such as ``/a/0/b~1c``. Raises ``SpecError`` if it writes none."""
        if not isinstance(text, str):
            raise SpecError(f"a pointer is text, not {shown(text)}")
        if not text:
            return cls()
        if not text.startswith("/"):
            raise SpecError(f"a pointer begins with a slash or is empty, so {shown(text)} is none; put one before it")
        if _STRAY.search(text):
            raise SpecError(f"in a pointer ~ is written ~0 and / is written ~1: {shown(text)} has another ~")
        return cls(tuple(unescape(token) for token in text[1:].split("/")))

    @classmethod
    def join(cls, *steps: str | int) -> Pointer:
        """Give the pointer of these names and indexes; ``-`` is the place behind an array's last element."""
        return cls(tuple(_token(step) for step in steps))

    def __truediv__(self, step: str | int) -> Pointer:
        """Give the place one step further."""
        return Pointer((*self.tokens, _token(step)))

    def __str__(self) -> str:
        return "".join("/" + escape(token) for token in self.tokens)


def escape(token: str) -> str:
    """Give a name as it stands in a pointer: ``~`` as ``~0`` and ``/`` as ``~1``.

    >>> escape("text/html")
    'text~1html'
    """
    return token.replace("~", "~0").replace("/", "~1")


def unescape(token: str) -> str:
    """Give the name that a step of a pointer writes."""
    return token.replace("~1", "/").replace("~0", "~")


def _token(step: str | int) -> str:
    if isinstance(step, bool) or not isinstance(step, str | int) or (isinstance(step, int) and step < 0):
        raise SpecError(f"a step of a pointer is a name or an index from 0 on, not {shown(step)}")
    return str(step)
