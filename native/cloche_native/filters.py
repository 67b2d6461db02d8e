"""The filters of system calls: the static one, and those of a box whose programs are watched."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from cloche_native import _lib
from cloche_native.request import encode

__all__ = [
    "Sockets", "StaticFilter", "machine_number", "seccomp_profiles", "seccomp_program", "syscall_names",
    "syscall_number",
]  # fmt: skip

_ffi, _c = _lib.ffi, _lib.lib

Sockets = Literal["all", "unix", "none", "inet"]

_LEVELS: Final = {"standard": _c.CLO_STANDARD, "enhanced": _c.CLO_ENHANCED, "maximum": _c.CLO_MAXIMUM}
_SOCKETS: Final = {
    "all": _c.CLO_SOCKETS_ALL, "unix": _c.CLO_SOCKETS_UNIX, "none": _c.CLO_SOCKETS_NONE, "inet": _c.CLO_SOCKETS_INET,
}  # fmt: skip
_MACHINES: Final = {"x86_64": _c.CLO_ARCH_X86_64, "aarch64": _c.CLO_ARCH_AARCH64}
_INSTRUCTION_SIZE: Final = 8  # struct sock_filter
_INSTRUCTIONS_MAX: Final = 4096  # BPF_MAXINSNS


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticFilter:
    """What a static filter is asked for; its methods assemble programs, arrays of ``struct sock_filter``, 8 bytes each.

    ``sockets``: ``all`` allows UNIX, INET, INET6 and route NETLINK; ``unix`` only UNIX; ``none`` just connected
    pairs; ``inet`` these and all of ``all`` but UNIX. ``deny``: names of further system calls to refuse with EPERM.
    ``protect_pid``: a process that may not be signalled, limited or rescheduled. ``no_set_id``: no file gets the
    set-user-id or set-group-id bit, and openat2, whose mode a filter can't read, is absent. ``machine``: ``x86_64``
    or ``aarch64``, "" for this one. Raises ValueError for an unknown name.
    """

    profile: str
    sockets: Sockets = "all"
    deny: tuple[str, ...] = ()
    protect_pid: int | None = None
    no_set_id: bool = False
    machine: str = ""

    def __post_init__(self) -> None:
        if self.profile not in _LEVELS:
            raise ValueError(f"seccomp profile {self.profile!r} is unknown; there are {', '.join(_LEVELS)}")
        if self.sockets not in _SOCKETS:
            raise ValueError(f"sockets={self.sockets!r} is unknown; there are {', '.join(_SOCKETS)}")
        for name in self.deny:
            syscall_number(name)
        if self.protect_pid is not None and not 0 < self.protect_pid < 1 << 31:
            raise ValueError(f"protect_pid must be a process id, not {self.protect_pid}")
        machine_number(self.machine)

    def program(self) -> bytes:
        """Assemble the filter itself. Allowed calls whose arguments don't matter cost nothing from Linux 5.11 on."""
        return self._assembled(_c.clo_seccomp_program)

    def agent(self, opened: int) -> bytes:
        """Assemble the agent's filter of a box in which the acts ``opened`` (bits) are watched: they go through.

        So does putting a filter on. Every program must have a ``watch`` filter for the same ``opened`` besides.
        """
        return self._assembled(lambda request, *out: _c.clo_agent_program(request, _bits(opened), *out))

    def watch(self, acts: int, opened: int) -> bytes:
        """Assemble the filter that notifies of ``acts`` and refuses what else ``agent(opened)`` lets through.

        What is notified and ``program`` refuses is to be refused by whoever listens. What is no act, and was not
        opened, is allowed here, and costs nothing from Linux 5.11 on.
        """
        return self._assembled(lambda request, *out: _c.clo_watch_program(request, _bits(acts), _bits(opened), *out))

    def _assembled(self, assemble: Callable[[Any, Any, int], int]) -> bytes:
        names = [_ffi.new("char[]", encode(name)) for name in self.deny]
        deny = _ffi.new("const char *[]", [*names, _ffi.NULL])
        request = _ffi.new("struct clo_filter *")
        request.arch = machine_number(self.machine)
        request.level, request.sockets = _LEVELS[self.profile], _SOCKETS[self.sockets]
        request.protect_pid, request.no_set_id = self.protect_pid or 0, self.no_set_id
        request.deny, request.n_deny = deny, len(names)
        code = _ffi.new("uint8_t[]", _INSTRUCTIONS_MAX * _INSTRUCTION_SIZE)
        count = assemble(request, code, _INSTRUCTIONS_MAX)
        if count < 0:
            raise OSError(-count, os.strerror(-count))
        return bytes(_ffi.buffer(code, count * _INSTRUCTION_SIZE))


def seccomp_profiles() -> tuple[str, ...]:
    """Give the names of the static filters, from the widest to the strictest."""
    return tuple(_LEVELS)


def seccomp_program(
    profile: str,
    *,
    sockets: Sockets = "all",
    deny: Iterable[str] = (),
    protect_pid: int | None = None,
    no_set_id: bool = False,
    machine: str | None = None,
) -> bytes:
    """Assemble a static filter, as ``StaticFilter`` describes it: what SECCOMP_SET_MODE_FILTER takes."""
    asked = StaticFilter(
        profile=profile, sockets=sockets, deny=tuple(deny), protect_pid=protect_pid, no_set_id=no_set_id,
        machine=machine or "",
    )  # fmt: skip
    return asked.program()


def syscall_names() -> tuple[str, ...]:
    """Give the name of every system call that the filters know, of either machine."""
    names: list[str] = []
    while name := _c.clo_syscall_name(len(names)):
        names.append(_ffi.string(name).decode())
    return tuple(names)


def syscall_number(name: str, *, machine: str | None = None) -> int | None:
    """Give a system call's number; None where that machine never had it. Raises ValueError for an unknown name."""
    number = _c.clo_syscall_number(encode(name), machine_number(machine))
    if number == -errno.ENOENT:
        raise ValueError(f"system call {name!r} is unknown")
    return number if number >= 0 else None


def machine_number(name: str | None) -> int:
    """Give the ``clo_arch`` of a machine, this one by default. Raises ValueError for one without filters."""
    name = name or os.uname().machine
    if name not in _MACHINES:
        raise ValueError(f"there is no filter for the machine {name!r}, only for {' and '.join(_MACHINES)}")
    return _MACHINES[name]


def _bits(acts: int) -> int:
    if not 0 <= acts < 1 << _c.CLO_ACTS:
        raise ValueError(f"not a set of acts: {acts:#x}")
    return acts
