"""The system calls that Python lacks, typed. The only importer of the compiled module.

A failed call raises ``OSError`` with the kernel's number; a value that can't be meant raises ``ValueError`` before
anything is done. All functions may be called from several threads at once; none keeps state.
"""

from __future__ import annotations

import errno
import os
import signal
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloche_native import _lib
from cloche_native.filters import Sockets, seccomp_profiles, seccomp_program, syscall_names, syscall_number
from cloche_native.request import (
    STEP_ENTER,
    STEPS,
    Stage,
    check_spawn,
    encode,
    encode_variable,
    namespaces_hint,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "RESOLVE_BENEATH", "RESOLVE_CACHED", "RESOLVE_IN_ROOT", "RESOLVE_NO_MAGICLINKS", "RESOLVE_NO_SYMLINKS",
    "RESOLVE_NO_XDEV", "Sockets", "Stage", "idmap_userns", "init_path", "inner_path", "landlock_abi", "landlock_reason",
    "mount_device", "openat2", "resize_memory_folder", "seccomp_profiles", "seccomp_program", "spawn", "statx_path",
    "syscall_names", "syscall_number",
]  # fmt: skip

_ffi, _c = _lib.ffi, _lib.lib

RESOLVE_NO_XDEV = _c.CLO_RESOLVE_NO_XDEV
RESOLVE_NO_MAGICLINKS = _c.CLO_RESOLVE_NO_MAGICLINKS
RESOLVE_NO_SYMLINKS = _c.CLO_RESOLVE_NO_SYMLINKS
RESOLVE_BENEATH = _c.CLO_RESOLVE_BENEATH
RESOLVE_IN_ROOT = _c.CLO_RESOLVE_IN_ROOT
RESOLVE_CACHED = _c.CLO_RESOLVE_CACHED

_EAGAIN_TRIES = 32
_FOLDER = str(Path(__file__).resolve().parent)


@cache
def init_path() -> str:
    """Give the absolute path of the executable cloche-init in the installed package; looked for once.

    Raises FileNotFoundError when the package was built without it, PermissionError when it can't be executed.
    """
    return _executable("cloche-init")


@cache
def inner_path() -> str:
    """Give the path of the executable cloche-inner, for guests with a kernel of their own; as ``init_path``."""
    return _executable("cloche-inner")


@cache
def statx_path() -> str:
    """Give the path of the library that mends statx(2) in a gVisor of before 2023-02-21; as ``init_path``."""
    return _executable("cloche-statx.so")


def _executable(name: str) -> str:
    path = os.path.join(_FOLDER, name)
    if not os.path.exists(path):
        raise FileNotFoundError(errno.ENOENT, f"cloche was installed without {name}; install it again", path)
    if not os.access(path, os.X_OK):
        raise PermissionError(errno.EACCES, f"{name} can't be executed; is its file system mounted noexec?", path)
    return path


def spawn(
    argv: Sequence[str | bytes],
    *,
    env: Mapping[str, str],
    fds: Mapping[int, int],
    cwd: str | None = None,
    uid: int | None = None,
    gid: int | None = None,
    cgroups: Sequence[int] = (),
    parent_death_signal: int | None = signal.SIGKILL,
    new_session: bool = True,
    stages: Sequence[Stage] = (),
    stage_folder: str | None = None,
    cover: str | None = None,
    namespaces: bool = False,
) -> tuple[int, int]:
    """Start a program without copying this process: ``(pid, pidfd)``, once the program runs.

    ``argv[0]`` is its path (PATH is not searched), ``env`` its whole environment, ``fds`` maps its descriptors to
    ours; it has no others, so map 0, 1 and 2. Signals are at their defaults and unblocked. ``uid`` and ``gid`` go
    together, neither may be 0, and supplementary groups are dropped. Into each of ``cgroups``, open for writing
    (``tasks`` of version 1, ``cgroup.procs`` of version 2), the child writes itself before all else. With
    ``stages`` the program gets a mount namespace of its own with a tmpfs on ``stage_folder`` that holds them
    (needs root and Linux 5.12; FS without id mapping: OSError EINVAL). It sees the folder ``cover`` empty, in a mount
    namespace of its own too. With ``namespaces`` it is process 1 of
    new ones of every kind but network (Linux 4.6). They belong to ``uid``; root of the host can't own such, so root
    must give one (OSError EPERM). No id is mapped in them yet: the program must write its ``uid_map`` first of all, as
    cloche-init does. It has CAP_SYS_ADMIN, CAP_SETPCAP, CAP_NET_ADMIN and CAP_DAC_OVERRIDE, worth something in these
    namespaces only, as ambient capabilities, and must drop them.

    ``parent_death_signal`` comes when the calling *thread* ends (prctl(2)): spawn from one that lives as long as the
    program should. After ``uid`` was used this process writes no core file any more (credentials(7), the memory was
    shared with another uid for a moment).

    Raises OSError naming the step that failed; then no process and no descriptor is left. The caller reaps the
    process and closes the pidfd. Blocks for the time of fork and execve, without the GIL. Linux 5.9 or later.
    """
    check_spawn(argv, uid, gid, stages, stage_folder)
    with ExitStack() as cleanup:
        keep: list[Any] = []  # what the structure points to must outlive the call
        request = _ffi.new("struct clo_spawn *")
        request.argv = _strings([encode(item) for item in argv], keep)
        request.env = _strings([encode_variable(name, value) for name, value in env.items()], keep)
        request.cwd = _string(cwd, keep)
        request.fds = _numbers([number for pair in sorted(fds.items()) for number in pair], keep)
        request.cgroups = _numbers(cgroups, keep)
        request.stage_folder = _string(stage_folder, keep)
        request.cover = _string(cover, keep)
        request.stages = _stages(stages, keep, cleanup)
        request.n_fds, request.n_cgroups, request.n_stages = len(fds), len(cgroups), len(stages)
        request.uid = -1 if uid is None else uid
        request.gid = -1 if gid is None else gid
        request.death_signal = parent_death_signal or 0
        request.new_session = new_session
        request.namespaces = namespaces
        status = _c.clo_spawn(request)
        if status < 0:
            step = STEPS[request.step].format(request.index)
            hint = namespaces_hint(-status) if request.step == STEP_ENTER else ""
            raise OSError(-status, f"{os.strerror(-status)}, while {step}{hint}", argv[0])
        return request.pid, request.pidfd


def idmap_userns(from_uid: int, to_uid: int, from_gid: int, to_gid: int, root: int = 0) -> int:
    """Give a descriptor of a user namespace that shows one uid and one gid as others, for mount_setattr(2).

    With ``root``, that uid and gid are shown as 0 besides: what root makes there is theirs.
    Needs CAP_SETUID and CAP_SETGID; raises OSError. The caller closes the descriptor.
    """
    return _checked(_c.clo_idmap_userns(from_uid, to_uid, from_gid, to_gid, root))


def landlock_abi() -> int:
    """Give the Landlock ABI of this kernel, 0 when there is none; asked by the call itself (landlock(7))."""
    return max(0, _c.clo_landlock_abi())


def landlock_reason() -> str:
    """Say why ``landlock_abi()`` is 0; empty when it is not."""
    status = _c.clo_landlock_abi()
    if status > 0:
        return ""
    if status == -errno.ENOSYS:
        return "this kernel was built without Landlock (CONFIG_SECURITY_LANDLOCK, Linux 5.13)"
    if status == -errno.EOPNOTSUPP:
        return "Landlock is off since boot: add landlock to the kernel's lsm= list"
    return f"asking for Landlock failed: {os.strerror(-status)}"


def openat2(dirfd: int, path: str | bytes, *, flags: int, mode: int = 0, resolve: int) -> int:
    """Open ``path`` under ``dirfd`` with RESOLVE_ rules: a new descriptor, closed on exec (openat2(2), Linux 5.6).

    The kernel asks for another try when a rename ran alongside; after 32 of them BlockingIOError is raised.
    """
    name = encode(path)
    status = -errno.EAGAIN
    for _ in range(_EAGAIN_TRIES):
        status = _c.clo_openat2(dirfd, name, flags | os.O_CLOEXEC, mode, resolve)
        if status not in (-errno.EAGAIN, -errno.EINTR):
            break
    if status < 0:
        raise OSError(-status, os.strerror(-status), path)
    return status


def resize_memory_folder(folder: int, size: int, files: int) -> None:
    """Give the tmpfs whose root is descriptor ``folder`` new bounds: bytes, and files and folders (Linux 5.2).

    Raises OSError: EINVAL when more than that is in it, EOPNOTSUPP when it is no tmpfs, EPERM for all but root.
    """
    _checked(_c.clo_tmpfs_resize(folder, size, files))


def mount_device(kind: str, source: str) -> int:
    """Give a mount of a block device that is attached nowhere, as a descriptor; closing that takes it down again."""
    return _checked(_c.clo_mount_device(encode(kind), encode(source)))


def _checked(status: int) -> int:
    if status < 0:
        raise OSError(-status, os.strerror(-status))
    return status


def _string(text: str | None, keep: list[Any]) -> Any:  # noqa: ANN401 - cffi has no types
    if text is None:
        return _ffi.NULL
    keep.append(_ffi.new("char[]", encode(text)))
    return keep[-1]


def _strings(items: Sequence[bytes], keep: list[Any]) -> Any:  # noqa: ANN401 - cffi has no types
    pointers = [_ffi.new("char[]", item) for item in items]
    keep += pointers
    keep.append(_ffi.new("const char *[]", [*pointers, _ffi.NULL]))
    return keep[-1]


def _numbers(items: Sequence[int], keep: list[Any]) -> Any:  # noqa: ANN401 - cffi has no types
    keep.append(_ffi.new("int32_t[]", list(items)))
    return keep[-1]


def _stages(stages: Sequence[Stage], keep: list[Any], cleanup: ExitStack) -> Any:  # noqa: ANN401 - cffi has no types
    array = _ffi.new("struct clo_stage_mount[]", len(stages))
    keep.append(array)
    namespaces: dict[tuple[int, int, int, int, int], int] = {}
    for stage, record in zip(stages, array, strict=True):
        ids = (stage.from_uid, stage.to_uid, stage.from_gid, stage.to_gid, stage.root)
        mapped = stage.from_uid != stage.to_uid or stage.from_gid != stage.to_gid
        if mapped and ids not in namespaces:
            namespaces[ids] = idmap_userns(*ids)
            cleanup.callback(os.close, namespaces[ids])
        record.source, record.target = _string(stage.source, keep), _string(stage.target, keep)
        record.memory = _string(stage.memory, keep)
        record.userns = namespaces[ids] if mapped else -1
        record.tree = -1 if stage.tree is None else stage.tree
        record.read_only = stage.read_only
    return array
