"""Whether a condition holds of an event: its meaning, in plain Python. docs/rules.md says it in words.

What C judges by (``cloche.rules.compile``) says the same; where it can't ask something, it is asked here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cloche.errors import SpecError
from cloche.events.acts import Act, EventFlag
from cloche.rules.condition import All, AnyOf, Compare, Condition, Not
from cloche.rules.expressions import expression
from cloche.rules.fields import FIELDS, Field
from cloche.rules.filling import filled, meant
from cloche.rules.textglobs import text_glob
from cloche_native.paths import Patterns, normalise

if TYPE_CHECKING:
    from cloche.events.event import Event
    from cloche.incidents.match import ProcessFacts
    from cloche.rules.surroundings import Surroundings

_BITS: Final = 1 << 64


def holds(
    condition: Condition,
    event: Event,
    around: Surroundings,
    process: ProcessFacts | None = None,
    ancestors: Sequence[ProcessFacts] = (),
) -> bool:
    """Say whether a condition holds of an event, in a sandbox with these surroundings.

    ``process`` and ``ancestors`` (its parent first) are what is known of who did it; what is not known is absent.
    Raises ``SpecError`` for a value that means nothing here (``filling.filled``).
    """
    match condition:
        case All(parts):
            return all(holds(part, event, around, process, ancestors) for part in parts)
        case AnyOf(parts):
            return any(holds(part, event, around, process, ancestors) for part in parts)
        case Not(part):
            return not holds(part, event, around, process, ancestors)
        case Compare():
            return _compares(condition, event, around, process, ancestors)
    raise SpecError(f"condition: {type(condition).__name__} is no condition; join comparisons with & | ~")


def _compares(
    asked: Compare, event: Event, around: Surroundings, process: ProcessFacts | None, ancestors: Sequence[ProcessFacts]
) -> bool:
    field = FIELDS[asked.field]
    if field.kind in ("number", "flag"):
        found = number(field, event)
        return found is not None and _number_passes(asked, found)
    texts = _of_process(field.name, process, ancestors) if field.kind == "process" else texts_of(field, event)
    passes = passer(asked, around)
    return any(passes(text) for text in texts)


# ---- numbers ----


def number(field: Field, event: Event) -> int | None:
    """Give a number or a flag of an event as 64 bits; ``None`` where its act has none or it is not known."""
    if field.kind == "flag":
        return int(bool(event.flags & (field.flag or EventFlag(0))))
    if field.name in ("pid", "tid", "exec"):
        return int(getattr(event, field.name))
    if field.name == "result":
        return None if event.result is None else event.result % _BITS
    place = field.place(event.act)
    return None if place is None else event.args[place]


def _number_passes(asked: Compare, found: int) -> bool:
    values = [value % _BITS for value in asked.values if isinstance(value, int)]
    match asked.op:
        case "==":
            return found in values
        case "<":
            return any(signed(found) < signed(value) for value in values)
        case ">=":
            return any(signed(found) >= signed(value) for value in values)
        case "has":
            return any(found & value for value in values)
        case _:
            return found != 0 or asked.field not in ("pid", "tid", "exec")


def signed(value: int) -> int:
    """Give 64 bits as a number that may be negative."""
    value %= _BITS
    return value - _BITS if value >= _BITS >> 1 else value


# ---- texts ----


def texts_of(field: Field, event: Event) -> list[bytes]:
    """Give the texts of an event that a field is, as they are compared: of those that are there, each once or more."""
    if field.name in ("source", "call"):
        known = event.source.value if field.name == "source" else event.call
        return [] if known is None else [os.fsencode(known)]
    there = [which for which in field.read(event.act) if _raw(event, which)]
    if field.kind == "path":
        whole = [normal_text(event, which) for which in there]
        return whole if field.name != "name" else [path.rpartition(b"/")[2] for path in whole if path != b"/"]
    lists = [_raw(event, which).removesuffix(b"\0") for which in there]
    if field.items:
        return [item for one in lists for item in one.split(b"\0")]
    if field.name == "cmdline":
        return [one.replace(b"\0", b" ") for one in lists]
    return [_raw(event, which) for which in there]


def normal_text(event: Event, which: str) -> bytes:
    """Give a text of an event as a path in its normal form; what a symbolic link says from the link's folder."""
    base = b""
    if which == "target" and event.act is Act.SYMLINK and event.path:
        base = normal_text(event, "path").rpartition(b"/")[0]
    return normalise(base, _raw(event, which))[0]


def _raw(event: Event, which: str) -> bytes:
    return os.fsencode(getattr(event, which.replace("-", "_")) or "")


def _of_process(name: str, process: ProcessFacts | None, ancestors: Sequence[ProcessFacts]) -> list[bytes]:
    if name == "ancestors":
        return [os.fsencode(one.name) for one in ancestors if one.name]
    whose, _, what = name.partition(".")
    facts = process if whose == "process" else next(iter(ancestors), None)
    if facts is None:
        return []
    text = " ".join(facts.args) if what == "cmdline" else getattr(facts, what)
    return [os.fsencode(text)] if text else []


def passer(asked: Compare, around: Surroundings) -> Callable[[bytes], bool]:
    """Give what says of one text whether it passes a comparison."""
    return _passer(asked, meant(asked, around))


@lru_cache(maxsize=8192)
def _passer(asked: Compare, around: Surroundings) -> Callable[[bytes], bool]:
    values = tuple(os.fsencode(value) for value in filled(asked, around) if isinstance(value, str))
    if asked.op == "exists":
        return lambda _: True
    if asked.op in ("glob", "under") and FIELDS[asked.field].kind == "path":
        return _matcher(values, name=asked.field == "name")
    return _MAKERS[asked.op](values, asked.field)


def _equal(values: tuple[bytes, ...], field: str) -> Callable[[bytes], bool]:
    if FIELDS[field].kind == "path" and field != "name":
        values = tuple(normalise(b"", value)[0] for value in values if value)
    return lambda text: text in values


def _contains(values: tuple[bytes, ...], _: str) -> Callable[[bytes], bool]:
    return lambda text: any(value in text for value in values)


def _icontains(values: tuple[bytes, ...], _: str) -> Callable[[bytes], bool]:
    lower = [value.lower() for value in values]  # of bytes: ASCII letters only
    return lambda text: any(value in text.lower() for value in lower)


def _starts(values: tuple[bytes, ...], _: str) -> Callable[[bytes], bool]:
    return lambda text: text.startswith(values)


def _ends(values: tuple[bytes, ...], _: str) -> Callable[[bytes], bool]:
    return lambda text: text.endswith(values)


def _globs(values: tuple[bytes, ...], field: str) -> Callable[[bytes], bool]:
    globs = [text_glob(value, f"condition on {field}") for value in values]
    return lambda text: any(glob(text) for glob in globs)


def _searched(values: tuple[bytes, ...], field: str) -> Callable[[bytes], bool]:
    searched = [expression(os.fsdecode(value), f"condition on {field}") for value in values]
    return lambda text: any(one.search(text) is not None for one in searched)


_MAKERS: Final = {
    "==": _equal, "contains": _contains, "icontains": _icontains, "startswith": _starts, "endswith": _ends,
    "glob": _globs, "matches": _searched,
}  # fmt: skip


def _matcher(patterns: Sequence[bytes], *, name: bool) -> Callable[[bytes], bool]:
    if not patterns:
        return lambda _: False
    try:
        known = Patterns([(pattern, 0) for pattern in patterns], sets=1)
    except ValueError as error:
        raise SpecError(f"condition: {error}") from None
    return lambda text: bool(known.match(b"/" + text if name else text))
