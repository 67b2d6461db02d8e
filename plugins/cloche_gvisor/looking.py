"""A first program in a first box: what is so inside."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import anyio

from cloche import ClocheError, ProcessSpec, Stdio
from cloche_gvisor import report

if TYPE_CHECKING:
    from cloche_gvisor.instance import GvisorInstance


async def look_around(box: GvisorInstance) -> str:
    """Run the probe in a started box and give what it wrote. Raises ``ClocheError``."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    process = ProcessSpec(args=report.PROBE, env={"PATH": "/usr/bin:/bin"}, cwd="/")
    text = b""
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(box.wait)
            program = await box.exec(process, Stdio(stdout=theirs))
            os.close(theirs)
            theirs = -1
            while await _readable(ours) and (piece := os.read(ours, 1 << 16)):
                text += piece
            await program.wait()
            tasks.cancel_scope.cancel()
    except* ClocheError as errors:
        raise errors.exceptions[0] from None
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)
    return text.decode("utf-8", "replace")


async def _readable(fd: int) -> bool:
    await anyio.wait_readable(fd)
    return True
