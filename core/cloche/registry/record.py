"""What one sandbox's file in the registry says, and what is to be seen of it by whoever lists sandboxes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cloche import units
from cloche.errors import ClocheError, SpecError
from cloche.registry.plain import from_json, from_plain, to_plain
from cloche.spec import State

if TYPE_CHECKING:
    from cloche.enforcement import Enforcement
    from cloche.spec import Spec

FORMAT: Final = 1
RECORD_MAX: Final = 1 << 20
"""Bytes of one file. A record has some 3 kB; this leaves room for long metadata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxRecord:
    """One sandbox as the registry knows it: a snapshot, which may be old by the time it is read.

    ``host`` is the id of the host that owns it and ``pid`` its process (for people: ids are used again). ``own``: that
    is the host that was asked. ``kept``: it is a keeper. ``orphaned``: it is dead, and what it left is about to be
    removed. ``trouble`` says why the record can't be read; then only ``id`` (made safe to print) and ``host`` are set.
    ``created`` is in seconds since the epoch. ``spec`` (without values of ``env``) and ``enforcement`` are plain data.
    """

    id: str
    host: str
    pid: int = 0
    name: str | None = None
    runtime: str = ""
    isolation: str = ""
    state: State | None = None
    reason: str = ""
    created: float = 0.0
    own: bool = False
    kept: bool = False
    orphaned: bool = False
    trouble: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    enforcement: Mapping[str, Any] = field(default_factory=dict)
    processes: tuple[tuple[int, int], ...] = ()
    """Process ids on the host, each with its start time."""


class Writer:
    """Writes the records of one host's sandboxes; what does not change is encoded once."""

    def __init__(self) -> None:
        self._levels: dict[int, tuple[object, Any]] = {}
        self._reports: dict[int, tuple[object, str]] = {}

    def fixed(self, spec: Spec, *, runtime: str, created: float, enforcement: Enforcement) -> str:
        """Give the part of a record that stays the same, as an unfinished JSON object."""
        body = {name: to_plain(getattr(spec, name)) for name in type(spec).__slots__ if name not in ("level", "env")}
        body["level"] = self._once(self._levels, spec.level, to_plain)
        body["env"] = sorted(spec.env)  # values may be secrets, and whoever attaches gets them from the host itself
        head = {
            "format": FORMAT, "id": spec.id, "name": spec.name, "runtime": runtime, "isolation": spec.level.name,
            "created": created, "spec": body,
        }  # fmt: skip
        report = self._once(self._reports, enforcement, lambda value: json.dumps(value.as_json()))
        return f'{json.dumps(head)[:-1]}, "enforcement": {report}, '

    @staticmethod
    def whole(fixed: str, *, state: State, reason: str, processes: tuple[tuple[int, int], ...]) -> bytes:
        """Give a record's bytes."""
        rest = json.dumps({"state": state.value, "reason": reason, "processes": processes})
        return (fixed + rest[1:]).encode()

    @staticmethod
    def _once(known: dict[int, tuple[object, Any]], value: Any, encode: Any) -> Any:  # noqa: ANN401 - any value
        held = known.get(id(value))
        if held is None or held[0] is not value:
            if len(known) >= 64:  # noqa: PLR2004 - a host has a few
                known.clear()
            held = known[id(value)] = (value, encode(value))
        return held[1]


def read(raw: bytes, *, file: str, host: str) -> SandboxRecord:
    """Give the record in ``raw``, which was read from ``<id>.json``. Raises ``ValueError`` saying what is wrong."""
    body = from_json(raw, "it")
    if body.get("format") != FORMAT:
        raise ValueError(f"its format is {units.shown(body.get('format'))}, and {FORMAT} is what this version reads")
    if f"{body.get('id')}.json" != file:
        raise ValueError("it names another sandbox than its file does")
    found = pairs(body.get("processes"))
    name = body.get("name")
    spec, report = body.get("spec"), body.get("enforcement")
    if not isinstance(spec, dict) or not isinstance(report, dict):
        raise ValueError("its spec or its report is missing")  # noqa: TRY004 - one kind for a record that is no record
    return SandboxRecord(
        id=units.identifier(body["id"], "id"),
        host=host,
        name=None if name is None else units.identifier(name, "name"),
        runtime=units.identifier(body.get("runtime", ""), "runtime"),
        isolation=units.identifier(body.get("isolation", ""), "isolation"),
        state=from_plain(State, body.get("state"), "state"),
        reason=from_plain(str, body.get("reason"), "reason"),
        created=from_plain(float, body.get("created"), "created"),
        metadata=from_plain(Mapping[str, str], spec.get("metadata", {}), "metadata"),
        spec=spec,
        enforcement=report,
        processes=found,
    )


def pairs(data: object) -> tuple[tuple[int, int], ...]:
    """Give process ids with their start times. Raises ``SpecError`` for what is none."""
    found = from_plain(tuple[tuple[int, ...], ...], data, "processes")
    if any(len(pair) != 2 or pair[0] <= 1 for pair in found):  # noqa: PLR2004 - id and start
        raise SpecError("processes: pairs of a process id and a start time are needed")
    return tuple((pid, start) for pid, start in found)


def broken(file: str, host: str, error: Exception) -> SandboxRecord:
    """Give what to show in place of a record that can't be read."""
    what = str(error) if isinstance(error, ClocheError | ValueError) else f"{type(error).__name__}: {error}"
    return SandboxRecord(
        id=units.one_line(file.removesuffix(".json"), most=80), host=host, trouble=units.one_line(what, most=300)
    )
