"""Giving back what a box held, once its processes are gone."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial

import anyio.to_thread

from cloche.errors import SandboxError
from cloche.uids import Seat
from cloche_native import cgroup


class Belongings:
    """A control group, steps of a launcher's own, and a seat; what could not be given back is kept for another try."""

    def __init__(
        self,
        group: cgroup.Group | None,
        give_group: Callable[..., None] | None,
        cleanup: tuple[Callable[[], object], ...],
        seat: Seat | None,
    ) -> None:
        self._group = group
        self._give_group = give_group or cgroup.Group.delete
        self._cleanup = list(cleanup)
        self._seat = seat

    async def give_back(self) -> None:
        """Give back all that is left, each thing whatever happens to the others. Raises ``SandboxError``."""
        troubles: list[Exception] = []
        if self._group is not None:
            try:
                await self._return(self._group)
                self._group = None
            except OSError as error:
                troubles.append(error)
        if self._cleanup:
            troubles += await anyio.to_thread.run_sync(self._clean_up)
        if troubles:
            told = "; ".join(f"{type(trouble).__name__}: {trouble}" for trouble in troubles)
            raise SandboxError(f"the box is down, but not all of it was given back: {told}") from troubles[0]
        if self._seat is not None:  # last: nothing that the next user of this uid could find is left
            self._seat.release()
            self._seat = None

    async def _return(self, group: cgroup.Group) -> None:
        try:
            self._give_group(group, patience=0.0)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            await anyio.to_thread.run_sync(partial(self._give_group, group))  # may sleep until the last has left it

    def _clean_up(self) -> list[Exception]:
        """Take the steps that are left, last first; give what they raised."""
        troubles: list[Exception] = []
        left: list[Callable[[], object]] = []
        for step in reversed(self._cleanup):
            try:
                step()
            except Exception as error:  # noqa: BLE001 - a launcher's own code; the others must have their turn
                troubles.append(error)
                left.insert(0, step)
        self._cleanup = left
        return troubles
