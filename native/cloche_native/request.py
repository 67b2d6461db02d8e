"""What may be asked of ``spawn``, checked and encoded before C sees it."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

NO_ID = 0xFFFFFFFF  # (uid_t)-1, which setresuid(2) reads as "leave it"

# In the order of enum clo_step; {} is the number of the item that failed.
STEPS = (
    "checking the request",
    "making the child's stack",
    "clone",
    "resetting signal {}",
    "joining cgroup {}",
    "making a mount namespace",
    "mounting the stage folder",
    "opening the source of stage {}",
    "making the target of stage {}",
    "mapping the ids of stage {}",
    "attaching stage {}",
    "setting up descriptor {}",
    "setsid",
    "setgroups",
    "setresgid",
    "setresuid",
    "chdir",
    "arming the parent-death signal",
    "execve",
    "entering namespaces",
    "keeping capability {} for the first process",
    "mounting the memory of stage {}",
    "covering a folder",
)
STEP_ENTER = 19


@dataclass(frozen=True, slots=True)
class Stage:
    """A folder or file of the host, to be mounted as ``target`` in the stage folder of a spawned program.

    ``target`` is one name, without a slash. Files of owner ``from_uid`` on disk are shown as ``to_uid``'s, and new
    files of ``to_uid`` land as ``from_uid``'s; the group likewise. Other owners are shown as 65534, and can't be
    written as. Equal ids: no mapping. Always nosuid and nodev. Mounts below ``source`` are not taken along. With
    ``tree``, a descriptor of a mount that is attached nowhere, that itself is attached, and ``source`` not looked at.
    With ``root`` that owner and group are shown as 0, so that root can make files there; they must not be those of
    ``from_uid``. With ``memory``, options of a tmpfs (tmpfs(5)), what is written stays in it: over the folder
    ``source``, by overlayfs, or over nothing where ``source`` is ``None``.
    """

    source: str | None
    target: str
    read_only: bool
    from_uid: int
    to_uid: int
    from_gid: int
    to_gid: int
    tree: int | None = None
    root: int = 0
    memory: str | None = None


def check_spawn(
    argv: Sequence[str | bytes], uid: int | None, gid: int | None, stages: Sequence[Stage], stage_folder: str | None
) -> None:
    """Raise ValueError for a request that no kernel could mean."""
    if not argv or not argv[0]:
        raise ValueError("argv is empty")
    if (uid is None) != (gid is None):
        raise ValueError("uid and gid go together")
    for number in (uid, gid):
        if number is not None and not 0 < number < NO_ID:
            raise ValueError(f"a sandboxed program never runs as uid 0 or gid 0, and {number} was asked for")
    if stages and stage_folder is None:
        raise ValueError("stages need a stage_folder to be mounted in")
    for stage in stages:
        if stage.target in ("", ".", "..") or "/" in stage.target:
            raise ValueError(f"the target of a stage is one name, not {stage.target!r}")
        if stage.source is None and stage.memory is None:
            raise ValueError("a stage needs a source or memory")
        if stage.source is not None and not stage.source.startswith("/"):
            raise ValueError(f"the source of a stage is an absolute path, not {stage.source!r}")


def encode(text: str | bytes) -> bytes:
    """Give the bytes of a path or argument; ValueError when a NUL in it would cut it short."""
    data = os.fsencode(text)
    if b"\0" in data:
        raise ValueError(f"NUL in {text!r}")
    return data


def encode_variable(name: str, value: str) -> bytes:
    """Give ``NAME=value``; ValueError when ``name`` could not be found again."""
    if not name or "=" in name:
        raise ValueError(f"{name!r} is no name of an environment variable")
    return encode(f"{name}={value}")


def namespaces_hint(error: int) -> str:
    """Give what usually is behind this error of entering namespaces, as the end of a sentence."""
    hint = _HINTS.get(error)
    return f": {hint}" if hint else ""


_FORBIDDEN = "a sysctl, a security module, a filter or a chroot forbids it (`cloche doctor` looks further)"
_HINTS = {
    errno.EPERM: _FORBIDDEN,
    errno.EACCES: _FORBIDDEN,
    errno.ENOSPC: "the sysctls user.max_*_namespaces allow no more, or user namespaces are nested too deep",
    errno.EUSERS: "user namespaces are nested too deep",
    errno.EINVAL: "the kernel was built without one of the namespaces",
}
"""user_namespaces(7), namespaces(7), clone(2)."""
