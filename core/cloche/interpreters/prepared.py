"""A language prepared to run code, as both faces of an interpreter use it: plain calls, from any thread."""

from __future__ import annotations

import secrets
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeVar

from cloche import units
from cloche.errors import SpecError, StateError
from cloche.interpreters.calls import Attempt, Functions
from cloche.interpreters.contract import Running
from cloche.interpreters.figures import Meter, RunMetrics
from cloche.interpreters.keyboard import NUDGE, Keyboard
from cloche.interpreters.resting import Rests
from cloche.notices import Notice, NoticeType, Subscriptions
from cloche.programs import blame

if TYPE_CHECKING:
    import asyncio

    from cloche.interpreters.contract import Language, LiveInterpreter
    from cloche.interpreters.values import ConsoleLine, InterpreterSpec, Ran

T = TypeVar("T")
OnConsole = Callable[["ConsoleLine"], object]
Variables = Mapping[str, object]
NOTICES: Final = frozenset({NoticeType.EXECUTED, NoticeType.TIMEOUT, NoticeType.SECURITY})
LONGEST: Final = 365 * 86400.0
"""Seconds of a run without bound."""


class Prepared:
    """Runs code, each time in a fresh interpreter; and opens those that stay. Ended by ``close``."""

    def __init__(
        self,
        language: Language,
        spec: InterpreterSpec,
        *,
        runtime: str,
        loop: asyncio.AbstractEventLoop,
        listeners: Subscriptions,
        keyboard: Keyboard,
        owner: str = "",
    ) -> None:
        self.id = owner or secrets.token_hex(6)
        """By which notices know it; that of the box it belongs to, if any."""
        self.language = language
        self.spec = spec
        self.runtime = runtime
        self.loop = loop
        self.functions = Functions(spec.functions, loop)
        self.meter = Meter()
        self.own = Subscriptions()
        self.closed = False
        self.sessions: set[Closable] = set()
        """What is open in it, which ends with it."""
        self.rests = Rests(self)
        self.on_closed: Callable[[], None] | None = None
        self.keyboard = keyboard
        self._listeners = listeners
        self._console = _print if spec.console == "inherit" else None
        self._wall = min(spec.limits.wall or LONGEST, LONGEST)
        self._active: dict[int, tuple[Running, int]] = {}

    def once(
        self,
        code: str,
        variables: Variables | None,
        timeout: float | str | None,
        on_console: OnConsole | None,
        attempt: Attempt | None = None,
    ) -> Ran:
        """Run code in a fresh interpreter; ``attempt`` was made by who may want to end it."""
        attempt = attempt or self.attempt(on_console)
        running = self.running(code, variables, timeout, attempt)
        key = id(running)
        # First this, then the look at closed: close looks the other way round.
        self._active[key] = (running, threading.get_ident())
        typed = self.keyboard.begin(attempt.stop)
        try:
            self.check_open()
            ran = self.language.once(code, variables, running)
        finally:
            del self._active[key]
            if typed:
                self.keyboard.end()
            attempt.cancel()
        self.settle(ran)
        attempt.check()
        return ran

    def open(self) -> LiveInterpreter:
        """Give a fresh interpreter, which the caller closes."""
        self.check_open()
        with blame(self.runtime):
            return self.language.open()

    def attempt(self, on_console: OnConsole | None) -> Attempt:
        """Give what stands for one run before the host's functions. Raises ``SpecError``."""
        if on_console is not None and not callable(on_console):
            raise SpecError(f"on_console: a function is needed, not {units.shown(on_console)}")
        return Attempt(self.functions, on_console or self._console)

    def running(self, code: str, variables: Variables | None, timeout: float | str | None, attempt: Attempt) -> Running:
        """Give what goes with one run. Raises ``SpecError``."""
        if not isinstance(code, str):
            raise SpecError(f"code: text is needed, not {units.shown(code)}")
        if variables is not None:
            _check_names(variables)
        wall = self._wall if timeout is None else min(units.duration(timeout, "timeout"), self._wall)
        running = attempt.running = Running(wall)
        if self.functions.named:
            running.calls = attempt
        if attempt.on_console is not None:
            running.on_console = attempt.printed
        return running

    def settle(self, ran: Ran) -> None:
        """Count a run, and tell of it."""
        self.meter.note(ran)
        if not self.own and not self._listeners:
            return
        self._tell(NoticeType.EXECUTED, reason=ran.reason, language=self.spec.language)
        if ran.reason == "timeout":
            self._tell(NoticeType.TIMEOUT, reason=ran.reason, language=self.spec.language)
        for one in ran.violations:
            self._tell(
                NoticeType.SECURITY, rule=one.rule, operation=one.operation, target=one.target, hint=one.hint,
                language=self.spec.language,
            )  # fmt: skip

    def metrics(self) -> RunMetrics:
        """Give what became of its runs."""
        return self.meter.figures(len(self.sessions))

    def check_open(self) -> None:
        """Raise ``StateError`` if it is closed."""
        if self.closed:
            raise StateError(f"this interpreter of {self.spec.language} is closed; make another with host.interpreter")

    def used_by(self, thread: int) -> bool:
        """Say whether this thread is in a run of it, or in one of a session of it."""
        return any(user == thread for _, user in list(self._active.values())) or any(
            session.used_by(thread) for session in list(self.sessions)
        )

    def close(self) -> None:
        """End every run and session, and give everything back. Harmless when repeated."""
        if self.closed:
            return
        if self.used_by(threading.get_ident()):
            raise StateError("a function that an interpreter called can't close it: its run is still going on")
        self.closed = True
        for session in list(self.sessions):
            session.close("its interpreter was closed")
        while self._active:
            for running, _ in list(self._active.values()):
                if running.interrupt is not None:
                    running.interrupt("killed")
                if isinstance(running.calls, Attempt):
                    running.calls.wake()
            time.sleep(NUDGE)
        self.language.close()
        if self.on_closed is not None:
            self.on_closed()

    # -- inside -----------------------------------------------------------------------------------------------------

    def _tell(self, kind: NoticeType, **details: str) -> None:
        for listeners in (self.own, self._listeners):
            if listeners:
                self.loop.call_soon_threadsafe(listeners.emit, Notice(kind, self.id, details=details))


class Closable(ABC):
    """What is open in an interpreter, and has its turns: one thread uses it at a time."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self._turn = threading.Lock()
        self._user = 0
        """The thread whose turn it is."""
        self._ended = ""
        """Why it is closed, or is to be."""
        self.waits: float | None = None
        """Since when it was not used, by time.monotonic; ``None``: it was not used at all, or rests already."""

    def begin(self, wait: float) -> None:
        """Take the turn, within so many seconds. Raises ``StateError``."""
        if self._user == threading.get_ident():
            raise StateError("a function that this session called can't use it: its run is still going on")
        if not self._turn.acquire(timeout=wait):
            raise StateError(f"the session was busy with other runs for {wait:g} s; give each its own session")
        self._user = threading.get_ident()
        if self._ended:
            self.end()
            raise StateError(f"the session is closed: {self._ended}")

    def end(self) -> None:
        """Give the turn away; what was to be closed meanwhile is."""
        self._user = 0
        if self._ended:
            self.shut()
        self._turn.release()

    def used_by(self, thread: int) -> bool:
        """Say whether it is the turn of this thread."""
        return self._user == thread

    def close(self, why: str = "its user closed it") -> None:
        """End what is going on in it, and give it back. Harmless when repeated."""
        self._ended = self._ended or why
        if self.seize():
            self.end()

    def seize(self) -> bool:
        """Take the turn, ending what is going on. In a function that this calls the run must end first: ``False``."""
        if self._user == threading.get_ident():
            self.interrupt()
            return False
        while not self._turn.acquire(timeout=NUDGE):
            self.interrupt()
        return True

    def rest(self) -> None:
        """Give back what it need not hold while it waits, unless it is in use now."""
        if not self._turn.acquire(blocking=False):
            return
        self._user = threading.get_ident()
        self.waits = None
        try:
            self.relax()
        except Exception as error:  # noqa: BLE001 - a plugin's; the session says it to its next user
            self._ended = self._ended or f"it failed while it waited: {units.shown(error)}"
        finally:
            self.end()

    def relax(self) -> None:  # noqa: B027 - most hold nothing that they could do without
        """Give back what it need not hold; it is the caller's turn."""

    @abstractmethod
    def interrupt(self) -> None:
        """End what is going on; from any thread."""

    @abstractmethod
    def shut(self) -> None:
        """Give it back; it is the caller's turn. Harmless when repeated."""


def _check_names(variables: Variables) -> None:
    if not isinstance(variables, Mapping):
        raise SpecError(f"variables: a mapping is needed, not {units.shown(variables)}")
    for name in variables:
        if not isinstance(name, str) or not name.replace("$", "_").isidentifier():
            raise SpecError(f"variables: {units.shown(name)} can't be the name of a variable")


def _print(line: ConsoleLine) -> None:
    stream = sys.stderr if line.level in ("warn", "error") else sys.stdout
    print(units.plain_text(line.text), file=stream, flush=True)
