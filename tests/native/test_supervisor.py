from __future__ import annotations

import errno
import os
import select
from typing import TYPE_CHECKING

import pytest

import cloche_native as native
from cloche_native.events import ACTS, FLAGS
from cloche_native.supervisor import RING_MIN, Supervisor, SupervisorThread

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloche_native.events import Record
    from tests.native.watched import Watched

FILES = ("openat", "mkdir", "unlink", "rmdir", "rename", "symlink", "chdir", "fchmod", "openat2")


def by_act(records: list[Record], name: str) -> list[Record]:
    return [record for record in records if record.act == ACTS[name]]


def kernel_args(record: Record) -> list[bool]:
    return [bool(record.flags & FLAGS["arg-kernel"] << index) for index in range(4)]


def test_a_watched_open_goes_on_and_is_told_with_its_path(watch: Callable[..., Watched]) -> None:
    box = watch(wants=[ACTS["open"]], sandbox=77)
    assert box.run("open", "/etc/passwd", exec_=9)[0] != str(-errno.EPERM)
    (record,) = [record for record in box.records() if record.path == b"/etc/passwd"]
    assert (record.act, record.sandbox, record.exec, record.pid, record.tid) == (
        ACTS["open"], 77, 9, box.running[0].pid, box.running[0].pid,
    )  # fmt: skip
    assert record.call == native.syscall_number("openat")
    assert record.args[0] & os.O_ACCMODE == os.O_RDONLY
    assert record.args[0] & os.O_CLOEXEC
    assert kernel_args(record)[:2] == [True, True]
    assert not record.flags & (FLAGS["text-kernel"] | FLAGS["denied"])


def test_every_act_is_told_with_what_it_is_about(watch: Callable[..., Watched], tmp_path: Path) -> None:
    box = watch(wants=range(48))
    here = str(tmp_path)
    lines = box.run(
        "chdir", here, "mkdir", "in/../made", "create", "made/one", "rename", "made/one", "made/two",
        "symlink", "../over/there", "made/link", "openat2", "made/two", "fchmod", "made/two",
        "unlink", "./made/link", "unlink", "made/two", "rmdir", "made/", "open", "made/two",
        calls=FILES,
    )  # fmt: skip
    assert lines == ["0", "-2", "-2", "-2", "-2", "-2", "-9", "-2", "-2", "-2", "-2"]
    (tmp_path / "in").mkdir()
    lines = box.run(
        "chdir", here, "mkdir", "in/../made", "create", "made/one", "rename", "made/one", "made/two",
        "symlink", "../over/there", "made/link", "openat2", "made/two", "fchmod", "made/two",
        "unlink", "./made/link", "unlink", "made/two", "rmdir", "made/", "open", "made/two",
        calls=FILES, exec_=2,
    )  # fmt: skip
    assert [line if int(line) < 0 else "0" for line in lines] == ["0"] * 10 + [str(-errno.ENOENT)]
    records = [record for record in box.records() if record.exec == 2]
    made = os.fsencode(here) + b"/made"
    told = [(record.act, record.path, record.target) for record in records if record.path.startswith(made)]
    assert told == [
        (ACTS["mkdir"], made, b""),
        (ACTS["create"], made + b"/one", b""),
        (ACTS["rename"], made + b"/one", made + b"/two"),
        (ACTS["symlink"], made + b"/link", b"../over/there"),
        (ACTS["write-open"], made + b"/two", b""),
        (ACTS["open"], made + b"/two", b""),
        (ACTS["unlink"], made + b"/link", b""),
        (ACTS["unlink"], made + b"/two", b""),
        (ACTS["unlink"], made, b""),
        (ACTS["open"], made + b"/two", b""),
    ]
    (chmod,) = by_act(records, "chmod")
    assert (chmod.path, chmod.resolved, chmod.args[0]) == (b"", made + b"/two", 0o600)
    assert by_act(records, "chdir")[0].path == os.fsencode(here)
    assert by_act(records, "unlink")[-1].args[0] == 0x200  # AT_REMOVEDIR
    (write,) = by_act(records, "write-open")
    assert not any(kernel_args(write))  # openat2's flags lie in memory
    assert [record.number for record in box.records()] == []


def test_an_exec_is_told_with_its_program_and_argv(watch: Callable[..., Watched]) -> None:
    box = watch(wants=[ACTS["exec"]])
    box.run("exec", "/bin/echo", "one", "", "three", calls=("execve",))
    first, second = box.records()
    assert first.path.endswith(b"/guest")
    assert (second.path, second.target) == (b"/bin/echo", b"/bin/echo\0one\0\0three\0")


def test_a_long_argv_is_cut_and_says_so(watch: Callable[..., Watched]) -> None:
    box = watch(wants=[ACTS["exec"]])
    box.run("exec", "/bin/true", "x" * 600, "y" * 600, calls=("execve",))
    record = box.records()[-1]
    assert record.target == b"/bin/true\0" + b"x" * 600 + b"\0" + b"y" * (1024 - 611)
    assert record.flags & FLAGS["cut"]


@pytest.mark.parametrize(
    ("acts", "target", "args"),
    [
        (("connect", "4", "127.0.0.1", 9), b"127.0.0.1", (2, 9)),
        (("connect", "6", "2001:db8::1", 443), b"2001:db8::1", (10, 443)),
        (("connect", "6", "::ffff:169.254.169.254", 80), b"169.254.169.254", (10, 80)),
        (("chdir", "/tmp", "connect", "u", "run/../x.sock", 0), b"/tmp/x.sock", (1, 0)),
        (("connect", "u", "@hidden", 0), b"@hidden", (1, 0)),
    ],
)
def test_an_address_is_told_as_text_with_family_and_port(
    watch: Callable[..., Watched], acts: tuple[object, ...], target: bytes, args: tuple[int, int]
) -> None:
    box = watch(wants=[ACTS["connect"]])
    box.run(*acts, calls=("connect",))
    (record,) = box.records()
    assert (record.target, record.args[:2]) == (target, args)


def test_what_is_not_wanted_is_counted_and_not_told(watch: Callable[..., Watched], tmp_path: Path) -> None:
    box = watch(wants=[ACTS["mkdir"]])
    box.run("mkdir", tmp_path / "one", "opens", 10, "/etc/passwd", calls=("openat", "mkdir"))
    assert {record.act for record in box.records()} == {ACTS["mkdir"]}
    assert box.supervisor.counters()[ACTS["open"]].seen >= 10
    box.supervisor.want([])
    box.run("mkdir", tmp_path / "two", calls=("mkdir",))
    assert box.records() == []
    assert box.supervisor.counters()[ACTS["mkdir"]].seen == 2
    box.supervisor.want([ACTS["open"]])
    box.run("open", "/etc/passwd")
    assert by_act(box.records(), "open")


def test_the_static_filter_refuses_with_its_own_error_and_is_told(watch: Callable[..., Watched]) -> None:
    static = native.seccomp_program("standard", deny=["mkdir"])
    box = watch(static=static, wants=[ACTS["mkdir"], ACTS["open"], ACTS["kernel"]])
    lines = box.run("mkdir", "/refused", "open", "/etc/passwd", calls=("mkdir", "openat"))
    assert lines[0] == str(-errno.EPERM)
    assert int(lines[1]) > 0
    (record,) = by_act(box.records(), "mkdir")
    assert record.result == -errno.EPERM
    assert record.flags & FLAGS["denied"]
    assert record.flags & FLAGS["static"]
    counts = box.supervisor.counters()[ACTS["mkdir"]]
    assert (counts.seen, counts.static, counts.denied) == (1, 1, 0)


def test_a_refusal_of_the_static_filter_holds_when_nobody_asks_for_the_act(watch: Callable[..., Watched]) -> None:
    box = watch(static=native.seccomp_program("standard", deny=["mkdir"]))
    assert box.run("mkdir", "/refused", calls=("mkdir",)) == [str(-errno.EPERM)]
    assert box.supervisor.counters()[ACTS["mkdir"]].static == 1
    assert box.records() == []


def test_the_bell_rings_for_records_and_not_without(watch: Callable[..., Watched]) -> None:
    box = watch(wants=[ACTS["open"]])
    bell = box.supervisor.fileno()
    assert select.select([bell], [], [], 0)[0] == []
    box.run("opens", 5, "/etc/passwd")
    assert select.select([bell], [], [], 10)[0] == [bell]
    assert len(by_act(box.records(), "open")) >= 5
    assert select.select([bell], [], [], 0)[0] == []


def test_two_boxes_of_one_thread_are_told_apart(watch: Callable[..., Watched]) -> None:
    thread = SupervisorThread()
    first, second = (watch(wants=[ACTS["open"]], sandbox=number, thread=thread) for number in (1, 2))
    first.run("open", "/etc/passwd")
    second.run("open", "/etc/group")
    assert {record.sandbox for record in first.records()} == {1}
    assert {record.path for record in second.records()} == {b"/etc/group"}
    first.close()
    assert int(second.run("open", "/etc/group")[0]) > 0
    second.close()
    thread.close()


def test_a_closed_supervisor_says_so_and_may_be_closed_again(watch: Callable[..., Watched]) -> None:
    box = watch()
    box.supervisor.close()
    box.supervisor.close()
    with pytest.raises(ValueError, match="this supervisor is closed"):
        box.supervisor.drain()


def test_what_can_not_be_meant_is_refused_before_anything_is_taken(watch: Callable[..., Watched]) -> None:
    for how, message in (
        ({"ring": 100_000}, "a power of two of bytes"),
        ({"ring": RING_MIN // 2}, "a power of two of bytes"),
        ({"overload": "drop"}, "overload 'drop' is unknown"),
        ({"wants": [57]}, "there is no act 57"),
        ({"wants": [-1]}, "there is no act -1"),
        ({"static": b"1234567"}, "8 bytes each"),
        ({"sandbox": 1 << 32}, "numbers of 32 bits"),
        ({"wait_ms": -1}, "numbers of 32 bits"),
        ({"uid": 5}, "go together"),
    ):
        with pytest.raises(ValueError, match=message):
            watch(**how)
    with pytest.raises(OSError, match="the static filter is no filter"):
        watch(static=bytes(8))


def test_a_root_that_is_none_is_refused() -> None:
    for watch, root in ((-1, 0), (0, -1)):
        with pytest.raises(OSError, match=r"Bad file descriptor|Not a directory|permitted"):
            Supervisor(watch, root)
