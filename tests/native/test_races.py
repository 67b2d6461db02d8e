"""Guests that change what a path means while it is opened: at depth strict none of them gets a file that a rule keeps.

Each race has its control: judged by what the call said, and then left to the kernel, the same race gets the file.
``CLOCHE_RACES=1000000`` tries each that often (``-s`` shows the counts, ``-o timeout=900`` lets it).
"""

from __future__ import annotations

import errno
import os
import select
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche_native import rules
from cloche_native.events import ACTS, FLAGS
from cloche_native.rules import Paths, RuleSpec
from cloche_native.supervisor import SupervisorThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.native.watched import Watched

USER = 65530
OPENS = frozenset({"open", "write-open", "create"})
TRIES = int(os.environ.get("CLOCHE_RACES", "10000"))
CALLS = ("openat", "openat2", "open", "link", "linkat", "rename", "renameat", "renameat2")
NAMED = ["rename-buffer", "rename-parents", "link-buffer", "link-symlinks", "link-parents"]
AT_ONCE = 200_000
PATIENCE = 120  # seconds

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the guest is another user")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of the guest's with the file that it may have and the one that it may not."""
    made = Path(tempfile.mkdtemp(prefix="races-"))
    made.chmod(0o755)
    os.chown(made, USER, USER)
    for name in ("a", "b"):
        (made / name).mkdir()
        os.chown(made / name, USER, USER)
    for name, text in (("open", "open"), ("shut", "shut"), ("a/file", "open"), ("b/file", "shut")):
        (made / name).write_text(text)
        os.chown(made / name, USER, USER)
    yield made
    shutil.rmtree(made)


def keep_shut(folder: Path) -> rules.Program:
    patterns = (f"{folder}/shut", f"{folder}/b/**")
    return rules.compile([
        RuleSpec(name="shut", acts=OPENS | {"link", "rename"}, paths=(Paths(patterns),), answer=errno.EACCES)
    ])  # fmt: skip


def keep_from_writing(folder: Path) -> rules.Program:
    return rules.compile([
        RuleSpec(name="shut", acts=frozenset({"write-open"}), paths=(Paths((f"{folder}/shut",)),), answer=errno.EACCES)
    ])  # fmt: skip


def race(
    watch: Callable[..., Watched],
    folder: Path,
    kind: str,
    tries: int,
    *,
    strict: bool,
    rules_of: Callable[[Path], rules.Program] = keep_shut,
) -> dict[str, int]:
    box = watch(strict=strict, uid=USER, gid=USER)
    box.supervisor.judge(rules_of(folder))
    told: dict[str, int] = {}
    for part in range(0, tries, AT_ONCE) if tries > 0 else [0]:
        many = min(tries - part, AT_ONCE)
        (line,) = box.run(kind, many, folder, calls=CALLS, program="race", user=USER)
        words = line.split()
        told = {what: told.get(what, 0) + int(count) for what, count in zip(words[::2], words[1::2], strict=True)}
        (folder / "place").unlink(missing_ok=True)
    print(kind, "strict" if strict else "left to the kernel", told)  # noqa: T201 - the table of docs/events.md
    return told


@pytest.mark.parametrize("kind", ["buffer", "symlinks", "parents", "hardlinks", *NAMED])
def test_no_race_gets_a_file_that_a_rule_keeps(watch: Callable[..., Watched], folder: Path, kind: str) -> None:
    told = race(watch, folder, kind, TRIES, strict=True)
    assert told["shut"] == told["other"] == 0
    assert told["open"] > 0
    assert sum(told.values()) == TRIES
    if kind != "hardlinks":  # there the link itself is refused
        assert told["refused"] > 0


def test_a_path_that_is_none_when_it_is_judged_is_none_when_it_is_opened(
    watch: Callable[..., Watched], folder: Path
) -> None:
    assert race(watch, folder, "empty", TRIES, strict=True) == {"open": 0, "shut": 0, "refused": TRIES, "other": 0}


def test_flags_that_change_in_memory_open_nothing_kept(watch: Callable[..., Watched], folder: Path) -> None:
    told = race(watch, folder, "flags", TRIES, strict=True, rules_of=keep_from_writing)
    assert told["shut"] == 0
    assert told["open"] + told["refused"] == TRIES
    assert told["refused"] > 0
    assert race(watch, folder, "flags", -1_000_000, strict=False, rules_of=keep_from_writing)["shut"] == 1


@pytest.mark.parametrize("kind", ["buffer", "empty", "symlinks", "parents", *NAMED])
def test_the_same_race_gets_it_where_the_call_goes_on(watch: Callable[..., Watched], folder: Path, kind: str) -> None:
    assert race(watch, folder, kind, -1_000_000, strict=False)["shut"] == 1


def opened(box: Watched, *command: object) -> tuple[int, str]:
    """Run a program of the machine as the guest, in whose place all of it is opened: its status and what it said."""
    process = box.start("exec", *command, calls=("openat", "open", "creat", "openat2"), user=USER)
    out, err = process.communicate(timeout=60)
    return process.returncode, out + err


def test_programs_work_when_all_that_they_open_is_opened_for_them(watch: Callable[..., Watched], folder: Path) -> None:
    box = watch(strict=True, uid=USER, gid=USER, wants=[ACTS["create"], ACTS["open"]])
    box.supervisor.judge(keep_shut(folder))
    script = """umask 027; cd a; echo one > ../made; echo two >> ../made; cat ../made; cat ../shut ../b/file
    ls ../b; exec 3<&0; cat < /dev/fd/3 > /dev/null; grep -c ^Uid: /proc/self/status; stat -c %a ../made
    head -c 2 /dev/zero | wc -c; ulimit -n 3; cat < ../open"""
    status, said = opened(box, "/bin/sh", "-c", f"cd {folder}; {script}")
    lines = said.splitlines()
    assert lines[:2] == ["one", "two"]
    assert "1" in lines
    assert "640" in lines
    assert "2" in lines
    assert [line.rpartition(": ")[2] for line in lines if "shut" in line or "b/file" in line] == [
        "Permission denied"
    ] * 2
    assert "Too many open files" in lines[-1]
    assert status != 0
    records = [record for record in box.records() if record.path == bytes(folder / "made")]
    assert {record.resolved for record in records} == {bytes(folder / "made")}
    assert all(record.flags & (FLAGS["pinned"] | FLAGS["missing"]) for record in records)
    assert records[0].flags & FLAGS["missing"]
    assert box.supervisor.counters()[ACTS["create"]].emulated >= 2


def test_two_guests_meet_at_a_pipe_and_one_that_is_killed_at_it_leaves_nothing(
    watch: Callable[..., Watched], folder: Path
) -> None:
    box = watch(strict=True, uid=USER, gid=USER)
    box.supervisor.judge(keep_shut(folder))
    os.mkfifo(folder / "pipe")
    os.chown(folder / "pipe", USER, USER)
    before = len(os.listdir("/proc/self/fd"))
    for first, second in (("r", "w"), ("w", "r")):
        commands = {"r": f"cat < {folder}/pipe", "w": f"echo through > {folder}/pipe"}
        one = box.start("exec", "/bin/sh", "-c", commands[first], user=USER)
        select.select([], [], [], 0.05)
        other = box.start("exec", "/bin/sh", "-c", commands[second], user=USER)
        assert "through\n" in one.communicate(timeout=30)[0] + other.communicate(timeout=30)[0]
    alone = box.start("exec", "/bin/cat", folder / "pipe", user=USER)
    select.select([], [], [], 0.05)
    assert alone.poll() is None
    alone.kill()
    alone.communicate()
    until = time.monotonic() + PATIENCE
    while box.supervisor.status().listeners or len(os.listdir("/proc/self/fd")) > before:
        assert time.monotonic() < until
        select.select([], [], [], 0.005)


def test_a_strict_box_has_a_thread_for_itself_and_no_root(watch: Callable[..., Watched]) -> None:
    thread = SupervisorThread()
    first = watch(thread=thread)
    with pytest.raises(OSError, match="needs a thread for itself"):
        watch(strict=True, uid=USER, gid=USER, thread=thread)
    with pytest.raises(OSError, match=r".+") as caught:
        watch(strict=True, uid=0, gid=0)
    assert caught.value.errno == errno.EINVAL
    first.close()
    thread.close()
