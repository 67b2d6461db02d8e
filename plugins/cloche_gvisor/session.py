"""What a sentry is asked to tell: the acts that a monitor is about become points of a trace session, and strace calls.

A point is ``syscall/NAME/enter`` where gVisor takes the call apart, its texts with it, else ``syscall/sysno/N/enter``,
with registers alone; the texts of these come by strace (``cloche_native.lines``). A message one of whose texts is no
UTF-8 is not sent at all, so each point with texts has the raw one of its call beside it, its *shadow*: where that comes
alone, the act is told without its texts.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, cast

from cloche import Act
from cloche_gvisor.contract import WORKER
from cloche_gvisor.replies import GuestTask
from cloche_native import acts, syscall_number

NAME: Final = "Default"
"""The only name that a session may have; there is one at a time."""
WATCHED: Final = ("thread_id", "group_id")
"""What each message says of who acted. ``cwd`` and ``process_name`` may be no UTF-8, and take a message with them."""
ALWAYS: Final[tuple[Mapping[str, Any], ...]] = (
    {"name": "sentry/clone", "context_fields": list(WATCHED)},
    {"name": "sentry/exit_notify_parent", "context_fields": list(WATCHED)},
    {"name": "sentry/execve", "context_fields": [*WATCHED, "process_name"]},
)
"""Of which process is whose child, and which program of the caller's it belongs to."""
BELONGS: Final = cast("int", syscall_number("nfsservctl"))  # every machine has a number for it
"""A call that no kernel has: by it process 1 says whose program a process is that executed none (native/inner)."""
TEXTS: Final[Mapping[str, tuple[str, ...]]] = {
    "open": (), "openat": ("fd_path",), "creat": (), "execve": ("envv",), "execveat": ("fd_path", "envv"),
    "chdir": (), "fchdir": ("fd_path",), "chroot": (),
}  # fmt: skip
"""Calls whose points have texts, and what is to be asked for by name."""
PLAIN: Final = frozenset({
    "connect", "bind", "accept", "accept4", "socket", "setuid", "setgid", "setresuid", "setresgid", "prlimit64",
    "clone",
})  # fmt: skip
"""Calls whose points have none, but numbers and addresses."""
PLACES: Final = ("chdir", "fchdir")
"""Paths are taken from where a process is: these are always told, with how they went."""
TRACED: Final = frozenset({
    "mkdir", "mkdirat", "mknod", "mknodat", "unlink", "unlinkat", "rmdir", "rename", "renameat", "renameat2", "link",
    "linkat", "symlink", "symlinkat", "chmod", "fchmodat", "fchmod", "chown", "lchown", "fchownat", "fchown",
    "truncate", "mount", "umount2",
})  # fmt: skip
"""Calls whose texts come by strace."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a sentry: an object as under ``trace_session`` of runsc's file, and what goes with it."""

    session: Mapping[str, Any]
    traced: frozenset[str]
    """Names of calls whose texts come by strace."""


@lru_cache(maxsize=64)
def asked(seen: frozenset[Act], also: frozenset[str] = frozenset()) -> Asked:
    """Give what a sentry is asked, for those acts to be seen, and the calls ``also``. Each point is asked for once.

    Lines of a call that is traced wait for its points, so these are asked for as long as the box lives.
    """
    points: list[Mapping[str, Any]] = [*ALWAYS, _raw(BELONGS)]
    traced: set[str] = set()
    for name, number in _calls(seen, also):
        if name in TEXTS:
            points += [_raw(number), _point(name, "exit" if name in PLACES else "enter")]
        elif name in PLAIN:
            points.append(_point(name, "enter"))
        else:
            points.append(_raw(number))
            traced |= {name} & TRACED
    sink = {"name": "remote", "config": {"retries": 3, "backoff": "25us", "backoff_max": "10ms"}}
    session = {"name": NAME, "ignore_missing": True, "points": points, "sinks": [sink]}
    return Asked(session, frozenset(traced))


@lru_cache(maxsize=1)
def shadows() -> frozenset[int]:
    """Give the numbers of calls whose raw points, where they are asked for, only show that nothing is missing."""
    return frozenset(number for name, number, _ in acts.calls() if name in TEXTS)


def at_depth(seen: Collection[Act], depth: str) -> frozenset[Act]:
    """Give those of the acts that are looked at at that depth of a monitor."""
    bits = acts.acts_seen("full" if depth == "full" else "writes")
    return frozenset(act for act in seen if bits >> act.number & 1)


def born(pid: int, parent: int = 1) -> bytes:
    """Give the message by which a sentry tells that a process, by default process 1, has made that one."""
    return _said_by(parent, 2, b"\x18" + _number(pid) + b"\x20" + _number(pid))


def belongs(pid: int, number: int) -> bytes:
    """Give the message by which a sentry tells that process 1 said so: this process is that exec's program."""
    call = b"\x20" + _number(BELONGS)
    return _said_by(1, 6, call + b"\x28" + _number(pid) + b"\x30" + _number(number))


def there(tasks: Iterable[GuestTask]) -> Iterator[bytes]:
    """Give the messages by which a sentry would have told of the processes that were there before it was asked to.

    Those of root are process 1's, which wait for work. Of others there are only resident workers, saved in an image.
    """
    for task in sorted(tasks, key=lambda task: task.pid):
        if task.pid == 1:
            continue
        yield born(task.pid, task.parent or 1)
        if task.uid != 0:
            yield belongs(task.pid, WORKER)


def strace(traced: Collection[str], log: str) -> tuple[str, ...]:
    """Give the flags by which runsc writes of these calls to the file ``log``, a line of JSON each; none of none."""
    if not traced:
        return ()
    return "--strace", f"--strace-syscalls={','.join(sorted(traced))}", f"--debug-log={log}", "--debug-log-format=json"


def _said_by(pid: int, kind: int, fields: bytes) -> bytes:
    who = b"\x10" + _number(pid) + b"\x20" + _number(pid)
    return struct.pack("<HHI", 8, kind, 0) + b"\x0a" + _number(len(who)) + who + fields


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits of a number, least first, and whether there are more (protobuf)
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _calls(seen: frozenset[Act], also: frozenset[str]) -> Iterator[tuple[str, int]]:
    """Give the calls by which these acts can be done, and those by which places change."""
    bits = sum(1 << act.number for act in seen)
    for name, number, may_be in acts.calls():
        if may_be & bits or name in PLACES or name in also:
            yield name, number


def _point(name: str, phase: str) -> Mapping[str, Any]:
    point: dict[str, Any] = {"name": f"syscall/{name}/{phase}", "context_fields": list(WATCHED)}
    if TEXTS.get(name):
        point["optional_fields"] = list(TEXTS[name])
    return point


def _raw(number: int) -> Mapping[str, Any]:
    return {"name": f"syscall/sysno/{number}/enter", "context_fields": list(WATCHED)}
