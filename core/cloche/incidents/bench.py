"""What the sandboxes of one host share to be judged: rules made ready, incidents, a thread for rules' functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread

from cloche.errors import SpecError
from cloche.events.acts import Act
from cloche.incidents.evaluate import Evaluator
from cloche.incidents.store import Incidents
from cloche.notices import Notice, NoticeType

if TYPE_CHECKING:
    from cloche.anomaly.watch import Watch
    from cloche.incidents.audit_settings import AuditSettings
    from cloche.incidents.incident import Incident
    from cloche.incidents.prepare import Judging
    from cloche.incidents.trail import Trail
    from cloche.plugins import Plugins
    from cloche.rules.rule import Rule
    from cloche.rules.ruleset import Rules
    from cloche.rules.severity import Threshold
    from cloche.rules.surroundings import Surroundings
    from cloche.runtime import Runtime
    from cloche.spec import Spec

READY: Final = 16
"""How many sets of compiled rules are kept: most sandboxes of a host have the same."""


class _How(NamedTuple):
    """What rules become depends on, beside themselves and a sandbox's folders."""

    strict: bool
    whole: bool
    runtime: Runtime | None
    auto_block: Threshold
    """The level's."""


class Bench:
    """One host's."""

    def __init__(
        self, plugins: Plugins, audit: AuditSettings | None = None, tell: Callable[[Notice], None] = lambda _: None
    ) -> None:
        """Begin; what can't be written to the log that ``audit`` names is told by ``tell``."""
        self.incidents = Incidents()
        self.evaluator = Evaluator()
        self.log: Callable[[Incident], None] | None = None
        """What writes an incident to the audit log, where there is one."""
        self._audit = audit
        self._tell = tell
        self._trail: Trail | None = None
        self._plugins = plugins
        self._watch: Watch | None = None
        self._ready: list[tuple[Rules, Surroundings, _How, Judging]] = []

    def judging(
        self, spec: Spec, *, workspace: str = "", whole: bool = False, runtime: Runtime | None = None
    ) -> Judging | None:
        """Give what a sandbox is judged by, ``None`` for no rule.

        ``workspace`` is where its guest sees its work folder, if not where it was asked for; with ``whole`` there is no
        guest, and this host does every act itself; ``runtime`` says what of the guest's acts can be refused, ``None``:
        all. Raises ``SpecError`` for rules that can't be meant, and ``AuditError`` if there is to be an audit log and
        its folder can't be used.
        """
        asked = spec.rules
        if not asked:
            return None
        if asked.anomaly and not self._plugins.detectors:
            raise SpecError("rules.anomaly: no plugin brings a detector of anomalies; pip install 'cloche[anomaly]'")
        self._open_log()
        from cloche.incidents.prepare import judging  # noqa: PLC0415 - a host that judges nothing need not pay
        from cloche.rules.surroundings import Surroundings  # noqa: PLC0415 - the same
        from cloche.rules.vetoes import BY_HOST  # noqa: PLC0415 - the same

        around = Surroundings.of(spec, workspace=workspace or spec.workspace.target, sensitive=asked.sensitive)
        if runtime is not None and runtime.vetoes >= frozenset(Act) - BY_HOST:
            runtime = None
        how = _How(spec.monitor.depth == "strict", whole, runtime, spec.level.auto_block)
        for known, place, other, made in self._ready:
            if known == asked and place == around and other == how:
                return made
        new = judging(asked, self._plugins.rules, spec, around, whole=whole, runtime=runtime)
        if new is not None:
            self._ready = [(asked, around, how, new), *self._ready[: READY - 1]]
        return new

    def full(self, spec: Spec, runtime: Runtime | None) -> Spec:
        """Give what that runtime is to be asked for: a spec with what its rules look at. Raises as ``judging``."""
        judging = self.judging(spec, runtime=runtime)
        return spec if judging is None else judging.seeing(spec)

    def watch(self) -> Watch:
        """Give the detectors of anomalies at work."""
        if self._watch is None:
            from cloche.anomaly.watch import Watch  # noqa: PLC0415 - most hosts look for none

            self._watch = Watch(self._plugins.detectors, self._plugins.detector_failed)
        return self._watch

    def brought(self, rule: Rule) -> str:
        """Give which plugin, or file, a rule is of."""
        known = self._plugins.rules_from().get(rule.id)
        return known[1] if known is not None and known[0] == rule else "the policy itself"

    async def close(self) -> None:
        """Let its threads end, when all is written. What was found stays readable."""
        self.evaluator.close()
        if self._watch is not None:
            self._watch.close()
        if self._trail is not None:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._trail.close)

    def _open_log(self) -> None:
        if self._audit is None or self._trail is not None:
            return
        from cloche.incidents.trail import Trail  # noqa: PLC0415 - most hosts have none

        token = anyio.lowlevel.current_token()
        trail = self._trail = Trail(
            self._audit.opened(), lambda why: anyio.from_thread.run_sync(self._failed, why, token=token)
        )
        # Which are grave enough, or asked for by their rule, is asked by who answers them.
        self.log = lambda incident: trail.append("incident", incident.as_json())

    def _failed(self, why: str) -> None:
        """Tell that the audit log misses something: as an incident, and by a notice ``failed`` of no sandbox."""
        from cloche.incidents.own import audit_failed  # noqa: PLC0415 - it hardly ever happens

        incident = audit_failed(why)
        self.incidents.add(incident)
        self._tell(Notice(NoticeType.FAILED, "", None, details={"what": "audit", "error": why}, incident=incident))
