"""The place of one host in the run folder: its lock, its door, its records; and what is to be swept if it is killed.

::

    hosts/<host id>/
        lock            held for as long as the host lives: whoever gets it knows that the host is dead
        host.json       process id, boot, start: for people and for the sweep
        door.sock       where other hosts of this user ask for a sandbox of this one
        leavings.json   what the runtimes would leave if this host and its helpers were killed
        pool.json       the processes of boxes that wait for somebody, to be killed if this host is
        boxes/<id>.json one record a sandbox

It is made under a name that begins with a dot and renamed when it is whole and locked, so that nobody can take one
that is being made for one that was left.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import time
from collections.abc import Sequence
from typing import Final

from cloche.errors import RegistryError
from cloche.registry.folder import Folder, meant
from cloche.registry.record import FORMAT
from cloche_native import processes

TRIES: Final = 8
BACKLOG: Final = 64
INFO_MAX: Final = 1 << 16


class Place:
    """One host's own place. Raises ``RegistryError`` for whatever the file system refuses."""

    def __init__(self, folder: Folder, boxes: Folder, lock: int, door: socket.socket) -> None:
        self.host_id = os.path.basename(folder.path)
        self.door = door
        self._folder = folder
        self._boxes = boxes
        self._lock = lock
        self._left: dict[str, tuple[str, ...]] = {}
        self._parent = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder.fd)

    @classmethod
    def make(cls, run: Folder, *, kept: bool) -> Place:
        """Make a place and take it. ``kept``: its host is a keeper."""
        with meant(f"no place could be made in {run.path}"), run.sub("hosts", make=True) as hosts:
            for _ in range(TRIES):
                host_id = secrets.token_hex(8)
                # Another host may take the unfinished folder for a leftover and remove it: then once more.
                with contextlib.suppress(FileNotFoundError), contextlib.ExitStack() as undo:
                    if (place := cls._try(hosts, host_id, undo, kept=kept)) is not None:
                        undo.pop_all()
                        return place
        raise RegistryError(f"no place could be made in {run.path}: it does not stay")

    @classmethod
    def _try(cls, hosts: Folder, host_id: str, undo: contextlib.ExitStack, *, kept: bool) -> Place | None:
        new = f".{host_id}"
        folder = hosts.sub(new, make=True)
        undo.callback(_remove, hosts, new, folder)
        lock = folder.lock("lock", make=True)
        if lock is None:
            return None
        undo.callback(os.close, lock)
        boxes = folder.sub("boxes", make=True)
        undo.callback(boxes.close)
        info = {
            "format": FORMAT, "id": host_id, "pid": os.getpid(), "start": processes.started(os.getpid()),
            "boot": processes.boot(), "kept": kept, "created": time.time(),
        }  # fmt: skip
        folder.write("host.json", json.dumps(info).encode())
        door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        undo.callback(door.close)
        door.bind(f"/proc/self/fd/{folder.fd}/door.sock")  # a path may have 107 bytes, this one always has few
        door.listen(BACKLOG)
        os.rename(new, host_id, src_dir_fd=hosts.fd, dst_dir_fd=hosts.fd)
        undo.callback(_remove, hosts, host_id, folder)
        folder.path = os.path.join(hosts.path, host_id)
        return cls(folder, boxes, lock, door) if folder.holds("lock", lock) else None

    def put(self, sandbox_id: str, record: bytes) -> None:
        """Write or replace a record, whole."""
        with meant("a sandbox could not be entered in the registry"):
            self._boxes.write(f"{sandbox_id}.json", record)

    def drop(self, sandbox_id: str) -> None:
        """Remove a record."""
        with meant("a sandbox could not be removed from the registry"):
            self._boxes.remove(f"{sandbox_id}.json")

    def leaves(self, runtime: str, lines: Sequence[str]) -> None:
        """Note what ``runtime`` would leave if everything of this host were killed; before it can leave anything."""
        now = tuple(lines)
        if self._left.get(runtime, ()) == now:
            return
        with meant("what a killed host would leave could not be noted"):
            self._folder.write("leavings.json", json.dumps({**self._left, runtime: now}).encode())
        self._left[runtime] = now

    def waits(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Note the processes of boxes that wait in the host's pool: id and start time of each."""
        with meant("what waits in the pool could not be noted"):
            self._folder.write("pool.json", json.dumps({"processes": [list(pair) for pair in pairs]}).encode())

    def close(self) -> None:
        """Give the place up: the host has no sandbox any more. Whoever serves the door closes it."""
        with contextlib.suppress(OSError):  # whoever sweeps removes what could not be removed here
            for name in self._boxes.names():
                self._boxes.remove(name)
            for name in ("door.sock", "leavings.json", "pool.json", "host.json"):
                self._folder.remove(name)
            os.rmdir("boxes", dir_fd=self._folder.fd)
            self._folder.remove("lock")
            os.rmdir(self.host_id, dir_fd=self._parent)
        for fd in (self._lock, self._parent):
            os.close(fd)
        self._boxes.close()
        self._folder.close()


def _remove(hosts: Folder, name: str, folder: Folder) -> None:
    """Remove a place that was not finished, whatever is there of it."""
    for part in ("door.sock", "host.json", "lock"):
        with contextlib.suppress(OSError):  # not there, or the next sweep's
            folder.remove(part)
    for path, parent in (("boxes", folder), (name, hosts)):
        with contextlib.suppress(OSError):  # the same
            os.rmdir(path, dir_fd=parent.fd)
    folder.close()
