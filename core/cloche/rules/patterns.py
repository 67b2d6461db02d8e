"""What a comparison with a path asks, as native patterns: one of them matches exactly where the comparison holds."""

from __future__ import annotations

from collections.abc import Callable

from cloche.rules.condition import Compare
from cloche.rules.filling import check, filled, literal, normal
from cloche.rules.surroundings import Surroundings

_NEVER = frozenset({"", ".", ".."})
"""Components that no path in its normal form has."""


def path_patterns(asked: Compare, around: Surroundings) -> tuple[str, ...]:
    """Give the patterns of a comparison on a path with any operator but ``matches``.

    None where it never holds. Raises ``SpecError`` for a pattern that is too long, or none.
    """
    name, what = asked.field == "name", f"condition on {asked.field}"
    if asked.op == "exists":
        return ("/*/**",) if name else ("/**",)
    found = []
    for value in filled(asked, around):
        assert isinstance(value, str)  # noqa: S101 - of a field that is no number; for the type checker
        if asked.op in ("glob", "under"):
            found.append(value)
        elif (pattern := (_of_name if name else _of_path)(asked.op, value)) is not None:
            found.append(check(pattern, what))
    return tuple(sorted(set(found)))


def _of_name(op: str, value: str) -> str | None:
    if "/" in value or (op == "==" and value in _NEVER):
        return None
    text = either_case(value) if op == "icontains" else literal(value)
    before = "*" if op in ("contains", "icontains", "endswith") else ""
    return f"**/{before}{text}{'*' if op in ('contains', 'icontains', 'startswith') else ''}"


def _of_path(op: str, value: str) -> str | None:
    if op == "==":
        return literal(normal(value)) if value else None
    if op == "startswith":
        return _start(value)
    return _end(value) if op == "endswith" else _within(value, either_case if op == "icontains" else literal)


def either_case(text: str) -> str:
    """Give the part of a pattern that matches a text with its ASCII letters in either case."""
    cased = (f"[{c.lower()}{c.upper()}]" if c.isascii() and c.isalpha() else literal(c) for c in text)
    return "".join(cased)


def _start(value: str) -> str | None:
    if value == "/":
        return "/**"
    root, *whole, last = value.split("/") if "/" in value else (value, value)
    if root or not _NEVER.isdisjoint(whole):
        return None
    return "/".join(["", *map(literal, whole), f"{literal(last)}*", "**"])


def _end(value: str) -> str | None:
    if value == "/":
        return "/"
    first, *whole = value.split("/")
    if not _NEVER.isdisjoint(whole):
        return None
    return "/".join(["**", *([f"*{literal(first)}"] if first else []), *map(literal, whole)])


def _within(value: str, part: Callable[[str], str]) -> str | None:
    if value == "/":
        return "/**"
    first, *whole = value.split("/")
    if not whole:
        return f"**/*{part(first)}*/**"
    last = whole.pop()
    if not _NEVER.isdisjoint(whole):
        return None
    return "/".join(["**", *([f"*{part(first)}"] if first else []), *map(part, whole), f"{part(last)}*", "**"])
