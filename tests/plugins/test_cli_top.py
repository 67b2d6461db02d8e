"""``cloche top`` and ``cloche incidents`` over living sandboxes, as a person uses them."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from cloche import Host
from cloche.commands.top_rows import all_there

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Run = Callable[..., subprocess.CompletedProcess[bytes]]

PROGRAM = "while :; do ln -sf /etc/shadow $(printf 'a\\033[31mb'); sleep 0.05; done"
SECONDS = 30


@pytest.fixture
def busy(made: Callable[..., str]) -> str:
    """Give the id of a sandbox whose program does what rules find, with names that would steer a terminal."""
    return made("--name", "busy", "--monitor", "full", "--rules", "on", "--", "sh", "-c", PROGRAM)


def settled(done: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < until, what
        time.sleep(0.1)


def found(cloche: Run, *args: str) -> list[dict[str, Any]]:
    return [json.loads(text) for text in cloche("incidents", *args, "-o", "json").stdout.splitlines()]


def test_living_sandboxes_are_shown_once_without_a_terminal(cloche: Run, busy: str) -> None:
    settled(lambda: bool(found(cloche)), "no incident")
    done = cloche("top", "--once")
    text = done.stdout.decode()
    assert (done.returncode, done.stderr) == (0, b"")
    assert max(len(line) for line in text.splitlines()[:5]) <= 80
    assert "busy" in text
    assert "running" in text
    assert "\x1b" not in text
    (row,) = json.loads(cloche("top", "-o", "json").stdout)
    assert (row["id"], row["state"], row["runtime"] != "") == (busy, "running", True)
    assert row["events_per_second"] > 0
    assert sum(row["incidents"].values()) >= 1
    assert row["last_incident"]["sandbox"] == busy


def test_incidents_of_living_sandboxes_are_lines_and_trees(cloche: Run, busy: str) -> None:
    settled(lambda: bool(found(cloche, "busy")), "no incident")
    one = next(one for one in found(cloche) if one["rule"] == "suspicious-symlink")
    table = cloche("incidents", "--severity", "high").stdout
    assert one["id"].encode() in table
    assert b"\x1b" not in table
    tree = cloche("incidents", "show", one["id"]).stdout
    assert b"\x1b" not in tree
    for part in (b"suspicious-symlink", b"a\\x1b[31mb", b"processes", b"what was done", busy.encode()):
        assert part in tree, part


def test_nothing_there_is_an_empty_table(cloche: Run) -> None:
    done = cloche("top", "--once")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"sandbox" in done.stdout


def test_the_live_table_shows_pauses_resumes_and_kills(busy: str) -> None:
    textual = pytest.importorskip("textual")
    assert textual
    with Host() as host:
        asyncio.run(_drive(host, busy))


async def _drive(host: Host, busy: str) -> None:
    from cloche.commands.top_app import Top  # noqa: PLC0415 - it needs the extra

    app = Top(host, every=0.2)
    async with app.run_test(size=(150, 40)) as pilot:

        def text() -> str:
            return "\n".join(strip.text for strip in app.screen._compositor.render_strips())

        async def until(done: Callable[[], bool]) -> None:
            end = time.monotonic() + SECONDS
            while not done():
                assert time.monotonic() < end, text()
                await pilot.pause(0.1)

        async def press(key: str, done: Callable[[], bool]) -> None:
            await pilot.press(key)
            await until(done)

        await until(lambda: "high " in text() and app.seen[0].rate is not None)
        box = app.seen[0].box
        assert box is not None
        await press("p", lambda: "paused" in text())
        assert str(box.state) == "paused"
        await press("r", lambda: "running" in text())
        await press("enter", lambda: "symlink " in text() and "incidents, newest first" in text())
        assert "\x1b" not in text()
        assert busy in text()
        await press("escape", lambda: "events/s" in text())
        await press("k", lambda: "press k again" in text())
        assert str(box.state) == "running"
        await press("k", lambda: not app.seen or "stopped" in text())
        await pilot.press("q")


def test_what_goes_away_is_not_shown_any_longer(cloche: Run, made: Callable[..., str]) -> None:
    box = made("--name", "short", "--", "sleep", "60")
    with Host() as host:
        (seen,) = all_there(host)
        seen.look()
        seen.look()
        assert (seen.id, seen.rate, list(seen.incidents)) == (box, None, [])
        cloche("rm", "-f", "short")
        assert all_there(host, [seen]) == []
        seen.look()
        assert len(seen.cells()) == 9
