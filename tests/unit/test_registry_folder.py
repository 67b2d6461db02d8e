"""The run folder and what is in it: safe against whatever else is found there."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

import pytest

from cloche import Host, RegistryError, SpecError
from cloche.registry import survey
from cloche.registry.folder import Folder, run_path, state_path
from cloche.registry.place import Place
from cloche.registry.record import RECORD_MAX
from cloche.testing import FakeRuntime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("no_own_leaks")


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a run folder of the test's own, not made yet."""
    tmp_path.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "cloche"


@pytest.fixture
def run(base: Path) -> Iterator[Folder]:
    with Folder.open(str(base), make=True) as folder:
        yield folder


def make_host(fakes: Callable[..., object], runtime: FakeRuntime) -> Host:
    return Host(plugins=[fakes(runtime)], entry_points=False)


def test_where_the_run_folder_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    assert run_path({"XDG_RUNTIME_DIR": str(tmp_path)}) == f"{tmp_path}/cloche"
    monkeypatch.setattr(os, "geteuid", lambda: 54_321)
    other = {"XDG_STATE_HOME": "/state"}
    assert run_path(other) == "/state/cloche/run"
    assert run_path({**other, "XDG_RUNTIME_DIR": str(tmp_path)}) == "/state/cloche/run"  # another user's, as with sudo
    assert run_path({**other, "XDG_RUNTIME_DIR": "relative"}) == "/state/cloche/run"
    assert run_path({**other, "XDG_RUNTIME_DIR": "/no\0where"}) == "/state/cloche/run"
    assert state_path({"XDG_STATE_HOME": "relative"}).endswith("/.local/state/cloche")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert run_path({"XDG_RUNTIME_DIR": "/nowhere"}) == "/run/cloche"


def test_a_runtime_folder_that_others_may_write_is_not_used(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert run_path({"XDG_RUNTIME_DIR": str(tmp_path)}) != f"{tmp_path}/cloche"


@pytest.mark.parametrize("what", ["open to others", "link", "file", "fifo"])
def test_a_folder_that_is_not_the_users_alone_is_refused(base: Path, what: str) -> None:
    match what:
        case "open to others":
            base.mkdir(mode=0o755)
        case "link":
            (base.parent / "elsewhere").mkdir(mode=0o700)
            base.symlink_to("elsewhere")
        case "file":
            base.write_bytes(b"")
        case _:
            os.mkfifo(base)
    with pytest.raises(RegistryError, match="cloche'"):
        Folder.open(str(base), make=True)


@pytest.mark.parametrize("what", ["open to others", "link", "file"])
def test_a_host_works_where_the_registry_cannot(
    base: Path, what: str, fakes: Callable[..., object], runtime: FakeRuntime
) -> None:
    if what == "open to others":
        base.mkdir(mode=0o755)
    elif what == "link":
        base.symlink_to(base.parent)
    else:
        base.write_bytes(b"")
    with make_host(fakes, runtime) as host:
        with host.create() as box:
            assert box.exec("echo", "works").text == "works\n"
            assert "can't be used" in host.registry_note or "closed to all others" in host.registry_note
            assert host.attach(box.id).id == box.id
        with pytest.raises(RegistryError, match="Leave the name out, or switch the registry off"):
            host.create(name="one")
        with pytest.raises(RegistryError):
            host.list()
        assert not runtime.instances


def test_with_the_registry_off_nothing_is_written(
    base: Path, fakes: Callable[..., object], runtime: FakeRuntime
) -> None:
    off = {"host": {"registry": False}}
    plugins = [fakes(runtime)]
    by_keyword = Host(plugins=plugins, entry_points=False, registry=False)
    for made in (by_keyword, Host(config=off, plugins=plugins, entry_points=False)):
        with made as host:
            box = host.create(name="one")
            assert host.create(name="one")._inner is box._inner
            assert "switched off" in host.registry_note
            for verb in (host.list, host.sweep, host.keep):
                with pytest.raises((RegistryError, SpecError), match=r"switched off|plugin objects"):
                    verb()
            with pytest.raises(RegistryError, match="switched off"):
                host.attach("other")
    assert not base.exists()


def test_a_closed_host_leaves_nothing_but_folders(
    base: Path, fakes: Callable[..., object], runtime: FakeRuntime
) -> None:
    with make_host(fakes, runtime) as host:
        assert not base.exists()  # nothing is made for a host without a sandbox
        host.create(name="one")
        host.create()
        (place,) = (base / "hosts").iterdir()
        assert sorted(p.name for p in place.iterdir()) == ["boxes", "door.sock", "host.json", "lock"]
        assert len(list((place / "boxes").iterdir())) == 2
        assert all(stat.S_IMODE(p.lstat().st_mode) & 0o077 == 0 for p in (base, place, place / "boxes"))
    assert [str(p.relative_to(base)) for p in sorted(base.rglob("*"))] == ["hosts", "names"]


# -- files -----------------------------------------------------------------------------------------------------------


def test_a_file_is_written_whole_and_read_with_care(run: Folder, base: Path) -> None:
    run.write("one", b"first")
    run.write("one", b"second")
    assert run.read("one", 100) == b"second"
    assert run.names() == ["one"]
    with pytest.raises(ValueError, match="longer than 5"):
        run.read("one", 5)
    os.mkfifo(base / "fifo")
    with pytest.raises(ValueError, match="not a regular file"):
        run.read("fifo", 100)
    (base / "link").symlink_to("one")
    with pytest.raises(OSError, match="link"):
        run.read("link", 100)
    assert run.remove("link")
    assert not run.remove("link")


def test_a_lock_has_one_holder_and_ends_with_its_descriptor(run: Folder) -> None:
    with pytest.raises(FileNotFoundError):
        run.lock("lock", make=False)
    first = run.lock("lock", make=True)
    assert first is not None
    assert run.lock("lock", make=True) is None
    assert run.lock("lock", make=True, shared=True) is None
    os.close(first)
    looking = [run.lock("lock", make=False, shared=True) for _ in range(2)]
    assert None not in looking
    assert run.lock("lock", make=False) is None
    run.remove("lock")
    assert not run.holds("lock", looking[0] or -1)
    for fd in looking:
        os.close(fd or -1)


# -- what else may lie there -----------------------------------------------------------------------------------------


def test_damaged_records_are_shown_as_such_and_hurt_nothing(
    base: Path, fakes: Callable[..., object], runtime: FakeRuntime
) -> None:
    with make_host(fakes, runtime) as host, make_host(fakes, FakeRuntime()) as other:
        box = host.create(name="good")
        (boxes,) = base.glob("hosts/*/boxes")
        good = json.loads((boxes / f"{box.id}.json").read_bytes())

        def put(file: str, **changes: object) -> None:
            (boxes / f"{file}.json").write_text(json.dumps({**good, "id": file, **changes}))

        (boxes / "truncated.json").write_bytes((boxes / f"{box.id}.json").read_bytes()[:200])
        (boxes / "empty.json").write_bytes(b"")
        (boxes / "binary.json").write_bytes(bytes(range(256)))
        (boxes / "huge.json").write_bytes(b" " * (RECORD_MAX + 1))
        (boxes / "deep.json").write_bytes(b'{"a":' * 100_000)
        os.mkfifo(boxes / "fifo.json")
        (boxes / "folder.json").mkdir()
        (boxes / "link.json").symlink_to(f"{box.id}.json")
        (boxes / "\x1b[31mred\n.json").write_bytes(b"{}")
        put("format", format=99)
        put("other", id="another")
        put("name", name="../../etc")
        put("state", state="great")
        put("pids", processes=[[1, 5]])
        put("pids2", processes=[[5]])
        put("created", created="yesterday")
        put("spec", spec=[])
        records = other.list()
        troubled = [r for r in records if r.trouble]
        assert [r.id for r in records if not r.trouble] == [box.id]
        assert len(troubled) == 17
        assert all(text.isprintable() for r in troubled for text in (r.id, r.trouble))
        assert other.attach("good").exec("echo", "1").text == "1\n"
        for name in ("fifo", "link", "deep", "folder"):
            with pytest.raises(Exception, match="has no sandbox"):
                other.attach(name)
        (boxes / "folder.json").rmdir()
    assert not list(base.glob("hosts/*"))


def test_damaged_places_are_shown_as_such_and_left_alone(
    base: Path, fakes: Callable[..., object], runtime: FakeRuntime
) -> None:
    with make_host(fakes, runtime) as host:
        box = host.create()
        hosts = base / "hosts"
        (hosts / "file").write_bytes(b"")
        (hosts / "link").symlink_to("/etc")
        (hosts / "open").mkdir(mode=0o755)
        (hosts / "\x1b]0;title\x07").mkdir(mode=0o700)
        (hosts / "lockless").mkdir(mode=0o700)
        (hosts / "lockless" / "host.json").write_text("{}")
        (hosts / "broken").mkdir(mode=0o700)
        (hosts / "broken" / "lock").write_bytes(b"")
        (hosts / "broken" / "host.json").write_text("[1")
        found = host.list()
        assert [r.id for r in found if not r.trouble] == [box.id]
        assert len(found) == 7
        assert all(r.id.isprintable() and r.trouble.isprintable() for r in found)
        with pytest.raises(RegistryError, match="some things stay"):
            host.sweep()
        assert (hosts / "broken" / "host.json").exists()
        assert os.path.exists("/etc/passwd")
        assert box.exec("true").ok


# -- dead hosts ------------------------------------------------------------------------------------------------------


@pytest.fixture
def dead(run: Folder) -> Place:
    """Give the place of a host that is dead: its lock is free."""
    place = Place.make(run, kept=False)
    place.leaves("fake", ("one", "two"))
    place.door.close()
    for fd in (place._lock, place._parent):
        os.close(fd)
    return place


def give_up(place: Place) -> None:
    place._boxes.close()
    place._folder.close()


class Leaving(FakeRuntime):
    """Remembers what it is asked to sweep."""

    def __init__(self) -> None:
        super().__init__()
        self.swept: list[tuple[str, ...]] = []

    def leavings(self) -> tuple[str, ...]:
        return ("mine",)

    def sweep(self, leavings: object) -> list[str]:
        self.swept.append(tuple(leavings))  # type: ignore[arg-type]
        return [f"what was {line}" for line in self.swept[-1]]


def test_a_runtime_sweeps_what_it_said_it_would_leave(dead: Place, base: Path, fakes: Callable[..., object]) -> None:
    runtime = Leaving()
    with make_host(fakes, runtime) as host:
        assert host.sweep() == ["what was one", "what was two"]
        assert runtime.swept == [("one", "two")]
        assert host.sweep() == []
        host.create()
        (place,) = base.glob("hosts/*")
        assert json.loads((place / "leavings.json").read_bytes()) == {"fake": ["mine"]}
    give_up(dead)
    assert not list(base.glob("hosts/*"))


def test_what_no_runtime_here_can_sweep_stays_for_a_host_that_can(
    dead: Place, base: Path, fakes: Callable[..., object], runtime: FakeRuntime
) -> None:
    with (
        Host(entry_points=False) as host,
        pytest.raises(RegistryError, match="'fake' made it, and this host has no such"),
    ):
        host.sweep()
    with make_host(fakes, runtime) as host, pytest.raises(RegistryError, match="can't remove it: one, two"):
        host.sweep()
    assert list(base.glob("hosts/*")) == [base / "hosts" / dead.host_id]
    with make_host(fakes, Leaving()) as host:
        assert len(host.sweep()) == 2
    give_up(dead)


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"fake": 1}', b'{"fake": [1]}', b"{" * 9999])
def test_damaged_leavings_are_never_swept(dead: Place, base: Path, fakes: Callable[..., object], raw: bytes) -> None:
    (base / "hosts" / dead.host_id / "leavings.json").write_bytes(raw)
    give_up(dead)
    runtime = Leaving()
    with make_host(fakes, runtime) as host, pytest.raises(RegistryError, match="some things stay"):
        host.sweep()
    assert runtime.swept == []


def test_a_place_that_is_being_made_is_no_orphan(run: Folder, base: Path) -> None:
    hosts = run.sub("hosts", make=True)
    folder = hosts.sub(".new", make=True)
    held = folder.lock("lock", make=True)
    assert held is not None
    assert survey.sweep(run, {}) == ([], [])
    assert survey.look(run) == []
    assert (base / "hosts" / ".new" / "lock").exists()
    os.close(held)
    assert survey.sweep(run, {}) == ([], [])
    assert not (base / "hosts" / ".new").exists()
    folder.close()
    hosts.close()
