"""What a comparison with a text that is no path asks, as native tests of its bytes."""

from __future__ import annotations

import re
from typing import Final, Literal

from cloche.rules.condition import Compare
from cloche.rules.fields import FIELDS
from cloche.rules.formula import FALSE, Formula, either
from cloche_native.rule_values import Text

_MAGIC: Final = re.compile(rb"\\.|\[(?:\\.|[^\]])*\]|[*?]", re.DOTALL)
_FINER: Final = frozenset(b"?[\\")
_HOWS: Final[dict[str, Literal["equal", "prefix", "suffix", "contains"]]] = {
    "==": "equal", "startswith": "prefix", "endswith": "suffix", "contains": "contains", "icontains": "contains",
}  # fmt: skip


def text_formula(asked: Compare, text: str, values: list[bytes]) -> Formula | None:
    """Give native tests that say just what a comparison with these values does; ``None`` where there are none."""
    if asked.op == "exists":
        return Text("equal", b"", text, negate=True)
    found: list[Formula] = []
    for value in values:
        simple = _simple(value) if asked.op == "glob" else (asked.op, value)
        if simple is None:
            return None
        found.append(_asked(asked.field, *simple, text))
    return either(found)


def text_needed(asked: Compare, text: str, values: list[bytes]) -> Formula:
    """Give native tests that pass wherever a comparison holds, which is a glob or an expression."""
    longest = [max(_MAGIC.split(value), key=len) for value in values] if asked.op == "glob" else []
    if not longest or not all(longest):
        return Text("equal", b"", text, negate=True)
    return either(Text("contains", piece, text, spaced=asked.field == "cmdline") for piece in longest)


def _simple(glob: bytes) -> tuple[str, bytes] | None:
    """Give a pattern as another operator, where it has a ``*`` at its ends alone."""
    within = glob.strip(b"*")
    if b"*" in within or not _FINER.isdisjoint(within):
        return None
    if not within:
        return ("exists" if glob else "=="), b""
    ends = {(True, True): "contains", (True, False): "endswith", (False, True): "startswith"}
    return ends.get((glob.startswith(b"*"), glob.endswith(b"*")), "=="), within


def _asked(field: str, op: str, value: bytes, text: str) -> Formula:
    if op == "exists":
        return Text("equal", b"", text, negate=True)
    if FIELDS[field].items:
        return _of_items(op, value, text)
    spaced = field == "cmdline"
    if not value and not spaced:
        return FALSE  # what is there is not empty
    return Text(_HOWS[op], value, text, fold=op == "icontains", spaced=spaced)


def _of_items(op: str, value: bytes, text: str) -> Formula:
    """Ask it of one item of a list, each with a NUL after it but, where it was cut, the last."""
    if op == "==" and not value:
        return either((Text("prefix", b"\0", text), Text("contains", b"\0\0", text)))
    if op == "==":
        whole = (Text("prefix", value + b"\0", text), Text("contains", b"\0" + value + b"\0", text))
        return either((*whole, Text("suffix", b"\0" + value, text), Text("equal", value, text)))
    if op == "startswith":
        return either((Text("prefix", value, text), Text("contains", b"\0" + value, text)))
    if op == "endswith":
        return either((Text("suffix", value, text), Text("contains", value + b"\0", text)))
    return Text("contains", value, text, fold=op == "icontains")
