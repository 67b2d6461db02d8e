"""Host users for sandboxes: each gets one of its own for as long as it lives, when the host process is root."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from cloche.errors import StartError

SPARE = 4  # uids a host keeps between sandboxes; locking one anew makes a file
CHANGE_USERS = 1 << 6 | 1 << 7  # CAP_SETGID and CAP_SETUID, linux/capability.h


@dataclass(slots=True)
class Seat:
    """A uid (and the same gid) held by one sandbox; the lock goes with this process if it dies."""

    uid: int
    _fd: int
    _free: list[Seat]

    def release(self) -> None:
        """Give the uid back: a few stay locked for the host's next sandboxes. Harmless when repeated."""
        if self._fd >= 0:
            if len(self._free) < SPARE:
                self._free.append(Seat(self.uid, self._fd, self._free))
            else:
                os.close(self._fd)
            self._fd = -1


def missing_users(base: int, count: int) -> str:
    """Give why users ``base`` to ``base + count - 1`` can't be used by this process, ``""`` if they can.

    Root of a user namespace, as in a rootless container, has only the users that are mapped into it
    (user_namespaces(7), "User and group ID mappings").
    """
    for kind in ("uid", "gid"):
        rows = [line.split() for line in Path(f"/proc/self/{kind}_map").read_text(encoding="ascii").splitlines()]
        if not any(int(first) <= base and base + count <= int(first) + int(size) for first, _, size in rows):
            return (
                f"this process is root of a user namespace that has no {kind} {base} to {base + count - 1}; set "
                "host.uid_base and host.uid_count to users that it has, or run as an ordinary user"
            )
    status = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
    held = int(status.partition("\nCapEff:\t")[2].split("\n", 1)[0] or "0", 16)
    if held & CHANGE_USERS != CHANGE_USERS:
        return (
            "this process is root without CAP_SETUID and CAP_SETGID, which a user of its own for each sandbox takes; "
            "give it both (a container runtime has an option for each), or run as an ordinary user"
        )
    if Path("/proc/self/setgroups").read_text(encoding="ascii").strip() == "deny":
        return "this process is root of a user namespace that may not change users; run as an ordinary user"
    return ""


class UidPool:
    """Uids ``base`` to ``base + count - 1``, locked by one file each so that hosts on one machine never share one."""

    def __init__(self, folder: Path, base: int, count: int) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        self._folder, self._base, self._count = folder, base, count
        self._free: list[Seat] = []
        self._next = os.getpid() * 61 % count  # hosts start at different places, so they rarely meet

    def take(self) -> Seat:
        """Give a uid nobody else holds. Raises ``StartError`` when all are taken."""
        if self._free:
            return self._free.pop()
        for step in range(self._count):
            index = (self._next + step) % self._count
            fd = os.open(self._folder / str(self._base + index), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                continue
            self._next = (index + 1) % self._count
            return Seat(self._base + index, fd, self._free)
        raise StartError(f"all {self._count} host users from {self._base} on are in use; raise host.uid_count")

    def close(self) -> None:
        """Let go of the uids kept between sandboxes."""
        while self._free:
            os.close(self._free.pop()._fd)  # noqa: SLF001 - a seat is this pool's own
