"""An isolation level: a named set of guarantees, and what a policy that names it has by default."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args

from cloche import units
from cloche.enforcement import Guarantee, guarantees
from cloche.errors import SpecError
from cloche.monitor import OVERLOADS, Overload
from cloche.policy import Limits, Network, NetworkMode, Preference, WorkspaceKind
from cloche.rules.severity import THRESHOLDS, Severity, Threshold, threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolationLevel:
    """A named set of guarantees plus policy defaults; never names a runtime.

    ``syscalls`` names a profile of the static filter (those of ``cloche_native`` are named as the bundled levels);
    ``networks`` and ``workspaces`` are what a policy at this level may ask for.
    """

    name: str
    summary: str
    guarantees: frozenset[Guarantee]
    limits: Limits
    syscalls: str
    network: Network = Network()  # noqa: RUF009 - frozen
    networks: frozenset[NetworkMode] = frozenset({"none", "loopback"})
    workspaces: frozenset[WorkspaceKind] = frozenset({"tmpfs", "bind", "overlay", "image"})
    minimal_proc: bool = False
    """Show the guest only its own processes in /proc, nothing of the machine."""
    path_rules: bool = False
    """Repeat the file-system policy in a second mechanism where there is one, at some cost per open."""
    prefer: Preference = "light"
    """Among runtimes that keep everything: the strongest sharing the host's kernel, or the strongest of all."""
    overload: Overload = "wait"
    """When more happens than can be told: the guest waits, or what is lost is counted (``Monitor.overload``)."""
    overloaded: Literal["pause", "kill"] = "pause"
    """What is done with a sandbox whose guest waits too long for that."""
    auto_block: Threshold = Severity.CRITICAL
    """Where behaviour rules are on: an act that an inline rule of this severity matches is refused."""
    auto_suspend: Threshold = "never"
    """A match of this severity pauses the sandbox."""
    auto_terminate: Threshold = "never"
    """A match of this severity kills the sandbox."""

    def __post_init__(self) -> None:
        what = f"isolation level {units.identifier(self.name, 'isolation level')!r}"
        object.__setattr__(self, "guarantees", guarantees(self.guarantees, f"{what}: guarantees"))
        units.instance(self.limits, Limits, f"{what}: limits")
        units.instance(self.network, Network, f"{what}: network")
        if not set(self.networks) <= set(get_args(NetworkMode)):
            raise SpecError(f"{what}: networks: only {', '.join(get_args(NetworkMode))} exist")
        if not set(self.workspaces) <= set(get_args(WorkspaceKind)):
            raise SpecError(f"{what}: workspaces: only {', '.join(get_args(WorkspaceKind))} exist")
        if self.prefer not in get_args(Preference):
            raise SpecError(f"{what}: prefer: {self.prefer!r} is unknown; use {' or '.join(get_args(Preference))}")
        if self.overload not in OVERLOADS:
            raise SpecError(f"{what}: overload: {self.overload!r} is unknown; use {' or '.join(OVERLOADS)}")
        if self.overloaded not in ("pause", "kill"):
            raise SpecError(f"{what}: overloaded: {self.overloaded!r} is unknown; use pause or kill")
        for name in THRESHOLDS:
            object.__setattr__(self, name, threshold(getattr(self, name), f"{what}: {name}"))
        missing = {f.name for f in fields(Limits)} - {"disk", "files"} - self.limits.asked()
        if missing:
            raise SpecError(f"{what} must set every limit but disk and files; missing: {', '.join(sorted(missing))}")
        if self.network.mode not in self.networks:
            raise SpecError(f"{what}: its own default network is not among those it allows")
