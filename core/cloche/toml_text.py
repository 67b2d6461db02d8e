"""Plain values written as TOML, of which ``tomllib`` makes equal ones."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Final

from cloche import units
from cloche.errors import SpecError

_BARE: Final = re.compile("[A-Za-z0-9_-]+", re.ASCII)


def table_lines(title: str, table: Mapping[str, object]) -> list[str]:
    """Give a table under its title; nothing for one without values."""
    lines = [f"{key(name)} = {written(value)}" for name, value in table.items() if value is not None]
    return ["", title, *lines] if lines else []


def key(name: str) -> str:
    """Give a key as it stands before the equals sign."""
    return name if _BARE.fullmatch(name) else text(name)


def written(value: object) -> str:
    """Give a value; a list takes a line for each item. Raises ``SpecError`` for text that is not UTF-8."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return "inf" if math.isinf(value) else repr(value)
        case str():
            return text(value)
        case _:
            items: list[object] = sorted(value) if isinstance(value, frozenset) else list(value)  # type: ignore[call-overload]
            return "\n".join(["[", *(f"    {written(item)}," for item in items), "]"])


def text(value: str) -> str:
    """Give a TOML basic string: JSON's escapes are some of TOML's, but for what lies above U+FFFF and for DEL."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise SpecError(f"{units.shown(value)} is not valid UTF-8, so it can't stand in a profile") from None
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
