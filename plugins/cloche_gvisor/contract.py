"""How the host steers a running sandbox: what each way of asking its sentry can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from cloche import Exit
from cloche_gvisor.replies import GuestTask, MemoryUse, TraceSession

SECONDS: Final = 5.0
"""How long an answer may take; most take a tenth of a millisecond, to start a program some."""
SECONDS_SAVE: Final = 120.0
PROCESSES_MOST: Final = 1 << 13
WORKER: Final = (1 << 32) - 1
"""The number of the worker's exec; those of programs begin at 1, in a restored box anew."""


@dataclass(frozen=True, slots=True)
class Target:
    """A sandbox to speak to.

    ``id`` is its full id, ``root`` the folder of runsc's state files, ``command`` runsc with its flags, those of the
    sandbox (``--root`` too). ``pid`` is the sentry's on the host where that is known: nobody else's answer counts then.
    ``saved`` is the id by which the processes of a restored sandbox go: that of the one whose image it was first.
    """

    id: str
    root: str
    command: tuple[str, ...]
    pid: int | None = None
    saved: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestProgram:
    """A program to start beside those of the sandbox; no capability and no group is given to it."""

    argv: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    uid: int
    gid: int


class Control(ABC):
    """Steers one running sandbox. Every method is bounded in time, and checks what it is told.

    All raise ``BrokenSentry`` when the sentry answers nonsense or nothing, ``NotFound`` for a process that is not there
    (any more), ``RefusedCall`` when it says no, and ``SandboxError`` when nobody is there to answer.
    """

    way: ClassVar[str]
    """What people may read about it."""

    @abstractmethod
    async def exec(self, program: GuestProgram, files: Sequence[int]) -> int:
        """Start ``program`` with ``files`` as its 0, 1, 2 and so on, and give its id in the guest.

        They must be pipes or sockets: the owner of anything else may be changed by a runsc that runs as root. Raises
        ``StartError`` when it can't be started.
        """

    @abstractmethod
    async def wait(self, pid: int) -> Exit:
        """Wait for the end of a program that ``exec`` started, however long it takes, and give it.

        Ask at once: how a program ended is forgotten when nobody waited for it.
        """

    @abstractmethod
    async def signal(self, number: int, pid: int | None = None) -> None:
        """Send a signal to one process, or to every process of the sandbox."""

    @abstractmethod
    async def pause(self) -> None:
        """Stop every task of the guest; all have stopped when it returns. As often it must be let go on again."""

    @abstractmethod
    async def resume(self) -> None:
        """Let the tasks run again. Harmless when none is stopped."""

    @abstractmethod
    async def processes(self) -> list[GuestTask]:
        """Give the processes of the guest."""

    @abstractmethod
    async def usage(self) -> MemoryUse:
        """Give how much memory the guest uses, counted anew."""

    @abstractmethod
    async def checkpoint(self, folder: str) -> None:
        """Save the sandbox into ``folder``, which is empty; it has ended by then, or is about to."""

    @abstractmethod
    async def trace_create(self, session: Mapping[str, Any], files: Sequence[int] = (), *, force: bool = False) -> None:
        """Begin the session (an object as under ``trace_session`` of runsc's own file), one file a sink.

        ``force`` replaces one of the same name.
        """

    @abstractmethod
    async def trace_list(self) -> list[TraceSession]:
        """Give the sessions there are, with how many events they lost."""

    @abstractmethod
    async def trace_delete(self, name: str) -> None:
        """End a session."""

    @abstractmethod
    def close(self) -> None:
        """Give back what this way holds. What runs in the sandbox runs on; the sandbox is steered no more."""
