"""Asks the hosts of this user how their pools do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from cloche import units
from cloche.errors import ClocheError, NotFound, RegistryError
from cloche.pool.figures import PoolRecord, PoolStats
from cloche.registry import reach, survey
from cloche.registry.folder import exists
from cloche.registry.plain import from_plain

if TYPE_CHECKING:
    from cloche.host import AsyncHost

PATIENCE: Final = 3.0  # seconds that one host may take to answer


async def ask_all(host: AsyncHost) -> list[PoolRecord]:
    """Do what ``AsyncShared.pools`` says."""
    try:
        with host.registry.run_folder(make=False) as run:
            places = await anyio.to_thread.run_sync(survey.look, run)
    except RegistryError:
        if not host.registry.wanted or exists():
            raise
        places = []
    found: list[PoolRecord | None] = [await _own(host)]
    async with anyio.create_task_group() as group:

        async def ask(seen: survey.Seen) -> None:
            found.append(await _asked(host, seen))

        for seen in places:
            if seen.alive and not seen.trouble and seen.host != host.registry.host_id:
                group.start_soon(ask, seen)
    rows = [row for row in found if row is not None]
    return sorted(rows, key=lambda row: (not row.kept, not row.own, row.host))


async def _own(host: AsyncHost) -> PoolRecord | None:
    stats = await host.pool.stats()
    kept = host.registry.create is not None
    return _record(survey.Seen(host=host.registry.host_id, kept=kept), stats, own=True)


async def _asked(host: AsyncHost, seen: survey.Seen) -> PoolRecord | None:
    try:
        with anyio.fail_after(PATIENCE):
            made = await reach.connection(host, seen.host)
            try:
                answer = await made.ask("pool")
            finally:
                made.close()
        return _record(seen, from_plain(PoolStats, answer.body.get("pool"), "pool"), own=False)
    except NotFound:
        return None  # it has just ended
    except TimeoutError:
        trouble = f"it did not answer within {PATIENCE:g} s"
    except ClocheError as error:
        trouble = units.one_line(str(error), most=300)
    return PoolRecord(host=seen.host, pid=seen.pid, own=False, kept=seen.kept, stats=None, trouble=trouble)


def _record(seen: survey.Seen, stats: PoolStats, *, own: bool) -> PoolRecord | None:
    if not (stats.templates or stats.hits or stats.misses or stats.problem):
        return None
    return PoolRecord(host=seen.host, pid=seen.pid, own=own, kept=seen.kept, stats=stats)
