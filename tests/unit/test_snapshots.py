"""Sandboxes saved and restored, over a runtime that pretends: what is kept, what is refused, what is left behind."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner

from cloche import (
    BoxSnapshot,
    Host,
    LimitExceeded,
    Mount,
    NotFound,
    Sandbox,
    SnapshotError,
    SnapshotStore,
    SpecError,
    State,
    StateError,
    Unsupported,
    Workspace,
)
from cloche.__main__ import cli
from cloche.testing import FakeRuntime
from cloche.testing.fake_saved import SavedInstance, SavingRuntime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.usefixtures("no_own_leaks")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "snapshots"


@pytest.fixture
def runtime() -> SavingRuntime:
    return SavingRuntime()


@pytest.fixture
def host(runtime: SavingRuntime, fakes: Callable[..., object], folder: Path) -> Iterator[Host]:
    config = {"snapshots": {"folder": str(folder), "size": "1M"}}
    plugin = fakes(runtime)
    with Host(config=config, plugins=[plugin], entry_points=False, registry=False) as made:
        yield made


def memory(runtime: SavingRuntime, box: Sandbox) -> dict[str, str]:
    (instance,) = (one for one in runtime.instances if one.spec.id == box.id)
    assert isinstance(instance, SavedInstance)
    return instance.memory


@pytest.fixture
def saved(host: Host, runtime: SavingRuntime) -> BoxSnapshot:
    with host.create(env={"GREETING": "hi"}) as box:
        memory(runtime, box)["answer"] = "42"
        return box.checkpoint(label="answers")


def test_what_a_box_knew_is_known_to_every_box_restored_from_it(
    host: Host, runtime: SavingRuntime, saved: BoxSnapshot
) -> None:
    with host.restore(saved) as one, host.restore("answers") as two, host.restore(saved.id[:8]) as three:
        assert len({one.id, two.id, three.id}) == 3
        for box in (one, two, three):
            assert memory(runtime, box) == {"answer": "42"}
            assert box.exec("echo", "hello").text == "hello\n"
        memory(runtime, one)["answer"] = "43"
        assert memory(runtime, two) == {"answer": "42"}
        assert one.spec.env["GREETING"] == "hi"


def test_a_saved_box_is_down_and_says_why(host: Host) -> None:
    with host.create() as box:
        box.checkpoint()
        assert (box.state, box.reason, box.wait()) == (State.STOPPED, "checkpointed", "checkpointed")
        with pytest.raises(StateError, match="checkpointed"):
            box.exec("true")
        with pytest.raises(StateError, match="must be running"):
            box.checkpoint()


def test_a_box_with_a_running_program_is_not_saved_and_goes_on(host: Host) -> None:
    with host.create() as box:
        job = box.spawn("cat", stdin=b"")
        job.wait()
        job = box.spawn("sleep", "100")
        with pytest.raises(StateError, match="1 of its programs"):
            box.checkpoint()
        job.kill()
        assert box.state is State.RUNNING
        box.checkpoint()


def test_a_runtime_that_refuses_leaves_the_box_as_it_was(host: Host, runtime: SavingRuntime) -> None:
    runtime.refuses_to_save = "a daemon holds a pipe"
    with host.create() as box:
        with pytest.raises(SnapshotError, match="a daemon holds a pipe"):
            box.checkpoint()
        assert box.exec("echo", "on").text == "on\n"
    assert host.snapshots.all() == []


def test_a_runtime_that_breaks_leaves_a_stopped_box_and_no_snapshot(
    host: Host, runtime: SavingRuntime, folder: Path
) -> None:
    runtime.breaks_when_saving = "disk on fire"
    with host.create() as box:
        with pytest.raises(Exception, match="disk on fire"):
            box.checkpoint()
        assert box.state is State.STOPPED
    assert [name for name in os.listdir(folder) if name != "lock"] == []


def test_a_runtime_that_can_not_save_says_so_and_the_box_goes_on(fakes: Callable[..., object]) -> None:
    plugin = fakes(FakeRuntime())
    with Host(plugins=[plugin], entry_points=False, registry=False) as host, host.create() as box:
        with pytest.raises(Unsupported, match="can't save"):
            box.checkpoint()
        assert box.exec("echo", "on").text == "on\n"


@pytest.mark.parametrize("what", ["version", "platform", "system"])
def test_a_snapshot_of_another_version_or_platform_is_refused(
    host: Host, runtime: SavingRuntime, saved: BoxSnapshot, what: str
) -> None:
    runtime.needs[what] = "2"
    with pytest.raises(SnapshotError, match=f"with {what} .*, and here it is '2'; make another"):
        host.restore(saved)
    assert runtime.instances == []


def test_a_snapshot_of_an_unknown_runtime_is_refused(
    fakes: Callable[..., object], saved: BoxSnapshot, folder: Path
) -> None:
    plugin = fakes()
    config = {"snapshots": {"folder": str(folder)}}
    with (
        Host(config=config, plugins=[plugin], entry_points=False, registry=False) as other,
        pytest.raises(SnapshotError, match="runtime 'fake' is not installed"),
    ):
        other.restore(saved)


def test_other_folders_may_be_behind_the_same_places_and_no_other_places(
    host: Host, runtime: SavingRuntime, tmp_path: Path
) -> None:
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for each in folders:
        each.mkdir()
    with host.create(workspace=folders[0], mounts=[Mount(str(folders[1]), "/data")]) as box:
        saved = box.checkpoint()
    with host.restore(saved, workspace=folders[2], mounts=[Mount(str(folders[2]), "/data")]) as box:
        assert box.spec.workspace == Workspace("bind", str(folders[2]))
        assert [mount.source for mount in box.spec.mounts] == [str(folders[2])]
    others: tuple[dict[str, Any], ...] = (
        {"mounts": [Mount(str(folders[1]), "/other")]}, {"mounts": [Mount(str(folders[1]), "/data", read_only=False)]},
        {"workspace": Workspace()}, {"workspace": Workspace("bind", str(folders[0]), "/elsewhere")},
    )  # fmt: skip
    for asked in others:
        with pytest.raises(SnapshotError, match="it was saved with"):
            host.restore(saved, **asked)
    folders[1].rmdir()
    with pytest.raises(SnapshotError, match=f"mount source {folders[1]} does not exist"):
        host.restore(saved)
    assert runtime.instances == []


def test_an_image_altered_truncated_or_lengthened_is_refused(host: Host, saved: BoxSnapshot, folder: Path) -> None:
    image = folder / saved.id / "image" / "memory"
    good = image.read_bytes()
    for bad, what in ((good.replace(b"42", b"43"), "altered"), (good[:-1], "bytes"), (good + b" ", "bytes")):
        image.chmod(0o600)
        image.write_bytes(bad)
        with pytest.raises(SnapshotError, match=what):
            host.restore(saved)
        assert list(host.snapshots.broken()) == [saved.id]
    image.write_bytes(good)
    with host.restore(saved):
        assert host.snapshots.broken() == {}


def test_an_image_that_is_altered_after_it_was_proven_is_refused_too(
    host: Host, saved: BoxSnapshot, folder: Path
) -> None:
    host.restore(saved).delete()
    image = folder / saved.id / "image" / "memory"
    info = image.stat()
    image.chmod(0o600)
    image.write_bytes(image.read_bytes().replace(b"42", b"43"))
    os.utime(image, ns=(info.st_atime_ns, info.st_mtime_ns))
    with pytest.raises(SnapshotError, match="altered"):
        host.restore(saved)


def test_a_manifest_that_was_altered_is_refused(host: Host, saved: BoxSnapshot, folder: Path) -> None:
    manifest = folder / saved.id / "manifest"
    body = json.loads(manifest.read_bytes())
    body["needs"]["version"] = "2"
    manifest.write_text(json.dumps(body, sort_keys=True, separators=(",", ":")))
    with pytest.raises(SnapshotError, match="altered"):
        host.restore(saved)


def test_a_file_more_or_a_link_in_an_image_is_refused(host: Host, saved: BoxSnapshot, folder: Path) -> None:
    image = folder / saved.id / "image"
    (image / "more").write_bytes(b"")
    with pytest.raises(SnapshotError, match="not those that it was saved with"):
        host.restore(saved)
    (image / "more").unlink()
    (image / "memory").rename(folder / "elsewhere")
    (image / "memory").symlink_to(folder / "elsewhere")
    with pytest.raises(SnapshotError, match="plain file"):
        host.restore(saved)


def test_a_store_that_others_can_enter_is_not_used(host: Host, saved: BoxSnapshot, folder: Path) -> None:
    (folder / saved.id).chmod(0o755)
    with pytest.raises(SnapshotError, match="closed to all others"):
        host.restore(saved)
    folder.chmod(0o777)
    with pytest.raises(SnapshotError, match="closed to all others"):
        host.snapshots.all()
    folder.chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_somebody_else_is_not_used(host: Host, saved: BoxSnapshot, folder: Path) -> None:
    image = folder / saved.id / "image" / "memory"
    os.chown(image, 65534, 65534)
    with pytest.raises(SnapshotError, match="plain file of user 0"):
        host.restore(saved)
    os.chown(image, 0, 0)
    os.chown(folder / saved.id, 65534, 65534)
    with pytest.raises(SnapshotError, match="belongs to user 65534"):
        host.restore(saved)


def test_the_store_takes_no_more_than_its_size(host: Host, runtime: SavingRuntime, folder: Path) -> None:
    with host.create() as box:
        memory(runtime, box)["much"] = "x" * (600 << 10)
        box.checkpoint()
    with host.create() as box:
        memory(runtime, box)["much"] = "y" * (600 << 10)
        with pytest.raises(LimitExceeded, match="snapshot prune"):
            box.checkpoint()
        assert box.state is State.STOPPED
    assert len([name for name in os.listdir(folder) if name != "lock"]) == 1
    full = SnapshotStore(folder, size=1000)
    with pytest.raises(LimitExceeded):
        full.check_room()


def test_snapshots_are_found_by_the_beginning_of_their_id_and_removed(host: Host, saved: BoxSnapshot) -> None:
    store = host.snapshots
    assert store.find(saved.id[:6]) == saved == store.find("answers")
    for wrong in (saved.id[:3], "nothing", "../lock", ""):
        with pytest.raises(NotFound):
            store.find(wrong)
    assert store.remove(saved.id[:6]) == saved.id
    assert store.all() == []
    with pytest.raises(NotFound):
        host.restore(saved)


def test_a_snapshot_that_is_being_restored_is_not_removed(host: Host, saved: BoxSnapshot) -> None:
    store = host.snapshots
    with store.opened(saved.id), pytest.raises(SnapshotError, match="being restored"):
        store.remove(saved.id)
    store.remove(saved.id)


def test_old_ones_are_pruned_and_the_newest_kept(host: Host) -> None:
    made = []
    for _ in range(3):
        with host.create() as box:
            made.append(box.checkpoint())
    store = host.snapshots
    assert store.prune(older=60) == []
    assert store.prune(keep=1) == [made[1], made[0]]
    assert store.all() == [made[2]]


def test_what_a_writer_that_was_killed_left_is_removed_and_a_living_one_is_left_alone(
    host: Host, saved: BoxSnapshot, folder: Path
) -> None:
    (folder / ".new-dead" / "image").mkdir(parents=True, mode=0o700)
    (folder / ".new-dead").chmod(0o700)
    with host.snapshots.writing() as living:
        with host.create() as box:
            box.checkpoint()
        assert Path(living.image).is_dir()
        assert not (folder / ".new-dead").exists()
    assert not Path(living.image).exists()
    assert len(host.snapshots.all()) == 2
    assert saved in host.snapshots.all()


def test_what_is_shown_of_a_snapshot_holds_no_value_of_its_environment(saved: BoxSnapshot) -> None:
    shown = saved.as_json()
    assert "GREETING" in shown["shape"]["env"]
    assert "hi" not in json.dumps(shown["shape"]["env"])
    assert shown["id"] == saved.id
    assert shown["runtime"] == "fake"


def cli_run(folder: Path, monkeypatch: pytest.MonkeyPatch, *args: str, code: int = 0) -> str:
    config = folder.parent / "cloche.toml"
    config.write_text(f'[snapshots]\nfolder = "{folder}"\n')
    monkeypatch.setenv("CLOCHE_CONFIG", str(config))
    done = CliRunner().invoke(cli, ["snapshot", *args], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    assert (done.return_value or 0) == code, done.output
    return done.output


def test_the_command_line_lists_shows_checks_and_removes(
    host: Host, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with host.create(env={"GREETING": "hi"}) as box:
        first = box.checkpoint(label="red\x1b[31m")
    with host.create() as box:
        second = box.checkpoint()
    listed = cli_run(folder, monkeypatch, "list")
    assert first.id[:12] in listed
    assert "\x1b" not in listed
    assert [one["id"] for one in json.loads(cli_run(folder, monkeypatch, "list", "-o", "json"))] == [
        second.id,
        first.id,
    ]
    shown = cli_run(folder, monkeypatch, "show", first.id[:6])
    assert "needs platform" in shown
    assert "\x1b" not in shown
    assert json.loads(cli_run(folder, monkeypatch, "show", first.id, "-o", "json")) == first.as_json()
    assert "2 snapshots are as" in cli_run(folder, monkeypatch, "check")
    (folder / second.id / "manifest").unlink()
    assert second.id in cli_run(folder, monkeypatch, "check", "-o", "json", code=1)
    assert cli_run(folder, monkeypatch, "rm", second.id[:8]) == f"{second.id}\n"
    with pytest.raises(click.UsageError):
        cli_run(folder, monkeypatch, "prune")
    assert "1 snapshots removed" in cli_run(folder, monkeypatch, "prune", "--all")
    assert "no snapshots" in cli_run(folder, monkeypatch, "list")
    with pytest.raises(NotFound):
        cli_run(folder, monkeypatch, "show", "abcdef")


@pytest.mark.parametrize("table", [{"folder": 7}, {"size": "many"}, {"keep": 3}])
def test_a_bad_table_in_the_configuration_is_refused(table: dict[str, object]) -> None:
    with pytest.raises(SpecError, match=r"snapshots"):
        Host(config={"snapshots": table}, entry_points=False)
