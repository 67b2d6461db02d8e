"""The sources that the host makes itself keep the contract of every source."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from cloche import Act, EventSource, Files, NoticeType, SandboxError, Tree
from cloche.files.reach import Reach
from cloche.monitoring.files import FilesSource
from cloche.monitoring.life import LifeSource
from cloche.monitoring.made import MadeSource
from cloche.testing import EventSourceConformance


class TestMade(EventSourceConformance):
    performs = (Act.OPEN, Act.CONNECT, Act.LOST)

    @contextmanager
    def opened(self, script: Sequence[Act]) -> Iterator[EventSource]:  # noqa: ARG002 - nothing depends on it
        source = MadeSource("made", "other", frozenset(self.performs), sandbox=3)
        yield source
        source.close()

    def perform(self, source: EventSource, script: Sequence[Act]) -> None:
        assert isinstance(source, MadeSource)
        for act in script:
            source.make(act, target=b"192.0.2.1", result=0)


class TestMadeInLittleRoom(TestMade):
    repeats = 60

    @contextmanager
    def opened(self, script: Sequence[Act]) -> Iterator[EventSource]:  # noqa: ARG002 - the same
        source = MadeSource("made", "other", frozenset(self.performs), sandbox=3, room=1000)
        yield source
        source.close()


class TestLife(EventSourceConformance):
    performs = (Act.BEGUN, Act.ENDED, Act.PAUSED, Act.STOPPED)

    @contextmanager
    def opened(self, script: Sequence[Act]) -> Iterator[EventSource]:  # noqa: ARG002 - the same
        source = LifeSource(sandbox=3)
        yield source
        source.close()

    def perform(self, source: EventSource, script: Sequence[Act]) -> None:
        assert isinstance(source, LifeSource)
        for number, act in enumerate(script):
            if act is Act.BEGUN:
                source.begun(number, ("echo", "\udcff\n", "x" * 3000), at=1)
            elif act is Act.ENDED:
                source.ended(number, ("echo", "a b"), -9)
            else:
                source.step(NoticeType(act.value), "because\x1b[0m \ud800")


class TestFiles(EventSourceConformance):
    performs = (Act.WRITE, Act.READ, Act.STAT, Act.UNLINK, Act.LIST, Act.CREATE, Act.MKDIR)

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self.path = tmp_path

    @contextmanager
    def opened(self, script: Sequence[Act]) -> Iterator[EventSource]:  # noqa: ARG002 - the same
        fd = os.open(self.path, os.O_PATH | os.O_DIRECTORY)
        tree = Tree("/workspace", fd)
        reach = Reach("abc", "/workspace", lambda: [tree])
        self.files = Files(reach)
        source = FilesSource(self.files, reach.whole, sandbox=3)
        yield source
        source.close()
        reach.close()
        os.close(fd)

    def perform(self, source: EventSource, script: Sequence[Act]) -> None:  # noqa: ARG002 - it hears of them itself
        does: dict[Act, Callable[[], object]] = {
            Act.WRITE: lambda: self.files.write("a\n\x1b", b"x"),
            Act.READ: lambda: self.files.read("a\n\x1b"),
            Act.STAT: lambda: self.files.exists("none"),
            Act.UNLINK: lambda: self.files.remove("a\n\x1b"),
            Act.LIST: self.files.list,
            Act.CREATE: lambda: self.files.open("b", "w").close(),
            Act.MKDIR: lambda: self.files.mkdir("c"),
        }
        for act in script:
            with suppress(SandboxError):  # what was removed before is not there: told all the same
                does[act]()
