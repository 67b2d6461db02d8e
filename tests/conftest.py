from __future__ import annotations

import contextlib
import faulthandler
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key  # fd 2 itself is captured still
from hypothesis import settings

from cloche_native import cgroup
from tests.adopting import adopting
from tests.hanging import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

pytest_plugins = ["cloche.testing.leaks"]

# No deadline: a busy machine is slow, not wrong. Fewer examples than usual keep tests/unit under five seconds.
settings.register_profile("cloche", deadline=None, max_examples=60)
settings.load_profile("cloche")
WATCH: Final = pytest.StashKey[Watch]()


@pytest.fixture
def orphans() -> Iterator[Callable[[], list[str]]]:
    """Inherit what a killed child leaves and give who of it lives when asked."""
    from cloche.testing.leaks import Snapshot  # noqa: PLC0415 - a plugin of pytest's, to be imported by it first

    before = Snapshot.take(machine=False)

    def living() -> list[str]:
        new = Snapshot.take(machine=False).since(before).get("processes", [])
        for process in new:
            if process.endswith(" Z"):
                try:
                    os.waitpid(int(process.split()[0]), os.WNOHANG)
                except ChildProcessError:  # the child of another of them
                    continue
        return [process for process in new if not process.endswith(" Z")]

    with adopting():
        yield living
    living()  # who has ended meanwhile would keep its control group


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Give how many processes ``pytest -n auto`` shares the tests among: two, where these can be kept apart.

    What a test leaves behind is looked for in the temporary folder and below the own control group, so each process
    takes one of its own (``apart``). Version 2 has all groups of a machine in one folder: there is one process then.
    """
    found = cgroup.detect()
    return 0 if found is not None and found.version == 2 else min(2, len(os.sched_getaffinity(0)))


END: Final = 300.0
"""Seconds that all that comes after the last test may take: coverage, reports, the end of each process."""


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        watch = Watch(config.stash[fault_handler_stderr_fd_key])
        config.stash[WATCH] = watch
        watch.start()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    watch = item.config.stash.get(WATCH, None)
    if watch is None:
        return (yield)
    watch.begin(item.nodeid)
    try:
        return (yield)
    finally:
        watch.end()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let no thread that never ends keep the end of the tests from coming."""
    faulthandler.dump_traceback_later(END, exit=True, file=session.config.stash[fault_handler_stderr_fd_key])


@pytest.fixture(scope="session", autouse=True)
def apart() -> Iterator[None]:
    """Give a process that runs a share of the tests a temporary folder and control groups of its own."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        yield
        return
    before = os.environ.get("TMPDIR")
    folder = tempfile.mkdtemp(prefix=os.environ["PYTEST_XDIST_WORKER"])
    Path(folder).chmod(0o1777)
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    found = cgroup.detect()
    groups = [Path(parent).parent / f"tests-{os.getpid()}" for parent in (found.parents.values() if found else ())]
    for group in groups:
        group.mkdir(exist_ok=True)  # two controllers may share one folder
        (group / "cgroup.procs").write_text("0")
    yield
    for group in groups:
        (group.parent / "cgroup.procs").write_text("0")
    for group in dict.fromkeys(groups):
        _remove_group(group)
    tempfile.tempdir = None
    os.environ.pop("TMPDIR")
    if before is not None:
        os.environ["TMPDIR"] = before
    shutil.rmtree(folder)


def _left_in(group: Path) -> list[str]:
    """Give the groups in a control group, and who is in it."""
    told = [str(path) for path in group.rglob("*") if path.is_dir()]
    for pid in (group / "cgroup.procs").read_text().split():
        with contextlib.suppress(OSError):
            told.append(f"{pid} {Path(f'/proc/{pid}/cmdline').read_bytes()!r}")
    return told


def _remove_group(group: Path) -> None:
    until = time.monotonic() + 5
    while group.exists():
        with contextlib.suppress(OSError):  # it is busy while the last process of a test is being reaped
            group.rmdir()
            return
        assert time.monotonic() < until, f"{group} is not empty: {_left_in(group)}"
        time.sleep(0.01)


@pytest.fixture(scope="session", autouse=True)
def own_run_folder(apart: None) -> Iterator[None]:  # noqa: ARG001 - it lies in that one's folder
    """Give this test session a registry of its own: names are unique in one, and sweeps look at all of it."""
    folder = tempfile.mkdtemp(prefix="test-run-")
    before = {name: os.environ.get(name) for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME")}
    os.environ.update(dict.fromkeys(before, folder))
    yield
    for name, value in before.items():
        os.environ.pop(name)
        if value is not None:
            os.environ[name] = value
    shutil.rmtree(folder)
