"""``--pool`` and ``cloche pool``: sandboxes that a background process has started before."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.plugins.conftest import Cloche, Start

pytestmark = pytest.mark.usefixtures("told_to_end")


@pytest.fixture
def told_to_end(ended: None) -> Iterator[None]:  # noqa: ARG001
    """Tell the keeper to end, which would stay for as long as its pool is worth keeping."""
    yield
    for file in Path(os.environ["XDG_RUNTIME_DIR"], "cloche", "hosts").glob("*/host.json"):
        about = json.loads(file.read_text())
        if about["kept"]:
            os.kill(about["pid"], signal.SIGTERM)


def pools(cloche: Cloche) -> list[dict[str, Any]]:
    done = cloche("pool", "-o", "json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def ready(cloche: Cloche) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while True:
        found = pools(cloche)
        if found and found[0]["stats"]["idle"]:
            return found[0]
        assert time.monotonic() < deadline, found


def test_run_takes_a_sandbox_of_the_keepers_pool_and_leaves_none(cloche: Cloche) -> None:
    assert "no host of yours" in cloche("pool").stderr.decode()
    assert cloche("run", "--pool", "prefer", "--", "echo", "one").stdout == b"one\n"
    record = ready(cloche)
    assert (record["kept"], record["stats"]["misses"], record["stats"]["hits"]) == (True, 1, 0)
    done = cloche("run", "--pool", "require", "--", "sh", "-c", "cat; exit 7", stdin=b"two")
    assert (done.returncode, done.stdout) == (7, b"two")
    assert ready(cloche)["stats"]["hits"] == 1
    shown = cloche("pool").stdout.decode()
    assert "keeper" in shown
    assert "enhanced" in shown
    assert json.loads(cloche("ps", "-a", "-o", "json").stdout) == []


def test_create_takes_one_too(cloche: Cloche) -> None:
    first = cloche("create", "--pool", "prefer", "--name", "one")
    assert first.returncode == 0, first.stderr
    ready(cloche)
    assert cloche("create", "--pool", "require", "--name", "two").returncode == 0
    assert pools(cloche)[0]["stats"]["hits"] == 1
    assert cloche("exec", "two", "--", "echo", "hi").stdout == b"hi\n"
    assert "pool" in json.loads(cloche("inspect", "two", "-o", "json").stdout).get("info", {"pool": ""})
    assert cloche("rm", "-f", "one", "two").returncode == 0


def test_a_run_that_is_killed_takes_its_sandbox_with_it(cloche: Cloche, start: Start) -> None:
    running = start("run", "--pool", "prefer", "--", "sh", "-c", "echo up; sleep 60")
    assert running.stdout
    assert running.stdout.readline() == b"up\n"
    running.kill()
    deadline = time.monotonic() + 20
    while json.loads(cloche("ps", "-a", "-o", "json").stdout):
        assert time.monotonic() < deadline


def test_what_cannot_wait_is_refused_by_require_alone(cloche: Cloche) -> None:
    done = cloche("run", "--pool", "require", "--forbid", "/etc/x", "--", "true")
    assert done.returncode == 125
    assert b"pool: 'require' was asked for, but it restricts paths" in done.stderr
    assert cloche("run", "--pool", "prefer", "--forbid", "/etc/x", "--", "true").returncode == 0
    assert cloche("run", "--pool", "often", "--", "true").returncode == 2
