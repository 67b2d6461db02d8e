"""Changing the limits of a box that is driven through its agent, while it lives."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial

import anyio.to_thread

import cloche_native as native
from cloche.agent_stats import sized
from cloche.errors import LimitExceeded, SandboxError, Unsupported
from cloche.launch import Launch
from cloche.policy import Limits
from cloche_native import agent as wire
from cloche_native import cgroup
from cloche_native.bounds import Bounds

OWN_PROCESSES = 64  # room in a control group for the launcher, the agent and its helpers, one an exec
OLD = "programs that ran when it was changed keep the limit they were started with"


def bounds(limits: Limits) -> Bounds:
    """Give what the kernel is asked to keep of ``limits``."""
    return Bounds(
        memory=limits.memory, cpu=limits.cpu, pids=limits.pids, open_files=limits.open_files,
        file_size=limits.file_size,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LivingLimits:
    """What keeps the limits of one living box.

    ``tasks`` gives what the agent is told for a bound on processes, ``ask`` sends it the packet made for a token and
    gives the errno it answers, ``open`` opens a folder of the box, ``room`` is what the control group is given for a
    bound on processes, where that is not what it was given more when it was made.
    """

    launch: Launch
    group: cgroup.Group | None
    tasks: Callable[[Bounds], int | None]
    ask: Callable[[Callable[[int], bytes]], Awaitable[int]]
    open: Callable[[str], int]
    room: Callable[[int], int] | None = None

    async def change(self, old: Limits, new: Limits) -> Mapping[str, str]:
        """Put ``new`` in force for ``old``, all or nothing; see ``Instance.update``."""
        changed = new.differing(old)
        if "cpu" in changed and self.group is None:
            raise Unsupported("limits.cpu: without a control group the processors of a box are fixed when it is made")
        if changed & {"disk", "files"} and os.geteuid() != 0:
            raise Unsupported("limits.disk and limits.files: only root can change them for a living sandbox")
        with contextlib.ExitStack() as undo:
            if self.group is not None and changed & {"memory", "pids", "cpu"}:
                await self._change_group(self.group, changed, old, new, undo)
            for path in sized(self.launch) if changed & {"disk", "files"} else ():
                self._change_room(path, old, new, undo)
            later = await self.change_programs(changed, new)
            undo.pop_all()
        return later

    async def _change_group(
        self, group: cgroup.Group, changed: Collection[str], old: Limits, new: Limits, undo: contextlib.ExitStack
    ) -> None:
        """Change the group's bounds, beside the event loop: the kernel may have to reclaim much for a lower one."""
        wanted = {name: getattr(new, name) for name in ("memory", "pids", "cpu") if name in changed}
        if "pids" in wanted and self.room is not None:
            wanted["pids"] = self.room(wanted["pids"])
        elif "pids" in wanted:
            has_room = (
                old.pids is not None and "pids" in group.bounds
            )  # for the box's own processes, as when it was made
            wanted["pids"] += int(group.bounds["pids"]) - (old.pids or 0) if has_room else OWN_PROCESSES
        before = {name: group.bounds[name] for name in wanted if name in group.bounds}
        undo.callback(_undo, partial(group.update, **before))  # type: ignore[arg-type]
        try:
            await anyio.to_thread.run_sync(partial(group.update, **wanted))
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise LimitExceeded(
                    f"limits.memory: {new.memory} bytes were asked for, but the box uses more than it could be made to "
                    "give back; end programs in it, or ask for more"
                ) from error
            if error.errno == errno.ENOENT:
                undo.pop_all()  # somebody has removed the group: there is nothing to set back
            raise SandboxError(f"the limits of the box's control group can't be changed: {error}") from error

    def _change_room(self, path: str, old: Limits, new: Limits, undo: contextlib.ExitStack) -> None:
        folder = self.open(path)
        size, files = new.disk, new.files
        try:
            found = os.fstatvfs(folder)
            before = (found.f_blocks * found.f_frsize, found.f_files)
            size = size if size is not None and size != old.disk else before[0]
            files = files if files is not None and files != old.files else before[1]
            native.resize_memory_folder(folder, size, files)
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise LimitExceeded(
                    f"limits.disk and limits.files: more than {size} bytes or {files} files are in {path} of the box "
                    "already; remove some, or ask for more"
                ) from error
            if error.errno == errno.EOPNOTSUPP:
                raise Unsupported(f"limits.disk and limits.files: {path} of the box has a fixed size") from error
            raise SandboxError(f"the size of {path} of the box can't be changed: {error}") from error
        finally:
            os.close(folder)
        undo.callback(_undo, partial(self._restore_room, path, *before))

    def _restore_room(self, path: str, size: int, files: int) -> None:
        folder = self.open(path)
        try:
            native.resize_memory_folder(folder, size, files)
        finally:
            os.close(folder)

    async def change_programs(self, changed: Collection[str], new: Limits) -> Mapping[str, str]:
        """Tell the agent, one limit after another, so that it is known which ones what runs could not be given."""
        asked, grouped = bounds(new), self.group is not None
        later: dict[str, str] = {}
        for name in ("memory", "pids", "open_files", "file_size"):
            rlimits = asked.rlimits_of(name, grouped=grouped) if name in changed else []
            pids = self.tasks(asked) if name == "pids" and name in changed else None
            memory = asked.memory if name == "memory" and name in changed and not grouped else None
            if not rlimits and pids is None and memory is None:
                continue
            error = await self.ask(partial(wire.encode_limits, rlimits=rlimits, pids=pids, memory=memory))
            if error == errno.EPERM:
                later[name] = OLD
            elif error:
                raise SandboxError(f"limits.{name}: the box could not take it: {os.strerror(error)}")
        return later


def _undo(step: Callable[[], object]) -> None:
    try:
        step()
    except OSError as error:
        raise SandboxError(f"the limits were changed in part only, and could not be set back: {error}") from error
