"""What the host's door needs of a sandbox of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cloche.runtime import GuestProcess, Instance
from cloche.runtime_parts import Stdio, Tree
from cloche.spec import ProcessSpec, State

if TYPE_CHECKING:
    from cloche.programs import Programs


class Lendable(ABC):
    """The part of a sandbox that serves other processes of its user."""

    _instance: Instance
    _programs: Programs

    @property
    def workspace(self) -> str:
        """Where programs start unless told otherwise."""
        return self._instance.workspace

    def processes(self) -> Sequence[int]:
        """Give the host's process ids of the box's own machinery."""
        return self._instance.processes()

    def trees(self) -> Sequence[Tree]:
        """Give the folders that the host's files API reaches now. Raises ``StateError``, ``Unsupported``.

        What is no folder of this machine can't be handed to another process, and is left out.
        """
        return [tree for tree in self._trees() if tree.vfs is None]

    async def lend(self, process: ProcessSpec, stdio: Stdio) -> GuestProcess:
        """Start a program whose streams another process holds. Raises ``StateError``, ``StartError``."""
        self._need("run a program in", State.RUNNING)
        return await self._programs.lend(process, stdio)

    @abstractmethod
    def _trees(self) -> Sequence[Tree]: ...

    @abstractmethod
    def _need(self, verb: str, *states: State) -> None: ...
