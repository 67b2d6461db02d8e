"""What is done about incidents: by thresholds, and as rules ask; in audit mode only said."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio

from cloche import units
from cloche.errors import ClocheError, StateError
from cloche.incidents.prepare import reached
from cloche.rules.severity import Severity
from cloche.spec import State

if TYPE_CHECKING:
    from cloche.incidents.case import Case
    from cloche.incidents.incident import Incident
    from cloche.incidents.prepare import Judging
    from cloche.incidents.response import Response
    from cloche.sandbox import AsyncSandbox

NOTICES: Final = 10
"""Notices of one rule in one sandbox within ``PER`` seconds, at most; what comes beyond is counted, not told."""
PER: Final = 1.0
PATIENCE: Final = 5.0
"""Seconds that everybody else waits for a pause or a kill."""
ONLY_WATCHING: Final = "the rules only watch; it would have been done"


@dataclass(frozen=True, slots=True)
class Means:
    """What incidents of one sandbox are answered by."""

    box: AsyncSandbox
    pause: Callable[[str], Awaitable[None]]
    stop: Callable[[str], Awaitable[None]]
    notice: Callable[[Incident, int], None]
    """Tell whoever asked to be told; and how many of the same rule were not told before."""
    keep: Callable[[Incident], None]
    """Put it, as it is now, where incidents are kept."""
    log: Callable[[Incident], None] | None
    """Write it to the audit log, if there is one."""
    hook: Callable[[Incident], None]
    """Tell plugins."""
    responses: Mapping[str, Response]
    start_soon: Callable[..., None]


class Answers:
    """Answers the incidents of one sandbox."""

    def __init__(self, means: Means, judging: Judging) -> None:
        self.judging = judging
        self.resumed_ns = 0
        """When the sandbox was last resumed: what was done before was answered then."""
        self._means = means
        self._told: dict[str, list[float]] = {}
        self._untold: dict[str, int] = {}

    def raised(self, case: Case) -> None:
        """Answer a new incident."""
        self._note_block(case)
        self._means.keep(case.now())
        grave = self._grave(case)
        if grave == "suspend" and not case.audit and self._means.box.state is State.PAUSED:
            case.took("suspend", "it was paused already", done=False)  # before: it must not be paused again after that
            grave = None
        case.answering = grave is not None and not case.audit
        self._means.start_soon(self._answer, case, grave)

    def again(self, case: Case, at: int) -> None:
        """Answer one more hit of a known one, done at that time: a sandbox that was resumed is suspended again."""
        if case.answering or case.audit or self._means.box.state is not State.RUNNING:
            return
        grave = self._grave(case)
        if grave is not None and (not at or at > self.resumed_ns):
            case.answering = True
            self._means.start_soon(self._stop, case, grave)

    def changed(self, case: Case) -> None:
        """Keep a case that was counted up."""
        self._means.keep(case.now())

    def graver(self, case: Case) -> None:
        """Keep a case that an anomaly made graver, and log it as it is now. It is not told or answered again."""
        self.changed(case)
        self._log(case)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _grave(self, case: Case) -> str | None:
        """Give which of the answers that stop a sandbox is due."""
        return self.judging.stops(case.rule, blocked=case.blocked)

    def _note_block(self, case: Case) -> None:
        if case.rule.mode != "inline" or not reached(case.rule.severity, self.judging.block):
            return
        if case.audit:
            case.took("block", ONLY_WATCHING, done=False)
        else:
            case.took("block", "" if case.blocked else "who saw the act could not refuse it", done=case.blocked)

    async def _answer(self, case: Case, grave: str | None) -> None:
        if grave is not None and case.audit:
            case.took(grave, ONLY_WATCHING, done=False)
        elif grave is not None:
            with anyio.move_on_after(PATIENCE):
                await self._stop(case, grave)
        self._alert(case)
        self._log(case)
        response = self._means.responses.get(case.rule.response or "")
        if response is not None and case.audit:
            case.took(response.name, ONLY_WATCHING, done=False)
        elif response is not None:
            await self._respond(case, response)
        incident = case.now()
        self._means.keep(incident)
        self._means.hook(incident)

    async def _stop(self, case: Case, grave: str) -> None:
        """Suspend or terminate. A sandbox that can't be suspended is terminated: it must not go on."""
        reason = f"rule:{case.rule.id}"
        try:
            with anyio.CancelScope(shield=True):
                if grave == "terminate":
                    await self._terminate(case, reason)
                else:
                    await self._suspend(case, reason)
        finally:
            case.answering = False
            self._means.keep(case.now())

    async def _suspend(self, case: Case, reason: str) -> None:
        try:
            await self._means.pause(reason)
        except StateError as error:
            case.took("suspend", str(error), done=False)
        except Exception as error:  # noqa: BLE001 - whatever a runtime raises, the guest must not go on
            case.took("suspend", f"it can't be paused, so it is terminated: {_said(error)}", done=False)
            await self._terminate(case, f"{reason}, and it can't be paused")
        else:
            case.took("suspend", done=True)

    async def _terminate(self, case: Case, reason: str) -> None:
        try:
            await self._means.stop(reason)
        except Exception as error:  # noqa: BLE001 - recorded; the host kills what is left when it deletes the box
            case.took("terminate", _said(error), done=False)
        else:
            case.took("terminate", done=True)

    def _alert(self, case: Case) -> None:
        rule, now = case.rule.id, time.monotonic()
        recent = self._told[rule] = [at for at in self._told.get(rule, ()) if now - at < PER]
        if len(recent) >= NOTICES:
            self._untold[rule] = self._untold.get(rule, 0) + 1
            case.took("alert", f"more than {NOTICES} of the rule in {PER:g} s; it is only counted", done=False)
            return
        recent.append(now)
        case.took("alert", done=True)
        self._means.notice(case.now(), self._untold.pop(rule, 0))

    def _log(self, case: Case) -> None:
        if self._means.log is None:
            if case.rule.response == "log":
                case.took("log", "this host has no audit log", done=False)
            return
        if case.rule.severity < Severity.LOW and case.rule.response != "log":
            return
        try:
            self._means.log(case.now())
        except (ClocheError, OSError) as error:
            case.took("log", _said(error), done=False)
        else:
            case.took("log", done=True)

    async def _respond(self, case: Case, response: Response) -> None:
        try:
            with anyio.move_on_after(response.seconds) as bound:
                said: object = await response.respond(case.now(), self._means.box)
                case.took(response.name, units.one_line(said, most=400) if isinstance(said, str) else "", done=True)
            if bound.cancelled_caught:
                case.took(response.name, f"it took longer than {response.seconds:g} s", done=False)
        except Exception as error:  # noqa: BLE001 - a stranger's code; recorded, and what else is to be done is done
            case.took(response.name, _said(error), done=False)
        except SystemExit as error:
            case.took(response.name, _said(error), done=False)


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {units.one_line(str(error), most=300)}"
