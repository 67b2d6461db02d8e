"""A sandbox of another host, driven through that host's door: instance and programs."""

from __future__ import annotations

import os
import signal as signals
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

import anyio

from cloche import units
from cloche.errors import RegistryError, SandboxError, SpecError, Unsupported
from cloche.registry.connection import Connection
from cloche.registry.messages import Message
from cloche.registry.plain import count_from, from_plain, to_plain
from cloche.runtime import GuestProcess, Instance
from cloche.runtime_parts import Exit, Stdio, Tree
from cloche.spec import ProcessSpec, Violation, Window

START: Final = 30.0  # longer than an agent may take to answer its own host


class RemoteProcess(GuestProcess):
    """A program in a sandbox of another host, its streams held here."""

    def __init__(self, connection: Connection, number: int) -> None:
        self.pid = 0
        self.terminal: int | None = None
        self._connection = connection
        self.number = self._number = number
        self._end: Exit | None = None
        self._ended = anyio.Event()

    async def wait(self) -> Exit:
        """Wait for the other host's word, or for the end of the connection, with which its programs end."""
        await self._ended.wait()
        assert self._end is not None  # noqa: S101 - set before the event
        return self._end

    async def signal(self, number: int) -> None:
        """Have the other host signal it."""
        await self._ask("signal", {"number": number})

    async def kill(self) -> None:
        """Have the other host end its tree."""
        await self._ask("end", {})
        await self._ended.wait()

    async def resize(self, window: Window) -> None:
        """Have the other host resize its terminal."""
        await self._ask("resize", {"window": to_plain(window)})

    def finish(self, end: Exit) -> None:
        """Record the end; the first word counts."""
        if self._end is None:
            self._end = end
            self._ended.set()

    async def _ask(self, do: str, body: Mapping[str, Any]) -> None:
        if self._end is None:
            try:
                await self._connection.ask(do, {"program": self._number, **body})
            except RegistryError:
                if self._end is None:
                    raise


class RemoteInstance(Instance):
    """A box that another host owns. Everything but the streams of its programs is there."""

    def __init__(self, connection: Connection, workspace: str) -> None:
        self.workspace = workspace
        self.connection = connection
        self._programs: dict[int, RemoteProcess] = {}
        self._facts: Mapping[str, str] = {}
        self._trees: tuple[Tree, ...] = ()
        self._open: dict[str, Tree] = {}
        self._treeless = "its owner was not asked for them yet"
        self._down = anyio.Event()
        self._why = ""
        self.found: Callable[[int, Violation], object] = lambda *_: None
        """What is told of each violation by a program that was run from here, by its number."""

    async def start(self) -> None:
        """Have it started."""
        await self.connection.ask("start")

    async def exec(self, process: ProcessSpec, stdio: Stdio) -> GuestProcess:
        """Have a program started with these descriptors, which travel there."""
        ends = (stdio.stdin, stdio.stdout, stdio.stderr)
        given = [fd for fd in ends if fd is not None]
        body = {"process": to_plain(process), "stdio": [fd is not None for fd in ends]}
        number = self.connection.number()
        program = self._programs[number] = RemoteProcess(self.connection, number)
        try:
            answer = await self._begin({**body, "program": number}, given)
        except TimeoutError:
            self.connection.close("the host that owns the sandbox does not answer")
            raise RegistryError(self.connection.why) from None
        except BaseException:
            self._programs.pop(number, None)
            raise
        program.terminal = answer.fds[0] if answer.fds else None
        for fd in answer.fds[1:]:
            os.close(fd)
        program.pid = from_plain(int, answer.body.get("pid"), "pid")
        return program

    async def _begin(self, body: dict[str, Any], fds: list[int]) -> Message:
        # Interrupted, nobody would know of the program: so it is begun first, and whoever awaits it ends it.
        with anyio.CancelScope(shield=True), anyio.fail_after(START):
            return await self.connection.ask("exec", body, fds=fds)
        raise TimeoutError  # never reached; a scope could swallow what ends it

    async def wait(self) -> str:
        """Wait until the other host says that it is down, or is gone itself."""
        await self._down.wait()
        return self._why

    async def kill(self) -> None:
        """Have it killed."""
        await self.connection.ask("kill")

    async def delete(self) -> None:
        """Have it deleted."""
        await self.connection.ask("delete")

    async def pause(self) -> None:
        """Have it paused."""
        await self.connection.ask("pause")

    async def resume(self) -> None:
        """Have it resumed."""
        await self.connection.ask("resume")

    async def stats(self) -> Mapping[str, float]:
        """Ask for its figures."""
        answer = await self.connection.ask("stats")
        figures: Mapping[str, float] = from_plain(Mapping[str, float], answer.body.get("stats"), "stats")
        return figures

    def info(self) -> Mapping[str, str]:
        """Give what the other host said when this one attached."""
        return self._facts

    async def learn(self) -> None:
        """Ask what is to be seen in ``info``."""
        answer = await self.connection.ask("info")
        self._facts = from_plain(Mapping[str, str], answer.body.get("info"), "info")
        await self.fetch_trees()

    def trees(self) -> Sequence[Tree]:
        """Give the folders that the owner gave; this process's own descriptors of them."""
        if self._treeless:
            raise Unsupported(f"the files of the sandbox can't be reached: {self._treeless}")
        return self._trees

    async def fetch_trees(self) -> None:
        """Ask the owner for the folders: when this host attaches, and when the box comes up."""
        found: list[Tree] = []
        self._trees = ()
        try:
            total = 1
            while len(found) < total:
                answer = await self.connection.ask("trees", {"from": len(found)})
                total = count_from(answer.body, "all", 1 << 16)
                found += self._taken(answer)
                if not answer.fds:
                    break
        except SandboxError as error:
            self._treeless = str(error)
            return
        self._trees, self._treeless = tuple(found), ""

    def _taken(self, answer: Message) -> list[Tree]:
        views = from_plain(tuple[Mapping[str, Any], ...], answer.body.get("trees"), "trees")
        if len(views) != len(answer.fds):
            answer.close()
            raise RegistryError("the owner of the sandbox gave folders that do not fit its words")
        found = []
        for view, fd in zip(views, answer.fds, strict=True):
            path = from_plain(str, view.get("path"), "path")
            if path in self._open:
                os.close(fd)
            else:
                uid, gid = (from_plain(int | None, view.get(key), key) for key in ("uid", "gid"))
                writable = from_plain(bool, view.get("writable"), "writable")
                self._open[path] = Tree(path, fd, uid=uid, gid=gid, writable=writable)
            found.append(self._open[path])
        return found

    def keep_trees(self, paths: Collection[str]) -> None:
        """Take the word that the box is down and only these folders are still to be used."""
        self._trees = tuple(tree for tree in self._trees if tree.path in paths)

    def close_trees(self) -> None:
        """Close the folders; nobody works in them any more. Harmless when repeated."""
        self._trees, self._treeless = (), "this host has detached from it"
        while self._open:
            os.close(self._open.popitem()[1].fd)

    def ended(self, body: Mapping[str, Any]) -> None:
        """Take the word that a program ended. Raises ``SpecError`` for what makes no sense."""
        number = from_plain(int, body.get("program"), "program")
        end = from_plain(Exit, body.get("exit"), "exit")
        violations = [
            violation_from(one) for one in from_plain(tuple[Any, ...], body.get("violations", []), "violations")
        ]
        program = self._programs.pop(number, None)
        if program is not None:
            for violation in violations:
                self.found(number, violation)
            program.finish(end)

    def down(self, why: str) -> None:
        """Take the word that the box is down."""
        self._why = self._why or why
        self._down.set()

    def lost(self, why: str) -> None:
        """Take the end of the connection: the other host ends what was started over it."""
        for program in self._programs.values():
            program.finish(Exit(signal=signals.SIGKILL, detail=why))
        self.down(why)


def violation_from(data: object) -> Violation:
    """Give a violation from its parts. Its texts may be any of a guest's, so none is refused for what it holds."""
    parts = from_plain(Mapping[str, Any], data, "violation")
    for field in fields(Violation):
        if field.name in parts and type(parts[field.name]).__name__ != field.type and field.name != "time":
            raise SpecError(f"violation.{field.name}: {units.shown(parts[field.name])} makes no sense")
    try:
        return Violation(**parts)
    except TypeError as error:
        raise SpecError(f"violation: {error}") from None
