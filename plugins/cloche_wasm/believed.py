"""What was held against its digest already: files of the cache that nobody has touched since.

Reading 60 MB to take their digest is most of what a process waits for its first interpreter. So who does it leaves a
note beside the files, of each one's inode and times; the kernel gives a file another ``ctime`` with every write, and
lets nobody set it. A file that was changed within the last moments is not noted: it could be changed again within
one tick of the clock that the kernel stamps files by.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from typing import Final

NOTE: Final = "checked.json"
_SETTLED: Final = 2_000_000_000
"""Nanoseconds after which a file's times tell it from any later one."""
_MOST: Final = 1 << 16
_OTHERS: Final = 0o022

Stamp = tuple[int, int, int, int, int]


def stamp(fd: int) -> Stamp:
    """Give what is another one as soon as the file of ``fd`` is, or was written to."""
    found = os.fstat(fd)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def noted(folder: int) -> dict[str, list[object]]:
    """Give the note in a folder: for each file its digest, and then its stamp. Empty: there is none to be believed."""
    try:
        fd = os.open(NOTE, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
        with open(fd, "rb") as file:
            found = os.fstat(fd)
            if found.st_uid != os.geteuid() or found.st_mode & _OTHERS or found.st_size > _MOST:
                return {}
            held = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return {name: line for name, line in held.items() if isinstance(line, list)} if isinstance(held, dict) else {}


def note(folder: int, files: Mapping[str, tuple[int, str]]) -> None:
    """Note files, each with its descriptor and the digest that it has, for the next process."""
    stamps = {name: stamp(fd) for name, (fd, _) in files.items()}
    if any(time.time_ns() - max(made[-2:]) < _SETTLED for made in stamps.values()):
        return
    lines = {name: [files[name][1], *made] for name, made in stamps.items()}
    new = f".{NOTE}-{os.getpid()}"
    with contextlib.suppress(OSError):  # then it is done again the next time
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=folder)
        with open(fd, "w", encoding="utf-8") as file:
            json.dump(lines, file)
        os.rename(new, NOTE, src_dir_fd=folder, dst_dir_fd=folder)
