from __future__ import annotations

import os
import tempfile
import threading
from typing import TYPE_CHECKING

from cloche.testing.leaks import Snapshot, leaked

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_nothing_done_leaves_nothing() -> None:
    assert leaked(Snapshot.take(machine=False), machine=False) == {}


def test_an_open_descriptor_is_named_with_its_target(tmp_path: Path) -> None:
    before = Snapshot.take(machine=False)
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert leaked(before, settle=0, machine=False) == {"descriptors": [f"{fd} -> {tmp_path}"]}
    finally:
        os.close(fd)
    assert leaked(before, machine=False) == {}


def test_a_thread_is_named() -> None:
    before = Snapshot.take(machine=False)
    leave = threading.Event()
    thread = threading.Thread(target=leave.wait, name="left-behind")
    thread.start()
    ((name,),) = leaked(before, settle=0, machine=False).values()
    assert name.startswith("left-behind")
    leave.set()
    assert leaked(before, machine=False) == {}  # it waits for the thread to end
    thread.join()


def test_a_temporary_folder_of_ours_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = Snapshot.take()
    (tmp_path / "others").mkdir()
    (tmp_path / "cloche-abc").mkdir()
    assert leaked(before, settle=0)["files"] == [str(tmp_path / "cloche-abc")]
