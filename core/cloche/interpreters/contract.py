"""The contract of an interpreter: what a runtime's plugin implements to run code of a language without a process.

``Runtime.language(spec)`` gives a ``Language``: code may be run in it as the spec says; made once, kept, used by many
threads. Its ``open()`` gives a ``LiveInterpreter``: memory of its own, nothing shared with another. All methods are
plain functions, called in the thread of whoever wants something: microseconds count here. A LiveInterpreter is
used by one thread at a time, which its owner sees to; only ``interrupt`` may be called beside a run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cloche.enforcement import Enforcement
from cloche.errors import Unsupported
from cloche.interpreters.values import ConsoleLine, Ran


@dataclass(frozen=True, slots=True)
class Completion:
    """How a call of a function of the host ended: ``value``, or ``error`` (a text that the guest may see)."""

    token: int
    value: Any = None
    error: str | None = None


class HostCalls(Protocol):
    """The functions of the host, as one run calls them. What they raise never passes through: it becomes a text."""

    def call(self, name: str, args: Sequence[Any]) -> Completion:
        """Call a plain function in this thread; ``token`` of the answer says nothing.

        Its value may be anything: who can't hand it to the guest tells the guest so. Whoever calls counts the calls.
        """
        ...

    def start(self, token: int, name: str, args: Sequence[Any]) -> None:
        """Start an asynchronous one; its end comes from ``wait``. ``token`` is the interpreter's, any number."""
        ...

    def wait(self, timeout: float) -> Sequence[Completion]:
        """Wait for at least one of those started, at most so many seconds; empty: none ended, or all are through.

        It may be empty too early, where the run is to be ended.
        """
        ...

    def is_async(self, name: str) -> bool | None:
        """Say whether ``name`` is asynchronous, ``None`` if there is no such function."""
        ...


@dataclass(slots=True)
class Running:
    """What goes with one run, beside its code."""

    wall: float
    """Seconds it may take, stops included: first asked to stop, then ended hard."""
    calls: HostCalls | None = None
    on_console: Callable[[ConsoleLine], object] | None = None
    """Called with each line as it is printed, and raises nothing; then ``Ran.console`` has none."""
    interrupt: Callable[[str], None] | None = None
    """Set by ``Language.once`` before the code runs: what ends that run, as ``LiveInterpreter.interrupt``."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a streaming program yielded."""

    value: Any


class LiveInterpreter(ABC):
    """One isolated interpreter. What it holds is given back by ``close``, also if it is never run."""

    @abstractmethod
    def run(self, code: str, variables: Mapping[str, object] | None, running: Running) -> Ran:
        """Run ``code`` on top of what was run before; ``variables`` are set as globals first.

        Never raises for what the guest does. After a hard end it is as before the run (``Ran.rolled_back``), or, where
        that can't be done, broken: each later call then raises ``StateError``.
        Raises ``SpecError`` for variables that can't cross.
        """

    def stream(self, code: str, variables: Mapping[str, object] | None, running: Running) -> Stream:  # noqa: ARG002
        """Start a program that yields at its top level. Raises ``Unsupported`` where the language can't."""
        raise Unsupported("this interpreter gives no streams")

    @abstractmethod
    def interrupt(self, why: str) -> None:
        """End the run that is going on, as at its wall time, with ``Ran.reason == why``; from any thread.

        Where none is going on nothing happens, and the next one is not hit.
        """

    @abstractmethod
    def memory(self) -> int:
        """Give the bytes it holds now."""

    def rest(self) -> None:  # noqa: B027 - most hold nothing that they could do without
        """Give back what it need not hold while it waits. Called when it was not used for a while, by no other thread.

        Its state is as before. It does nothing unless it is overridden.
        """

    def snapshot(self) -> bytes:
        """Give its state, to be given to ``Language.restore`` in any process. Raises ``Unsupported``."""
        raise Unsupported("this interpreter can't be saved")

    @abstractmethod
    def close(self) -> None:
        """Give everything back. Harmless when repeated."""


class Stream(ABC):
    """A program that yields: nothing of it runs between two calls."""

    @abstractmethod
    def next(self, sent: object = None) -> Item | Ran:
        """Run on to the next ``yield``, whose value there is ``sent``; or give how the program ended.

        The wall time is that of all of its pieces together. What was printed comes with ``on_console``, or in the Ran.
        """

    @abstractmethod
    def close(self) -> None:
        """End it where it stands (its ``finally`` blocks run, bounded as a run is). Harmless when repeated."""


class Language(ABC):
    """Code of one language, prepared under one spec. Used by many threads at once."""

    enforcement: Enforcement
    """What is kept, by which mechanism, with which caveat."""
    template: str = ""
    """What a snapshot must fit: a digest of all that its state depends on."""

    @abstractmethod
    def open(self) -> LiveInterpreter:
        """Give a fresh interpreter. Raises ``StartError``."""

    def once(self, code: str, variables: Mapping[str, object] | None, running: Running) -> Ran:
        """Run ``code`` in a fresh interpreter that is gone afterwards."""
        live = self.open()
        running.interrupt = live.interrupt
        try:
            return live.run(code, variables, running)
        finally:
            live.close()

    def restore(self, snapshot: bytes) -> LiveInterpreter:  # noqa: ARG002 - for those that override it
        """Give an interpreter in the state that ``snapshot`` holds, which anybody may have made up.

        Raises ``SnapshotError`` for one that is damaged, of another template, or reaches outside of its memory.
        """
        raise Unsupported("these interpreters can't be restored")

    @abstractmethod
    def close(self) -> None:
        """Give back what it holds, once every interpreter of it is closed."""
