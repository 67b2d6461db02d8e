from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

import pytest

from cloche_native import rules
from cloche_native.events import ACTS, FLAGS
from cloche_native.rules import Paths, RuleSpec
from cloche_native.supervisor import SupervisorThread

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.native.watched import Watched

OPENS = frozenset({"open", "write-open", "create"})


@pytest.fixture
def strict(watch: Callable[..., Watched], tmp_path: Path) -> Watched:
    """A box that opens in the guest's place, whose rule refuses what is named secret in the test's folder."""
    box = watch(strict=True, wants=[ACTS[act] for act in OPENS])
    rule = RuleSpec(name="secret", acts=OPENS, paths=(Paths((f"{tmp_path}/secret*",)),), answer=errno.EACCES)
    box.supervisor.judge(rules.compile([rule]))
    (tmp_path / "secret").write_text("secret\n")
    (tmp_path / "good").write_text("good\n")
    return box


def test_an_open_done_for_the_guest_gives_it_the_file(strict: Watched, tmp_path: Path) -> None:
    assert strict.run("read", tmp_path / "good", "chdir", tmp_path, "read", "./good") == ["good", "0", "good"]
    record = strict.records()[-1]
    assert record.resolved == os.fsencode(tmp_path / "good")
    assert record.flags & FLAGS["pinned"]
    assert record.flags & FLAGS["text-kernel"] << 1
    assert record.result > 2
    assert strict.supervisor.counters()[ACTS["open"]].emulated >= 2


def test_a_link_to_what_is_refused_is_refused(strict: Watched, tmp_path: Path) -> None:
    (tmp_path / "innocent").symlink_to("secret")
    assert strict.run("read", tmp_path / "innocent") == [str(-errno.EACCES)]
    record = strict.records()[-1]
    assert (record.path, record.resolved) == (os.fsencode(tmp_path / "innocent"), os.fsencode(tmp_path / "secret"))
    assert record.flags & FLAGS["denied"]


def test_a_path_that_changes_while_it_is_read_gives_no_way_to_what_is_refused(strict: Watched, tmp_path: Path) -> None:
    (tmp_path / "hecret").write_text("good\n")
    strict.supervisor.want([])
    assert strict.run("chdir", tmp_path, "race", 10_000, "hecret", "s") == ["0", "1", "0"]


def test_what_is_missing_or_closed_has_the_error_of_the_kernel(strict: Watched, tmp_path: Path) -> None:
    assert strict.run("open", tmp_path / "none", "open", tmp_path / "good/x") == ["-2", "-20"]
    (missing,) = [record for record in strict.records() if record.path.endswith(b"/none")]
    assert missing.result == -errno.ENOENT
    assert missing.flags & FLAGS["missing"]
    assert not missing.flags & FLAGS["denied"]


def test_a_file_made_in_the_guest_s_place_is_there_and_one_that_is_refused_is_not(
    strict: Watched, tmp_path: Path
) -> None:
    assert strict.run("create", tmp_path / "made", "create", tmp_path / "secret-too") == ["0", "-13"]
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o644
    assert not (tmp_path / "secret-too").exists()


def test_a_pipe_that_nobody_writes_holds_its_reader_alone_until_somebody_does(strict: Watched, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = strict.start("read", tmp_path / "pipe")
    assert strict.run("read", tmp_path / "good", exec_=2) == ["good"]
    writing = os.open(tmp_path / "pipe", os.O_WRONLY)
    os.write(writing, b"through\n")
    assert reader.communicate(timeout=60)[0] == "through\n"
    os.close(writing)


def test_a_guest_that_waits_for_a_pipe_may_be_killed_or_left(strict: Watched, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    killed = strict.start("open", tmp_path / "pipe")
    left = strict.start("open", tmp_path / "pipe", exec_=2)
    while strict.supervisor.counters().get(ACTS["open"], (0,))[0] < 2:
        time.sleep(0.002)
    killed.kill()
    killed.wait(timeout=60)
    assert strict.run("read", tmp_path / "good", exec_=3) == ["good"]
    strict.supervisor.close()
    assert left.communicate(timeout=60)[0] == f"{-errno.ENOSYS}\n"


@pytest.mark.usefixtures("root")
def test_an_open_is_done_with_the_rights_of_the_guest_s_user(watch: Callable[..., Watched], tmp_path: Path) -> None:
    box = watch(strict=True, uid=65534, gid=65534)
    box.supervisor.judge(rules.compile([RuleSpec(name="all", acts=OPENS, paths=(Paths(("/none",)),), answer=1)]))
    (tmp_path / "mine").write_text("mine\n")
    (tmp_path / "mine").chmod(0o600)
    assert box.run("open", "/etc/shadow", "open", tmp_path / "mine") == ["-13", "-13"]
    assert int(box.run("open", "/etc/group")[0]) > 0


def test_a_strict_box_has_its_thread_for_itself(watch: Callable[..., Watched]) -> None:
    thread = SupervisorThread()
    watch(thread=thread)
    with pytest.raises(OSError, match="for itself"):
        watch(thread=thread, strict=True)
    thread.close()
    alone = SupervisorThread()
    watch(thread=alone, strict=True)
    with pytest.raises(OSError, match="for itself"):
        watch(thread=alone)
    alone.close()


def test_where_a_path_leads_is_told_where_it_is_asked_for(watch: Callable[..., Watched], tmp_path: Path) -> None:
    box = watch(resolve=True, wants=range(48))
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to("in")
    box.run(
        "create", tmp_path / "link/made", "rename", tmp_path / "link/made", tmp_path / "link/moved",
        "unlink", tmp_path / "link/moved", "open", tmp_path / "link/gone", "unlink", tmp_path / "link",
        calls=("openat", "rename", "unlink"),
    )  # fmt: skip
    there = os.fsencode(tmp_path / "in")
    told = {(record.act, record.resolved, record.target_resolved) for record in box.records()}
    assert {
        (ACTS["create"], there + b"/made", b""),
        (ACTS["rename"], there + b"/made", there + b"/moved"),
        (ACTS["unlink"], there + b"/moved", b""),
        (ACTS["open"], there + b"/gone", b""),
        (ACTS["unlink"], os.fsencode(tmp_path / "link"), b""),
    } <= told
