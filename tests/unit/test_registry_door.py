"""A host's door: what comes through it is checked, and nobody who stands in it hurts the host."""

from __future__ import annotations

import array
import os
import socket
import struct
from typing import TYPE_CHECKING, Self

import pytest

from cloche import OPEN, Host, Sandbox
from cloche.registry import door, session
from cloche.registry.messages import VERSION, Decoder, Message, encode
from cloche.testing import FakeRuntime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("no_own_leaks")


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tmp_path.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "cloche"


class Caller:
    """Another process of the same user, as far as the door can tell: says what it likes."""

    def __init__(self, base: Path) -> None:
        (path,) = base.glob("hosts/*/door.sock")
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        folder = os.open(path.parent, os.O_PATH)
        try:
            self.socket.connect(f"/proc/self/fd/{folder}/door.sock")
        finally:
            os.close(folder)
        self._decoder = Decoder()
        self._came: list[Message] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def say(self, raw: bytes, fds: list[int] | None = None) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds or []))] if fds else []
        self.socket.sendmsg([raw], rights)

    def hear(self) -> Message:
        while not self._came:
            raw, rest, _, _ = self.socket.recvmsg(1 << 18, 4096)
            fds = [fd for _, _, part in rest for fd in array.array("i", part)]
            self._came += self._decoder.feed(raw, fds)
            if not raw:
                raise EOFError
        return self._came.pop(0)

    def ask(self, do: str, fds: list[int] | None = None, **body: object) -> Message:
        self.say(encode({"id": 7, "do": do, **body}, fds=len(fds or [])), fds)
        while (message := self.hear()).body.get("id") != 7:
            message.close()
        return message

    def hello(self, version: object = VERSION) -> Message:
        return self.ask("hello", cloche=version)

    def refused(self, do: str, words: str, fds: list[int] | None = None, **body: object) -> None:
        error = self.ask(do, fds, **body).body["error"]
        assert words in error["text"], error

    def hung_up(self) -> bool:
        try:
            while True:
                self.hear().close()
        except (EOFError, ConnectionError):
            return True
        except TimeoutError:
            return False


@pytest.fixture
def caller(box: Sandbox, base: Path) -> Iterator[Caller]:
    assert box.state == "running"
    with Caller(base) as caller:
        assert caller.hello().body["cloche"] == VERSION
        yield caller


@pytest.mark.parametrize(
    "raw",
    [b"GET / HTTP/1.1\r\n\r\n" * 20, bytes(4096), b"\xff" * 4096, struct.pack("!IIHxx", 2, 0, 0) + b"[]",
     encode({"id": 0, "do": "hello", "cloche": VERSION}) + b"\xff" * 99, encode({"id": 0, "do": "hello"}),
     encode({"id": 0, "do": "hello", "cloche": 99})],
)  # fmt: skip
def test_who_talks_nonsense_is_hung_up_on(box: Sandbox, base: Path, raw: bytes) -> None:
    with Caller(base) as caller:
        caller.say(raw)
        assert caller.hung_up()
    assert box.exec("echo", "still").text == "still\n"


def test_who_says_nothing_or_not_all_is_hung_up_on(box: Sandbox, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "HELLO", 0.05)
    monkeypatch.setattr("cloche.registry.messages.STALL", 0.05)
    with Caller(base) as silent, Caller(base) as slow:
        slow.hello()
        slow.say(encode({"id": 1, "do": "attach"})[:9])
        assert silent.hung_up()
        assert slow.hung_up()
    assert box.exec("echo", "still").text == "still\n"


def test_only_so_many_stand_in_the_door(box: Sandbox, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "CONNECTIONS_MAX", 2)
    with Caller(base) as one, Caller(base) as two:
        one.hello()
        two.hello()
        with Caller(base) as three:
            assert three.hung_up()
        assert one.ask("attach", sandbox=box.id).body["runtime"] == "fake"


@pytest.mark.usefixtures("box")
def test_a_caller_of_another_user_is_hung_up_on(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "trusted", lambda _: False)
    with Caller(base) as caller:
        assert caller.hung_up()


def test_every_field_of_a_request_is_checked(caller: Caller, box: Sandbox) -> None:
    caller.refused("stats", "attach to a sandbox first")
    caller.refused("dance", "knows no verb 'dance'")
    caller.refused("create", "only a keeper does", request={})
    caller.refused("attach", "has no sandbox", sandbox="zzz")
    caller.refused("attach", "text is needed", sandbox=5)
    caller.ask("attach", sandbox=box.id)
    caller.refused("attach", "make another connection", sandbox=box.id)
    process = {"args": ["true"], "env": {}, "cwd": "/"}
    none = [False] * 3
    caller.refused("exec", "process: dict is needed", program=1, stdio=none)
    caller.refused("exec", "program", process=process, stdio=none)
    caller.refused("exec", "stdio", process=process, program=1, stdio=[False])
    caller.refused("exec", "and 0 descriptors came", process=process, program=1, stdio=[True, False, False])
    caller.refused("exec", "unknown part", process={**process, "root": True}, program=1, stdio=none)
    caller.refused("signal", "number", program=1, number=-4)
    caller.refused("signal", "number", program=1, number="9")
    caller.refused("resize", "window rows", program=1, window={"rows": -1})
    caller.refused("follow", "has no job", job="j9", since=0, follow=1)
    caller.refused("follow", "since", job="j9", since=-1, follow=1)
    caller.refused("spawn", "args: list is needed", args="rm -rf")
    caller.refused("spawn", "is not a duration", args=["true"], open=False, env={}, cwd=None, linger=False,
                   lossless=False, timeout="soon")  # fmt: skip
    caller.refused("job_write", "has no job", job="../j0")
    assert caller.ask("end", program=55).body == {"id": 7}  # one that has ended is no error
    assert box.exec("echo", "still").text == "still\n"


def test_a_program_gets_pipes_and_nothing_else_of_who_asks(caller: Caller, box: Sandbox) -> None:
    caller.ask("attach", sandbox=box.id)
    process = {"args": ["echo", "hi"], "env": {}, "cwd": "/"}
    for path, flags in (("/", os.O_RDONLY | os.O_DIRECTORY), ("/dev/null", os.O_WRONLY)):
        fd = os.open(path, flags)
        stdio = [False, True, False]
        caller.refused("exec", "are pipes, nothing else", [fd], process=process, program=1, stdio=stdio)
        os.close(fd)
    reading, writing = os.pipe()
    assert caller.ask("exec", [writing], process=process, program=1, stdio=[False, True, False]).body["pid"] > 1
    os.close(writing)
    told = caller.hear()
    assert (told.body["event"], told.body["program"], told.body["exit"]["code"]) == ("exit", 1, 0)
    assert os.read(reading, 99) == b"hi\n"
    os.close(reading)


def test_who_takes_nothing_is_hung_up_on_and_the_host_goes_on(
    caller: Caller, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "QUEUED_MAX", 8)
    caller.ask("attach", sandbox=box.id)
    for _ in range(2000):
        try:
            caller.say(encode({"id": 1, "do": "dance", "waste": "x" * 1000}))
        except (ConnectionError, TimeoutError):
            break
    assert caller.hung_up()
    assert box.exec("echo", "still").text == "still\n"


def test_a_follower_gets_a_piece_at_a_time(caller: Caller, box: Sandbox) -> None:
    job = box.spawn("cat", stdin=OPEN)
    caller.ask("attach", sandbox=box.id)
    caller.ask("follow", job=job.id, since=0, follow=3)
    for text in (b"one", b"two"):
        job.write(text)
        told = caller.hear()
        assert (told.body["event"], told.body["follow"], told.data) == ("output", 3, text)
        caller.say(encode({"do": "more", "follow": 3}))
    caller.refused("follow", "is in use", job=job.id, since=0, follow=3)
    caller.say(encode({"do": "unfollow", "follow": 3}) + encode({"do": "more", "follow": 99}))
    assert caller.hear().body == {"event": "end", "follow": 3}
    job.kill()


def test_what_was_started_from_afar_ends_with_the_connection(box: Sandbox, base: Path) -> None:
    process = {"args": ["sleep", "600"], "env": {}, "cwd": "/"}
    with Caller(base) as caller:
        caller.hello()
        caller.ask("attach", sandbox=box.id)
        caller.ask("exec", process=process, program=1, stdio=[False] * 3)
        caller.ask("exec", process={**process, "linger": True}, program=2, stdio=[False] * 3)
        caller.refused("exec", "is in use", process=process, program=1, stdio=[False] * 3)
        assert box.stats()["pids"] == 2
    with Caller(base) as other:
        other.hello()
        other.ask("attach", sandbox=box.id)
        while other.ask("stats").body["stats"]["pids"] != 1:
            continue  # the door learns of the end of a connection in its own time


def test_the_owner_bounds_time_where_who_asked_does_not(
    host: Host, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloche.programs.LENT_GRACE", 0.0)
    with host.create(limits={"wall": 0.05}) as box, Caller(base) as caller:
        caller.hello()
        caller.ask("attach", sandbox=box.id)
        process = {"args": ["sleep", "600"], "env": {}, "cwd": "/"}
        caller.ask("exec", process=process, program=1, stdio=[False] * 3)
        assert caller.hear().body["exit"]["signal"] == 9


def test_an_owner_that_talks_nonsense_is_let_go(host: Host, fakes: Callable[..., object]) -> None:
    box = host.create()
    with Host(plugins=[fakes(FakeRuntime())], entry_points=False) as other:
        there = other.attach(box.id)
        (own,) = host._inner.registry.door.sessions  # type: ignore[union-attr]
        host._bridge.call(own.post, {"event": "state", "state": "great", "reason": ""})
        assert "what makes no sense" in there.wait()
        assert there.state == "stopped"
        assert box.state == "running"
