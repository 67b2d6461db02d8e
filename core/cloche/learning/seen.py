"""What one run of a program was seen to do, kept by what a profile can say about it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from cloche.events.acts import Act, EventFlag, Source
from cloche.files.access import inside

if TYPE_CHECKING:
    from cloche.events.event import Event
    from cloche.files.access import Operation
    from cloche.policy import NetworkMode

PATHS_MAX: Final = 200_000
"""Paths that are told apart; what comes beyond is counted."""
_INTERNET: Final = frozenset({2, 10})
"""Families of sockets that reach other machines: AF_INET, AF_INET6 (address_families(7))."""
_DOES: Final[dict[Act, Operation]] = {
    **dict.fromkeys((Act.OPEN, Act.LINK, Act.EXEC), "read"),
    **dict.fromkeys(
        (Act.WRITE_OPEN, Act.CREATE, Act.CHMOD, Act.CHOWN, Act.UTIME, Act.TRUNCATE, Act.XATTR), "write"
    ),
    **dict.fromkeys((Act.MKDIR, Act.MKNOD, Act.SYMLINK), "create"),
    **dict.fromkeys((Act.UNLINK, Act.RENAME), "delete"),
    **dict.fromkeys((Act.STAT, Act.ACCESS, Act.READLINK, Act.CHDIR), "stat"),
}  # fmt: skip
"""What an act does to the path it is about."""
_MAKES: Final = frozenset({Act.CREATE, Act.MKDIR, Act.MKNOD, Act.SYMLINK})
_MAKES_SECOND: Final = frozenset({Act.RENAME, Act.LINK})


@dataclass(slots=True)
class Seen:
    """What was done, by path, program and address. Its texts are the guest's: escape them to show them."""

    paths: dict[str, set[Operation]] = field(default_factory=dict)
    """What was done to each path that was there, or came to be there."""
    listed: set[str] = field(default_factory=set)
    """Folders that were opened, and so may have been listed."""
    named: set[str] = field(default_factory=set)
    """Paths at which a name came or went."""
    programs: Counter[str] = field(default_factory=Counter)
    sockets: bool = False
    """Whether a socket that could reach other machines was made, or tried to be."""
    near: Counter[str] = field(default_factory=Counter)
    """Addresses of this machine that were used, with ports."""
    far: Counter[str] = field(default_factory=Counter)
    """Those of others."""
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Acts and calls that the policy refused."""
    processes: set[int] = field(default_factory=set)
    beyond: int = 0
    """Acts on paths for which there was no room."""

    def take(self, event: Event) -> None:
        """Take one event of the guest."""
        if event.source is not Source.GUEST:
            return
        self.processes.add(event.pid)
        if event.denied:
            self.refused[event.act.value, event.call or "-"] += 1
        if event.act is Act.SOCKET:
            self.sockets = self.sockets or event.args[0] in _INTERNET
        elif event.act in (Act.CONNECT, Act.BIND, Act.SEND, Act.ACCEPT):
            self._address(event)
        elif event.act in _DOES and not event.denied:
            self._path(event)

    @property
    def network(self) -> NetworkMode:
        """The narrowest network in which it could do what it did."""
        return "host" if self.far else "loopback" if self.sockets or self.near else "none"

    def moved(self, folder: str, target: str) -> None:
        """Tell of ``folder``, where this runtime showed the work folder, as if it had lain at ``target``."""
        if folder == target:
            return

        def there(path: str) -> str:
            return f"{target}{path[len(folder) :]}" if inside(path, folder) else path

        self.paths = {there(path): operations for path, operations in self.paths.items()}
        self.listed = set(map(there, self.listed))
        self.named = set(map(there, self.named))

    def _address(self, event: Event) -> None:
        if event.args[0] in _INTERNET and event.target:
            found = self.near if _is_near(event.target) else self.far
            found[f"{event.act.value} {event.target} port {event.args[1]}"] += 1

    def _path(self, event: Event) -> None:
        if event.act is Act.EXEC and (program := event.resolved or event.path):
            self.programs[program] += 1
        names = list(filter(None, (event.path, event.resolved)))
        new = event.act in _MAKES and bool(event.flags & EventFlag.MISSING)
        if new or not event.flags & EventFlag.MISSING:
            self._add(names, _DOES[event.act])
            if event.act is Act.OPEN and event.args[0] & os.O_DIRECTORY:
                self.listed.update(map(os.path.normpath, names))
        if new or event.act in (Act.UNLINK, Act.RENAME):
            self._add(names, "create" if new else "delete")
            self.named.update(map(os.path.normpath, names))
        if event.act in _MAKES_SECOND:
            others = list(filter(None, (event.target, event.target_resolved)))
            self._add(others, "create")
            self.named.update(map(os.path.normpath, others))

    def _add(self, paths: Iterable[str], operation: Operation) -> None:
        for path in map(os.path.normpath, paths):
            if path not in self.paths and len(self.paths) >= PATHS_MAX:
                self.beyond += 1
            elif path.startswith("/"):
                self.paths.setdefault(path, set()).add(operation)


def _is_near(address: str) -> bool:
    """Whether an address is one of this machine's loopback, or stands for any of it."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return found.is_loopback or found.is_unspecified
