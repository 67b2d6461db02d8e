from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cloche_native as native

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UID, GID = 231_002, 231_003

pytestmark = pytest.mark.usefixtures("root", "no_leaks")


@pytest.fixture
def stage_folder(tmp_path: Path) -> Iterator[str]:
    # The box's uid must be able to walk to it; pytest's own folders are closed to others.
    opened = [parent for parent in (tmp_path, *tmp_path.parents) if not parent.stat().st_mode & 0o001]
    modes = {parent: parent.stat().st_mode for parent in opened}
    for parent in opened:
        parent.chmod(parent.stat().st_mode | 0o001)
    folder = tmp_path / "stage"
    folder.mkdir()
    yield str(folder)
    for parent, mode in modes.items():
        parent.chmod(mode)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir(mode=0o700)
    (folder / "secret").write_text("of root\n")
    (folder / "secret").chmod(0o600)
    (folder / "foreign").write_text("of another\n")
    os.chown(folder / "foreign", 4242, 4242)
    return folder


def stage(source: Path, target: str = "work", *, read_only: bool = False, mapped: bool = True) -> native.Stage:
    owner = source.stat()
    return native.Stage(
        source=str(source),
        target=target,
        read_only=read_only,
        from_uid=owner.st_uid,
        to_uid=UID if mapped else owner.st_uid,
        from_gid=owner.st_gid,
        to_gid=GID if mapped else owner.st_gid,
    )


@pytest.fixture
def shell(null: int, stage_folder: str) -> Callable[..., str]:
    def run(script: str, *stages: native.Stage) -> str:
        reading, writing = os.pipe()
        with os.fdopen(reading) as pipe:
            try:
                pid, pidfd = native.spawn(
                    ["/bin/sh", "-c", f"cd {stage_folder}; {script}"],
                    env={"PATH": "/usr/bin:/bin"},
                    fds={0: null, 1: writing, 2: writing},
                    uid=UID,
                    gid=GID,
                    stages=stages,
                    stage_folder=stage_folder,
                )
            finally:
                os.close(writing)
            text = pipe.read()
        os.close(pidfd)
        os.waitpid(pid, 0)
        return text

    return run


def test_a_folder_of_root_is_the_boxs_own_there_and_stays_roots_on_disk(shell: Callable[..., str], work: Path) -> None:
    assert shell("cat work/secret; echo new > work/made; stat -c %u:%g work/made work/secret", stage(work)) == (
        f"of root\n{UID}:{GID}\n{UID}:{GID}\n"
    )
    made = (work / "made").stat()
    assert (made.st_uid, made.st_gid) == (work.stat().st_uid, work.stat().st_gid)


def test_without_the_mapping_the_same_folder_is_closed(shell: Callable[..., str], work: Path) -> None:
    assert "Permission denied" in shell("cat work/secret", stage(work, mapped=False))


def test_a_file_of_another_owner_is_nobodys(shell: Callable[..., str], work: Path) -> None:
    assert shell("stat -c %u work/foreign; echo x >> work/foreign", stage(work)).startswith("65534\n")
    assert (work / "foreign").read_text() == "of another\n"


def test_read_only_is_kept(shell: Callable[..., str], work: Path) -> None:
    assert "Read-only file system" in shell("echo no > work/secret", stage(work, read_only=True))
    assert shell("cat work/secret", stage(work, read_only=True)) == "of root\n"


def test_a_file_is_staged_as_a_file(shell: Callable[..., str], work: Path) -> None:
    assert shell("cat one two", stage(work / "secret", "one"), stage(work / "secret", "two")) == "of root\nof root\n"


def test_the_stage_folder_itself_takes_nothing(shell: Callable[..., str], work: Path, stage_folder: str) -> None:
    assert "Permission denied" in shell("touch more", stage(work))
    assert list(Path(stage_folder).iterdir()) == []


def test_set_user_id_and_devices_do_not_work_there(shell: Callable[..., str], work: Path) -> None:
    options = shell("grep /work /proc/self/mountinfo", stage(work))
    assert "nosuid,nodev" in options
    assert "idmapped" in options


def test_a_source_hidden_by_the_stage_folder_is_still_found(shell: Callable[..., str], stage_folder: str) -> None:
    inner = Path(stage_folder) / "inner"
    inner.mkdir()
    (inner / "here").touch()
    assert shell("ls inner; ls again", stage(inner, "again")).splitlines()[-1] == "here"


def test_mounts_made_for_a_box_are_not_seen_outside(shell: Callable[..., str], work: Path) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    shell("true", stage(work))
    assert Path("/proc/self/mountinfo").read_text() == before


def test_a_covered_folder_is_empty_for_the_program_alone(null: int, work: Path, stage_folder: str) -> None:
    for stages in ((), (stage(work),)):
        reading, writing = os.pipe()
        pid, pidfd = native.spawn(
            ["/bin/sh", "-c", f"ls -A /proc/sys/net; ls {work} {stage_folder}"], env={"PATH": "/usr/bin:/bin"},
            fds={0: null, 1: writing, 2: writing}, stages=stages, stage_folder=stage_folder, cover="/proc/sys/net",
        )  # fmt: skip
        os.close(writing)
        with os.fdopen(reading) as pipe:
            text = pipe.read()
        os.close(pidfd)
        os.waitpid(pid, 0)
        assert text.startswith(f"{stage_folder}:")  # of the covered one nothing was listed before it
        assert "secret" in text
    assert os.listdir("/proc/sys/net") != []


def test_what_can_not_be_covered_is_told(null: int, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="covering a folder"):
        native.spawn(["/bin/true"], env={}, fds={0: null}, cover=str(tmp_path / "gone"))


def spawn(stages: list[native.Stage], folder: str | None) -> None:
    native.spawn(["/bin/true"], env={}, fds={}, uid=UID, gid=GID, stages=stages, stage_folder=folder)


def test_a_missing_source_is_told(work: Path, stage_folder: str) -> None:
    gone = native.Stage(str(work / "gone"), "gone", False, 0, UID, 0, GID)
    with pytest.raises(FileNotFoundError, match="opening the source of stage 1"):
        spawn([stage(work), gone], stage_folder)


def test_a_target_taken_twice_is_told(work: Path, stage_folder: str) -> None:
    with pytest.raises(FileExistsError, match="making the target of stage 1"):
        spawn([stage(work), stage(work)], stage_folder)


def test_a_missing_stage_folder_is_told(work: Path) -> None:
    with pytest.raises(FileNotFoundError, match="mounting the stage folder"):
        spawn([stage(work)], "/nonexistent")


def test_a_file_system_that_can_not_map_ids_is_told(stage_folder: str) -> None:
    proc = native.Stage("/proc/sys", "sys", True, 0, UID, 0, GID)
    with pytest.raises(OSError, match="mapping the ids of stage 0") as caught:
        spawn([proc], stage_folder)
    assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize("target", ["", ".", "..", "a/b", "/a"])
def test_a_target_is_one_name(work: Path, target: str, stage_folder: str) -> None:
    with pytest.raises(ValueError, match="target of a stage is one name"):
        spawn([stage(work, target)], stage_folder)


def test_a_source_is_absolute_and_stages_need_a_folder(work: Path, stage_folder: str) -> None:
    with pytest.raises(ValueError, match="absolute path"):
        spawn([native.Stage("work", "a", False, 0, 1, 0, 1)], stage_folder)
    with pytest.raises(ValueError, match="need a stage_folder"):
        spawn([stage(work)], None)


def test_more_than_64_stages_are_refused(work: Path, stage_folder: str) -> None:
    with pytest.raises(OSError, match="checking the request") as caught:
        spawn([stage(work, str(index)) for index in range(65)], stage_folder)
    assert caught.value.errno == errno.E2BIG


def memory(options: str, source: Path | None = None, target: str = "work", *, root: int = 0) -> native.Stage:
    owner = (source or Path("/")).stat()
    return native.Stage(
        source=str(source) if source is not None else None, target=target, read_only=source is not None,
        from_uid=owner.st_uid, to_uid=UID, from_gid=owner.st_gid, to_gid=GID, root=root, memory=options,
    )  # fmt: skip


OPTIONS = f"size=1m,nr_inodes=20,mode=0750,uid={UID},gid={GID}"


def test_a_folder_in_memory_has_an_owner_a_mode_and_a_size(shell: Callable[..., str]) -> None:
    script = "stat -c %u:%g:%a work; echo x > work/made; head -c 2000000 /dev/zero > work/big; wc -c < work/big"
    told = shell(script, memory(OPTIONS))
    assert told.startswith(f"{UID}:{GID}:750\n")
    assert "No space left" in told
    assert 900_000 < int(told.split()[-1]) <= 1 << 20
    assert "No space left" in shell("for n in $(seq 30); do : > work/$n; done", memory(OPTIONS))


def test_what_is_written_over_a_folder_stays_in_memory(shell: Callable[..., str], work: Path) -> None:
    (work / "old").touch()
    script = (
        "cat work/secret; echo more >> work/secret; rm work/old; echo new > work/made; cat work/[ms]*; stat -c %a work"
    )
    assert shell(script, memory(OPTIONS, work)) == "of root\nnew\nof root\nmore\n750\n"
    assert sorted(os.listdir(work)) == ["foreign", "old", "secret"]
    assert (work / "secret").read_text() == "of root\n"


def test_memory_stages_lie_beside_others_and_the_working_folder_is_kept(
    shell: Callable[..., str], work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = shell(
        "ls work two three; echo $OLDPWD",
        memory(OPTIONS, work), stage(work, "two"), memory(OPTIONS, target="three"),
    )  # fmt: skip
    assert told == f"three:\n\ntwo:\nforeign\nsecret\n\nwork:\nforeign\nsecret\n{tmp_path}\n"


def test_options_that_no_tmpfs_takes_are_told(stage_folder: str, work: Path) -> None:
    for stages in ([memory("size=nonsense")], [stage(work, "a"), memory("size=nonsense", work)]):
        with pytest.raises(OSError, match=f"mounting the memory of stage {len(stages) - 1}") as caught:
            spawn(stages, stage_folder)
        assert caught.value.errno == errno.EINVAL


def test_a_stage_of_nothing_is_refused(stage_folder: str) -> None:
    with pytest.raises(ValueError, match="needs a source or memory"):
        spawn([native.Stage(None, "a", False, 0, 1, 0, 1)], stage_folder)


def test_roots_own_files_in_a_stage_can_be_anothers_on_disk(null: int, stage_folder: str, work: Path) -> None:
    owner = work.stat()
    shown = native.Stage(str(work), "work", False, owner.st_uid, UID, owner.st_gid, GID, root=4711)
    script = (
        f"cd {stage_folder}/work && echo x > made && echo y > given && chown {UID}:{GID} given && stat -c %u made given"
    )
    reading, writing = os.pipe()
    with os.fdopen(reading) as pipe:
        pid, pidfd = native.spawn(
            ["/bin/sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, fds={0: null, 1: writing, 2: writing},
            stages=[shown], stage_folder=stage_folder,
        )  # fmt: skip
        os.close(writing)
        assert pipe.read() == f"0\n{UID}\n"
    os.close(pidfd)
    os.waitpid(pid, 0)
    assert [(work / name).stat().st_uid for name in ("made", "given")] == [4711, owner.st_uid]


def test_a_user_namespace_shows_just_the_two_ids() -> None:
    fd = native.idmap_userns(0, UID, 0, GID)
    try:
        assert os.readlink(f"/proc/self/fd/{fd}").startswith("user:[")
        assert os.readlink(f"/proc/self/fd/{fd}") != os.readlink("/proc/self/ns/user")
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)


def test_a_caller_that_is_killed_leaves_no_process_that_holds_the_namespace(orphans: Callable[[], list[str]]) -> None:
    endless = (
        f"import os, cloche_native as n\nprint(flush=True)\nwhile True: os.close(n.idmap_userns(0, {UID}, 0, {GID}))"
    )
    for _ in range(6):
        with subprocess.Popen([sys.executable, "-c", endless], stdout=subprocess.PIPE) as caller:
            assert caller.stdout
            assert caller.stdout.readline() == b"\n"
            time.sleep(0.01)
            caller.kill()
        until = time.monotonic() + 10
        while orphans() and time.monotonic() < until:
            time.sleep(0.001)
        assert orphans() == []


def test_a_user_namespace_for_foreign_ids_needs_root() -> None:
    os.seteuid(UID)
    try:
        with pytest.raises(PermissionError):
            os.close(native.idmap_userns(0, UID, 0, GID))
    finally:
        os.seteuid(0)
