"""Events in a file come back as they were, and of a file that was cut or changed no byte is believed."""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import sys
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cloche import (
    Act,
    EventBatch,
    EventRecorder,
    FileError,
    Origin,
    Replay,
    SpecError,
    StateError,
    replay,
)
from cloche.__main__ import cli
from cloche.events.recorder import BLOCK, EVENTS, HEADER, MAGIC, checksum
from cloche_native import events as native

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cloche import Event

pytestmark = pytest.mark.usefixtures("no_own_leaks")
HERE = Origin({1: "abc", 2: "def"}, clock=1_700_000_000_000_000_000, machine="x86_64")


def batch(
    acts: Sequence[Act], *, first: int = 1, origin: Origin = HERE, path: bytes = b"/a", sandbox: int = 1
) -> EventBatch:
    raw = b"".join(
        native.pack(act=act.number, number=first + index, path=path, sandbox=sandbox, pid=9, time_ns=index)
        for index, act in enumerate(acts)
    )
    return EventBatch(raw, origin)


def told(source: Replay) -> list[Event]:
    found: list[Event] = []
    while some := source.read():
        found += some
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "guest.cloche-events"


@pytest.fixture
def written(file: Path) -> Path:
    with EventRecorder(file, metadata={"who": "me"}) as recorder:
        recorder.write(batch([Act.OPEN, Act.EXEC]))
        recorder.write(batch([Act.CONNECT], first=3))
    return file


@given(st.lists(st.lists(st.tuples(st.sampled_from(Act), st.binary(max_size=4095)), max_size=4), max_size=4))
def test_what_was_recorded_is_replayed(
    tmp_path_factory: pytest.TempPathFactory, made: list[list[tuple[Act, bytes]]]
) -> None:
    file = tmp_path_factory.mktemp("events") / "some.cloche-events"
    batches = [
        EventBatch(
            b"".join(native.pack(act=act.number, number=1, path=text.replace(b"\0", b"_")) for act, text in acts), HERE
        )
        for acts in made
    ]
    with EventRecorder(file) as recorder:
        for one in batches:
            recorder.write(one)
    with replay(file) as source:
        events = told(source)
        assert [event.raw for event in events] == [event.raw for one in batches for event in one]
        assert all(event.origin == HERE for event in events)
        assert source.trouble == ""


def test_a_file_says_what_its_records_leave_out(written: Path) -> None:
    with replay(written) as source:
        event = told(source)[0]
        assert (event.sandbox, event.time) == ("abc", 1_700_000_000.0)
        assert source.metadata == {"who": "me"}


def test_other_sandboxes_later_are_told_from_the_first(file: Path) -> None:
    with EventRecorder(file) as recorder:
        recorder.write(batch([Act.OPEN]))
        recorder.write(batch([Act.OPEN], origin=Origin({1: "xyz"}, HERE.clock, HERE.machine)))
        size = file.stat().st_size
        recorder.write(batch([Act.OPEN], origin=Origin({1: "xyz"}, HERE.clock + 5, HERE.machine)))
        assert file.stat().st_size - size == BLOCK.size + 104  # the same but for the clocks' jitter: no second head
    with replay(file) as source:
        assert [event.sandbox for event in told(source)] == ["abc", "xyz", "xyz"]


def test_a_file_that_is_there_is_never_written_over(written: Path) -> None:
    before = written.read_bytes()
    with pytest.raises(FileError, match="is there already"):
        EventRecorder(written)
    assert written.read_bytes() == before


def test_what_is_recorded_is_for_the_callers_eyes_only(written: Path) -> None:
    assert written.stat().st_mode & 0o777 == 0o600


def test_a_file_is_followed_by_others_when_it_is_full(file: Path) -> None:
    with EventRecorder(file, size="4M", files=3) as recorder:
        for number in range(1, 18):
            recorder.write(batch([Act.OPEN] * 250, first=number * 250, path=b"/" + b"x" * 4000))
        assert recorder.rotated == 4
    found = sorted(path.name for path in file.parent.iterdir())
    assert found == [file.name, f"{file.name}.1", f"{file.name}.2"]
    numbers: list[int] = []
    for name in reversed(found):
        assert (file.parent / name).stat().st_size <= 4 << 20
        with replay(file.parent / name) as source:
            numbers += [event.number for event in told(source)]
            assert source.trouble == ""
    assert numbers == list(range(9 * 250, 18 * 250))


def test_a_disk_that_is_full_leaves_a_file_that_can_be_read(file: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with EventRecorder(file) as recorder:
        recorder.write(batch([Act.OPEN]))
        resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 150, before[1]))
        try:
            with pytest.raises(OSError, match="too large"):
                recorder.write(batch([Act.EXEC] * 5, first=2))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)
        recorder.write(batch([Act.CONNECT], first=2))
    with replay(file) as source:
        assert [event.act for event in told(source)] == ["open", "connect"]
        assert source.trouble == ""


def test_a_closed_recorder_writes_no_more(file: Path) -> None:
    recorder = EventRecorder(file)
    recorder.close()
    recorder.close()
    with pytest.raises(StateError, match="is closed"):
        recorder.write(batch([Act.OPEN]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 5}, "size: 5 is out of range"),
        ({"files": 0}, "files: 0 is out of range"),
        ({"metadata": {"a": 1}}, "metadata a: text is needed"),
        ({"metadata": 3}, "metadata: a mapping of at most 64"),
    ],
)
def test_a_recorder_refuses_what_makes_no_sense(file: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        EventRecorder(file, **arguments)
    assert not file.exists()


def test_a_file_cut_anywhere_is_told_up_to_there(written: Path, tmp_path: Path) -> None:
    whole = written.read_bytes()
    seen: set[int] = set()
    for size in range(len(MAGIC), len(whole)):
        cut = tmp_path / "cut"
        cut.write_bytes(whole[:size])
        with replay(cut) as source:
            events = told(source)
            assert [event.number for event in events] == list(range(1, len(events) + 1))
            assert bool(source.trouble) == (size not in _ends(whole))
            seen.add(len(events))
    assert seen == {0, 2}


def test_a_file_changed_in_any_byte_is_told_up_to_there(written: Path, tmp_path: Path) -> None:
    whole = written.read_bytes()
    for at in range(len(MAGIC), len(whole)):
        changed = tmp_path / "changed"
        changed.write_bytes(whole[:at] + bytes([whole[at] ^ 0x21]) + whole[at + 1 :])
        with replay(changed) as source:
            assert [event.raw for event in told(source)] in ([], [event.raw for event in batch([Act.OPEN, Act.EXEC])])
            assert "what follows was not read" in source.trouble


def _ends(whole: bytes) -> list[int]:
    ends, at = [len(MAGIC)], len(MAGIC)
    while at < len(whole):
        at += BLOCK.size + BLOCK.unpack_from(whole, at)[1]
        ends.append(at)
    return ends


def block(kind: bytes, content: bytes) -> bytes:
    return BLOCK.pack(kind, len(content), checksum(kind, content)) + content


def head(**fields: object) -> bytes:
    body: dict[str, object] = {
        "format": 1,
        "byte_order": sys.byteorder,
        "machine": "x86_64",
        "clock": 0,
        "sandboxes": {},
        "metadata": {},
    }
    return block(HEADER, json.dumps({**body, **fields}).encode())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (block(HEADER, b"{"), "Expecting"),
        (block(HEADER, b"[" * 100_000), "nested too deeply"),
        (block(HEADER, b"\xff"), "can't decode"),
        (block(HEADER, b"[]"), "no JSON object"),
        (block(HEADER, b'{"format": 1' + b"0" * 5000 + b"}"), "Exceeds the limit"),
        (head(format=2), "its format is 2"),
        (head(byte_order="middle"), "other byte order"),
        (head(clock=None), "clock: a whole number"),
        (head(clock=1 << 70), "clock: "),
        (head(machine="\x1b"), "machine: "),
        (head(sandboxes=[]), "sandboxes: "),
        (head(sandboxes={"x": "a"}), "'x' is no number of a sandbox"),
        (head(sandboxes={"9" * 10: "a"}), "is no number of a sandbox"),
        (head(sandboxes={"1": "\x1b[2J"}), "sandbox: "),
        (head(metadata={"a": 3}), "metadata.a: text is needed"),
        (head(metadata={str(number): "" for number in range(65)}), "65 entries of metadata"),
        (head() + block(EVENTS, b"x" * 96), "the record at byte 0 is bad"),
        (block(b"MORE", b""), "there is no block"),
        (struct.pack("<4sII", EVENTS, 1 << 31, 0), "there is no block"),
    ],
)
def test_a_block_that_makes_no_sense_is_told_and_not_believed(file: Path, content: bytes, message: str) -> None:
    file.write_bytes(MAGIC + content)
    with replay(file) as source:
        assert told(source) == []
        assert message in source.trouble


@pytest.mark.parametrize("content", [b"", b"x", MAGIC[:-1], MAGIC[:-1] + b"\x02", b"#!/bin/sh\n" * 10])
def test_what_is_no_file_of_events_is_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(FileError, match="is no file of events"):
        replay(file)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, message in (("pipe", "no regular file"), ("gone", "No such file"), (".", "no regular file")):
        with pytest.raises(FileError, match=message):
            replay(tmp_path / path)
    with pytest.raises(SpecError):
        replay(3)  # type: ignore[arg-type]


def test_counters_and_losses_are_known_before_anything_is_drained(file: Path) -> None:
    with EventRecorder(file) as recorder:
        recorder.write(batch([Act.OPEN, Act.OPEN, Act.EXEC]))
        recorder.write(batch([Act.OPEN], first=10))
        recorder.write(batch([Act.OPEN], first=50, sandbox=2))
    with replay(file) as source:
        assert source.counters() == {Act.OPEN: 4, Act.EXEC: 1}
        assert source.lost() == 6
        source.want([Act.EXEC])
        assert source.counters() == {Act.EXEC: 1}
        assert [event.number for event in told(source)] == [3]
        assert source.counters() == {Act.EXEC: 1}


@pytest.fixture
def run() -> Callable[..., Any]:
    return lambda *args: CliRunner().invoke(cli, ["events", *args], standalone_mode=False)


def test_replay_prints_a_line_an_event(run: Callable[..., Any], written: Path) -> None:
    done = run("replay", str(written))
    assert done.return_value == 0
    assert [line.split()[3] for line in done.output.splitlines()[1:]] == ["open", "exec", "connect"]
    done = run("replay", str(written), "--act", "exec,connect", "-n", "1", "-o", "json")
    assert [json.loads(line)["act"] for line in done.output.splitlines()] == ["exec"]
    assert run("replay", str(written), "--sandbox", "other", "-o", "json").output == ""


def test_replay_tells_what_it_can_not_read(run: Callable[..., Any], written: Path) -> None:
    written.write_bytes(written.read_bytes()[:-3])
    done = run("replay", str(written))
    assert done.return_value == 1
    assert "of which only" in done.output
    assert len(done.output.splitlines()) == 4


def test_replay_prints_nothing_that_steers_a_terminal(run: Callable[..., Any], file: Path) -> None:
    with EventRecorder(file) as recorder:
        recorder.write(batch([Act.OPEN], path=b"/\x1b[2J\n\xff\x9b"))
    out = run("replay", str(file)).output
    assert out.replace("\n", "").isprintable()
    assert "/\\x1b[2J\\n\\xff\\x9b" in out


def test_acts_are_listed_each_once(run: Callable[..., Any]) -> None:
    assert [entry["act"] for entry in json.loads(run("acts", "-o", "json").output)] == list(Act)
    out = run("acts").output
    assert all(f" {act.value} " in out for act in Act)


def test_an_act_that_is_none_is_refused(run: Callable[..., Any], written: Path) -> None:
    assert "'opn' is no act" in str(run("replay", str(written), "--act", "opn").exception)
