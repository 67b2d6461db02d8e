"""Names of sandboxes: each belongs to one living sandbox of a user at a time, whichever process made it.

``names/<name>`` in the run folder is locked while a sandbox of that name is looked for and made, and says who has it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

import anyio

from cloche import units
from cloche.errors import NotFound, RegistryError, SpecError
from cloche.registry.folder import Folder, meant
from cloche.spec import Spec, State

if TYPE_CHECKING:
    from cloche.host import AsyncHost
    from cloche.registry.part import Part
    from cloche.sandbox import AsyncSandbox

PATIENCE: Final = 60.0  # seconds; longer than a box that can't start may take to say so
HOLDER_MAX: Final = 256
SHOWN_MAX: Final = 8
UNSHOWN: Final = "env."  # values of these are shown to nobody


class Holding:
    """A name while it is locked: who has it, and who shall."""

    def __init__(self, name: str, fd: int) -> None:
        self._name = name
        self._fd = fd

    def holder(self) -> tuple[str, str] | None:
        """Give the ids of host and sandbox that have it, or ``None`` for nobody."""
        if self._fd < 0:
            return None
        return parse_holder(os.pread(self._fd, HOLDER_MAX, 0))

    def give(self, host_id: str, sandbox_id: str) -> None:
        """Note who has it now."""
        if self._fd >= 0:
            with meant(f"name: {self._name!r} can't be kept"):
                raw = f"{host_id} {sandbox_id}\n".encode()
                os.pwrite(self._fd, raw, 0)
                os.ftruncate(self._fd, len(raw))


def parse_holder(raw: bytes) -> tuple[str, str] | None:
    """Give the two ids in a name's file; ``None`` for anything else."""
    parts = raw.decode("utf-8", "replace").split()
    if len(parts) != 2:  # noqa: PLR2004 - host and sandbox
        return None
    try:
        return units.identifier(parts[0], "host"), units.identifier(parts[1], "sandbox")
    except SpecError:
        return None


class Names:
    """The names of one host's sandboxes, and their locks among all hosts."""

    def __init__(self, host: AsyncHost) -> None:
        self._host = host
        self._locks: dict[str, anyio.Lock] = {}

    @contextlib.asynccontextmanager
    async def held(self, name: str) -> AsyncIterator[Holding]:
        """Keep ``name`` locked. Raises ``RegistryError`` if it can't be had, or not be kept for this user alone."""
        lock = self._locks.setdefault(name, anyio.Lock())
        async with lock:
            try:
                if not self._host.registry.wanted:
                    yield Holding(name, -1)
                    return
                with self._folder(name) as folder:
                    fd = await _lock(folder, name)
                try:
                    yield Holding(name, fd)
                finally:
                    os.close(fd)
            finally:
                if not lock.statistics().tasks_waiting:
                    self._locks.pop(name, None)

    def _folder(self, name: str) -> Folder:
        try:
            with self._host.registry.run_folder(make=True) as run, meant("the folder of names can't be used"):
                return run.sub("names", make=True)
        except RegistryError as error:
            raise RegistryError(
                f"name: {name!r} would be unique among this user's sandboxes, which takes the registry: {error}. Leave "
                "the name out, or switch the registry off: then a name holds in its own host only"
            ) from None

    async def living(self, name: str, holding: Holding) -> AsyncSandbox | None:
        """Give the sandbox that has the name and lives; one that does not live any more is cleaned away."""
        for box in self._host.sandboxes():
            if box.name == name:
                if box.state is not State.STOPPED:
                    return box
                await box.delete()
        holder = holding.holder()
        if holder is None or holder[0] == self._host.registry.host_id:
            return None
        from cloche.registry import reach  # noqa: PLC0415 - few names are another host's

        try:
            box = await reach.attach(self._host, *holder)
        except NotFound:
            await self._host.registry.sweep()  # its host is dead, or has deleted it
            return None
        if box.state is not State.STOPPED:
            return box
        await box.delete()
        return None

    @staticmethod
    async def check(asked: Spec, wanted: str | None, box: AsyncSandbox, *, fresh: bool) -> None:
        """Raise ``SpecError`` naming what differs if ``box``, which has the name, is not what was asked for.

        A ``fresh`` one was asked for: then it never is.
        """
        if fresh:
            await let_go(box)
            raise SpecError(f"name: a sandbox named {asked.name!r} exists already; delete it or choose another name")
        from cloche.registry.plain import to_plain  # noqa: PLC0415 - few names are asked for twice

        if asked.level.name != box.spec.level.name:  # all that follows from the level would differ as well
            differences = [f"isolation: {asked.level.name} was asked, {box.spec.level.name} it is"]
        else:
            differences = _differences(to_plain(asked), to_plain(box.spec), "")
            if not differences and asked.rules != box.spec.rules:  # of rules themselves only names are plain data
                differences.append("rules: a rule itself was asked, another of that name it has")
        if wanted is not None and wanted != box.runtime:
            differences.append(f"runtime: {wanted} was asked, {box.runtime} it is")
        if not differences:
            return
        await let_go(box)
        raise SpecError(
            f"name: a sandbox named {asked.name!r} exists already and is not what was asked: "
            f"{'; '.join(differences[:SHOWN_MAX])}{' ...' * (len(differences) > SHOWN_MAX)}. "
            "Ask for the same, delete it, or choose another name"
        )


async def let_go(box: AsyncSandbox) -> None:
    """Detach from a sandbox that is another host's."""
    from cloche.registry.attached import AttachedSandbox  # noqa: PLC0415 - see Names.living

    if isinstance(box, AttachedSandbox):
        await box.detach()


async def _lock(folder: Folder, name: str) -> int:
    pause = 0.001
    try:
        with anyio.fail_after(PATIENCE), meant(f"name: {name!r} can't be locked"):
            while (fd := folder.lock(name, make=True)) is None:
                await anyio.sleep(pause)
                pause = min(2 * pause, 0.05)
            return fd
    except TimeoutError:
        raise RegistryError(
            f"name: another process has been making or looking for a sandbox named {name!r} for {PATIENCE:g} s"
        ) from None


def forget(part: Part, name: str, host_id: str, sandbox_id: str) -> None:
    """Free a name if that sandbox has it and nobody is just looking at it; who looks finds it gone anyway."""
    with (
        contextlib.suppress(FileNotFoundError),
        part.run_folder(make=False) as run,
        run.sub("names") as folder,
    ):
        fd = folder.lock(name, make=False)
        if fd is not None:
            try:
                if parse_holder(os.pread(fd, HOLDER_MAX, 0)) == (host_id, sandbox_id):
                    folder.remove(name)
            finally:
                os.close(fd)


def _differences(asked: Any, held: Any, path: str) -> list[str]:  # noqa: ANN401 - plain data
    if isinstance(asked, dict) and isinstance(held, dict):
        out: list[str] = []
        for key in dict.fromkeys((*asked, *held)):
            if not path and key == "id":
                continue
            there = f"{path}.{key}" if path else str(key)
            if key not in asked or key not in held:
                out.append(f"{there}: only {'asked' if key in asked else 'there'}")
            else:
                out += _differences(asked[key], held[key], there)
        return out
    if asked == held:
        return []
    if path.startswith(UNSHOWN):
        return [f"{path}: another value"]
    return [f"{path}: {units.shown(asked)} was asked, {units.shown(held)} it is"]
