"""The text of a condition as a tree: words joined by ``and``, ``or``, ``not`` and parentheses.

What fields there are is not known here, so that conditions written for other tools can be read too: the grammar is
that of Falco.

::

    file under (/etc, /root) and not (file under ${workspace} or process.name in (apt, dpkg))
    mode has 0o6000 or climbs
    argv contains "--privileged"
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, NoReturn

from cloche import units
from cloche.errors import SpecError

TEXT_MAX: Final = 1 << 20
"""Characters of one condition."""
TERMS_MAX: Final = 4096
VALUES_MAX: Final = 1 << 16
NESTED_MAX: Final = 64
WORDS: Final = (
    "in", "contains", "icontains", "bcontains", "startswith", "bstartswith", "endswith", "glob", "iglob", "pmatch",
    "under", "has", "intersects", "exists", "matches", "regex",
)  # fmt: skip
SYMBOLS: Final = ("==", "!=", "<=", ">=", "=", "<", ">")
LISTS: Final = frozenset(WORDS) - {"exists"}
"""Operators that take several values in parentheses."""
RESERVED: Final = frozenset({"and", "or", "not", *WORDS})
_SPACE: Final = re.compile(r"\s*")
_NAME: Final = re.compile(r"[A-Za-z_][\w.-]*(?:\[[^\]\s]{0,256}\])?(?:\([\w.-]+(?:\[[^\]\s]{0,256}\])?\))?", re.ASCII)
_OP: Final = re.compile("|".join(map(re.escape, SYMBOLS)))
_OP_WORD: Final = re.compile(r"[a-z]+", re.ASCII)
BARE: Final = re.compile(r"""[^()"'\s=,]+""")
_QUOTED: Final = {
    '"': re.compile(r'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL), "'": re.compile(r"[^'\\]*(?:\\.[^'\\]*)*", re.DOTALL),
}  # fmt: skip
_ESCAPE: Final = re.compile(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.|$)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\\": "\\", '"': '"', "'": "'"}


class Word(NamedTuple):
    """One value as it was written, and whether in quotes: only without them can it be a number or name a list."""

    text: str
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Term:
    """A field compared with values; or, with no ``op``, a name by itself: a flag or a macro. Line and column from 1."""

    field: str
    op: str = ""
    values: tuple[Word, ...] = ()
    line: int = 1
    column: int = 1


@dataclass(frozen=True, slots=True)
class Joined:
    """Parts under a word; ``not`` has one."""

    word: Literal["and", "or", "not"]
    parts: tuple[Node, ...]


Node = Term | Joined


def condition_tree(text: str, what: str = "condition", *, strict: bool = True) -> Node:
    """Give the tree of a condition. Not ``strict``: a backslash before any character but those known stays.

    Raises ``SpecError`` beginning with ``what``, line and column, and saying what was expected there.
    """
    if not isinstance(text, str):
        raise SpecError(f"{what}: text is needed, not {units.shown(text)}")
    if len(text) > TEXT_MAX:
        raise SpecError(f"{what}: {len(text)} characters are too long; at most {TEXT_MAX}")
    reader = _Reader(text, what, strict=strict)
    node = reader.either(0)
    if reader.at < len(text):
        reader.fail("'and', 'or' or the end")
    return node


class _Reader:
    """A place in a text, going on."""

    def __init__(self, text: str, what: str, *, strict: bool) -> None:
        self._text = text
        self._what = what
        self._strict = strict
        self._terms = 0
        self.at = 0
        self._skip()

    def either(self, depth: int) -> Node:
        parts = [self._each(depth)]
        while self._word("or"):
            parts.append(self._each(depth))
        return parts[0] if len(parts) == 1 else Joined("or", tuple(parts))

    def _each(self, depth: int) -> Node:
        parts = [self._one(depth)]
        while self._word("and"):
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else Joined("and", tuple(parts))

    def _one(self, depth: int) -> Node:
        if depth > NESTED_MAX:
            self.fail(f"no more than {NESTED_MAX} parentheses and 'not' within each other")
        if self._word("not"):
            return Joined("not", (self._one(depth + 1),))
        if self._sign("("):
            node = self.either(depth + 1)
            if not self._sign(")"):
                self.fail("'and', 'or' or ')'")
            return node
        return self._term()

    def _term(self) -> Term:
        self._terms += 1
        if self._terms > TERMS_MAX:
            self.fail(f"no more than {TERMS_MAX} comparisons")
        line, column = self._place()
        name = _NAME.match(self._text, self.at)
        if name is None or name[0] in RESERVED:
            self.fail("a field, 'not' or '('")
        self._go(name.end())
        op = self._operator()
        values: tuple[Word, ...] = ()
        if op not in ("", "exists"):
            values = self._values() if op in LISTS and self._sign("(") else (self._value(),)
        return Term(name[0], op, values, line, column)

    def _operator(self) -> str:
        symbol = _OP.match(self._text, self.at) or _OP_WORD.match(self._text, self.at)
        if symbol is None or symbol[0] in ("and", "or"):
            return ""
        if symbol[0] not in SYMBOLS and symbol[0] not in WORDS:
            self.fail(f"an operator ({' '.join((*SYMBOLS, *WORDS))}), 'and' or 'or'")
        self._go(symbol.end())
        return symbol[0]

    def _values(self) -> tuple[Word, ...]:
        found: list[Word] = []
        while not self._sign(")"):
            found.append(self._value())
            if len(found) > VALUES_MAX:
                self.fail(f"no more than {VALUES_MAX} values")
            if not self._sign(",") and self._text[self.at : self.at + 1] != ")":
                self.fail("',' or ')'")
        return tuple(found)

    def _value(self) -> Word:
        quote = self._text[self.at : self.at + 1]
        if quote in _QUOTED:
            inner = _QUOTED[quote].match(self._text, self.at + 1)
            if inner is None or self._text[inner.end() : inner.end() + 1] != quote:
                self.fail(f"a value with a closing {quote}")
            text = _ESCAPE.sub(self._unescaped, inner[0])
            self._go(inner.end() + 1)
            return Word(text, quoted=True)
        bare = BARE.match(self._text, self.at)
        if bare is None:
            self.fail("a value")
        self._go(bare.end())
        return Word(bare[0])

    def _unescaped(self, escape: re.Match[str]) -> str:
        code = escape[1]
        if code[:1] == "x" and len(code) > 1:
            return os.fsdecode(bytes([int(code[1:], 16)]))
        if code[:1] in ("u", "U") and len(code) > 1:
            number = int(code[1:], 16)
            if number > 0x10FFFF:  # noqa: PLR2004 - where Unicode ends
                self.fail("a value whose escapes are characters")
            return chr(number)
        if code not in _ESCAPES and self._strict:
            self.fail(f"a value without the escape {escape[0]!r}; a backslash is written twice")
        return _ESCAPES.get(code, escape[0])

    def _word(self, word: str) -> bool:
        end = self.at + len(word)
        if not self._text.startswith(word, self.at) or self._text[end : end + 1].isalnum():
            return False
        if self._text[end : end + 1] in ("_", ".", "-"):
            return False
        self._go(end)
        return True

    def _sign(self, sign: str) -> bool:
        if not self._text.startswith(sign, self.at):
            return False
        self._go(self.at + 1)
        return True

    def _go(self, to: int) -> None:
        self.at = to
        self._skip()

    def _skip(self) -> None:
        space = _SPACE.match(self._text, self.at)
        self.at = self.at if space is None else space.end()

    def _place(self) -> tuple[int, int]:
        return self._text.count("\n", 0, self.at) + 1, self.at - self._text.rfind("\n", 0, self.at)

    def fail(self, expected: str) -> NoReturn:
        line, column = self._place()
        rest = self._text[self.at : self.at + 24]
        found = units.shown(rest) if rest else "the end"
        raise SpecError(f"{self._what}: line {line}, column {column}: {expected} is expected, not {found}")
