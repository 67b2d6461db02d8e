"""Many sandboxes at once, and one after another for long: none fails, each is small, nothing grows.

How long all this takes is for ``benchmarks/scale.py``, which writes docs/scale.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields
from pathlib import Path

import pytest

from cloche import AsyncHost, AsyncSandbox
from cloche.testing.leaks import Snapshot

pytestmark = [
    pytest.mark.usefixtures("no_leaks"),
    pytest.mark.parametrize("runtime", ["namespaces", "bwrap", "process"]),
]
AT_ONCE, IDLE, CYCLES, WARM = 100, 20, 100, 20
MIB = 1 << 20


@asynccontextmanager
async def host_of(runtime: str) -> AsyncIterator[AsyncHost]:
    async with AsyncHost(config={"host": {"runtime": runtime, "default_isolation": "standard"}}) as host:
        if (reason := await host.unavailable(runtime)) is not None:
            pytest.skip(reason)
        yield host


def rollup(pid: int | str, field: str) -> int:
    """Give one field of a process's memory in bytes (proc_pid_smaps(5))."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii", errors="replace")
    return 1024 * sum(int(kib) for kib in re.findall(rf"^{field}: +(\d+) kB", text, re.MULTILINE))


def family(pid: int) -> list[int]:
    """Give a process and everything below it."""
    found = [pid]
    for each in found:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a helper of the start has just ended
            for thread in Path(f"/proc/{each}/task").iterdir():
                found += [int(child) for child in (thread / "children").read_text().split()]
    return [each for each in found if Path(f"/proc/{each}").exists()]


def test_a_hundred_are_created_at_once_and_none_fails(runtime: str) -> None:
    async def one(host: AsyncHost) -> AsyncSandbox:
        box = await host.create()
        assert (await box.exec("echo", box.id)).text == f"{box.id}\n"
        return box

    async def main() -> None:
        async with host_of(runtime) as host:
            boxes = await asyncio.gather(*(one(host) for _ in range(AT_ONCE)))
            assert len({box.id for box in boxes}) == AT_ONCE
            assert len({box.info()["agent_pid"] for box in boxes}) == AT_ONCE
            await asyncio.gather(*(box.delete() for box in boxes))
            assert host.sandboxes() == []

    asyncio.run(main())


def test_an_idle_box_holds_less_than_two_mebibytes(runtime: str) -> None:
    async def main() -> None:
        async with host_of(runtime) as host:
            boxes = [await host.create() for _ in range(IDLE)]
            for box in boxes:
                await box.exec("true")
            await asyncio.sleep(0.5)  # until each has its spare shepherd again
            for box in boxes:
                processes = family(int(box.info()["launcher_pid"]))
                assert int(box.info()["agent_pid"]) in processes
                try:
                    shares = [rollup(pid, "Pss") for pid in processes]
                except PermissionError as error:
                    pytest.skip(f"the memory of a box's processes is not for this user to see: {error}")
                assert 0 < sum(shares) <= 2 * MIB

    asyncio.run(main())


def test_nothing_grows_from_cycle_to_cycle(runtime: str) -> None:
    async def main() -> None:
        async with host_of(runtime) as host:
            before, memory = Snapshot.take(), 0
            for number in range(CYCLES):
                if number == WARM:
                    gc.collect()
                    before, memory = Snapshot.take(), rollup("self", "Private_Dirty")
                async with await host.create() as box:
                    assert (await box.exec("echo", str(number))).text == f"{number}\n"
            gc.collect()
            now = Snapshot.take()
            # Counted, not named: a host keeps a control group and a user between sandboxes, not always the same.
            grown = {f.name: len(getattr(now, f.name)) - len(getattr(before, f.name)) for f in fields(Snapshot)}
            assert not any(count > 0 for count in grown.values()), (grown, now.since(before))
            assert rollup("self", "Private_Dirty") - memory < 2 * MIB
            assert len(os.listdir("/proc/self/task")) < 50  # worker threads are used again

    asyncio.run(main())
