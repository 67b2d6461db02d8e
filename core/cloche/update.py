"""Limits of a living sandbox, and what is watched of it, changed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, replace
from typing import TYPE_CHECKING, Final, Literal

import anyio

from cloche import units
from cloche.enforcement import Enforcement
from cloche.errors import SandboxError, SpecError, Unenforceable, Unsupported
from cloche.monitor import Depth, Monitor
from cloche.policy import Limits
from cloche.programs import blame
from cloche.request import limits_from
from cloche.rules.ruleset import Rules, RulesLike
from cloche.runtime import Instance
from cloche.spec import Spec, State

if TYPE_CHECKING:
    from cloche.monitoring.hub import Hub
    from cloche.programs import Programs

BY_HOST: Final = frozenset({"output", "wall"})
WATCHED: Final = frozenset({"events", "rules"})
"""The features that a monitor asks for."""
FOR_LIFE: Final = ("resolve", "overload", "ring", "sources")
"""What of a monitor is fixed when its sandbox is made."""


def asked_change(
    limits: Limits | Mapping[str, object] | None, monitor: Monitor | Depth | None, rules: RulesLike | None
) -> tuple[Literal["limits"], Limits] | tuple[Literal["monitor"], Monitor] | tuple[Literal["rules"], Rules]:
    """Give which of them is to be changed, and to what. Raises ``SpecError`` for several, none, or what is neither."""
    if sum(one is not None for one in (limits, monitor, rules)) != 1:
        raise SpecError(
            "update: give limits, monitor or rules, one at a time: each is changed as a whole or not at all"
        )
    if monitor is not None:
        return "monitor", Monitor.of(monitor)
    if rules is not None:
        return "rules", Rules.of(rules)
    asked = limits_from(limits) if isinstance(limits, Mapping) else limits
    if not isinstance(asked, Limits):
        raise SpecError(f"limits: a cloche.Limits is needed, not {units.shown(limits)}")
    return "limits", asked


class Changing(ABC):
    """The part of a sandbox that changes what holds for it while it lives."""

    id: str
    runtime: str
    spec: Spec
    enforcement: Enforcement
    _changing: anyio.Lock
    _hub: Hub
    _instance: Instance
    _programs: Programs
    _report: Callable[[Spec], Enforcement]
    """What the runtime would keep of a spec."""

    async def _change(
        self,
        limits: Limits | Mapping[str, object] | None,
        monitor: Monitor | Depth | None,
        rules: RulesLike | None,
    ) -> None:
        """Do what ``AsyncSandbox.update`` says."""
        with anyio.CancelScope(shield=True):
            async with self._changing:
                match asked_change(limits, monitor, rules):
                    case "limits", asked:
                        self._need("change limits of", State.RUNNING, State.PAUSED)
                        await self._change_limits(asked.over(self.spec.limits))
                    case "monitor", watched:
                        self._need("change the monitor of", State.RUNNING, State.PAUSED)
                        await self._change_monitor(watched)
                    case "rules", judging:
                        self._need("change the rules of", State.RUNNING, State.PAUSED)
                        judging = judging.resolved(self.spec.rules).at(self.spec.level)
                        if judging != self.spec.rules:
                            await self._change_rules(judging)
                self._programs.spec = self.spec

    async def _change_limits(self, limits: Limits) -> None:
        before, new = self.enforcement, replace(self.spec, limits=limits)
        changed = limits.differing(self.spec.limits)
        if not changed:
            return
        with blame(self.runtime, SandboxError):
            kept = self._kept(new, changed)
            later = await self._instance.update(limits) if changed - BY_HOST else {}
        stay = {name: before[name] for name in (limits.asked() - changed) | WATCHED if name in before}
        self.spec, self.enforcement = new, Enforcement({**kept.with_caveats(later), **stay})

    async def _change_monitor(self, asked: Monitor) -> None:
        if not self._instance.sources():
            raise Unsupported(
                f"monitor: the guest of sandbox {self.id} has not been watched from its start, and can't be later; "
                'create it with monitor="full", or to see nothing at first, monitor=cloche.Monitor("writes", acts=())'
            )
        monitor = lasting(asked, self.spec.monitor)
        if monitor == self.spec.monitor:
            return
        new = replace(self.spec, monitor=monitor)
        with blame(self.runtime, SandboxError):
            kept = self._kept(new, new.needed() & WATCHED)
            self._hub.flush()
            later = await self._instance.watch(self._full(new).monitor)
        self._hub.rewant()
        now = {name: verdict for name, verdict in kept.with_caveats(later).items() if name in WATCHED}
        stay = {name: verdict for name, verdict in self.enforcement.items() if name not in WATCHED}
        self.spec, self.enforcement = new, Enforcement({**stay, **now})

    def _kept(self, new: Spec, changed: frozenset[str]) -> Enforcement:
        """Give what would be kept of ``new``. Raises ``Unenforceable`` if that is less than what must be."""
        kept = self._with_rules(self._report(self._full(new)))
        if unmet := kept.refusals(changed) if new.strict else {}:
            told = "; ".join(f"{name}: {why}" for name, why in unmet.items())
            raise Unenforceable(f"nothing was changed in sandbox {new.id}: {told}", reasons={self.runtime: told})
        return kept

    @abstractmethod
    def _need(self, verb: str, *states: State) -> None: ...

    @abstractmethod
    def _full(self, spec: Spec) -> Spec: ...

    @abstractmethod
    def _with_rules(self, report: Enforcement) -> Enforcement: ...

    @abstractmethod
    async def _change_rules(self, rules: Rules) -> None: ...


def lasting(asked: Monitor, has: Monitor) -> Monitor:
    """Give ``asked`` with what a sandbox has for its life, where it says nothing of that. Raises ``SpecError``."""
    own = {name: getattr(has, name) for name in FOR_LIFE}
    defaults = {field.name: field.default for field in fields(Monitor) if field.default is not MISSING}
    for name, value in own.items():
        if getattr(asked, name) not in (value, defaults[name]):
            raise SpecError(
                f"monitor.{name}: {units.shown(getattr(asked, name))} was asked for, but it is fixed when a sandbox is "
                f"created, and this one has {units.shown(value)}; leave it out"
            )
    if not asked and has.sources:
        raise SpecError(
            f"monitor: this sandbox may not be without {', '.join(sorted(has.sources))}, so depth 'off' can't be had; "
            'use cloche.Monitor("writes", acts=())'
        )
    return replace(asked, **own)
