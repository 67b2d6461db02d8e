"""Sources of real guests' events, held to what every source must do: what tests of each runtime's source share."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from cloche import (
    Act,
    EventSource,
    IsolationLevel,
    Limits,
    Monitor,
    Network,
    ProcessSpec,
    Runtime,
    Spec,
    Stdio,
    Workspace,
)
from cloche.testing import EventSourceConformance

PROGRAM = """
import os, sys
calls = {"mkdir": os.mkdir, "unlink": os.unlink, "chroot": os.chroot, "symlink": lambda path: os.symlink("/x", path)}
for number, act in enumerate(sys.argv[1:]):
    try: calls[act](f"/tmp/{number}")
    except OSError: pass
"""
LIMITS = Limits(memory="256M", cpu=1, pids=64, open_files=256, file_size="64M", output="8M", wall=60)
LEVEL = IsolationLevel(name="t", summary="a test's", guarantees=frozenset(), limits=LIMITS, syscalls="enhanced")


@pytest.mark.usefixtures("portal")
class GuestSourceConformance(EventSourceConformance):
    """Subclass it with the runtime, what is performed there, and another act that is watched and not performed."""

    kind: ClassVar[type[Runtime]]
    other: ClassVar[Act]
    runtime: ClassVar[Runtime]
    running: ClassVar[dict[int, Any]] = {}
    thread: ClassVar[BlockingPortal]

    @pytest.fixture(scope="class")
    @classmethod
    def portal(cls) -> Iterator[None]:
        """Set up the runtime, and an event loop in a thread of its own for its boxes."""
        cls.runtime = cls.kind()
        if (reason := cls.runtime.unavailable()) is not None:
            pytest.skip(f"{cls.runtime.name} is not available here: {reason}")
        with start_blocking_portal() as cls.thread:
            yield
        cls.runtime.close()

    @contextmanager
    def opened(self, script: Sequence[Act]) -> Iterator[EventSource]:
        del script
        spec = Spec(
            id=uuid.uuid4().hex[:12], name=None, level=LEVEL, guarantees=frozenset(), network=Network(),
            limits=LEVEL.limits, workspace=Workspace(), env={"PATH": "/usr/bin:/bin"},
            monitor=Monitor("writes", acts=frozenset({*self.performs, self.other})),
        )  # fmt: skip
        box = self.thread.call(self.runtime.create, spec)
        try:
            self.thread.call(box.start)
            served = self.thread.start_task_soon(box.wait)
            (source,) = box.sources()
            self.running[id(source)] = box
            try:
                yield source
            finally:
                del self.running[id(source)]
        finally:
            self.thread.call(box.delete)
        served.result(10)

    def perform(self, source: EventSource, script: Sequence[Act]) -> None:
        async def run() -> int | None:
            program = await self.running[id(source)].exec(process, Stdio())
            return (await program.wait()).code  # type: ignore[no-any-return]

        process = ProcessSpec(args=("/usr/bin/python3", "-c", PROGRAM, *script), env={}, cwd="/")
        assert os.access("/usr/bin/python3", os.X_OK)
        assert self.thread.call(run) == 0
