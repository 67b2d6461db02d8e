"""The contract of a runtime: what a plugin must implement to isolate programs its own way.

A ``Runtime`` says what it can keep and makes ``Instance`` objects; an ``Instance`` is one living box; a
``GuestProcess`` is one program in it. Abstract methods are musts; the others may be left out and then raise
``Unsupported``. The host owns everything else: output, timeouts, output limits, classification, events.

All methods run on the host's event loop and must not block it for long, except ``Runtime.unavailable``: it runs in a
worker thread once per host, before any other method of the runtime, and may take a second to try things for real.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from cloche.config import Config
from cloche.enforcement import Enforcement, Guarantee
from cloche.errors import SandboxError, Unsupported
from cloche.events.acts import Act
from cloche.policy import Limits
from cloche.runtime_parts import Check, Exit, Stdio, Tree
from cloche.spec import ProcessSpec, Spec, Window

if TYPE_CHECKING:
    from cloche.events.source import EventSource
    from cloche.interpreters.contract import Language
    from cloche.interpreters.values import InterpreterSpec
    from cloche.monitor import Monitor


class GuestProcess(ABC):
    """One program in a box."""

    pid: int
    """Its process id as the box sees it."""
    number: int = 0
    """What stands for it in the events of its processes (``Event.exec``); 0: nothing does."""
    terminal: int | None = None
    """Descriptor of the terminal's controlling side; the host closes it."""

    @abstractmethod
    async def wait(self) -> Exit:
        """Wait for the end and give it. Unless it lingers, every descendant is gone by then. May be called often."""

    @abstractmethod
    async def signal(self, number: int) -> None:
        """Send a signal to the program itself. A program that has ended is no error."""

    @abstractmethod
    async def kill(self) -> None:
        """End the program and all its descendants, daemonised ones included, and return when they are gone."""

    async def resize(self, window: Window) -> None:  # noqa: ARG002 - for those that override it
        """Set the terminal's size. Raises ``Unsupported`` where there are no terminals."""
        raise Unsupported("this runtime gives no terminals")


class Instance(ABC):
    """One box. Created stopped; the host calls start, exec any number of times, and always delete."""

    takes_workers: ClassVar[bool] = False
    """Whether ``start_worker`` and ``ProcessSpec.worker`` are kept."""
    workspace: str = "/"
    """Where programs start unless told otherwise: the work folder as the box sees it."""

    @abstractmethod
    async def start(self) -> None:
        """Bring the box up with the whole policy applied. Raises ``StartError``; then nothing is left behind."""

    @abstractmethod
    async def exec(self, process: ProcessSpec, stdio: Stdio) -> GuestProcess:
        """Start a program in the living box; many may run at once.

        Never a shell. A program that can't be executed is a process whose ``wait`` gives a refused ``Exit``.
        Raises ``StartError`` if the box itself failed.
        """

    @abstractmethod
    async def wait(self) -> str:
        """Wait until the box is down, however that came, and give why (``""`` after a wanted kill).

        The host calls it once, as a task of its own, right after ``start``: a runtime may serve its box in it.
        """

    @abstractmethod
    async def kill(self) -> None:
        """End every process of the box now and return when they are gone. Harmless when repeated."""

    @abstractmethod
    async def delete(self) -> None:
        """Kill, then give back everything held: processes, mounts, cgroups, descriptors, folders. Idempotent."""

    async def pause(self) -> None:
        """Stop every guest process. Raises ``Unsupported`` where that can't be done."""
        raise Unsupported("this runtime can't pause")

    async def resume(self) -> None:
        """Continue after ``pause``."""
        raise Unsupported("this runtime can't resume")

    async def listen(self, port: int) -> socket.socket:  # noqa: ARG002 - for those that override it
        """Give a TCP socket that listens at the host's end of the box's isolated network; see ``Sandbox.listen``."""
        raise Unsupported("this sandbox has no network with the host at its other end; make it with network='isolated'")

    async def stats(self) -> Mapping[str, float]:
        """Give what the box uses, by the names and in the units of ``cloche.Stats``; unknown ones are left out."""
        raise Unsupported("this runtime gives no statistics")

    def trees(self) -> Sequence[Tree]:
        """Give the folders that the host's files API reaches now; the innermost one that holds a path is used.

        Asked before every act, in any thread, from ``start`` until ``delete`` is called: what is no longer there once
        the box is down must no longer be given, and the descriptors stay open until ``delete``.
        """
        raise Unsupported("this runtime gives its host no way to the files of a box")

    def sources(self) -> Sequence[EventSource]:
        """Give what tells of the guest's acts, where the spec has a monitor: always the same, once it was started.

        The instance closes them in ``delete``. Nothing by default: then ``enforcement`` must not report ``events``.
        """
        return ()

    async def watch(self, monitor: Monitor) -> Mapping[str, str]:  # noqa: ARG002 - for those that override it
        """Watch the guest as ``monitor`` says in place of before, or raise and have changed nothing.

        Asked only where ``sources`` gives some; they stay, and their ``acts`` are then the new ones. Rules, and fewer
        acts, hold at once. Where more acts hold only for programs started from now on, give a caveat that says so for
        ``events``, and for ``rules`` if these are about them. ``ring``, ``overload``, ``resolve`` and ``sources`` of
        the monitor are as before. Raises ``Unsupported`` for what can't be had later.
        """
        raise Unsupported("this runtime can't change what it watches of a living sandbox")

    async def start_worker(self, process: ProcessSpec) -> None:  # noqa: ARG002 - for those that override it
        """Start the resident worker that ``ProcessSpec.worker`` asks for: by its descriptor 3 (docs/snapshots.md)."""
        raise Unsupported("this runtime has no resident workers")

    async def checkpoint(self, folder: str) -> None:  # noqa: ARG002 - for those that override it
        """Write the box as plain files into an empty folder, and end it; ``SnapshotError``: it can't, and goes on."""
        raise Unsupported("this runtime can't save a sandbox")

    async def ready(self) -> None:  # noqa: B027 - optional, and nothing is a fine answer
        """Raise unless a started box that has run nothing yet answers; asked before one of a pool is given out."""

    async def warm_up(self) -> None:  # noqa: B027 - optional, and nothing is a fine answer
        """Do, in a started box that is about to wait in a pool, what makes its first program quick; leave nothing."""

    async def counted(self) -> Mapping[str, float]:
        """Give those of ``stats`` that only grow, and others if they cost nothing."""
        return await self.stats()

    def processes(self) -> Sequence[int]:
        """Give the host's ids of the processes with which the box ends; they are killed if its host is dead."""
        return ()

    async def update(self, limits: Limits) -> Mapping[str, str]:  # noqa: ARG002 - for those that override it
        """Put ``limits`` in force in place of those it was made with: all of them, or none and an error.

        They are complete; ``output`` and ``wall`` are the host's own. Give, for each limit that holds only for programs
        started from now on, a caveat that says so. Raises ``Unsupported`` naming what can't be changed, and
        ``LimitExceeded`` when more is in use than the new bound.
        """
        raise Unsupported("this runtime can't change the limits of a living sandbox")

    def info(self) -> Mapping[str, str]:
        """Give facts a person may want to see, e.g. the process id on the host."""
        return {}


class Runtime(ABC):
    """A way to isolate. Subclass it, and give an object of it in the ``cloche_runtimes`` hook."""

    name: ClassVar[str]
    """What people write: lower case, e.g. ``"microvm"``."""
    summary: ClassVar[str]
    """One line for tables."""
    strength: ClassVar[int]
    """Orders candidates: 10 no namespaces, 20 namespaces, 30 a language machine, 40 a kernel of its own."""
    guarantees: ClassVar[frozenset[Guarantee]]
    """What it can keep on a machine that has everything; ``enforcement`` says what it keeps here."""

    languages: ClassVar[frozenset[str]] = frozenset()
    """Languages that ``language`` runs code of without a process, by what people write, e.g. ``"javascript"``."""
    runs_programs: ClassVar[bool] = True
    """Whether programs made for this machine run in its boxes; where not, a box is made only if asked for by name."""
    vetoes: ClassVar[frozenset[Act]] = frozenset(Act)
    """Acts of its guests that a rule can have refused before they are done, where it judges at all; by default all.

    Of the others rules are told as they happen: what such a rule comes to then, ``docs/rules.md`` says.
    """

    def configure(self, config: Config) -> None:  # noqa: B027 - optional, and nothing is a fine answer
        """Learn the host's own settings, before anything else is asked. There is nothing to learn by default."""

    @abstractmethod
    def unavailable(self) -> str | None:
        """Give ``None`` if it works here, else why not and what to do. Tries for real and caches the answer."""

    @abstractmethod
    def enforcement(self, spec: Spec) -> Enforcement:
        """Give, for this spec on this machine, what would be kept, by which mechanism, with which caveat.

        Every guarantee and every limit of ``spec`` appears. Called only if ``unavailable()`` gives ``None``.
        """

    @abstractmethod
    async def create(self, spec: Spec) -> Instance:
        """Make an instance that keeps what ``enforcement(spec)`` says. Raises ``SpecError`` or ``StartError``."""

    def image_needs(self, spec: Spec) -> Mapping[str, str]:  # noqa: ARG002 - for those that override it
        """Give what must be the same where an image made now is restored, by name: version, platform and so on."""
        raise Unsupported(f"runtime {self.name!r} can't save a sandbox")

    async def restore(self, spec: Spec, folder: str) -> Instance:  # noqa: ARG002 - for those that override it
        """Make an instance as ``create``, whose ``start`` goes on where the box was whose files are in ``folder``.

        They stay until ``start`` is over. Other folders of the host may be behind the same mounts.
        """
        raise Unsupported(f"runtime {self.name!r} can't restore a sandbox")

    def language(self, spec: InterpreterSpec) -> Language:
        """Prepare to run code of one of ``languages``; may take seconds the first time on a machine.

        Called in a worker thread, after ``unavailable``. Raises ``SpecError``, ``StartError``, and ``Unenforceable``
        where ``spec.strict`` and a bound can't be kept.
        """
        raise Unsupported(f"runtime {self.name!r} runs no code of {spec.language!r} without a process")

    def checks(self) -> Sequence[Check]:
        """Give what ``cloche doctor`` shows of this runtime, what it stands on first.

        By default the one answer of ``unavailable``, which was asked before. Runs in no event loop and may take some
        seconds to try things for real.
        """
        reason = self.unavailable()
        return [Check("can make a box", reason or "it works here", ok=reason is None)]

    def leavings(self) -> Sequence[str]:
        """Give what would be left of this runtime's boxes if this process and all its helpers were killed.

        One line a thing, for ``sweep`` of the same runtime in another process. Asked before each ``create``: whatever
        that or anything later makes must be covered already. Nothing by default.
        """
        return ()

    def sweep(self, leavings: Sequence[str]) -> list[str]:
        """Remove what a dead host left, given what its ``leavings`` said; give what was there, in words.

        Another process wrote these lines and they may be damaged: remove only what is proven to be a leaving. Raises
        ``SandboxError`` for what stays. Runs in a worker thread, after ``unavailable``.
        """
        if leavings:
            raise SandboxError(f"runtime {self.name!r} left something and can't remove it: {', '.join(leavings)[:300]}")
        return []

    def close(self) -> None:  # noqa: B027 - optional, and nothing is a fine answer
        """Give back what the runtime itself holds, when its host closes. There is nothing to give back by default."""
