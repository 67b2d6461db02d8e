"""A host that is killed at any moment of any of its verbs leaves nothing once the next one has started.

Processes are gone at once. Half the times the helper that cleans up after the host is killed too: then bubblewrap, if
its outer half dies before it has told the inner one to go on, leaves that waiting in its group until the next start.

``CLOCHE_CRASHES=200 pytest -s tests/plugins/test_crash_random.py`` kills that often and shows a table.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

import cloche

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.timeout(1800)]

ROUNDS = int(os.environ.get("CLOCHE_CRASHES", "20"))
RUNTIMES = ("namespaces", "bwrap", "process")
VERBS = (
    "first create",
    "create",
    "create many",
    "start",
    "exec",
    "spawn",
    "pause",
    "resume",
    "kill",
    "delete",
    "close",
)
SETTLE = 10.0

HOST = """
import asyncio, random, sys
from cloche import AsyncHost, ClocheError, Mount

runtime, verb, seed, marker, folder = sys.argv[1:]
chance = random.Random(int(seed))
busy = f"echo x > left; mkdir -p deep/er; chmod 0 deep; (setsid setsid sleep {marker} &); sleep {marker}"

async def create(host, start=True):
    mounts = [Mount(folder, folder, read_only=False)] if chance.random() < 0.3 else []
    return await host.create(runtime=runtime, isolation="standard", mounts=mounts, start=start)

async def busy_box(host):
    box = await create(host)
    await box.spawn("sh", "-c", busy)
    return box

async def once(host, verb):
    if verb in ("first create", "create"):
        await create(host)
    elif verb == "create many":
        await asyncio.gather(*(create(host) for _ in range(8)))
    elif verb == "start":
        await prepared.pop().start()
    elif verb in ("exec", "spawn"):
        box = prepared.pop()
        await (box.exec("sh", "-c", "echo y > new") if verb == "exec" else box.spawn("sh", "-c", busy))
    elif verb != "close":
        await getattr(prepared.pop(), verb)()

async def main():
    async with AsyncHost() as host:
        if verb == "first create":
            print("now", flush=True)
            await create(host)
        for _ in range(chance.randrange(3)):
            await busy_box(host)
        for _ in range(3):
            prepared.append(await (create(host, start=verb != "start") if verb in ("start", "exec", "spawn")
                                   else busy_box(host)))
            if verb == "resume":
                await prepared[-1].pause()
        if verb != "first create":
            print("now", flush=True)
        for _ in range(0 if verb == "close" else 3):
            await once(host, verb)
    print("over", flush=True)
    await asyncio.sleep(600)

prepared = []
asyncio.run(main())
"""


def traces(pid: int, folder: Path) -> list[str]:
    """Give what a host of this process id made outside itself: groups, mounts, temporary files."""
    left = [name for name, _, _ in os.walk("/sys/fs/cgroup") if os.path.basename(name).startswith(f"{pid}-")]
    left += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(folder) in line]
    return left + [str(path) for path in (folder / "tmp").iterdir()]


def helpers(pid: int) -> list[int]:
    """Give the processes that would clean up after this host."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            if b"--janitor" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(int(child))
    return found


def killed_host(runtime: str, verb: str, seed: int, folder: Path, *, helped: bool) -> int:
    """Run a host, kill it while it is about a verb, and give its process id; without ``helped`` its helper as well."""
    chance = random.Random(seed)  # noqa: S311 - when to kill is no secret
    marker = f"{5000 + uuid.uuid4().int % 1000}.{uuid.uuid4().int % 10**9:09d}"
    command = [sys.executable, "-c", HOST, runtime, verb, str(seed), marker, str(folder / "shared")]
    env = {**os.environ, "TMPDIR": str(folder / "tmp")}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout
        assert host.stdout.readline() == "now\n"
        time.sleep(0.02 * chance.random() ** 2)
        gone = [] if helped else helpers(host.pid)
        for helper in gone:
            os.kill(helper, signal.SIGSTOP)
        host.kill()
        for helper in gone:
            os.kill(helper, signal.SIGKILL)
    return host.pid


def gone(left: Callable[[], list[str]], case: str) -> None:
    until = time.monotonic() + SETTLE
    while found := left():
        assert time.monotonic() < until, (case, found)
        time.sleep(0.002)


def test_a_host_killed_at_a_random_moment_leaves_nothing(
    open_folder: Path,
    orphans: Callable[[], list[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with cloche.Host() as host:
        runtimes = [name for name in RUNTIMES if name in host.runtimes and host.unavailable(name) is None]
    if not runtimes:
        pytest.skip("no runtime works here")
    (open_folder / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(open_folder / "run"))
    for name in ("tmp", "shared"):
        (open_folder / name).mkdir()
        (open_folder / name).chmod(0o777)
    seed = int.from_bytes(os.urandom(4), "big")
    slowest: dict[tuple[str, str], float] = {}
    times: dict[tuple[str, str], int] = {}
    every = itertools.cycle(
        random.sample(list(itertools.product((True, False), VERBS, runtimes)), k=2 * len(VERBS) * len(runtimes))
    )
    for number, (helped, verb, runtime) in zip(range(ROUNDS), every, strict=False):
        case = f"{runtime}, {verb}, {'' if helped else 'with its helper, '}seed {seed + number}"
        pid = killed_host(runtime, verb, seed + number, open_folder, helped=helped)
        began = time.monotonic()
        if helped:
            gone(orphans, case)
            slowest[verb, runtime] = max(slowest.get((verb, runtime), 0), time.monotonic() - began)
        times[verb, runtime] = times.get((verb, runtime), 0) + 1
        with cloche.Host() as host, host.create(runtime=runtime, isolation="standard") as box:
            assert box.exec("echo", "next").text == "next\n"
            gone(functools.partial(traces, pid, open_folder), case)  # it sweeps beside its work
        gone(orphans, case)
        assert list((open_folder / "run").glob("cloche/hosts/*")) == []
    if "CLOCHE_CRASHES" in os.environ:
        with capsys.disabled():
            sys.stdout.write(
                "\n| killed during | runtime | times | longest until no process was left, ms |\n|---|---|---|---|\n"
            )
            for (verb, runtime), count in sorted(times.items()):
                sys.stdout.write(f"| {verb} | {runtime} | {count} | {1e3 * slowest.get((verb, runtime), 0):.0f} |\n")
