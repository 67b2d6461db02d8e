"""A restored sandbox is paused as any other, though its sentry can't be asked to."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import anyio
import pytest

from cloche import Act, F, Host, Limits, Rule, Rules, Sandbox, SandboxError, Severity, SnapshotError
from cloche_gvisor import images
from cloche_gvisor.replies import GuestTask
from cloche_gvisor.standstill import ROUNDS, Standstill

if TYPE_CHECKING:
    from pathlib import Path

GROWING = "while :; do echo x >> grown; done"
FORKING = "while :; do /bin/true; (sh -c 'echo x >> grown'); done"


def grows(box: Sandbox) -> bool:
    def size() -> int:
        return box.files.stat(f"{box.workspace}/grown").size

    before, until = size(), time.monotonic() + 0.4
    while size() == before and time.monotonic() < until:
        time.sleep(0.02)
    return size() > before


@pytest.mark.usefixtures("no_own_leaks")
@pytest.mark.parametrize("code", [GROWING, FORKING])
def test_a_restored_sandbox_is_paused_and_goes_on(host: Host, code: str) -> None:
    limits = Limits(memory="512M", pids=32)
    with host.create(runtime="gvisor", limits=limits) as box:
        box.start_worker()
        saved = box.checkpoint()
    with host.restore(saved) as again:
        once_more = again.checkpoint()
    for snapshot in (saved, once_more):
        with host.restore(snapshot) as again:
            job = again.spawn("sh", "-c", f": > grown; {code}")
            other = again.spawn("sh", "-c", "sleep 60 & sleep 60; :")
            until = time.monotonic() + 20
            while not again.files.exists("grown") or not grows(again):
                assert time.monotonic() < until
            again.pause()
            assert not grows(again)
            other.kill()
            assert other.wait(10).reason == "killed", "its programs can be killed while they stand still"
            again.resume()
            assert grows(again)
            assert "guest_memory" not in again.stats()
            job.kill()
            job.wait(10)
            assert again.exec("echo", "on").text == "on\n"


@pytest.mark.usefixtures("no_own_leaks")
def test_a_rule_suspends_a_restored_sandbox(host: Host) -> None:
    where = F.file == "/tmp/a"
    named = Rule(
        id="found", summary="opens a file", severity=Severity.LOW, events=frozenset({Act.OPEN}), where=where,
        response="suspend",
    )  # fmt: skip
    with host.create(runtime="gvisor", limits=Limits(memory="512M", pids=32)) as box:
        box.start_worker()
        saved = box.checkpoint()
    with host.restore(saved, rules=Rules(use=(named,))) as again:
        again.spawn("sh", "-c", f": > grown; cat /tmp/a; {GROWING}")
        until = time.monotonic() + 20
        while again.state != "paused":
            assert time.monotonic() < until, again.state
            time.sleep(0.01)
        assert not again.files.exists("grown") or not grows(again)
        again.resume()
        assert grows(again)


def test_processes_that_are_born_too_fast_are_an_error() -> None:
    asked = 0

    async def processes() -> list[GuestTask]:
        nonlocal asked
        asked += 1
        return [GuestTask(1, uid=0), GuestTask(asked + 1, uid=1000)]

    async def send(number: int, pid: int | None) -> None:
        assert (number, pid != 1) == (signal.SIGSTOP, True), "cloche-inner goes on"
        await anyio.lowlevel.checkpoint()

    with pytest.raises(SandboxError, match="born faster"):
        anyio.run(Standstill(processes, send).stop)
    assert asked == ROUNDS


@pytest.mark.parametrize("text", [None, b"", b"../x", b"a" * 129, b"a\0b", b"a b\n"])
def test_an_image_that_does_not_say_whose_it_is_is_refused(tmp_path: Path, text: bytes | None) -> None:
    if text is not None:
        (tmp_path / images.NAME).write_bytes(text)
    with pytest.raises(SnapshotError, match="save"):
        images.read_id(str(tmp_path))
    (tmp_path / images.NAME).unlink(missing_ok=True)
    images.write_id(str(tmp_path), "one-2")
    assert images.read_id(str(tmp_path)) == "one-2"
    with pytest.raises(FileExistsError):
        images.write_id(str(tmp_path), "two")
