"""One box: a file system in memory, folders of the host at their places, and the programs that run now."""

from __future__ import annotations

import os
import posixpath
import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import anyio

from cloche import (
    EventSource,
    FolderVfs,
    Instance,
    Limits,
    MemoryVfs,
    Monitor,
    ProcessSpec,
    Spec,
    StartError,
    StateError,
    Stdio,
    Tree,
    Unsupported,
)
from cloche_wasm.program import NO_PROGRAM, Surroundings, WasmProgram
from cloche_wasm.wasi.telling import WasiSource
from cloche_wasm.wasi.world import Place, World

if TYPE_CHECKING:
    from cloche_native.wasm import Budget
    from cloche_wasm.machine import Machine

FILES_PER_MIB: Final = 256  # as Limits.files says
_LATER: Final = frozenset({"memory", "pids", "open_files", "file_size", "output", "wall"})
_TMP: Final = "/tmp"  # noqa: S108 - in the box


class WasmInstance(Instance):
    """Made stopped; ``start`` makes its folders."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.workspace = spec.workspace.target
        self._memory: MemoryVfs | None = None
        self._folders: list[tuple[Place, Tree | None]] = []
        self._programs: set[WasmProgram] = set()
        self._surroundings: Surroundings | None = None
        self._source: WasiSource | None = None
        self._budget: Budget | None = None
        self._refused: Counter[str] = Counter()
        """How often a program was refused more of a limit, by its name."""
        self._spent = 0.0
        self._next = 1
        self._down = anyio.Event()

    async def start(self) -> None:
        """Make the file system in memory, and open what is mounted."""
        limits = self.spec.limits
        assert limits.memory is not None  # noqa: S101 - every level sets it
        size = limits.disk or limits.memory
        shown = [(mount.source, mount.target, not mount.read_only) for mount in self.spec.mounts]
        if self.spec.workspace.source is not None:
            shown.append((self.spec.workspace.source, self.workspace, True))
        made = {self.workspace, _TMP, *(target for _, target, _ in shown)}
        own = len({parent for path in made for parent in _parents(path)})
        entries = limits.files or max(64, (size >> 20) * FILES_PER_MIB)
        self._memory = MemoryVfs(size=size, entries=entries + own)
        for path in sorted(made):
            self._memory.mkdir(path, parents=True)
        try:
            self._folders = [self._mounted(*mount) for mount in shown]
        except OSError as error:
            raise StartError(f"sandbox {self.spec.id}: what is to be mounted can't be opened: {error}") from error
        world = World([Place("/", self._memory), *(place for place, _ in self._folders)])
        given = [self.workspace, _TMP, *(place.path for place, tree in self._folders if tree is not None)]
        if self.spec.monitor:
            self._source = WasiSource(self.spec.monitor, sandbox=self.spec.number)
        self._surroundings = Surroundings(
            world, tuple(dict.fromkeys(given)), limits.open_files or 1024, None, self._refused, self._source
        )  # fmt: skip

    def _mounted(self, source: str, target: str, writable: bool) -> tuple[Place, Tree | None]:  # noqa: FBT001 - a row
        """Open a folder of the host, or for a file the folder that it lies in."""
        is_file = not os.path.isdir(source)
        fd = os.open(os.path.dirname(source) if is_file else source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        vfs = FolderVfs(fd, owned=True)
        if is_file:
            return Place(target, vfs, writable, "/" + os.path.basename(source)), None
        return Place(target, vfs, writable), Tree(target, fd, writable=writable)

    async def exec(self, process: ProcessSpec, stdio: Stdio) -> WasmProgram:
        """Begin a program in a thread of its own."""
        if self._surroundings is None or self._down.is_set():
            raise StateError(f"sandbox {self.spec.id} is not running")
        if process.window is not None:
            raise Unsupported("tty: programs of this runtime have no terminal; leave it out")
        limits = self.spec.limits
        self._share(limits)
        opened = limits.open_files or self._surroundings.open_files
        around = replace(self._surroundings, file_size=limits.file_size, open_files=opened)
        process = replace(process, cwd=posixpath.normpath(process.cwd))
        program = WasmProgram(self._next, process, around, self._machine)
        self._next += 1
        if limits.pids is not None and len(self._programs) >= limits.pids:
            self._refused["pids"] += 1
            program.refuse(NO_PROGRAM, f"{len(self._programs)} programs run, and limits.pids is {limits.pids}")
            return program
        program.start(stdio, self._gone)
        self._programs.add(program)
        return program

    def _share(self, limits: Limits) -> None:
        """Have programs take their memory from what they may have together."""
        if limits.memory is None:
            return
        if self._budget is not None:
            self._budget.resize(limits.memory)
            return
        from cloche_native.wasm import Budget  # noqa: PLC0415 - the extra's package
        from cloche_wasm.bridge import library  # noqa: PLC0415 - the same

        self._budget = Budget(library(), limits.memory)

    def _machine(self) -> Machine:
        from cloche_wasm.machine import Machine  # noqa: PLC0415 - the extra's package

        return Machine(budget=self._budget)

    def _gone(self, program: WasmProgram) -> None:
        self._programs.discard(program)
        end = program.end
        if end is not None:
            self._spent += end.usage.user

    async def wait(self) -> str:
        """Wait until it is killed: it can't go down by itself."""
        await self._down.wait()
        return ""

    async def kill(self) -> None:
        """End every program."""
        self._down.set()
        for program in tuple(self._programs):
            program.stop(signal.SIGKILL)
        for program in tuple(self._programs):
            await program.wait()

    async def delete(self) -> None:
        """Kill it, and close its folders."""
        await self.kill()
        folders, self._folders = self._folders, []
        for place, _ in folders:
            place.vfs.close()
        if self._memory is not None:
            self._memory.close()
        if self._source is not None:
            self._source.close()

    def sources(self) -> Sequence[EventSource]:
        """Give what tells of the programs, if they are watched."""
        return () if self._source is None else (self._source,)

    async def watch(self, monitor: Monitor) -> Mapping[str, str]:
        """Tell and judge as ``monitor`` says: all of it holds at once, for programs that run too."""
        if self._source is None:
            return await super().watch(monitor)
        self._source.change(monitor)
        return {}

    def trees(self) -> Sequence[Tree]:
        """Give its own file system, and what is mounted."""
        if self._memory is None:
            return ()
        return (Tree("/", vfs=self._memory), *(tree for _, tree in self._folders if tree is not None))

    async def stats(self) -> Mapping[str, float]:
        """Give what its programs use, and how often they were refused more."""
        running = [program.spent() for program in self._programs]
        out = {"cpu": self._spent + sum(running), "memory": 0.0, "memory_peak": 0.0, "pids": float(len(running))}
        refused = {"pids": 0, "open_files": 0, "file_size": 0, **self._refused}
        if self._budget is not None:
            shared = self._budget.look()
            out |= {"memory": float(shared.used), "memory_peak": float(shared.peak)}
            refused["memory"] = shared.refused
        out |= {f"{name}_refused": float(count) for name, count in refused.items()}
        if self._memory is not None:
            out |= self._memory.usage()
        return out

    async def update(self, limits: Limits) -> Mapping[str, str]:
        """Take bounds of programs, for those started from now on; the file system stays as large as it is."""
        changed = limits.differing(self.spec.limits)
        if fixed := sorted(changed - _LATER):
            raise Unsupported(f"limits: {', '.join(fixed)} can't be changed in a living sandbox of this runtime")
        self.spec = replace(self.spec, limits=limits)
        if self._budget is not None:
            self._share(limits)
        caveat = "programs that run keep theirs"
        return {name: caveat for name in sorted(changed & {"open_files", "file_size"}) if self._programs}

    def info(self) -> Mapping[str, str]:
        """Say which machine runs the programs."""
        return {"machine": "wasmtime, in this process"}


def _parents(path: str) -> list[str]:
    names = path.strip("/").split("/")
    return ["/".join(names[: depth + 1]) for depth in range(len(names))]
