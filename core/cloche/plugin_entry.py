"""One plugin, while its host lives, and what is told of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from cloche.discovery import Found

if TYPE_CHECKING:
    import click
    import pluggy

    from cloche.anomaly.detector import AnomalyDetector
    from cloche.events.source import EventTap
    from cloche.files.backend import VfsBackend
    from cloche.incidents.response import Response
    from cloche.level import IsolationLevel
    from cloche.profile import Profile
    from cloche.rules.rule import Rule
    from cloche.runtime import Runtime

Status = Literal["loaded", "failed", "blocked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginRecord:
    """What became of one plugin: ``error`` says why it is not ``loaded``; the tuples name what it provides."""

    name: str
    distribution: str | None
    version: str | None
    status: Status
    error: str | None
    hooks: tuple[str, ...]
    runtimes: tuple[str, ...]
    levels: tuple[str, ...]
    profiles: tuple[str, ...]
    commands: tuple[str, ...]
    backends: tuple[str, ...] = ()
    taps: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    responses: tuple[str, ...] = ()
    detectors: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class Entry:
    """One plugin while the host lives."""

    name: str
    found: Found
    status: Status = "loaded"
    error: str | None = None
    plugin: object = None
    hooks: dict[str, list[pluggy.HookImpl]] = field(default_factory=dict)
    runtimes: dict[str, Runtime] = field(default_factory=dict)
    levels: dict[str, IsolationLevel] = field(default_factory=dict)
    profiles: dict[str, Profile] = field(default_factory=dict)
    commands: dict[str, click.Command] = field(default_factory=dict)
    backends: dict[str, VfsBackend] = field(default_factory=dict)
    taps: dict[str, EventTap] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=dict)
    responses: dict[str, Response] = field(default_factory=dict)
    detectors: dict[str, AnomalyDetector] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        """Whose it is, in words."""
        return f"plugin {self.name!r} of {self.found.distribution or 'the program itself'}"

    def record(self) -> PluginRecord:
        """Give what became of it."""
        return PluginRecord(
            name=self.name, distribution=self.found.distribution, version=self.found.version, status=self.status,
            error=self.error, hooks=tuple(sorted(self.hooks)), runtimes=tuple(self.runtimes),
            levels=tuple(self.levels), profiles=tuple(self.profiles), commands=tuple(self.commands),
            backends=tuple(self.backends), taps=tuple(self.taps),
            rules=tuple(self.rules), responses=tuple(self.responses), detectors=tuple(self.detectors),
        )  # fmt: skip

    def fail(self, error: str) -> None:
        """Note why it is not used any more; nothing that it provides remains."""
        self.status, self.error = "failed", error
        self.hooks, self.runtimes, self.levels, self.profiles, self.commands = {}, {}, {}, {}, {}
        self.backends, self.taps, self.rules, self.responses, self.detectors = {}, {}, {}, {}, {}
