"""What every runtime that saves sandboxes must do, as tests: subclass and name your runtime.

::

    from cloche.testing import SnapshotConformance

    class TestSavedMicroVms(SnapshotConformance):
        runtime = MicroVmRuntime

A box of the runtime needs ``/bin/sh``, coreutils and folders in memory at ``/tmp``. What is restored is judged by what
it holds and answers, never by an exit code alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

import cloche
from cloche.testing.conformance import Subject, everything
from cloche.testing.ends import alive, descriptors

HELD = "/tmp/held"  # noqa: S108 - in the box
REFUSED = (cloche.SnapshotError, cloche.StartError)


class SnapshotConformance:
    """Set ``runtime`` to your class."""

    runtime: ClassVar[type[cloche.Runtime]]

    @pytest.fixture
    def host(self, tmp_path: Path) -> Iterator[cloche.Host]:
        """Give a host whose only runtime is this one, with a folder of its own for what is saved."""
        runtime = self.runtime()
        if (reason := runtime.unavailable()) is not None:
            pytest.skip(f"runtime {runtime.name} is not available here: {reason}")
        plugins = [Subject(runtime, everything(self.runtime))]
        config = {"snapshots": {"folder": str(tmp_path / "snapshots")}}
        with cloche.Host(entry_points=False, plugins=plugins, config=config, registry=False) as host:
            yield host

    @pytest.fixture
    def box(self, host: cloche.Host) -> Iterator[cloche.Sandbox]:
        """Give a box with a file that only its memory has."""
        with host.create(isolation="conformance", strict=False) as box:
            box.exec("/bin/sh", "-c", f"echo one > {HELD}").check()
            yield box

    def restored(self, host: cloche.Host, saved: cloche.BoxSnapshot, **asked: object) -> cloche.Sandbox:
        """Give a box made from what was saved."""
        return host.restore(saved, strict=False, **asked)  # type: ignore[arg-type]  # keywords of restore

    # -- what is kept ------------------------------------------------------------------------------------------------

    def test_what_was_in_memory_is_in_every_restored_box_and_changes_apart(
        self, host: cloche.Host, box: cloche.Sandbox
    ) -> None:
        saved = box.checkpoint()
        with self.restored(host, saved) as one, self.restored(host, saved) as two:
            assert len({box.id, one.id, two.id}) == 3
            one.exec("/bin/sh", "-c", f"echo changed > {HELD}").check()
            assert two.exec("cat", HELD).text == "one\n"
            assert one.exec("cat", HELD).text == "changed\n"
        with self.restored(host, saved) as third:
            assert third.exec("cat", HELD).text == "one\n"

    def test_programs_of_a_restored_box_are_as_any_others(self, host: cloche.Host, box: cloche.Sandbox) -> None:
        saved = box.checkpoint()
        marker = f"{time.monotonic_ns() % 10**9}.{id(saved) % 10**9:09d}"
        with self.restored(host, saved) as again:
            assert again.exec("wc", "-c", stdin=b"x" * 70_000).text.strip() == "70000"
            assert again.exec("/bin/sh", "-c", "exit 3").exit_code == 3
            late = again.exec("/bin/sh", "-c", f"(setsid sleep {marker} &) ; sleep {marker}", timeout=1)
            assert late.reason == "timeout"
            assert not alive(marker)
            job = again.spawn("/bin/sh", "-c", "echo ready; read x; echo got $x", stdin=cloche.OPEN)
            lines = job.lines()
            assert next(lines) == "ready"
            job.write("this\n")
            assert next(lines) == "got this"

    def test_a_restored_box_can_be_saved_again_with_what_came_to_it(
        self, host: cloche.Host, box: cloche.Sandbox
    ) -> None:
        first = box.checkpoint()
        with self.restored(host, first) as again:
            again.exec("/bin/sh", "-c", f"echo two >> {HELD}").check()
            second = again.checkpoint()
        assert first.id != second.id
        with self.restored(host, second) as third:
            assert third.exec("cat", HELD).text == "one\ntwo\n"

    def test_random_bytes_of_two_boxes_from_one_image_differ(self, host: cloche.Host, box: cloche.Sandbox) -> None:
        saved = box.checkpoint()
        drawn = []
        for _ in range(2):
            with self.restored(host, saved) as again:
                drawn.append(again.exec("head", "-c", "16", "/dev/urandom").check().stdout)
        assert len(drawn[0]) == 16
        assert drawn[0] != drawn[1]

    # -- what is given anew ------------------------------------------------------------------------------------------

    def test_a_restored_box_sees_the_folder_that_it_is_given(
        self, host: cloche.Host, open_places: tuple[Path, Path]
    ) -> None:
        first, second = open_places
        mounts = [cloche.Mount(str(first), "/data")]
        with host.create(isolation="conformance", strict=False, mounts=mounts) as box:
            assert box.exec("cat", "/data/name").text == first.name
            saved = box.checkpoint()
        with self.restored(host, saved, mounts=[cloche.Mount(str(second), "/data")]) as again:
            assert again.exec("cat", "/data/name").text == second.name

    def test_limits_of_a_restored_box_are_those_it_is_given(self, host: cloche.Host, box: cloche.Sandbox) -> None:
        saved = box.checkpoint()
        with self.restored(host, saved, limits={"open_files": 77, "wall": 0.5}) as again:
            assert again.exec("/bin/sh", "-c", "ulimit -n").text == "77\n"
            assert again.exec("sleep", "60").reason == "limit:wall"

    @pytest.fixture
    def open_places(self, tmp_path: Path) -> tuple[Path, Path]:
        """Give two folders of the host that differ in the file ``name``."""
        places = (tmp_path / "a", tmp_path / "b")
        tmp_path.chmod(0o711)
        for place in places:
            place.mkdir()
            (place / "name").write_text(place.name)
        return places

    # -- what is refused, and what is left ---------------------------------------------------------------------------

    def test_a_saved_box_is_down_and_says_why(self, box: cloche.Sandbox) -> None:
        box.checkpoint()
        assert (box.state, box.wait()) == (cloche.State.STOPPED, "checkpointed")
        with pytest.raises(cloche.StateError):
            box.exec("true")

    def test_a_box_with_a_running_program_is_not_saved_and_goes_on(
        self, host: cloche.Host, box: cloche.Sandbox
    ) -> None:
        job = box.spawn("/bin/sh", "-c", "echo ready; read x; echo got $x", stdin=cloche.OPEN)
        lines = job.lines()
        assert next(lines) == "ready"
        with pytest.raises(cloche.StateError):
            box.checkpoint()
        assert host.snapshots.all() == []
        job.write("this\n")
        assert next(lines) == "got this"

    def test_a_damaged_image_is_refused_and_leaves_nothing(self, host: cloche.Host, box: cloche.Sandbox) -> None:
        saved = box.checkpoint()
        self.restored(host, saved).delete()  # what a host keeps from its first one on
        before = descriptors()
        files = [path for path in Path(host.snapshots.path, saved.id, "image").rglob("*") if path.is_file()]
        assert files
        for path in files:
            path.chmod(0o600)
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(REFUSED):
            self.restored(host, saved)
        assert [one.id for one in host.sandboxes()] == [box.id]
        assert descriptors() == before

    def test_deleting_a_restored_box_leaves_nothing(self, host: cloche.Host, box: cloche.Sandbox) -> None:
        saved = box.checkpoint()
        self.restored(host, saved).delete()
        before = descriptors()
        marker = f"{time.monotonic_ns() % 10**9}.{id(saved) % 10**9:09d}"
        again = self.restored(host, saved)
        again.spawn("/bin/sh", "-c", f"(setsid sleep {marker} &) ; sleep {marker}")
        again.delete()
        again.delete()
        assert not alive(marker)
        assert descriptors() == before
