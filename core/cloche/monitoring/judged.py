"""The part of a sandbox that rules judge: what they found, what is done about it, and how they are changed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, cast

import anyio

from cloche.ending import Ending
from cloche.enforcement import Enforcement
from cloche.errors import SandboxError, Unsupported
from cloche.incidents.violations import Violations
from cloche.programs import blame
from cloche.update import Changing

if TYPE_CHECKING:
    from cloche.anomaly.trace import Trace
    from cloche.background import Background
    from cloche.events.event import Event
    from cloche.host import AsyncHost
    from cloche.incidents.answers import Answers
    from cloche.incidents.explain import Explainer
    from cloche.incidents.incident import Incident
    from cloche.incidents.judge import Judge
    from cloche.incidents.prepare import Judging
    from cloche.programs import Programs
    from cloche.rules.ruleset import Rules
    from cloche.sandbox import AsyncSandbox
    from cloche.spec import Spec, Violation

CHANGED: Final = frozenset({"events", "rules"})
PATIENCE: Final = 2.0
"""Seconds that a result waits for rules' own functions."""


class AsyncJudged(Ending, Changing):
    """What rules find in a sandbox, and what follows."""

    _host: AsyncHost
    _programs: Programs
    _tasks: Background
    _judge: Judge | None = None
    _answers: Answers | None = None
    _judging: Judging | None = None
    _explainer: tuple[Spec, Explainer] | None = None

    @property
    def violations(self) -> tuple[Violation, ...]:
        """What of its programs' acts was refused, or found by rules, by now: each kind of thing once, and counted.

        In a sandbox attached to: of the programs that were run from here, when they ended.
        """
        if self._judge is not None:
            self._hub.flush()
        return self._violations.all()

    async def incidents(self) -> Sequence[Incident]:
        """Give what rules found, oldest first: one incident for each rule and program, with its evidence as it is now.

        ``host.incidents`` keeps them when the sandbox is gone.
        """
        if self._judge is None:
            return ()
        await self._settle()
        return [case.now() for case in self._judge.cases()]

    # -- inside -----------------------------------------------------------------------------------------------------

    def _open_judge(self, tasks: Background, judging: Judging | None) -> None:
        self._violations = Violations()
        self._tasks = tasks
        if judging is not None:
            self._put_judge(judging)

    def _put_judge(self, judging: Judging) -> None:
        """Judge by these rules from now on, whatever there was before."""
        self._judging = judging
        if self._judge is None or self._answers is None:
            self._answers, self._judge = self._opened(judging)
            self._programs.verdict = self.verdict
        else:
            self._judge.change(judging)
            self._answers.judging = judging
        self._judge.look_for(self._traced(self._judge, self._answers) if judging.asked.anomaly else None)
        self._files_source.judge(judging.program)
        self._files_source.explain = judging.refusal
        self._hub.hear(self._judge)

    def _opened(self, judging: Judging) -> tuple[Answers, Judge]:
        from cloche.incidents.about import About  # noqa: PLC0415 - a sandbox without rules need not pay
        from cloche.incidents.answers import Answers, Means  # noqa: PLC0415 - the same
        from cloche.incidents.digest import Digests  # noqa: PLC0415 - the same
        from cloche.incidents.judge import Judge  # noqa: PLC0415 - the same

        host, box = self._host, cast("AsyncSandbox", self)  # the one class that this is a part of
        means = Means(
            box=box, pause=self._pause, stop=self._stop, notice=partial(host.incident, box),
            keep=host.bench.incidents.add, log=host.bench.log, hook=host.plugins.incident,
            responses=host.plugins.responses, start_soon=self._tasks.start_soon,
        )  # fmt: skip
        answers = Answers(means, judging)
        about = About(
            id=self.id, name=self.name, number=self.spec.number, metadata=self.spec.metadata,
            brought=host.bench.brought, args=self._programs.args_of, start_soon=self._tasks.start_soon,
            evaluator=host.bench.evaluator, raised=answers.raised, again=answers.again, changed=answers.changed,
            digest=Digests(self._instance.trees).of, explain=self._explain,
        )  # fmt: skip
        return answers, Judge(about, judging, self._violations)

    def _traced(self, judge: Judge, answers: Answers) -> Trace:
        from cloche.anomaly.trace import Trace, kind_of  # noqa: PLC0415 - few sandboxes ask for it

        if judge.trace is not None:
            return judge.trace
        bench, start_soon = self._host.bench, self._tasks.start_soon
        return Trace(kind_of(self.spec), bench.watch(), start_soon, cases=judge.cases, graver=answers.graver)

    def _explain(self, event: Event) -> Violation | None:
        """Say what of the policy refuses an act, looking into the box where it is not certain."""
        from cloche.incidents.explain import Explainer, looking  # noqa: PLC0415 - see _opened

        if self._explainer is None or self._explainer[0] is not self.spec:
            self._explainer = self.spec, Explainer(self.spec, workspace=self._instance.workspace)
        root = next((tree.fd for tree in self._instance.trees() if tree.path == "/" and tree.vfs is None), None)
        return self._explainer[1].explained(event, None if root is None else looking(root))

    async def verdict(self, number: int) -> tuple[Violation, ...]:
        """Give what was found of the acts of the program of that number, once all has been asked; called by jobs.

        Rules' own functions are waited for, but not for ever.
        """
        with anyio.move_on_after(PATIENCE):
            await self._settle()
        if self._judge is not None and self._judge.trace is not None:
            self._judge.trace.end_window()
        return self._violations.of(number)

    async def _settle(self) -> None:
        if self._judge is not None:
            self._hub.flush()
            await self._judge.settled()

    def _resumes(self) -> None:
        """Take what was done before a resume as answered by the pause."""
        if self._answers is not None:
            self._hub.flush()
            self._answers.resumed_ns = time.monotonic_ns()

    def _full(self, spec: Spec) -> Spec:
        """Give a spec of this sandbox with its monitor seeing what it is judged by."""
        return spec if self._judging is None else self._judging.seeing(spec)

    def _with_rules(self, report: Enforcement) -> Enforcement:
        """Give a report with what is to be said of the rules."""
        return report if self._judging is None else self._judging.told(report)

    async def _place_rules(self) -> None:
        """Judge by what the work folder's place is, where that was not known before the box was made."""
        judging = self._judging
        if judging is None or judging.around.workspace == self._instance.workspace:
            return
        placed = self._made(self.spec)
        if placed is not None:
            self._put_judge(placed)
            await self._instance.watch(self._full(self.spec).monitor)

    def _made(self, spec: Spec, *, whole: bool = False) -> Judging | None:
        runtime = self._host.plugins.runtimes.get(self.runtime)
        return self._host.bench.judging(spec, workspace=self._instance.workspace, whole=whole, runtime=runtime)

    async def _change_rules(self, rules: Rules) -> None:
        """Judge by other rules from now on, all of them or none, and note it in ``spec`` and ``enforcement``."""
        whole = self._judging is not None and self._judging.whole
        if not whole and not self._instance.sources():
            raise Unsupported(
                f"rules: sandbox {self.id} is not judged and its guest not watched from its start, and can't be later; "
                'create it with rules, or with monitor=cloche.Monitor("writes", acts=())'
            )
        before, new = self._judging, replace(self.spec, rules=rules)
        judging = self._made(new, whole=whole)
        if judging is None and before is not None:
            judging = before.none()
        if judging is None:
            self.spec = new
            return
        self._judging = judging
        try:
            with blame(self.runtime, SandboxError):
                kept = self._kept(new, frozenset({"rules"} if rules else {}))
                self._hub.flush()  # what matched so far is by the names of the older ones
                later = {} if whole else await self._instance.watch(self._full(new).monitor)
        except BaseException:
            self._judging = before
            raise
        self._put_judge(judging)
        now = {name: verdict for name, verdict in kept.with_caveats(later).items() if name in CHANGED}
        stay = {name: verdict for name, verdict in self.enforcement.items() if name not in CHANGED}
        self.spec, self.enforcement = new, Enforcement({**stay, **now})
