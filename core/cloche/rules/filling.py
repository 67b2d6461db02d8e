"""What values of conditions become in one sandbox: ``${name}`` is filled in, folders and patterns become native ones.

``${name}`` stands for what ``Surroundings`` says; a name that stands for several paths makes as many values, one that
stands for none takes the value away. ``$${`` is written for a plain ``${``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import Final, NamedTuple

from cloche import units
from cloche.errors import SpecError
from cloche.files.globs import parse_set
from cloche.rules.condition import VALUES_MAX, Compare, Value
from cloche.rules.fields import FIELDS
from cloche.rules.surroundings import PATTERNS, Surroundings
from cloche_native import paths

_NAME: Final = re.compile(r"(\$\$\{)|\$\{([^{}]*)(\}?)")
_MAGIC: Final = re.compile(r"[*?\[\]\\]")

_USUAL: Final = Surroundings()


class _Piece(NamedTuple):
    """A part of a value: as it was written, a path, or a pattern of a policy's."""

    text: str
    kind: str


def meant(asked: Compare, around: Surroundings) -> Surroundings:
    """Give the surroundings, or the usual ones where no value looks at any: so that caches hold for every sandbox."""
    return around if _names(asked) else _USUAL


@lru_cache(maxsize=8192)
def _names(asked: Compare) -> bool:
    return any("${" in value for value in asked.values if isinstance(value, str))


def filled(asked: Compare, around: Surroundings) -> tuple[Value, ...]:
    """Give the values of a comparison in a sandbox, without what stands for nothing.

    Those of ``glob`` and ``under`` on a path are native patterns (docs/patterns.md), others are as they are compared.
    Raises ``SpecError``: for an unknown name, for what is no pattern, for too many values.
    """
    return _filled(asked, meant(asked, around))


@lru_cache(maxsize=8192)
def _filled(asked: Compare, around: Surroundings) -> tuple[Value, ...]:
    what = f"condition on {asked.field}"
    found: list[Value] = []
    for value in asked.values:
        if isinstance(value, int):
            found.append(value)
            continue
        for pieces in _pieces(value, around, what):
            found.append(_value(asked, pieces, what))
            if len(found) > VALUES_MAX:
                raise SpecError(f"{what}: over {VALUES_MAX} values, with what ${{...}} stands for here")
    return tuple(dict.fromkeys(found))


def literal(text: str) -> str:
    """Give the native pattern, or a part of one, that only ``text`` matches."""
    return _MAGIC.sub(r"\\\g<0>", text)


def native_pattern(glob: str, what: str) -> str:
    """Give the native pattern of a policy's one (``cloche.files.globs``). Raises ``SpecError`` where there is none."""
    out, at = "", 0
    while at < len(glob):
        if glob[at] != "[":
            out += glob[at] if glob[at] in "*?" else literal(glob[at])
            at += 1
            continue
        negated, ranges, end = parse_set(glob, at)
        if any(not (low + high).isascii() for low, high in ranges):
            raise SpecError(f"{what}: {units.shown(glob)}: rules know classes of ASCII characters only")
        kept = "".join(_safe(low) if low == high else f"{_safe(low)}-{_safe(high)}" for low, high in ranges)
        out += f"[{'!' * negated}{kept}]"
        at = end + 1
    return out


def check(pattern: str, what: str) -> str:
    """Give a native pattern of paths. Raises ``SpecError`` for what is none."""
    try:
        paths.check_pattern(os.fsencode(pattern))
    except ValueError as error:
        raise SpecError(f"{what}: {error}") from None
    return pattern


def normal(path: str) -> str:
    """Give a path in its normal form; one that is not absolute is one from the root folder."""
    return os.fsdecode(paths.normalise(b"", os.fsencode(path))[0])


def _safe(character: str) -> str:
    return "\\" + character if character in "\\[]!-^" else character


def _pieces(value: str, around: Surroundings, what: str) -> Iterator[tuple[_Piece, ...]]:
    """Give the ways to fill a value in, each as its pieces."""
    if "${" not in value:
        yield (_Piece(value, "written"),)
        return
    choices: list[list[_Piece]] = []
    at = 0
    for found in _NAME.finditer(value):
        choices.append([_Piece(value[at : found.start()], "written")])
        at = found.end()
        if found[1]:
            choices.append([_Piece("${", "written")])
            continue
        name = found[2]
        stands = getattr(around, name, None) if name in Surroundings.__dataclass_fields__ and found[3] else None
        if stands is None:
            known = ", ".join(Surroundings.__dataclass_fields__)
            raise SpecError(
                f"{what}: {units.shown(found[0])} stands for nothing; known are {known}; write $${{ for a plain ${{"
            )
        kind = "pattern" if name in PATTERNS else "path"
        choices.append([_Piece(text, kind) for text in ((stands,) if isinstance(stands, str) else stands)])
    choices.append([_Piece(value[at:], "written")])
    for pieces in product(*choices):
        there = [piece for piece in pieces if piece.text]
        for number, piece in enumerate(there[:-1]):
            if piece.kind != "written" and there[number + 1].text.startswith("/"):  # the folder is "/"
                there[number] = piece._replace(text=piece.text.rstrip("/"))
        yield tuple(there)


def _value(asked: Compare, pieces: tuple[_Piece, ...], what: str) -> str:
    patterns = any(piece.kind == "pattern" for piece in pieces)
    if patterns and asked.op not in ("glob", "under"):
        raise SpecError(
            f"{what}: {', '.join(f'${{{name}}}' for name in sorted(PATTERNS))} are patterns: use glob or under"
        )
    if asked.op == "under" and asked.field == "name":
        raise SpecError(f"{what}: a name alone lies under nothing; ask file, path or resolved")
    if asked.op == "under":
        return _folder(pieces, what)
    if asked.op == "glob":
        text = "".join(_in_glob(piece, what) for piece in pieces)
        if FIELDS[asked.field].kind != "path":
            return text
        if asked.field == "name":
            return _name(text, what)
        return check(text, what)
    if asked.op == "matches":
        return "".join(piece.text if piece.kind == "written" else re.escape(piece.text) for piece in pieces)
    return "".join(piece.text for piece in pieces)


def _in_glob(piece: _Piece, what: str) -> str:
    if piece.kind == "pattern":
        return native_pattern(piece.text, what)
    return literal(piece.text) if piece.kind == "path" else piece.text


def _folder(pieces: tuple[_Piece, ...], what: str) -> str:
    """Give the pattern of a folder and of all below it."""
    whole = "".join(piece.text for piece in pieces)
    if not whole.startswith("/"):
        raise SpecError(f"{what}: under {units.shown(whole)}: a folder begins with '/'; or use glob")
    if any(piece.kind == "pattern" for piece in pieces):
        texts = (
            literal(piece.text) if piece.kind != "pattern" else native_pattern(piece.text, what) for piece in pieces
        )
        pattern = "".join(texts).rstrip("/")
    else:
        pattern = literal(normal(whole)).rstrip("/")
    return check(pattern if pattern.endswith("/**") else f"{pattern}/**", what)


def _name(pattern: str, what: str) -> str:
    if "/" in pattern or pattern == "**":
        raise SpecError(f"{what}: {units.shown(pattern)}: a name is one component, without '/'")
    return check(f"**/{pattern}", what)
