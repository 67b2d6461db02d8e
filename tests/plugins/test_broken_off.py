"""Starts that are broken off at any moment leave nothing: the host that closes after them finds no process left."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess

import anyio
import pytest

import cloche
from cloche_native import processes

STARTS = 80
LATEST = 0.012
"""Seconds after which the last of them is broken off; all launchers are up by then on an idle machine."""


@pytest.mark.usefixtures("no_own_leaks")
@pytest.mark.parametrize("runtime", ["namespaces", "bwrap", "process"])
def test_starts_that_are_broken_off_leave_nothing(runtime: str) -> None:
    async def break_off() -> int:
        made = 0
        async with cloche.AsyncHost() as host:
            if (reason := await host.unavailable(runtime)) is not None:
                pytest.skip(f"{runtime}: {reason}")
            for number in range(STARTS):
                with anyio.move_on_after(LATEST * number / STARTS):
                    async with await host.create(runtime=runtime):
                        made += 1
            assert await host.list() == []
        return made  # the host says by an error what it could not give back

    assert anyio.run(break_off) < STARTS


def test_a_process_is_ended_with_its_children_and_no_others() -> None:
    pidfds: dict[int, int] = {}
    with (
        subprocess.Popen(["sleep", "60"]) as stranger,
        subprocess.Popen(
            ["sh", "-c", "sleep 60 & echo $!; sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True
        ) as parent,
    ):
        assert parent.stdout is not None
        try:
            pidfds = {pid: os.pidfd_open(pid) for pid in (parent.pid, *(int(parent.stdout.readline()) for _ in "ab"))}
            processes.end_family(parent.pid, pidfds[parent.pid])
            for pidfd in pidfds.values():
                assert select.select([pidfd], [], [], 10)[0], "it is there still"
            assert parent.wait(5) == -signal.SIGKILL
            assert stranger.poll() is None
            processes.end_family(parent.pid, pidfds[parent.pid])  # once more harms nobody
            assert stranger.poll() is None
        finally:
            stranger.kill()
            for pidfd in pidfds.values():
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                os.close(pidfd)
