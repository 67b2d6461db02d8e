r"""Patterns of texts that are no paths: ``*`` is any bytes, ``?`` one, ``[a-z]`` one of these, ``\x`` is x as it is."""

from __future__ import annotations

import re
from collections.abc import Callable

from cloche import units
from cloche.errors import SpecError


def text_glob(pattern: bytes, what: str) -> Callable[[bytes], bool]:
    """Give what says whether a whole text matches a pattern. Raises ``SpecError`` for what is none.

    What stands between two ``*`` has one length, so it is taken where it comes first and never tried again (the atomic
    groups): no text takes more steps than the product of both lengths.
    """
    first, *rest = runs(pattern, what)
    between = b"".join(b"(?>.*?%s)" % run for run in rest[:-1])
    last = b".*%s" % rest[-1] if rest else b""
    whole = re.compile(b"(?s)%s%s%s" % (first, between, last))
    return lambda text: whole.fullmatch(text) is not None


def runs(pattern: bytes, what: str) -> list[bytes]:
    """Give what stands between the ``*`` of a pattern, as regular expressions that match one length only."""
    found, at = [b""], 0
    while at < len(pattern):
        byte = pattern[at : at + 1]
        at += 1
        if byte == b"*":
            found.append(b"")
            continue
        if byte == b"[":
            taken, at = _class(pattern, at, what)
        elif byte == b"\\" and at == len(pattern):
            raise _bad(pattern, "it ends with a lone backslash; write two for one", what)
        elif byte == b"\\":
            taken, at = re.escape(pattern[at : at + 1]), at + 1
        else:
            taken = b"." if byte == b"?" else re.escape(byte)
        found[-1] += taken
    return found


def _class(pattern: bytes, at: int, what: str) -> tuple[bytes, int]:
    negated = pattern[at : at + 1] == b"!"
    at += negated
    kept: set[int] = set()
    while pattern[at : at + 1] != b"]":
        low, at = _member(pattern, at, what)
        high = low
        if pattern[at : at + 1] == b"-" and pattern[at + 1 : at + 2] != b"]":
            high, at = _member(pattern, at + 1, what)
        if high < low:
            raise _bad(pattern, "a range in it goes backwards", what)
        kept |= set(range(low, high + 1))
    if not kept:
        raise _bad(pattern, "a class in it has no byte", what)
    members = b"".join(b"\\x%02x" % byte for byte in sorted(kept))
    return b"[%s%s]" % (b"^" * negated, members), at + 1


def _member(pattern: bytes, at: int, what: str) -> tuple[int, int]:
    at += pattern[at : at + 1] == b"\\"
    if at >= len(pattern):
        raise _bad(pattern, "a class in it has no end; write \\[ for a plain [", what)
    return pattern[at], at + 1


def _bad(pattern: bytes, reason: str, what: str) -> SpecError:
    return SpecError(f"{what}: {units.shown(pattern.decode(errors='replace'))} is no pattern: {reason}")
