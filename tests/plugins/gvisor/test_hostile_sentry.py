"""A sentry that a guest broke answers as it likes: whatever it says, the host gets a typed error in bounded time."""

from __future__ import annotations

import array
import json
import os
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche import Exit, NotFound, SandboxError
from cloche_gvisor import replies
from cloche_gvisor.contract import GuestProgram, Target
from cloche_gvisor.control import SocketControl, connect
from cloche_gvisor.replies import BrokenSentry, Reader, RefusedCall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cloche_gvisor.contract import Control

ID = "ab" * 16
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 40), 1 << 70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


class Sentry:
    """Takes connections on a socket file and does with each what ``act`` does; ``heard`` are the requests."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "sentry.sock")
        self.heard: list[dict[str, Any]] = []
        self.act: Callable[[socket.socket], None] = lambda _: None
        self._end = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(1)
        self._listener.settimeout(0.05)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def control(self, *, seconds: float = 5.0) -> SocketControl:
        return SocketControl(Target(ID, "/no/such/folder", ("runsc",), os.getpid()), self.path, seconds=seconds)

    def says(self, *pieces: bytes) -> None:
        def act(line: socket.socket) -> None:
            for piece in pieces:
                line.sendall(piece)

        self.act = act

    def answers(self, result: object) -> None:
        self.says(json.dumps({"success": True, "err": "", "result": result}).encode())

    def close(self) -> None:
        self._end.set()
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while not self._end.is_set():
            try:
                line, _ = self._listener.accept()
            except TimeoutError:
                continue
            with line:
                line.settimeout(5)
                try:
                    self.heard.append(json.loads(line.recv(1 << 20)))
                    self.act(line)
                except OSError:  # it was hung up on
                    continue


@pytest.fixture
def sentry(tmp_path: Path) -> Iterator[Sentry]:
    made = Sentry(tmp_path)
    yield made
    made.close()


def ask(control: Control, verb: str) -> object:
    """Ask the one question that ``verb`` stands for."""
    program = GuestProgram(argv=("/bin/true",), uid=1, gid=1)
    questions: dict[str, Callable[[], Any]] = {
        "exec": lambda: control.exec(program, ()),
        "wait": lambda: control.wait(3),
        "processes": control.processes,
        "usage": control.usage,
        "sessions": control.trace_list,
        "pause": control.pause,
    }
    return anyio.run(questions[verb])


def test_a_sound_sentry_is_understood(sentry: Sentry) -> None:
    control = sentry.control()
    sentry.answers(7)
    assert ask(control, "exec") == 7
    sentry.answers(7 << 8)
    assert ask(control, "wait") == Exit(code=7)
    sentry.answers(9)
    assert ask(control, "wait") == Exit(signal=9)
    sentry.answers(None)
    assert ask(control, "processes") == []
    assert [heard["method"].split(".")[-1] for heard in sentry.heard][-3:] == ["WaitPID", "WaitPID", "Processes"]


def test_a_reply_in_single_bytes_is_read(sentry: Sentry) -> None:
    reply = json.dumps({"success": True, "err": "", "result": {"Total": 5, 'a\\"}': "}]\\"}}).encode()
    sentry.says(*(reply[i : i + 1] for i in range(len(reply))))
    assert getattr(ask(sentry.control(), "usage"), "total", None) == 5


WRONG: dict[str, list[object]] = {
    "exec": [None, "7", 0, -1, 1 << 31, True, 7.0, [7], {}],
    "wait": [None, "0", -1, 1 << 16, 0x7F, 0x137F, 0x109, 0xFFFF, True],
    "processes": [
        {}, "x", 7, [7], [None], [{}], [{"pid": 0}], [{"pid": 1, "ppid": 0, "uid": 0, "threads": [1], "cmd": 7}],
        [{"pid": 1, "ppid": -1, "uid": 0, "threads": [], "cmd": ""}], [{"pid": 1}] * 40000,
        [{"pid": 1, "ppid": 0, "uid": 0, "threads": ["1"], "cmd": ""}],
        [{"pid": 1, "ppid": 0, "uid": 1 << 33, "threads": [], "cmd": ""}],
        [{"pid": 1, "ppid": 0, "uid": 0, "threads": [], "cmd": "x" * 5000}],
        [{"pid": 1, "ppid": 0, "uid": 0, "threads": [], "cmd": "twice"}] * 2,
    ],
    "usage": [None, [], {"Total": -1}, {"Total": "5"}, {"Total": 1 << 64}, {"Total": 1.5}, {"Tmpfs": None}],
    "sessions": [7, {}, [{}], [{"name": 7}], [{"name": "a", "sinks": [7]}], [{"name": "a", "sinks": {}}],
                 [{"name": "a", "sinks": [{"name": "b", "status": []}] * 17}],
                 [{"name": "a", "sinks": [{"name": "b", "status": {"DroppedCount": -1}}]}],
                 [{"name": "a"}] * 17],
}  # fmt: skip


@pytest.mark.parametrize(("verb", "result"), [(verb, result) for verb, results in WRONG.items() for result in results])
def test_an_answer_of_the_wrong_shape_is_refused(sentry: Sentry, verb: str, result: object) -> None:
    sentry.answers(result)
    with pytest.raises(BrokenSentry):
        ask(sentry.control(), verb)


NONSENSE = {
    "no object": b"[]",
    "text": b"hello",
    "zero bytes": b"\0" * 100,
    "no success": b"{}",
    "success that is no bool": b'{"success": 1}',
    "refusal without text": b'{"success": false, "err": 7}',
    "two replies": b'{"success": true}{"success": true}',
    "trailing": b'{"success": true} ',
    "bad escape": b'{"success": true, "result": "\\x"}',
    "not UTF-8": b'{"success": true, "result": "\xff"}',
    "not a number": b'{"success": true, "result": NaN}',
    "a number of many digits": b'{"success": true, "result": %s}' % (b"9" * 5000),
    "crossed brackets": b'{"success": [}]',
    "deep": b'{"success": true, "result": ' + b"[" * 100000,
    "deep objects": b'{"a":' * 1000,
    "long": b'{"success": true, "result": "' + b"x" * (8 << 20),
    "many marks": b'{"success": true, "result": [' + b'"",' * (2 << 20),
}


@pytest.mark.parametrize("name", NONSENSE)
@pytest.mark.parametrize("verb", ["processes", "pause"])
def test_nonsense_is_refused_soon(sentry: Sentry, name: str, verb: str) -> None:
    sentry.says(NONSENSE[name])
    began = time.monotonic()
    with pytest.raises(BrokenSentry):
        ask(sentry.control(), verb)
    assert time.monotonic() - began < 10


def test_a_reply_cut_short_is_told_from_a_sandbox_that_is_down(sentry: Sentry) -> None:
    sentry.says(b'{"success": tr')
    with pytest.raises(BrokenSentry, match="half a reply"):
        ask(sentry.control(), "pause")
    sentry.says()
    with pytest.raises(SandboxError, match="is down") as found:
        ask(sentry.control(), "pause")
    assert not isinstance(found.value, BrokenSentry)


def test_silence_ends_with_an_error(sentry: Sentry) -> None:
    release = threading.Event()
    sentry.act = lambda _: (release.wait(20), None)[1]
    began = time.monotonic()
    with pytest.raises(BrokenSentry, match=r"no answer within 0\.2 s"):
        ask(sentry.control(seconds=0.2), "pause")
    assert time.monotonic() - began < 5
    release.set()


def test_a_sentry_that_trickles_is_given_no_longer(sentry: Sentry) -> None:
    def act(line: socket.socket) -> None:
        line.sendall(b'{"success": true, "result": "')
        for _ in range(200):
            time.sleep(0.02)
            line.sendall(b"x")

    sentry.act = act
    with pytest.raises(BrokenSentry, match="no answer within"):
        ask(sentry.control(seconds=0.3), "pause")


def test_a_sentry_that_takes_no_connection_is_given_up(tmp_path: Path) -> None:
    path = str(tmp_path / "full.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen(0)
        others = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(3)]
        for other in others:
            other.setblocking(False)
            other.connect_ex(path)
        with pytest.raises(BrokenSentry, match="no answer within"):
            ask(SocketControl(Target(ID, "/", ("runsc",)), path, seconds=0.2), "pause")
        for other in others:
            other.close()


def test_a_refusal_is_made_safe_to_show(sentry: Sentry) -> None:
    said = "\x1b[2J no\nway" + "x" * 100000
    sentry.says(json.dumps({"success": False, "err": said, "result": None}).encode())
    with pytest.raises(RefusedCall) as found:
        ask(sentry.control(), "pause")
    assert str(found.value).isprintable()
    assert len(str(found.value)) < 600
    sentry.says(json.dumps({"success": False, "err": "waiting: no such process"}).encode())
    with pytest.raises(NotFound):
        ask(sentry.control(), "wait")


def test_descriptors_that_come_with_a_reply_are_not_taken(sentry: Sentry) -> None:
    def act(line: socket.socket) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * 200))]
        line.sendmsg([b'{"success": true}'], rights)

    sentry.act = act
    control = sentry.control()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        ask(control, "pause")
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_newer_names_of_a_call_are_tried_and_kept(sentry: Sentry) -> None:
    def act(line: socket.socket) -> None:
        known = sentry.heard[-1]["method"].startswith("containerManager")
        line.sendall(json.dumps({"success": known, "err": "" if known else "unknown method", "result": {}}).encode())

    sentry.act = act
    control = sentry.control()
    ask(control, "pause")
    ask(control, "pause")
    names = ["Lifecycle.Pause", "containerManager.Pause", "containerManager.Pause"]
    assert [heard["method"] for heard in sentry.heard] == names


def test_a_sentry_that_knows_no_method_is_no_endless_matter(sentry: Sentry) -> None:
    sentry.says(b'{"success": false, "err": "unknown method", "result": null}')
    control = sentry.control()
    for _ in range(2):
        with pytest.raises(RefusedCall, match="unknown method"):
            ask(control, "pause")


def state(folder: Path, text: str) -> Target:
    (folder / f"{ID}_sandbox:{ID}.state").write_text(text)
    return Target(ID, str(folder), ("/no/such/runsc",))


@pytest.mark.parametrize("field", ["controlSocketPath", "control_address"])
def test_the_socket_that_newer_state_files_name_is_used(sentry: Sentry, tmp_path: Path, field: str) -> None:
    sentry.answers([])
    target = state(tmp_path, json.dumps({"sandbox": {"pid": os.getpid(), field: sentry.path}}))
    assert anyio.run(connect, target).way == "control socket"


def test_a_socket_moved_with_runscs_folder_is_found(sentry: Sentry, tmp_path: Path) -> None:
    os.rename(sentry.path, tmp_path / f"runsc-{ID}.sock")
    sentry.answers([])
    target = state(tmp_path, json.dumps({"sandbox": {"pid": os.getpid(), "controlSocketPath": "/gone"}}))
    assert anyio.run(connect, target).way == "control socket"


def test_a_socket_too_deep_for_its_address_is_reached(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 60) / ("y" * 60)
    deep.mkdir(parents=True)
    sentry = Sentry(tmp_path)
    try:
        os.rename(sentry.path, deep / "sentry.sock")
        sentry.answers([])
        control = SocketControl(Target(ID, "/", ("runsc",), os.getpid()), str(deep / "sentry.sock"))
        assert ask(control, "processes") == []
    finally:
        sentry.close()


def test_a_sentry_of_nonsense_is_not_taken_for_another_layout(sentry: Sentry, tmp_path: Path) -> None:
    sentry.says(b"nonsense")
    with pytest.raises(BrokenSentry):
        anyio.run(connect, state(tmp_path, json.dumps({"sandbox": {"controlSocketPath": sentry.path}})))


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100000, '{"sandbox": 7}', '{"sandbox": {"pid": "1"}}'])
def test_a_damaged_state_file_is_no_crash(tmp_path: Path, text: str) -> None:
    try:
        control = anyio.run(connect, state(tmp_path, text))
    except SandboxError as error:
        assert "can't be read" in str(error)  # noqa: PT017 - the other outcome is as good
    else:
        assert control.way == "command line"


@given(JSON, st.data())
def test_a_reply_is_whole_at_its_end_and_not_before(value: object, data: st.DataObject) -> None:
    text = json.dumps({"success": True, "result": value}, allow_nan=False) if _finite(value) else '{"success": true}'
    raw = text.encode()
    reader, at = Reader(), 0
    while at < len(raw):
        more = data.draw(st.integers(1, len(raw) - at))
        assert reader.feed(raw[at : at + more]) == (at + more == len(raw))
        at += more
    assert reader.result() == json.loads(raw).get("result")


def _finite(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b'{"success":', b"true", b"}", b'"', b"\\", b"[", b"]"])))
def test_any_bytes_give_a_result_or_a_typed_error(pieces: list[bytes]) -> None:
    reader = Reader(most=1000, deepest=8)
    with suppress(SandboxError):
        if any(reader.feed(piece) for piece in pieces if piece):
            reader.result()


@given(JSON)
def test_any_result_is_checked(value: object) -> None:
    checks: list[Callable[[object], object]] = [
        replies.process_id, replies.wait_status, replies.memory, replies.sessions, replies.exit_status,
        lambda found: replies.tasks(found, 10), lambda found: replies.task_ids(found, 10),
    ]  # fmt: skip
    for check in checks:
        with suppress(BrokenSentry):
            check(value)
