"""The runtime: the agent runs directly on the host and puts Landlock, the filter and limits on every program."""

from __future__ import annotations

import os
import stat
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
    Partial,
    Seat,
    Spec,
    SpecError,
    Unenforced,
    reachable,
)
from cloche_native import agent as wire
from cloche_process import checks, rules
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
        if spec.restricts_paths() or rules.uneven(spec):
            features["paths"] = Partial(f"Landlock ABI {native.landlock_abi()}", "; ".join(rules.caveats(spec)))

    def launch(self, spec: Spec, setup: wire.Setup, seat: Seat | None) -> Launch:
        """Give the agent itself as the command, with Landlock rules for what the policy lists."""
        problems = self._impossible(spec)
        if seat is not None:
            problems += _closed(spec, seat.uid)
        if problems:
            raise SpecError("; ".join(problems))
        uid = seat.uid if seat is not None else None
        read = wire.Access.READ | wire.Access.LIST
        write = read | wire.Access.WRITE | wire.Access.CREATE | wire.Access.DELETE
        execute = read | wire.Access.EXECUTE
        listed = [(execute, path) for path in system_folders()] + [(read, path) for path in etc_files()]
        listed += [(write, f"/dev/{name}") for name in ("null", "zero", "full", "random", "urandom")]
        cleanup: tuple[Callable[[], object], ...] = ()
        if spec.workspace.source is not None:
            folder = Path(spec.workspace.source)
        else:
            folder = self.temp_folder(spec, seat)
            cleanup = (partial(self.drop_folder, folder),)
        listed += rules.rules(spec, str(folder))
        parts = wire.Landlock.FS
        if native.landlock_abi() >= SCOPES_SINCE:
            parts |= wire.Landlock.SCOPE
        if spec.network.mode == "none" and native.landlock_abi() >= 4:  # noqa: PLR2004 - TCP rules, landlock(7)
            parts |= wire.Landlock.NO_TCP
        flags = setup.flags | wire.SetupFlag.REAPER
        return Launch(
            argv=(str(reachable(Path(native.init_path()), uid)), str(wire.CONTROL_FD)),
            setup=replace(setup, hostname="", flags=flags, landlock=parts, paths=tuple(listed)),
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
        if spec.workspace.kind in ("overlay", "image"):
            out.append(f"an {spec.workspace.kind} workspace needs a mount namespace")
        shown = [
            *system_folders(),
            *etc_files(),
            *(m.target for m in spec.mounts),
            *filter(None, [spec.workspace.source]),
        ]
        return out + rules.problems(spec, shown)


def _closed(spec: Spec, uid: int) -> list[str]:
    """Give what the box's own user could not reach, since without a mount namespace nothing can be mapped to it."""
    wanted = [(m.source, not m.read_only) for m in spec.mounts]
    if spec.workspace.source is not None:
        wanted.append((spec.workspace.source, True))
    out = []
    for path, write in wanted:
        status = os.stat(path)
        bits = (0o006 if write else 0o004) | (0o001 if stat.S_ISDIR(status.st_mode) else 0)
        own = status.st_uid == uid or status.st_mode & bits == bits
        if not own or not all(parent.stat().st_mode & 0o001 for parent in Path(path).parents):
            act = "written" if write else "read"
            out.append(f"{path} can't be {act} by the box's own host user {uid}; use a namespace runtime, or open it")
    return out
