"""Values of cloche as plain data that JSON can carry, and back, every field checked on the way."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import types
import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cache
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin

from cloche import errors, units
from cloche.enforcement import Enforcement, kept
from cloche.errors import ClocheError, RegistryError, RuntimeUnavailable, SandboxError, SpecError, Unenforceable
from cloche.rules.rule import Rule
from cloche.rules.ruleset import OWN, Rules
from cloche.rules.severity import Severity

T = TypeVar("T")
TEXT_MAX: Final = 1 << 20
ITEMS_MAX: Final = 1 << 16
_PLAIN: Final = frozenset({type(None), bool, int, str})


def to_plain(value: object) -> Any:  # noqa: ANN401, PLR0911 - plain data, by its kind
    """Give a frozen value (dataclass, enum, set, tuple, mapping, number, text) as plain data."""
    kind: Any = type(value)
    if kind in _PLAIN:  # most of all: every sandbox is written when it is made
        return value
    if isinstance(value, Enum):
        return str(value) if isinstance(value, Severity) else value.value
    if isinstance(value, int | str):
        return value
    if isinstance(value, Rule):  # a part of it may be a function; see Rules.resolved
        return f"{OWN}{value.id}"
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return os.fsdecode(value)
    if (names := _names(kind)) is not None:
        return {name: to_plain(getattr(value, name)) for name in names}
    return _gathered(value)


def _gathered(value: object) -> Any:  # noqa: ANN401 - plain data, by its kind
    if isinstance(value, tuple):
        return [item if type(item) in _PLAIN else to_plain(item) for item in value]
    if isinstance(value, frozenset | set):
        return sorted(to_plain(item) for item in value)
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [to_plain(item) for item in value]
    raise SpecError(f"{units.shown(value)} can't be handed to another process: it is no plain data")


def from_plain(kind: Any, data: Any, what: str) -> Any:  # noqa: ANN401, PLR0911 - whatever type is given
    """Give a value of type ``kind`` from plain data. Raises ``SpecError`` naming the part that makes no sense."""
    if kind is Any:
        return data
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _one_of(get_args(kind), data, what)
    if origin is Literal:
        if data not in get_args(kind):
            raise SpecError(f"{what}: {units.shown(data)} is none of {', '.join(map(str, get_args(kind)))}")
        return data
    if origin is not None and issubclass(origin, Mapping):
        _need(data, dict, what)
        _few(data, what)
        of = get_args(kind)[1]
        return {units.text(key, what): from_plain(of, item, f"{what}.{key:.80}") for key, item in data.items()}
    if origin is not None:
        _need(data, list, what)
        _few(data, what)
        of = get_args(kind)[0]
        make = tuple if issubclass(tuple, origin) else origin  # a Sequence can't be made, a tuple is one
        return make(from_plain(of, item, f"{what}[{index}]") for index, item in enumerate(data))
    if kind is Rules:
        _need(data, dict, what)
        return Rules.of(data)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, data, what)
    return _leaf(kind, data, what)


def _leaf(kind: Any, data: Any, what: str) -> object:  # noqa: ANN401 - whatever type is given
    if kind is type(None):
        if data is not None:
            raise SpecError(f"{what}: nothing may be given here")
        return None
    if issubclass(kind, Enum):
        try:
            return kind(data)
        except ValueError as error:
            raise SpecError(f"{what}: {error}") from None
    if kind is float:
        if data in ("inf", "-inf") or (isinstance(data, int | float) and not isinstance(data, bool)):
            return float(data)
        raise SpecError(f"{what}: a number is needed, not {units.shown(data)}")
    if kind is str:
        return units.text(data, what, most=TEXT_MAX)
    _need(data, kind, what)
    return data


def _one_of(kinds: tuple[Any, ...], data: object, what: str) -> object:
    if data is None and type(None) in kinds:
        return None
    trouble: SpecError | None = None
    for kind in kinds:
        if kind is type(None):
            continue
        try:
            return from_plain(kind, data, what)
        except SpecError as error:
            trouble = error
    raise trouble or SpecError(f"{what}: {units.shown(data)} makes no sense here")


def _dataclass(kind: Any, data: Any, what: str) -> object:  # noqa: ANN401 - whatever dataclass is given
    _need(data, dict, what)
    hints = _hints(kind)
    values: dict[str, object] = {}
    for name, item in data.items():
        if name not in hints:
            raise SpecError(f"{what}: unknown part {units.shown(name)}")
        values[name] = from_plain(hints[name], item, f"{what}.{name}")
    try:
        return kind(**values)
    except TypeError as error:  # a part is missing
        raise SpecError(f"{what}: {error}") from None


def _need(data: object, kind: type, what: str) -> None:
    if not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool):
        raise SpecError(f"{what}: {kind.__name__} is needed, not {units.shown(data)}")


def _few(data: Any, what: str) -> None:  # noqa: ANN401 - a list or dict
    if len(data) > ITEMS_MAX:
        raise SpecError(f"{what}: {len(data)} items are too many; at most {ITEMS_MAX}")


@cache
def _names(kind: Any) -> tuple[str, ...] | None:  # noqa: ANN401 - any type
    """Give the parts of a dataclass, ``None`` for another type."""
    return tuple(field.name for field in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else None


@cache
def _hints(kind: Any) -> dict[str, Any]:  # noqa: ANN401 - a dataclass
    found = typing.get_type_hints(kind)
    return {name: found[name] for name in _names(kind) or ()}


def count_from(body: Mapping[str, Any], name: str, most: int = 1 << 62, *, least: int = 0) -> int:
    """Give a number that a message holds. Raises ``SpecError`` if it is none, or out of range."""
    return units.count(body.get(name, -1), name, least=least, most=most)


def from_json(raw: bytes, what: str) -> dict[str, Any]:
    """Give the object in ``raw``. Raises ``ValueError`` for anything but one plain JSON object."""
    try:
        found = json.loads(raw, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError(f"{what} is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError(f"{what} is no JSON object")  # noqa: TRY004 - one kind for all that is wrong with bytes
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def enforcement_from(data: object) -> Enforcement:
    """Give the report that ``Enforcement.as_json`` gave. Raises ``SpecError``."""
    table: Mapping[str, Mapping[str, str]] = from_plain(Mapping[str, Mapping[str, str]], data, "enforcement")
    try:
        return Enforcement({name: kept(tuple(entry.values())) for name, entry in table.items()})
    except ValueError as error:
        raise SpecError(f"enforcement: {error}") from None


def error_to_plain(error: BaseException) -> dict[str, Any]:
    """Give an error as plain data, so that it can be raised again elsewhere."""
    if isinstance(error, Unenforceable):
        return {"kind": "Unenforceable", "text": str(error), "reasons": error.reasons}
    if isinstance(error, RuntimeUnavailable):
        return {"kind": "RuntimeUnavailable", "runtime": error.runtime, "text": error.reason}
    if isinstance(error, ClocheError):
        known = next(kind.__name__ for kind in type(error).__mro__ if getattr(errors, kind.__name__, None) is kind)
        return {"kind": known, "text": str(error)}
    return {"kind": "SandboxError", "text": f"{type(error).__name__}: {error}"}


def error_from(data: object) -> ClocheError:
    """Give the error that ``error_to_plain`` gave; a ``RegistryError`` where that makes no sense."""
    if not isinstance(data, dict) or not isinstance(data.get("text"), str):
        return RegistryError(f"the other host failed in a way that makes no sense: {units.shown(data)}")
    text = data["text"]
    match data.get("kind"):
        case "Unenforceable":
            reasons = data.get("reasons")
            return Unenforceable(text, reasons=reasons if isinstance(reasons, dict) else None)
        case "RuntimeUnavailable":
            return RuntimeUnavailable(str(data.get("runtime")), text)
        case str(name):
            kind = getattr(errors, name, None)
            plain = isinstance(kind, type) and issubclass(kind, ClocheError) and name != "GuestFailed"
            return kind(text) if plain and kind is not None else SandboxError(text)
        case _:
            return SandboxError(text)
