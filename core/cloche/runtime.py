"""The contract of a runtime: what a plugin must implement to isolate programs its own way.

A ``Runtime`` says what it can keep and makes ``Instance`` objects; an ``Instance`` is one living box; a
``GuestProcess`` is one program in it. Abstract methods are musts; the others may be left out and then raise
``Unsupported``. The host owns everything else: output, timeouts, output limits, classification, events.

All methods run on the host's event loop and must not block it for long, except ``Runtime.unavailable``: it runs in a
worker thread once per host, before any other method of the runtime, and may take a second to try things for real.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import ClassVar

from cloche.config import Config
from cloche.enforcement import Enforcement, Guarantee
from cloche.errors import Unsupported
from cloche.spec import ProcessSpec, Spec, Usage, Window


@dataclass(frozen=True, slots=True)
class Stdio:
    """Descriptors of the host that become the program's 0, 1 and 2; ``None`` is an empty one.

    They are pipe ends made by the host, which closes its copies once ``Instance.exec`` returns. With a terminal all
    three are ``None``.
    """

    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a program ended, as the runtime saw it from outside the guest's reach.

    Exactly one of ``code`` and ``signal`` is set. ``out_of_memory``: the kernel killed it for memory.
    ``refused``: the box could not execute it (``code`` is 126 or 127, ``detail`` says why).
    """

    code: int | None = None
    signal: int | None = None
    out_of_memory: bool = False
    refused: bool = False
    detail: str = ""
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class Check:
    """One line of ``cloche doctor``.

    ``ok``: it works, it does not, or (``None``) it is good to know and nothing depends on it. ``found`` says what is
    so, ``fix`` what would make it work; both in words of a person who runs the machine.
    """

    name: str
    found: str
    _: KW_ONLY
    ok: bool | None
    fix: str = ""


class GuestProcess(ABC):
    """One program in a box."""

    pid: int
    """Its process id as the box sees it."""
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

    async def stats(self) -> Mapping[str, float]:
        """Give usage of the whole box: ``memory`` and ``memory_peak`` bytes, ``cpu`` seconds, ``pids``."""
        raise Unsupported("this runtime gives no statistics")

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

    def checks(self) -> Sequence[Check]:
        """Give what ``cloche doctor`` shows of this runtime, what it stands on first.

        By default the one answer of ``unavailable``, which was asked before. Runs in no event loop and may take some
        seconds to try things for real.
        """
        reason = self.unavailable()
        return [Check("can make a box", reason or "it works here", ok=reason is None)]

    def close(self) -> None:  # noqa: B027 - optional, and nothing is a fine answer
        """Give back what the runtime itself holds, when its host closes. There is nothing to give back by default."""
