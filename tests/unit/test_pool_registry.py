"""What other processes of a user learn of a pool: how it does, and what to end if its host was killed."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from cloche import AsyncHost, SpecError
from cloche.registry.folder import Folder
from cloche.registry.place import Place
from cloche.registry.survey import sweep
from cloche_native import processes

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.testing import FakeRuntime

pytestmark = pytest.mark.usefixtures("no_own_leaks")


@pytest.fixture
def run(tmp_path: Path) -> Folder:
    return Folder.open(str(tmp_path / "run"), make=True)


def left_by_a_dead_host(run: Folder, raw: str) -> Path:
    """Give the place of a host that is not there any more, with such a note of what waited."""
    place = Place.make(run, kept=False)
    kept = Path(run.path, "hosts", place.host_id)
    for fd in (place._lock, place._parent):
        os.close(fd)
    place.door.close()
    place._boxes.close()
    place._folder.close()
    (kept / "pool.json").write_text(raw)
    return kept


def test_what_waited_in_the_pool_of_a_dead_host_is_ended(run: Folder) -> None:
    with run, subprocess.Popen(["/bin/sleep", "60"]) as waiting, subprocess.Popen(["/bin/sleep", "60"]) as other:
        start = processes.started(waiting.pid)
        stranger = processes.started(other.pid)
        assert start is not None
        assert stranger is not None
        raw = json.dumps({"processes": [[waiting.pid, start], [other.pid, stranger - 1]]})
        kept = left_by_a_dead_host(run, raw)
        removed, troubles = sweep(run, {})
        assert removed[0] == f"process {waiting.pid} of a box that waited in its pool"
        assert (troubles, kept.exists(), waiting.wait(10)) == ([], False, -9)
        assert other.poll() is None  # it has that id, but is another process
        other.kill()


@pytest.mark.parametrize(
    "raw",
    ["", "[]", "{", '{"processes": 7}', '{"processes": [[1, 5]]}', '{"processes": [[7]]}', '{"processes": ["a"]}'],
)
def test_a_note_that_makes_no_sense_ends_nothing_and_is_told(run: Folder, raw: str) -> None:
    with run:
        kept = left_by_a_dead_host(run, raw)
        removed, troubles = sweep(run, {})
        assert removed == []
        assert len(troubles) == 1
        assert kept.exists()


def test_hosts_of_a_user_tell_each_other_how_their_pools_do(
    fakes: Callable[..., object], runtime: FakeRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

    async def main() -> None:
        plugins = [fakes(runtime)]
        async with (
            AsyncHost(config={}, plugins=plugins, entry_points=False, pool=True) as one,
            AsyncHost(config={}, plugins=plugins, entry_points=False) as other,
        ):
            assert await one.pools() == await other.pools() == []
            await one.pool.warm(2)
            (own,), (seen,) = await one.pools(), await other.pools()
            assert (own.own, seen.own, seen.host, seen.kept, seen.trouble) == (True, False, own.host, False, "")
            assert seen.stats is not None
            assert (seen.stats.idle, seen.stats.templates[0].declared) == (2, 2)
            assert await other.list() == []  # what waits is nobody's sandbox yet

    anyio.run(main)


def test_the_keeper_is_not_asked_for_what_makes_no_sense(fakes: Callable[..., object], runtime: FakeRuntime) -> None:
    async def main() -> None:
        async with AsyncHost(config={}, plugins=[fakes(runtime)], entry_points=False) as host:
            with pytest.raises(SpecError, match="pool: 'often' is unknown"):
                await host.keep(pool="often")  # type: ignore[arg-type]

    anyio.run(main)
