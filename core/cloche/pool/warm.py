"""One started box that nobody has used yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel

from cloche.background import Watchers
from cloche.errors import ClocheError
from cloche.pool.template import Footing, footing
from cloche.programs import blame

if TYPE_CHECKING:
    from cloche.background import Background
    from cloche.runtime import Instance
    from cloche.spec import Spec

COUNTED: Final = ("cpu", "io_read", "io_write", "throttled", "throttled_seconds", "oom_kills", "pids_refused")
"""The figures of ``cloche.Stats`` that only grow; of a box that waited they are told from its checkout on."""

PATIENCE: Final = 1.0
"""Seconds in which a box must have answered that is to be given out."""


class Warm:
    """A box made for a template. It is given out once, or given back; it never comes back."""

    def __init__(self, spec: Spec, instance: Instance, stands_on: Footing, *, runtime: str, tasks: Background) -> None:
        self.id = spec.id
        self.instance = instance
        self.since = 0.0
        """Since when it waits, by the clock of its pool."""
        self.died: Callable[[Warm], None] | None = None
        """Called when it goes down by itself while it waits."""
        self.before: Mapping[str, float] = {}
        """Its figures when it was given out, as far as they only grow."""
        self.waited = 0.0
        self._spec = spec
        self._runtime = runtime
        self._watchers = Watchers(tasks)
        self._over = anyio.Event()
        self._why = ""
        self._error: Exception | None = None
        self._footing = stands_on
        self.processes: tuple[tuple[int, int], ...] = ()
        """The processes with which it ends: id on the host and start time."""

    async def bring_up(self) -> None:
        """Start it, and watch for its end from now on. Raises what the runtime raises, or ``StartError``."""
        from cloche_native import processes  # noqa: PLC0415 - a host that never has a box need not load it

        with blame(self._runtime):
            await self.instance.start()
            pids = self.instance.processes()
        self._watchers.start(self._serve)
        with blame(self._runtime):
            await self.instance.warm_up()
        found = ((pid, processes.started(pid)) for pid in pids)
        self.processes = tuple((pid, start) for pid, start in found if start is not None)

    async def trouble(self) -> str:
        """Give why it can't be given out, ``""`` if it can: what has ended, or is not what it was made from."""
        from cloche_native import processes  # noqa: PLC0415 - see bring_up

        await anyio.lowlevel.checkpoint()  # so that an end that is known already is heard of
        if self._over.is_set():
            return self.ended()
        for pid, start in self.processes:
            if processes.started(pid) != start:
                return f"its process {pid} has ended"
        try:
            if footing(self._spec) != self._footing:
                return "a file or folder that it shows was replaced on the host"
        except OSError as error:
            return f"a file or folder that it shows is gone: {error}"
        try:
            with blame(self._runtime), anyio.fail_after(PATIENCE):
                await self.instance.ready()
        except (ClocheError, TimeoutError) as error:
            return self.ended() if self._over.is_set() else f"it does not answer: {error or 'it is stuck'}"
        self.before = await self._figures()
        return ""

    async def fallen(self) -> str:
        """Wait until it is down and give why, as ``Instance.wait``, which was called already."""
        await self._over.wait()
        if self._error is not None:
            raise self._error
        return self._why

    def let_go(self) -> None:
        """Stop watching for its end; called by whoever has it, before it is deleted."""
        self.died = None
        self._watchers.cancel()

    async def delete(self) -> None:
        """Give it back unused; never interrupted half-way. Raises what the runtime raises."""
        self.let_go()
        with anyio.CancelScope(shield=True):
            await self.instance.delete()

    def ended(self) -> str:
        """Give why it went down, once it has."""
        if self._error is not None:
            return f"its runtime failed: {type(self._error).__name__}: {self._error}"
        return self._why or "it went down by itself"

    async def _figures(self) -> Mapping[str, float]:
        try:
            with blame(self._runtime):
                figures = await self.instance.counted()
        except ClocheError:  # this runtime can't tell, or not now: then neither can the sandbox
            return {}
        return {name: figures[name] for name in COUNTED if figures.get(name)}

    async def _serve(self) -> None:
        try:
            self._why = await self.instance.wait()
        except Exception as error:  # noqa: BLE001 - a runtime that breaks its contract; told to whoever has the box
            self._error = error
        finally:
            self._over.set()
        if self.died is not None:
            self.died(self)


def counted(figures: Mapping[str, float], before: Mapping[str, float]) -> Mapping[str, float]:
    """Give figures with those that only grow counted from ``before`` on."""
    return {name: max(0, value - before[name]) if name in before else value for name, value in figures.items()}
