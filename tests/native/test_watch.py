"""Being told of changes by the kernel: folders by descriptor, events as they are packed."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from cloche_native import watch as kernel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def watch() -> Iterator[int]:
    fd = kernel.open_watch()
    yield fd
    os.close(fd)


def opened(path: Path, flags: int = os.O_PATH) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)


def test_a_folder_is_watched_by_its_descriptor_whatever_becomes_of_its_path(watch: int, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    folder = opened(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "a").symlink_to("/")
    number = kernel.add(watch, folder)
    assert kernel.add(watch, folder) == number
    os.close(folder)
    (tmp_path / "b" / "name").touch()
    events = kernel.read(watch)
    assert (events[0].number, events[0].mask, events[0].name) == (number, kernel.CREATE, b"name")
    assert kernel.read(watch) == []


def test_what_is_no_folder_is_refused(watch: int, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    for name in ("file", "link", "pipe"):
        fd = opened(tmp_path / name)
        with pytest.raises(OSError, match=r"directory|symbolic") as caught:
            kernel.add(watch, fd)
        assert caught.value.errno in {errno.ENOTDIR, errno.ELOOP}
        os.close(fd)
    with pytest.raises(FileNotFoundError):
        kernel.add(watch, -1)
    with pytest.raises(OSError, match="descriptor"):
        kernel.add(-1, 0)


def test_a_folder_is_taken_out_once_and_that_is_told(watch: int, tmp_path: Path) -> None:
    folder = opened(tmp_path)
    number = kernel.add(watch, folder)
    os.close(folder)
    kernel.remove(watch, number)
    kernel.remove(watch, number)
    (tmp_path / "name").touch()
    assert [event.mask for event in kernel.read(watch)] == [kernel.IGNORED]


def test_both_names_of_a_move_have_one_cookie(watch: int, tmp_path: Path) -> None:
    folder = opened(tmp_path)
    kernel.add(watch, folder)
    os.close(folder)
    (tmp_path / ("n" * 255)).mkdir()
    (tmp_path / ("n" * 255)).rename(tmp_path / "m")
    made, old, new = kernel.read(watch)
    assert (made.mask, len(made.name)) == (kernel.CREATE | kernel.FOLDER, 255)
    assert (old.mask, new.mask, new.name) == (kernel.MOVED_FROM | kernel.FOLDER, kernel.MOVED_TO | kernel.FOLDER, b"m")
    assert old.cookie == new.cookie != 0
