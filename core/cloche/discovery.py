"""Finds the plugins that are installed, without importing any of them."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from cloche.hookspecs import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.metadata import Distribution, EntryPoint


@dataclass(frozen=True, slots=True)
class Found:
    """A plugin that was found: ``load`` imports it and gives the module or object."""

    name: str
    load: Callable[[], object]
    distribution: str | None = None
    version: str | None = None


def installed() -> list[Found]:
    """Give the entry points of the group ``cloche``: those of the distribution ``cloche`` first, then by name.

    One that the same distribution lists twice counts once. A distribution whose entry points can't be read is given
    under its own name, with a ``load`` that raises why.
    """
    from importlib import metadata  # noqa: PLC0415 - 25 ms that a host without entry points need not pay

    broken: list[Found] = []
    try:
        points = list(metadata.entry_points(group=PROJECT))
    except Exception:  # noqa: BLE001 - one malformed file of any distribution ends it with whatever parsing raised
        points, broken = _one_by_one()
    found: dict[tuple[bool, str, str, str], Found] = {}
    known: dict[int, tuple[str | None, str | None]] = {}
    for point in points:
        if id(point.dist) not in known:
            known[id(point.dist)] = _named(point.dist)  # parses a file
        name, version = known[id(point.dist)]
        key = ((name or "").lower() != PROJECT, point.name, name or "", point.value)
        found.setdefault(key, Found(point.name, point.load, name, version))
    return [one for _, one in sorted(found.items())] + broken


def given(plugin: object) -> Found:
    """Give a plugin object of the caller's own; it goes by its module's or class's name."""
    name = plugin.__name__ if isinstance(plugin, ModuleType | type) else type(plugin).__name__
    return Found(name, lambda: plugin)


def _one_by_one() -> tuple[list[EntryPoint], list[Found]]:
    from importlib import metadata  # noqa: PLC0415 - see installed

    points: list[EntryPoint] = []
    broken: list[Found] = []
    seen: set[str | None] = set()
    for dist in metadata.distributions():
        name, version = _named(dist)
        if name in seen and name is not None:
            continue  # hidden by one of the same name further up sys.path, as in metadata.entry_points
        seen.add(name)
        try:
            points += dist.entry_points.select(group=PROJECT)
        except Exception as error:  # noqa: BLE001 - whatever parsing raised; it is told when this one is loaded
            broken.append(Found(name or "unnamed", _raiser(error), name, version))
    return points, broken


def _raiser(error: Exception) -> Callable[[], object]:
    def load() -> object:
        raise ImportError(f"the entry points of this distribution can't be read: {error}") from error

    return load


def _named(dist: Distribution | None) -> tuple[str | None, str | None]:
    """Give name and version, ``None`` where the metadata are missing or can't be read."""
    if dist is None:
        return None, None
    try:
        parsed = dist.metadata
        return parsed["Name"], parsed["Version"]
    except Exception:  # noqa: BLE001 - someone else's broken file; the plugin may work all the same
        return None, None
