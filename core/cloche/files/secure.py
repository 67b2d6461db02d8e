"""A file system without any process, whose every act passes rules before it is done."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio.to_thread import run_sync

from cloche import units
from cloche.enforcement import Enforced, Enforcement, Kept, Unenforced
from cloche.errors import SpecError, StartError, StateError, Unsupported
from cloche.runtime import GuestProcess, Instance
from cloche.runtime_parts import Stdio, Tree

if TYPE_CHECKING:
    from cloche.spec import ProcessSpec, Spec

RUNTIME = "files"
"""What stands where sandboxes name their runtime."""
_BOUND = ("disk", "files")


class FolderInstance(Instance):
    """A folder of the host's as a box in which nothing runs: it is given, or made and removed with it."""

    def __init__(self, folder: str | Path | None) -> None:
        """Take a folder that is there; with ``None`` one of its own is made. Raises ``SpecError``."""
        self._asked = None if folder is None else Path(units.host_path(folder, "folder"))
        if self._asked is not None and not self._asked.is_dir():
            raise SpecError(f"folder: {units.shown(str(self._asked))} is no folder; make it first")
        self._own: Path | None = None
        self._fd = -1
        self._paused = False
        self._down = anyio.Event()

    async def start(self) -> None:
        """Open the folder."""
        try:
            self._own = None if self._asked is not None else Path(tempfile.mkdtemp(prefix="cloche-files-"))
            self._fd = os.open(self._own or self._asked or "", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise StartError(f"the folder can't be used: {error}") from error

    async def exec(self, process: ProcessSpec, stdio: Stdio) -> GuestProcess:  # noqa: ARG002 - nothing is run
        """Refuse: there are no processes here."""
        raise Unsupported(f"{process.args[0]!r} can't run: this is a file system, not a sandbox with programs")

    async def wait(self) -> str:
        """Wait until it is killed."""
        await self._down.wait()
        return ""

    async def kill(self) -> None:
        """Let no further act be done."""
        self._down.set()

    async def delete(self) -> None:
        """Close the folder, and remove it if it was made for this."""
        self._down.set()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._own is not None:
            own, self._own = self._own, None
            await run_sync(shutil.rmtree, own)

    async def pause(self) -> None:
        """Let no act be done until ``resume``."""
        self._paused = True

    async def resume(self) -> None:
        """Go on."""
        self._paused = False

    def trees(self) -> Sequence[Tree]:
        """Give the folder, as the root. Raises ``StateError`` while it is suspended, and once it was ended."""
        if self._paused:
            raise StateError("the file system is suspended; resume it to go on")
        if self._down.is_set():
            raise StateError("the file system was ended; what is in its folder can only be deleted")
        return (Tree("/", self._fd),)


def kept(spec: Spec) -> Enforcement:
    """Give what such a file system keeps of a policy: nothing runs in it, so most of it can't be broken."""
    idle = Enforced("no program runs in it")
    found: dict[str, Kept] = dict.fromkeys(spec.needed(), idle)
    for name in _BOUND:
        if name in found:
            found[name] = Unenforced("a folder of the host has no bound of its own", "give a folder on a small disk")
    found["filesystem"] = Enforced("every act is done below the folder, no link is followed out of it")
    if spec.rules:
        found["rules"] = Enforced("every act is judged, in this process, before it is done")
    return Enforcement(found)
