"""One host's own part in the registry: its place, made when its first sandbox is, its records and its door.

A host works without: where the run folder can't be used, ``note`` says why, its sandboxes are seen and reached by no
other process, and only what needs the registry (a name, ``keep``, ``attach`` of another's) is refused.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from cloche.errors import ClocheError, RegistryError
from cloche.notices import NoticeType
from cloche.registry.folder import Folder, run_path

if TYPE_CHECKING:
    from cloche.background import Background
    from cloche.job import AsyncJob
    from cloche.pool.figures import PoolStats
    from cloche.registry.attached import AttachedSandbox
    from cloche.registry.door import Create, Door
    from cloche.registry.place import Place
    from cloche.registry.record import Writer
    from cloche.runtime import Runtime
    from cloche.sandbox import AsyncSandbox

OFF: Final = "the registry is switched off for this host (registry = false)"


class Part:
    """What one host does in the registry. ``find`` gives its sandbox of an id."""

    def __init__(
        self,
        *,
        wanted: bool,
        find: Callable[[str], AsyncSandbox | None],
        runtimes: Callable[[], Mapping[str, Runtime]],
        pool: Callable[[], Awaitable[PoolStats]],
    ) -> None:
        self.wanted = wanted
        self.note = "" if wanted else OFF
        """Why it takes no part, or what could not be written lately; ``""`` if all is well."""
        self.attached: set[AttachedSandbox] = set()
        self.create: Create | None = None  # set in a keeper, before its first sandbox
        self.door: Door | None = None
        self.tasks: Background | None = None  # set when the host opens
        self._find = find
        self._pool = pool
        self._runtimes = runtimes
        self._place: Place | None = None
        self._writer: Writer | None = None
        self._tried = not wanted
        self._fixed: dict[str, str] = {}
        self._joining = anyio.Lock(fast_acquire=True)

    @property
    def host_id(self) -> str:
        """The id of this host's place; ``""`` as long as it has none."""
        return self._place.host_id if self._place is not None else ""

    def run_folder(self, *, make: bool) -> Folder:
        """Open the run folder. Raises ``RegistryError``; also where the registry is switched off."""
        if not self.wanted:
            raise RegistryError(f"{OFF}; switch it on to work with sandboxes of other processes")
        return Folder.open(run_path(), make=make)

    async def join(self, tasks: Background) -> None:
        """Take a place, once; where that fails ``note`` says why and the host goes on without."""
        if self._tried:
            return
        async with self._joining:
            if self._tried:
                return
            from cloche.registry.door import Door  # noqa: PLC0415 - 4 ms that a host without sandboxes need not pay
            from cloche.registry.place import Place  # noqa: PLC0415 - the same
            from cloche.registry.record import Writer  # noqa: PLC0415 - the same

            try:
                with self.run_folder(make=True) as run:
                    self._place = Place.make(run, kept=self.create is not None)
            except RegistryError as error:
                self.note = str(error)
            self._tried = True
            if self._place is not None:
                self._writer = Writer()
                self.door = Door(self._place.host_id, tasks, self._find, self.create, self._pool)
                tasks.start_soon(self.door.serve, self._place.door)
                tasks.start_soon(self.tidy)

    async def prepare(self, runtime: Runtime) -> None:
        """Note what ``runtime`` would leave, before it makes anything: also before its first trial."""
        if self.tasks is not None:
            await self.join(self.tasks)
        if self._place is None:
            return
        try:
            lines = tuple(runtime.leavings())
        except Exception as error:  # noqa: BLE001 - a third party's code; its sandboxes work all the same
            self.note = f"runtime {runtime.name!r} does not say what it would leave: {type(error).__name__}: {error}"
        else:
            self._noting(lambda place: place.leaves(runtime.name, lines))

    def enter(self, box: AsyncSandbox) -> None:
        """Show a new sandbox to others. Raises ``RegistryError`` if it has a name, which then can't be kept."""
        if self._writer is None:
            return
        self._fixed[box.id] = self._writer.fixed(
            box.spec, runtime=box.runtime, created=time.time(), enforcement=box.enforcement
        )
        if not self._put(box) and box.name is not None:
            raise RegistryError(f"name: {box.name!r} can't be kept: {self.note}")

    def changed(self, box: AsyncSandbox, kind: NoticeType) -> None:
        """Show how a sandbox is now."""
        if box.id in self._fixed:
            if kind is not NoticeType.DELETED:
                self._put(box)
            if self.door is not None:
                self.door.changed(box, kind.value)

    def job_changed(self, box: AsyncSandbox, job: AsyncJob) -> None:
        """Tell those who are attached to a sandbox of one of its jobs."""
        if self.door is not None and self.door.sessions:
            self.door.job_changed(box, job)

    def drop(self, box: AsyncSandbox) -> None:
        """Show a deleted sandbox no more."""
        if self._fixed.pop(box.id, None) is not None and self._place is not None:
            self._noting(lambda place: place.drop(box.id))
            if box.name is not None:
                from cloche.registry.names import forget  # noqa: PLC0415 - few sandboxes have a name

                host_id = self.host_id
                self._noting(lambda _: forget(self, box.name or "", host_id, box.id))

    def waits(self, processes: Sequence[tuple[int, int]]) -> None:
        """Note the processes of boxes that nobody has taken yet, each with its start time, for the sweep."""
        self._noting(lambda place: place.waits(processes))

    async def sweep(self) -> tuple[list[str], list[str]]:
        """Remove what dead hosts left; give what was removed and what could not be."""
        from cloche.registry.survey import sweep  # noqa: PLC0415 - see join

        try:
            run = self.run_folder(make=False)
        except RegistryError:
            if not self.wanted:
                raise
            return [], []
        with run:
            table = {name: runtime.sweep for name, runtime in self._runtimes().items()}
            return await anyio.to_thread.run_sync(sweep, run, table)

    async def tidy(self) -> None:
        """Sweep if there are other hosts at all; what can't be removed is for ``sweep`` to tell."""
        with self.run_folder(make=False) as run, run.sub("hosts") as hosts:
            others = [name for name in hosts.names() if name != self.host_id]
        if others:
            await self.sweep()

    async def close(self) -> None:
        """Detach from others' sandboxes and give the place up; the host has deleted its own."""
        for box in list(self.attached):
            await box.detach()
        if self._place is not None:
            if self.door is not None:
                self.door.stop(self._place.door)
            self._place.close()
            self._place = None

    def _put(self, box: AsyncSandbox) -> bool:
        assert self._writer is not None  # noqa: S101 - there is a record, so there was a writer
        from cloche_native import processes  # noqa: PLC0415 - see join

        pairs = tuple((pid, start) for pid in box.processes() if (start := processes.started(pid)) is not None)
        raw = self._writer.whole(self._fixed[box.id], state=box.state, reason=box.reason, processes=pairs)
        return self._noting(lambda place: place.put(box.id, raw))

    def _noting(self, act: Callable[[Place], object]) -> bool:
        if self._place is None:
            return False
        try:
            act(self._place)
        except ClocheError as error:
            self.note = str(error)
            return False
        return True
