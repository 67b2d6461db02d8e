"""The rules of one sandbox made ready: chosen, compiled for its surroundings, and put into what is watched of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal

from cloche.enforcement import Enforcement
from cloche.events.acts import Act
from cloche.incidents.explain_rules import policy_rules
from cloche.monitor import DEPTHS, LOOKS, READS, Depth, Monitor
from cloche.rules.programs import program_of
from cloche.rules.severity import Severity, Threshold
from cloche.spec import Violation
from cloche_native import rules as native

if TYPE_CHECKING:
    from cloche.events.source import Matched
    from cloche.rules.compile import Compiled, Rest
    from cloche.rules.rule import Rule
    from cloche.rules.ruleset import Rules
    from cloche.rules.surroundings import Surroundings
    from cloche.runtime import Runtime
    from cloche.spec import Spec

WATCHED: Final = 8
"""How many monitors are kept with what they become."""
EMULATED: Final = frozenset({
    Act.OPEN, Act.WRITE_OPEN, Act.CREATE, Act.MKDIR, Act.MKNOD, Act.UNLINK, Act.RENAME, Act.LINK, Act.SYMLINK,
})  # fmt: skip
"""What is done in the guest's place at depth ``strict``, so that what was judged is what happens. Acts that can be done
by descriptor too, which then go on, are none of these."""


_BECOMES: Final = native.RuleSpec(
    name="becomes", acts=frozenset({Act.EXEC.value}), tests=(native.Test("exec", "<", -(1 << 31)),)
)  # fmt: skip
"""Looks at every exec and never matches: which program a process is must be known of what it does later."""


@dataclass(frozen=True)
class Judging:
    """What one sandbox is judged by. Made by ``judging``; never changed, only replaced."""

    asked: Rules
    """What the policy says, its thresholds named."""
    rules: tuple[Rule, ...]
    compiled: Compiled
    around: Surroundings
    block: Threshold
    suspend: Threshold
    terminate: Threshold
    audit: bool = False
    whole: bool = False
    """Whether every act is done by this host itself, by ``box.files`` alone: there is no guest to be watched."""

    def stops(self, rule: Rule, *, blocked: bool = False) -> Literal["suspend", "terminate"] | None:
        """Say what is done to a sandbox in which a rule found something, which may have been refused."""
        if rule.response == "terminate" or reached(rule.severity, self.terminate):
            return "terminate"
        if rule.response == "suspend" or reached(rule.severity, self.suspend):
            return "suspend"
        if rule.id in self.compiled.contained and not blocked:
            return "suspend"  # the runtime could not refuse it
        return None

    @cached_property
    def program(self) -> native.Program:
        """The compiled rules, for sources that are judged here."""
        return program_of(self.compiled.specs)

    @cached_property
    def asks_of_processes(self) -> bool:
        """Whether some rule looks at the process, beyond its event."""
        from cloche.incidents.telling import asks_of_process  # noqa: PLC0415 - it needs what most of this does not

        asked = any(rest.where is not None and asks_of_process(rest.where) for rest in self.rest.values())
        return asked or any(rule.evaluate is not None for rule in self.rules)

    @property
    def rest(self) -> Mapping[str, Rest]:
        """What is still to be asked in Python, by the name of the rule's native half."""
        return self.compiled.rest

    def none(self) -> Judging:
        """Give what judges by no rule, in the same place."""
        return replace(self, rules=(), compiled=replace(self.compiled, specs=(), rest={}, caveats=()))

    def refusal(self, matched: Matched, act: Act, path: str) -> Violation:
        """Say of an act of the host's that a rule refuses which one that is, and what to do instead."""
        rules = [self.rest[name].rule for name in matched.rules if name in self.rest]
        rule = next((rule for rule in rules if rule.mode == "inline"), rules[0])
        return Violation(rule.id, act.value, path, rule.hint, severity=str(rule.severity), time=time.time())

    def told(self, report: Enforcement) -> Enforcement:
        """Give a runtime's report with what these rules are, and which of them can be got round."""
        from cloche.rules.report import judged  # noqa: PLC0415 - once for each sandbox that is judged

        if "rules" not in report or not self.rules:
            return report
        return Enforcement({**report, "rules": judged(report["rules"], self.asked, self.rules, self.compiled)})

    def seeing(self, spec: Spec) -> Spec:
        """Give what a runtime is to be asked for: a spec, its monitor seeing what is judged."""
        if self.whole:
            return spec
        monitor = self.watched(spec.monitor).at(spec.level.overload)
        if self.rules:  # who judges also finds what the policy itself refuses, to explain it
            reading = monitor.depth != "writes"
            own = policy_rules(spec, workspace=self.around.workspace, reading=reading)
            monitor = replace(monitor, rules=(*monitor.rules, *own))
        return replace(spec, monitor=monitor)

    def watched(self, monitor: Monitor) -> Monitor:
        """Give the monitor that sees what the rules look at, and tells what ``monitor`` does."""
        for asked, made in self._watched:
            if asked == monitor:
                return made
        specs = self.compiled.specs
        needed = frozenset(Act(act) for act in self.program.acts())
        if specs and Act.EXEC not in needed:
            specs = (*specs, _BECOMES)
        depth: Depth = "full" if needed & (READS | LOOKS) else "writes"
        depth = DEPTHS[max(DEPTHS.index(depth), DEPTHS.index(monitor.depth))]
        told = frozenset[Act]() if not monitor else monitor.told
        made = replace(monitor, depth=depth, acts=told, rules=(*monitor.rules, *specs))
        self._watched[:] = [(monitor, made), *self._watched[: WATCHED - 1]]
        return made

    @cached_property
    def _watched(self) -> list[tuple[Monitor, Monitor]]:
        return []


def judging(
    rules: Rules,
    known: Mapping[str, Rule],
    spec: Spec,
    around: Surroundings,
    *,
    whole: bool = False,
    runtime: Runtime | None = None,
) -> Judging | None:
    """Give what a sandbox is judged by; ``None`` if its policy asks for no rule.

    ``known`` are rules of plugins by id; with ``whole`` the host does every act itself; ``runtime`` is what makes the
    sandbox, ``None``: what can refuse everything. Raises ``SpecError`` for a name that chooses nothing, and for a
    rule that can't be meant here.
    """
    from cloche.rules.compile import compiled  # noqa: PLC0415 - who asks for no rule need not pay
    from cloche.rules.vetoes import Vetoes  # noqa: PLC0415 - the same

    chosen = rules.chosen(known)
    if not chosen:
        return None
    rules = rules.at(spec.level)
    block, suspend, terminate = map(_given, (rules.auto_block, rules.auto_suspend, rules.auto_terminate))
    emulated = frozenset(Act) if whole else EMULATED if spec.monitor.depth == "strict" else frozenset[Act]()
    vetoes = None
    if runtime is not None:
        vetoes = Vetoes(runtime.name, runtime.vetoes, contains=rules.auto_block == spec.level.auto_block)
    made = compiled(chosen, around, emulated=emulated, block=block, audit=rules.audit, vetoes=vetoes)
    judging = Judging(rules, chosen, made, around, block, suspend, terminate, rules.audit, whole)
    return judging if rules.audit else replace(judging, compiled=_urgent(judging))


def _urgent(judging: Judging) -> Compiled:
    """Give the rules so that who sees an act, and can't refuse it, knows which of them stop the guest for certain."""
    certain = {name for name, rest in judging.rest.items() if rest.where is None and rest.rule.evaluate is None}
    urgent = {name for name in certain if judging.stops(judging.rest[name].rule)}
    specs = judging.compiled.specs
    return replace(
        judging.compiled,
        specs=tuple(
            replace(spec, respond=spec.respond | native.STOPS) if spec.name in urgent else spec for spec in specs
        ),
    )


def reached(severity: Severity, threshold: Threshold) -> bool:
    """Say whether something of that severity is answered from that threshold on."""
    return threshold != "never" and severity >= threshold


def _given(asked: Threshold | None) -> Threshold:
    """Give a threshold where none was asked for and the level has none."""
    if asked is None:
        return "never"
    return asked
