"""The runtime: the agent runs directly on the host and puts Landlock, the filter and limits on every program."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import cloche_native as native
from cloche import (
    AgentRuntime,
    Check,
    Enforced,
    Guarantee,
    Kept,
    Launch,
    Seat,
    Spec,
    SpecError,
    Unenforced,
    reachable,
)
from cloche_native import agent as wire
from cloche_process import checks
from cloche_process.paths import etc_files, system_folders

SCOPES_SINCE = 6  # Landlock ABI with signal and abstract-socket scopes, Linux 6.12 (landlock(7))


class ProcessRuntime(AgentRuntime):
    """No namespaces: sees the host's processes exist and its file names, but can't touch them."""

    name: ClassVar[str] = "process"
    summary: ClassVar[str] = "a plain process under Landlock and a system-call filter; needs no namespaces"
    strength: ClassVar[int] = 10
    guarantees: ClassVar[frozenset[Guarantee]] = frozenset(
        {Guarantee.PROCESS, Guarantee.FILESYSTEM, Guarantee.NETWORK, Guarantee.SYSCALLS, Guarantee.CAPABILITIES}
        | {Guarantee.IDENTITY, Guarantee.MEMORY, Guarantee.PIDS, Guarantee.CPU, Guarantee.PAUSE}
    )
    has_own_view = False

    def missing(self) -> str | None:
        """Landlock is what keeps the paths; without it there is nothing to offer."""
        if native.landlock_abi() == 0:
            return f"{native.landlock_reason()}; it needs Linux 5.13 with Landlock enabled (lsm=landlock,... at boot)"
        return None

    def checks(self) -> Sequence[Check]:
        """Say which of the kernel's rules there are."""
        return [*checks.foundations(), *super().checks()]

    def adjust(self, spec: Spec, features: dict[str, Kept]) -> None:
        """Say plainly what is weaker without namespaces."""
        features[Guarantee.DISK] = Unenforced("the work folder lies on the host's disk", "use a namespace runtime")
        if spec.network.mode == "loopback":
            features[Guarantee.NETWORK] = Unenforced(
                "a loopback of its own needs a network namespace", "use network='none' or a namespace runtime"
            )
        if spec.network.mode == "host":
            features[Guarantee.NETWORK] = Enforced("the host's network, as asked")
        for problem in self._impossible(spec):
            features[Guarantee.FILESYSTEM] = Unenforced(problem, "use a runtime with mount namespaces, e.g. bwrap")

    def launch(self, spec: Spec, setup: wire.Setup, seat: Seat | None) -> Launch:
        """Give the agent itself as the command, with Landlock rules for what the policy lists."""
        problems = self._impossible(spec)
        if seat is not None:
            problems += _closed(spec, seat.uid)
        if problems:
            raise SpecError("; ".join(problems))
        uid = seat.uid if seat is not None else None
        read, write = wire.Access.READ, wire.Access.READ | wire.Access.WRITE
        execute = read | wire.Access.EXECUTE
        rules = [(execute, path) for path in system_folders()] + [(read, path) for path in etc_files()]
        rules += [(write, f"/dev/{name}") for name in ("null", "zero", "full", "random", "urandom")]
        rules += [((execute if m.read_only else execute | write), m.source) for m in spec.mounts]
        cleanup: tuple[Callable[[], object], ...] = ()
        if spec.workspace.source is not None:
            folder = Path(spec.workspace.source)
        else:
            folder = self.temp_folder(spec, seat)
            cleanup = (partial(self.drop_folder, folder),)
        rules.append((execute | write, str(folder)))
        parts = wire.Landlock.FS
        if native.landlock_abi() >= SCOPES_SINCE:
            parts |= wire.Landlock.SCOPE
        if spec.network.mode == "none" and native.landlock_abi() >= 4:  # noqa: PLR2004 - TCP rules, landlock(7)
            parts |= wire.Landlock.NO_TCP
        flags = setup.flags | wire.SetupFlag.REAPER
        return Launch(
            argv=(str(reachable(Path(native.init_path()), uid)), str(wire.CONTROL_FD)),
            setup=replace(setup, hostname="", flags=flags, landlock=parts, paths=tuple(rules)),
            workspace=str(folder),
            dies_with_agent=False,
            cleanup=cleanup,
        )

    def _impossible(self, spec: Spec) -> list[str]:
        out = [
            f"mount {m.source} can't appear at {m.target} without a mount namespace; give it the same path"
            for m in spec.mounts
            if m.source != m.target
        ]
        if spec.rootfs is not None:
            out.append("a rootfs needs a mount namespace")
        if spec.workspace.kind == "overlay":
            out.append("an overlay workspace needs a mount namespace")
        shown = [*system_folders(), *etc_files(), *(m.target for m in spec.mounts)]
        shown += [p for p in (spec.workspace.source, spec.workspace.target) if p is not None]
        out += [
            f"{path} can't be forbidden below the allowed {folder}: Landlock only allows"
            for path in spec.forbidden
            for folder in shown
            if path == folder or path.startswith(folder + "/")
        ]
        return out


def _closed(spec: Spec, uid: int) -> list[str]:
    """Give what the box's own user could not reach, since without a mount namespace nothing can be mapped to it."""
    wanted = [(m.source, not m.read_only) for m in spec.mounts]
    if spec.workspace.source is not None:
        wanted.append((spec.workspace.source, True))
    out = []
    for path, write in wanted:
        bits = 0o007 if write else 0o005
        status = os.stat(path)
        own = status.st_uid == uid or status.st_mode & bits == bits
        if not own or not all(parent.stat().st_mode & 0o001 for parent in Path(path).parents):
            act = "written" if write else "read"
            out.append(f"{path} can't be {act} by the box's own host user {uid}; use a namespace runtime, or open it")
    return out
