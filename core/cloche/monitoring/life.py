"""The life of a sandbox and of its programs, as events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from cloche.events.acts import Act
from cloche.monitoring.made import MadeSource, as_bytes

if TYPE_CHECKING:
    from cloche.notices import NoticeType

ARGV_MAX: Final = 1024
"""Bytes of a program's arguments that are kept, as of a guest's own execve."""
STEPS: Final = {
    "created": Act.CREATED, "started": Act.STARTED, "paused": Act.PAUSED, "resumed": Act.RESUMED,
    "stopped": Act.STOPPED, "failed": Act.STOPPED, "deleted": Act.DELETED,
}  # fmt: skip
ACTS: Final = frozenset({*STEPS.values(), Act.BEGUN, Act.ENDED})


class LifeSource(MadeSource):
    """Tells of the sandbox itself, and of each program that was begun in it by ``exec`` or ``spawn``."""

    def __init__(self, *, sandbox: int) -> None:
        super().__init__("life", "life", ACTS, sandbox=sandbox)

    def step(self, kind: NoticeType, why: str) -> None:
        """Tell of a step of its life, and why."""
        act = STEPS.get(kind.value)
        if act is not None and act in self.chosen:
            self.make(act, target=as_bytes(why))

    def begun(self, number: int, args: Sequence[str], at: int) -> None:
        """Tell that a program was begun, by the number of its exec; ``at``: when, as time.monotonic_ns gives it."""
        if Act.BEGUN in self.chosen:
            self.make(Act.BEGUN, target=packed(args), args=(number,), exec=number, time_ns=at)

    def ended(self, number: int, args: Sequence[str], code: int) -> None:
        """Tell that a program ended: its exit code, or the number of the signal that ended it, less than 0."""
        if Act.ENDED in self.chosen:
            self.make(Act.ENDED, target=packed(args), args=(number,), exec=number, result=code)


def packed(args: Sequence[str]) -> bytes:
    """Give arguments with a NUL after each, cut at 1024 bytes."""
    return b"".join(as_bytes(arg) + b"\0" for arg in args)[:ARGV_MAX]
