"""Sizes, durations and names as people write them, checked."""

from __future__ import annotations

import math
import re
import signal as signals
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from cloche.errors import SpecError

_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)\s*([KMGT]?)(i?B)?", re.IGNORECASE | re.ASCII)
_FACTOR = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_DURATION = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)\s*(ms|s|m|h)?", re.IGNORECASE | re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
SIZE_MAX = 1 << 50


def shown(value: object) -> str:
    """Give ``value`` as a message can show it: not too long, and whatever its ``repr`` does."""
    try:
        return f"{value!r:.80}"
    except Exception:  # noqa: BLE001 - numbers of thousands of digits have none; others may fail as they like
        return f"a {type(value).__name__} that can't be shown"


def plain_text(text: str) -> str:
    """Give ``text`` with what could steer a terminal, or is no character at all, written as an escape.

    Names and messages may come from a guest or from whoever made a file. A line break stays.
    """
    if text.isprintable():
        return text
    return "".join(c if c == "\n" or c.isprintable() else escaped(c) for c in text)


def escaped(character: str) -> str:
    r"""Give a character as an escape; a byte that was no UTF-8 and is kept as a surrogate (PEP 383) as ``\xff``."""
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def one_line(text: str, *, most: int | None = None) -> str:
    """Give the first ``most`` characters as ``plain_text`` does, line breaks escaped too: for one row of many."""
    return plain_text(text[:most]).replace("\n", "\\n")


def size(value: int | str, what: str, *, least: int = 1) -> int:
    """Give ``value`` in bytes: an int, or text such as ``"512M"`` or ``"1.5 GiB"`` (K M G T are powers of 1024).

    Raises ``SpecError`` for anything else, below ``least`` or above 1 PiB.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise SpecError(f"{what}: a size is an int in bytes or text like '512M', not {shown(value)}")
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip())
        if match is None:
            raise SpecError(f"{what}: {shown(value)} is not a size; write bytes as an int, or '512M', '1.5G'")
        number = int(float(match[1]) * _FACTOR[match[2].upper()])
    else:
        number = value
    if not least <= number <= SIZE_MAX:
        raise SpecError(f"{what}: {shown(value)} is out of range; give {least} to {SIZE_MAX} bytes")
    return number


def count(value: int, what: str, *, least: int = 1, most: int = 1 << 22) -> int:
    """Give ``value`` if it is a whole number between ``least`` and ``most``, else raise ``SpecError``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise SpecError(f"{what}: a whole number is needed, not {shown(value)}")
    if not least <= value <= most:
        raise SpecError(f"{what}: {shown(value)} is out of range; give {least} to {most}")
    return value


def duration(value: float | str, what: str, *, infinite: bool = True) -> float:
    """Give ``value`` in seconds: a number, or text such as ``"250ms"``, ``"30s"``, ``"15m"``, ``"2h"``.

    ``math.inf`` means no bound where ``infinite`` allows it. Raises ``SpecError`` for anything else or <= 0.
    """
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        if match is None:
            raise SpecError(f"{what}: {shown(value)} is not a duration; write seconds as a number, or '250ms', '15m'")
        number = float(match[1]) * _SECONDS[(match[2] or "s").lower()]
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise SpecError(f"{what}: a duration is a number of seconds or text like '15m', not {shown(value)}")
    else:
        # An int too large for a float would raise OverflowError.
        number = float(value) if isinstance(value, float) or abs(value) < 1 << 64 else math.nan
    if math.isnan(number) or number <= 0 or (math.isinf(number) and not infinite):
        raise SpecError(f"{what}: {shown(value)} is out of range; give more than 0 seconds")
    return number


def instance(value: object, kind: type, what: str) -> None:
    """Raise ``SpecError`` unless ``value`` is a public value of the class ``kind``."""
    if not isinstance(value, kind):
        raise SpecError(f"{what}: a cloche.{kind.__name__} is needed, not {shown(value)}")


def sequence(value: object, what: str) -> tuple[Any, ...]:
    """Give ``value`` as a tuple if it is a sequence of things, else raise ``SpecError``; text is none."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise SpecError(f"{what}: a sequence is needed, not {shown(value)}")
    return tuple(value)


def fields_of(kind: type, value: object, what: str, *, needed: str = "a mapping") -> dict[str, Any]:
    """Give a mapping whose keys are fields of the data class ``kind``, else raise ``SpecError``; ``needed`` is told."""
    if not isinstance(value, Mapping):
        raise SpecError(f"{what}: {needed} is needed, not {shown(value)}")
    known = [field.name for field in fields(kind)]
    for key in value:
        if key not in known:
            raise SpecError(f"{what}: unknown key {shown(key)}; known are {', '.join(known)}")
    return dict(value)


def identifier(value: str, what: str) -> str:
    """Give ``value`` if it can serve as a name: 1 to 63 of ``A-Za-z0-9_.-``, starting with a letter or digit."""
    if not isinstance(value, str) or _NAME.fullmatch(value) is None:
        raise SpecError(
            f"{what}: {shown(value)} is not a name; use 1 to 63 of A-Z a-z 0-9 _ . -, first a letter or digit"
        )
    return value


def text(value: str, what: str, *, most: int = 4096) -> str:
    """Give ``value`` if it is text that can be handed to the kernel: no NUL, encodable, at most ``most`` bytes."""
    if not isinstance(value, str):
        raise SpecError(f"{what}: text is needed, not {type(value).__name__}")
    if "\0" in value:
        raise SpecError(f"{what}: {shown(value)} holds a NUL character")
    try:
        raw = value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise SpecError(f"{what}: {shown(value)} is not valid text: {error.reason}") from None
    if len(raw) > most:
        raise SpecError(f"{what}: {len(raw)} bytes is too long; at most {most}")
    return value


def guest_path(value: str, what: str, *, most: int = 4096) -> str:
    """Give ``value`` if it is an absolute, plain path of ``most`` bytes: no ``..``, ``.``, empty part or NUL."""
    text(value, what, most=most)
    if not value.startswith("/") or (value != "/" and any(p in ("", ".", "..") for p in value[1:].split("/"))):
        raise SpecError(f"{what}: {shown(value)} must be an absolute path without '.', '..' or '//'")
    return value


def host_path(value: object, what: str) -> str:
    """Give ``value`` as an absolute path of the host, whether it is there or not."""
    if not isinstance(value, str | Path) or not str(value):
        raise SpecError(f"{what}: a path of the host is needed, not {shown(value)}")
    return str(Path(text(str(value), what)).absolute())


def processors(value: float) -> float:
    """Give ``value`` if it is a number of processors, else raise ``SpecError``."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SpecError(f"limits.cpu: a number of processors is needed, not {shown(value)}")
    if not 0.01 <= value <= 4096:  # noqa: PLR2004 - 10 ms of a second; more processors than Linux runs on
        raise SpecError(f"limits.cpu: {shown(value)} is out of range; give 0.01 to 4096 processors")
    return float(value)


def signal_number(value: int | str) -> int:
    """Give the number of a signal named ``"TERM"`` or ``"SIGTERM"`` or given as a number, else raise ``SpecError``."""
    try:
        if isinstance(value, str):
            name = value.upper()
            return int(signals.Signals[name if name.startswith("SIG") else f"SIG{name}"])
        return int(signals.Signals(value))
    except (KeyError, ValueError, TypeError):
        raise SpecError(f"signal: {shown(value)} is no signal; use a name such as 'TERM' or its number") from None
