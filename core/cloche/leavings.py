"""What boxes leave on this machine if everything of their host is killed, and its removal.

A runtime makes folders for its boxes below ``<temp>/cloche-<token>`` and control groups that begin with
``<process id>-<token>-``. The token is its own, so these names prove whose they are. A helper process removes them when
the host dies; killed as well, it leaves that to the next host, which starts such a helper for just that.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cloche.errors import SandboxError
from cloche.machine import Janitor, remove
from cloche.runtime import Runtime
from cloche.spec import Spec
from cloche.uids import Seat
from cloche_native import cgroup

_FOLDER: Final = re.compile(r"cloche-[0-9a-f]{16}")
_GROUPS: Final = re.compile(r"[0-9]{1,10}-[0-9a-f]{16}-")


class Helped(Runtime):
    """A runtime with a helper that outlives a killed host just long enough to remove what was made."""

    def __init__(self) -> None:
        self._token = secrets.token_hex(8)
        self._janitor: Janitor | None = None
        self._temp = Path(tempfile.gettempdir(), f"cloche-{self._token}")
        self._has_temp = False

    def group_parents(self) -> tuple[str, ...]:
        """Give the folders in which control groups of boxes are made; none by default."""
        return ()

    def temp_folder(self, spec: Spec, seat: Seat | None) -> Path:
        """Give a new private folder for one box, owned by its user; the launch's cleanup must ``drop_folder`` it."""
        if not self._has_temp:
            self._helper().tell(f"+d {self._temp}")  # before it is made, or a kill between the two would leave it
            self._temp.mkdir(mode=0o700)
            self._has_temp = True
            self._temp.chmod(0o711)  # each box's user must get through to its own folder
        path = self._temp / spec.id
        path.mkdir(mode=0o700)
        if seat is not None:
            os.chown(path, seat.uid, seat.uid)
        return path

    def drop_folder(self, folder: Path) -> None:
        """Remove a folder made by ``temp_folder``, whatever the guest left in it. Its processes must be gone."""
        if self._janitor is not None and os.path.lexists(folder):
            remove(folder)

    def watch_groups(self) -> str:
        """Have control groups removed if this process is killed; give how their names begin, before '-'."""
        prefix = f"{os.getpid()}-{self._token}"
        for parent in self.group_parents():
            self._helper().tell(f"+g {parent}/{prefix}-")
        return prefix

    def leavings(self) -> Sequence[str]:
        """Give the temporary folder and the beginnings of control groups, as commands of the helper."""
        groups = [f"+g {parent}/{os.getpid()}-{self._token}-" for parent in self.group_parents()]
        return (f"+d {self._temp}", *groups)

    def sweep(self, leavings: Sequence[str]) -> list[str]:
        """Have a helper remove what is proven to be a leaving; give what was there."""
        lines = [line for line in leavings if _proven(line)]
        found = [path for line in lines for path in _there(line)]
        if lines:
            helper = Janitor()
            try:
                for line in lines:
                    helper.tell(line)
            finally:
                helper.close()
        if left := [path for line in lines for path in _there(line)]:
            raise SandboxError(f"a dead host's leavings can't be removed: {', '.join(left)[:300]}")
        return found

    def close(self) -> None:
        """End the helper; it removes whatever is still on its list."""
        if self._janitor is not None:
            self._janitor.close()
            self._janitor = None
            self._has_temp = False

    def _helper(self) -> Janitor:
        """Give the helper; it is told what to look for before that exists."""
        self._janitor = self._janitor or Janitor()
        return self._janitor


def _proven(line: str) -> bool:
    """Say whether a line names nothing but what a runtime of this user made: records can be damaged."""
    kind, _, path = line.partition(" ")
    folder, name = os.path.split(path)
    if "\n" in line or not os.path.isabs(path) or os.path.normpath(folder) != folder:
        return False
    if kind == "+g":
        return _GROUPS.fullmatch(name) is not None and cgroup.is_parent(folder)
    if kind != "+d" or _FOLDER.fullmatch(name) is None:
        return False
    with contextlib.suppress(OSError):
        info = os.lstat(path)
        return stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid()
    return False


def _there(line: str) -> list[str]:
    """Give what a line names and is there."""
    kind, _, path = line.partition(" ")
    if kind == "+d":
        return [path] if os.path.lexists(path) else []
    folder, name = os.path.split(path)
    with contextlib.suppress(FileNotFoundError):
        return [f"{folder}/{entry}" for entry in os.listdir(folder) if entry.startswith(name)]
    return []
