"""What of a guest's acts the policy itself refuses, rule or none: by which mechanism, and what to do about it.

A call that is let go on is answered by the kernel, and the watcher doesn't hear the answer. So what the policy says of
the path is asked instead, and the hint says ``likely``; where a look from the host, or the event, tells more, it is
certain or nothing is said.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from cloche.events.acts import Act, EventFlag
from cloche.files.access import CHANGING, SCRATCH, Access, Operation, Place, inside
from cloche.incidents.explain_limits import of_result as of_result  # noqa: PLC0414 - asked for here too
from cloche.incidents.explain_rules import CHANGES, EVERYTHING
from cloche.incidents.explain_rules import policy_rules as policy_rules  # noqa: PLC0414 - the same
from cloche.spec import Violation
from cloche_native import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2

if TYPE_CHECKING:
    from cloche.events.event import Event
    from cloche.policy import Mount
    from cloche.spec import Spec

INTERNET: Final = (socket.AF_INET, socket.AF_INET6)
REFUSALS: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EXDEV})
_MAKES: Final = frozenset({Act.MKDIR, Act.MKNOD, Act.SYMLINK})
_ASKS: Final[Mapping[Act, Operation]] = {
    **dict.fromkeys(CHANGES - _MAKES - {Act.CREATE, Act.LINK}, "write"), Act.LIST: "list", Act.EXEC: "read",
    Act.UNLINK: "delete", Act.RENAME: "delete",
}  # fmt: skip
_CALLS: Final = {
    Act.MOUNT: "nothing can be mounted from inside; give mounts=[cloche.Mount(...)] when the sandbox is made",
    Act.NAMESPACE: "a sandbox makes no namespaces of its own; run the program without its own sandbox (--no-sandbox)",
    Act.PTRACE: "processes can't look into others; a debugger or strace works only outside",
    Act.CHROOT: "its root folder stays; give rootfs= when the sandbox is made",
    Act.MODULE: "nothing in a sandbox loads code into the kernel",
    Act.SYSTEM: "clock, name and swap of the machine are the host's",
    Act.SETID: "its user stays; give user= when the sandbox is made",
    Act.MKNOD: "no devices can be made; those in /dev are all there are",
}
Look = Callable[[str], bool | None]
"""Says of a path in the box whether the kernel lets it be changed there; ``None`` if its folder is not there."""


class Explainer:
    """Explains the acts of one sandbox."""

    def __init__(self, spec: Spec, *, workspace: str | None = None) -> None:
        """Take the policy; ``workspace`` is where the runtime shows the work folder, if not where it was asked for."""
        self._spec = spec
        self._workspace = workspace or spec.workspace.target
        self._access = Access.of(spec, workspace=self._workspace)
        # A box that shows the work folder elsewhere has the host's paths, and no scratch folders of its own.
        if self._workspace != spec.workspace.target:
            own = [Place(mount.target, mount.allows, f"the mount at {mount.target}") for mount in spec.mounts]
            self._access = Access(spec.paths, [*own, Place(self._workspace, EVERYTHING, "the work folder")])

    def explained(self, event: Event, look: Look | None = None) -> Violation | None:
        """Say what refused, or is likely to refuse, what was done; ``None`` if nothing of the policy does.

        What a rule refused is the rule's to explain. ``look`` looks from the host at what is not certain.
        """
        flags, result = event.flags, event.result
        if flags & EventFlag.DENIED:
            return self._by_filter(event) if flags & EventFlag.STATIC else None
        if result is not None and -result not in REFUSALS:
            return None
        if event.act in (Act.CONNECT, Act.SEND):
            return self._by_network(event)
        for operation, path in _asked(event):
            if (violation := self._by_path(event, operation, path, look)) is not None:
                return violation
        return None

    def _by_filter(self, event: Event) -> Violation:
        family = event.args[0]
        if event.result == -errno.EXDEV:
            hint = "it leads out of the folders that the program was given; show it more: mounts=[cloche.Mount(...)]"
            return _violation(event, "path:outside", "path", event.path or event.target or "", hint)
        if event.result == -errno.ENOSYS and not event.call:
            hint = f"programs of this runtime have no call for that: {event.act.value}"
            return _violation(event, "call:absent", "call", event.resolved or event.path or "", hint)
        if event.act is Act.SOCKET and family in INTERNET and self._spec.network.mode == "none":
            hint = 'it has no network; network="loopback" gives it one of its own, network="host" the host\'s'
            return _violation(event, "network:none", "network", _family(family), hint)
        if event.act is Act.SOCKET:
            hint = f"isolation {self._spec.level.name} makes no sockets of that kind; use pipes, or network="
            return _violation(event, "syscall:denied", "syscall", _family(family), hint)
        usual = f"isolation {self._spec.level.name} never allows that call; `cloche levels` shows what others allow"
        target = " ".join(text for text in (event.call, event.resolved or event.path) if text)
        return _violation(event, "syscall:denied", "syscall", target, _CALLS.get(event.act, usual))

    def _by_network(self, event: Event) -> Violation | None:
        family, port = event.args[:2]
        address = event.target or ""
        if self._spec.network.mode != "loopback" or family not in INTERNET or _is_own(address):
            return None
        hint = "only the sandbox's own loopback can be reached; network=\"host\" gives it the host's network"
        return _violation(event, "network:loopback", "network", f"{address} port {port}", hint)

    def _by_path(self, event: Event, operation: Operation, path: str, look: Look | None) -> Violation | None:
        if _is_device(path) or not _is_plain(path):
            return None
        verdict = self._access.verdict(operation, path)
        if verdict:
            return None
        rule, mechanism, hint = self._reason(verdict.rule, operation, path)
        if operation == "stat" and mechanism == "mount":
            return None  # mounts can't keep that from anyone
        if rule == "path:not-allowed" and operation not in CHANGING and event.flags & EventFlag.MISSING:
            return None  # programs look for files in many places; there is none
        certain = event.result is not None
        if not certain and look is not None and operation in CHANGING:
            changeable = look(path)
            if changeable is None and rule == "mount:system":
                return None  # its folder is not there: that is what the program was told
            certain = changeable is False
        return _violation(event, rule, mechanism, path, hint if certain else f"likely; {hint}")

    def _reason(self, said: str, operation: Operation, path: str) -> tuple[str, str, str]:
        """Give the word for what refuses, its mechanism and a hint, for what the policy's text says."""
        pattern = said.partition(" pattern ")[2]
        if said.startswith("forbidden"):
            return (
                "path:forbidden",
                "path",
                f"the policy forbids {pattern}; work without it, or take it from forbidden=",
            )
        if said.startswith("read_only"):
            return "path:read-only", "path", f"the policy keeps {pattern} read-only; write below {self._workspace}"
        if said.startswith("no allowed"):
            return "path:not-allowed", "path", "no pattern of paths=PathPermissions(allowed=...) covers it; add one"
        mount = self._mount(path)
        if mount is None:
            hint = (
                f"the system is read-only in a sandbox; write below {self._workspace}, or show a folder of the host: "
                "mounts=[cloche.Mount(source, target, read_only=False)]"
            )
            return "mount:system", "mount", hint
        if mount.operations is None:
            more = f"mounts=[cloche.Mount({mount.source!r}, {mount.target!r}, read_only=False)]"
            return "mount:read-only", "mount", f"it is mounted read-only; to let it be changed: {more}"
        allowed = ", ".join(sorted(mount.allows | {operation}))
        return "mount:operations", "mount", f"the mount at {mount.target} lacks {operation}; operations={{{allowed}}}"

    def _mount(self, path: str) -> Mount | None:
        found = [mount for mount in self._spec.mounts if inside(path, mount.target)]
        return max(found, key=lambda mount: len(mount.target), default=None)


def explained(event: Event, spec: Spec, *, workspace: str | None = None, look: Look | None = None) -> Violation | None:
    """Explain one event; see ``Explainer``, which is quicker for many."""
    return Explainer(spec, workspace=workspace).explained(event, look)


def looking(root: int) -> Look:
    """Give a function that looks from the host, in a box whose folder / is open as ``root``.

    It asks the kernel whether the file system there is read-only, and changes nothing. A box that was told where to
    look by its guest can be wrong about the guest's own folders, never about others.
    """

    def look(path: str) -> bool | None:
        resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
        for there in (path, os.path.dirname(path)):
            try:
                fd = openat2(root, there.lstrip("/") or ".", flags=os.O_PATH, resolve=resolve)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENOTDIR):
                    continue
                return True  # can't be told: nothing is certain
            try:
                return not os.fstatvfs(fd).f_flag & os.ST_RDONLY
            finally:
                os.close(fd)
        return None

    return look


# -- inside ------------------------------------------------------------------------------------------------------------


def _asked(event: Event) -> Iterator[tuple[Operation, str]]:
    """Give which operations on which paths an act is; none for what fails by itself or never asks for any."""
    act, missing = event.act, bool(event.flags & EventFlag.MISSING)
    path, target = event.resolved or event.path, event.target_resolved or event.target
    if path is None:
        return
    yield "stat", path  # what is forbidden can't even be looked at
    if act is Act.CREATE:
        reads = not missing and event.args[0] & os.O_ACCMODE == os.O_RDONLY
        yield "read" if reads else "create" if missing else "write", path
    elif act in _MAKES and missing:
        yield "create", path
    elif act is Act.OPEN and not missing:
        yield "list" if event.args[0] & os.O_DIRECTORY else "read", path
    elif act in _ASKS and not missing:
        yield _ASKS[act], path
    if act in (Act.RENAME, Act.LINK) and target is not None and not missing:
        yield "create", target


def _violation(event: Event, rule: str, mechanism: str, target: str, hint: str) -> Violation:
    return Violation(rule, event.act.value, target, hint, mechanism=mechanism, time=event.time)


def _is_device(path: str) -> bool:
    """Say whether the kernel itself answers there, whatever mounts say."""
    if inside(path, "/proc"):
        return not inside(path, "/proc/sys")
    return inside(path, "/dev") and not any(inside(path, folder) for folder in SCRATCH)


def _is_plain(path: str) -> bool:
    return path == "/" or (path.startswith("/") and {"", ".", ".."}.isdisjoint(path[1:].split("/")))


def _is_own(address: str) -> bool:
    return address in ("::1", "0.0.0.0", "::", "") or address.startswith(("127.", "::ffff:127."))  # noqa: S104 - asked, not taken


def _family(number: int) -> str:
    try:
        return socket.AddressFamily(number).name
    except ValueError:
        return f"address family {number}"
