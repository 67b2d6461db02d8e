"""Many sandboxes, for long, and a tree of processes: what it costs and what is left, in numbers.

    python benchmarks/scale.py                    measure, print
    python benchmarks/scale.py --write-docs       also write docs/scale.md
    python benchmarks/scale.py --cycles 5000 --runtime bwrap

Exit code 0: every aim kept; 1: one is missed. A sandbox or program that fails is an error at once. Uses the
asynchronous face, since that is what a server of many sandboxes uses.
"""

import argparse
import asyncio
import contextlib
import gc
import os
import platform
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from cloche import OPEN, AsyncHost, AsyncSandbox
from cloche.testing.leaks import Snapshot, leaked

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "scale.md"
AT_ONCE, IDLE, CYCLES, TREE, ROUNDS = 100, 200, 1000, 20, 40
RUNTIMES = ("namespaces", "bwrap", "process", "gvisor")
OWN_KERNEL = {"gvisor": 100}
"""Runtimes whose boxes bring a kernel, which is most of what an idle one holds, and how many of them are let be."""
RESIDENT = "import sys, json\nprint('up', flush=True)\nsys.stdin.read()"
WARM = 200  # cycles after which growth of memory counts: before, Python and its allocator fill their caches
FOREST = f"for i in $(seq {TREE - 1}); do sleep 600 & done; echo up; wait"


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: what was measured, what came out, what is aimed at, and whether it was reached."""

    what: str
    found: str
    aim: str
    kept: bool = True


def milliseconds(seconds: list[float]) -> str:
    """Give best, median, 95th percentile and worst."""
    ordered = sorted(seconds)
    late = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    shown = (ordered[0], statistics.median(ordered), late, ordered[-1])
    return "best {:.1f}, p50 {:.1f}, p95 {:.1f}, max {:.1f} ms".format(*(1e3 * value for value in shown))


def growth(before: Snapshot) -> dict[str, int]:
    """Give by how many descriptors, processes, groups and so on there are more than before, where any are.

    Counted, not named: a host keeps a few control groups and users between sandboxes, and not always the same.
    """
    now = Snapshot.take()
    more = {f.name: len(getattr(now, f.name)) - len(getattr(before, f.name)) for f in fields(Snapshot)}
    return {kind: count for kind, count in more.items() if count > 0}


async def timed(verb: Callable[[], Awaitable[None]]) -> float:
    """Give how long one verb takes, in seconds."""
    began = time.perf_counter()
    await verb()
    return time.perf_counter() - began


async def at_once(host: AsyncHost, runtime: str, count: int) -> list[Figure]:
    """Create boxes all at once, run a program in each, delete them all at once."""

    async def create() -> tuple[AsyncSandbox, float]:
        began = time.perf_counter()
        box = await host.create(runtime=runtime, isolation="standard")
        return box, time.perf_counter() - began

    began = time.perf_counter()
    made = await asyncio.gather(*(create() for _ in range(count)))
    whole = time.perf_counter() - began
    answers = await asyncio.gather(*(box.exec("echo", box.id) for box, _ in made))
    assert [answer.text for answer in answers] == [f"{box.id}\n" for box, _ in made]
    began = time.perf_counter()
    await asyncio.gather(*(box.delete() for box, _ in made))
    gone = time.perf_counter() - began
    return [
        Figure(
            f"{count} created at once: each, from call to started", milliseconds([t for _, t in made]), "none fails"
        ),
        Figure(f"{count} created at once: all", f"{1e3 * whole:.0f} ms, {1e3 * whole / count:.2f} ms a box", ""),
        Figure(f"{count} deleted at once: all", f"{1e3 * gone:.0f} ms, {1e3 * gone / count:.2f} ms a box", ""),
    ]


def own_memory(pid: int) -> int:
    """Give a process's proportional share of memory in bytes (proc_pid_smaps(5))."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii", errors="replace")
    return 1024 * sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))


def private_memory(pid: int) -> int:
    """Give what of a process's memory nobody else has, in bytes."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii", errors="replace")
    return 1024 * sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_"))


def family(pid: int) -> list[int]:
    """Give a process and everything below it."""
    found = [pid]
    for each in found:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a helper of the start has just ended
            for thread in Path(f"/proc/{each}/task").iterdir():
                found += [int(child) for child in (thread / "children").read_text().split()]
    return [each for each in found if Path(f"/proc/{each}").exists()]


def processes(info: Mapping[str, str]) -> list[int]:
    """Give the processes that a box has on the host, from what is said of it."""
    first = [int(info[name]) for name in ("launcher_pid", "agent_pid", "proxy_pid") if name in info]
    return [*dict.fromkeys(pid for each in first for pid in family(each))]


async def idle(host: AsyncHost, runtime: str, count: int) -> list[Figure]:
    """Let boxes be, and see what memory each holds."""
    before = private_memory(os.getpid())
    boxes = await asyncio.gather(*(host.create(runtime=runtime, isolation="standard") for _ in range(count)))
    most, with_what = 2 << 20, ""
    if runtime in OWN_KERNEL:
        most, with_what = 16 << 20, ", with an idle Python"
        await asyncio.gather(*(resident(box) for box in boxes))
    await asyncio.sleep(3)  # until each has its spare shepherd, and the helpers of its start have ended
    theirs = [processes(box.info()) for box in boxes]
    shares = [sum(own_memory(pid) for pid in pids) for pids in theirs]
    host_growth = (private_memory(os.getpid()) - before) / count
    await asyncio.gather(*(box.delete() for box in boxes))
    worst = max(shares)
    return [
        Figure(
            f"{count} idle{with_what}: memory of a box's own processes ({len(theirs[0])}), PSS",
            f"median {statistics.median(shares) / 2**20:.2f}, most {worst / 2**20:.2f} MiB",
            f"at most {most >> 20} MiB", worst <= most,
        ),
        Figure(f"{count} idle: growth of the host", f"{host_growth / 1024:.0f} KiB a box", ""),
    ]  # fmt: skip


async def resident(box: AsyncSandbox) -> None:
    """Start a Python that waits for a line."""
    job = await box.spawn("/usr/bin/python3", "-I", "-c", RESIDENT, stdin=OPEN, linger=True)
    async for line in job.lines():
        assert line == "up"
        return


async def cycles(host: AsyncHost, runtime: str, count: int) -> list[Figure]:
    """Create, run and delete again and again; see what grows."""
    warm = min(WARM, count // 2)
    before, began, memory = Snapshot.take(), 0.0, 0
    for number in range(count):
        if number == warm:
            gc.collect()
            before, began, memory = Snapshot.take(), time.perf_counter(), private_memory(os.getpid())
        box = await host.create(runtime=runtime, isolation="standard")
        answer = await box.exec("echo", str(number))
        assert answer.text == f"{number}\n"
        await box.delete()
    each = (time.perf_counter() - began) / (count - warm)
    gc.collect()
    grown = private_memory(os.getpid()) - memory
    left = growth(before)
    return [
        Figure(
            f"{count} cycles of create, exec, delete: descriptors, mounts, groups, processes, temporary files",
            f"growth {left or 0}", "0", not left,
        ),
        Figure(
            f"{count} cycles: growth of the host's own memory from cycle {warm} on", f"{grown / 1024:.0f} KiB",
            "below 2 MiB", grown < 2 << 20,
        ),
        Figure(f"{count} cycles: each", f"{1e3 * each:.1f} ms", ""),
    ]  # fmt: skip


async def tree(host: AsyncHost, runtime: str) -> list[Figure]:
    """Pause, resume and kill a program that has started others."""
    both, pauses, kills = [], [], []
    for _ in range(ROUNDS // 4):
        async with await host.create(runtime=runtime, isolation="standard") as box:
            job = await box.spawn("sh", "-c", FOREST)
            async for _ in job.lines():
                break
            for _ in range(4):
                pauses.append(await timed(box.pause))
                both.append(pauses[-1] + await timed(box.resume))
            began = time.perf_counter()
            await job.kill()
            await job.wait()
            kills.append(time.perf_counter() - began)
    return [
        Figure(f"pause of a tree of {TREE} processes", milliseconds(pauses), ""),
        Figure("pause and resume of that tree", milliseconds(both), "at most 5 ms", min(both) <= 5e-3),
        Figure(
            "kill of that tree, to its known end",
            milliseconds(kills),
            "at most 10 ms",
            min(kills) <= 1e-2,
        ),
    ]


async def measure(runtime: str, options: argparse.Namespace) -> list[Figure] | str:
    """Measure one runtime; why not, where it is not available."""
    async with AsyncHost() as host:
        reason = await host.unavailable(runtime)
        if reason is not None:
            return reason
        await (await host.create(runtime=runtime, isolation="standard")).delete()
        figures = await at_once(host, runtime, options.at_once)
        figures += await idle(host, runtime, options.idle or OWN_KERNEL.get(runtime, IDLE))
        figures += await cycles(host, runtime, options.cycles)
        figures += await tree(host, runtime)
    return figures


def measured(runtime: str, options: argparse.Namespace) -> list[Figure] | str:
    """Measure one runtime, and see what is left when its host is closed."""
    before = Snapshot.take()
    figures = asyncio.run(measure(runtime, options))
    if isinstance(figures, str):
        return figures
    left = leaked(before)
    return [*figures, Figure("left when the host is closed", str(left or "nothing"), "nothing", not left)]


HEAD = """# Scale

Written by `python benchmarks/scale.py --write-docs`; don't edit. {when}, {machine}. One asynchronous host, level
`standard`, default limits. Memory is PSS: a page that several processes share counts in parts (proc_pid_smaps(5)).
Times are from within the host, so they hold its own work as well; with many at once each box waits for the others. An
aim for a time is judged by the best, as other work on the machine only adds to it.
"""


def document(found: dict[str, list[Figure] | str]) -> str:
    """Give the page."""
    machine = f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, Linux {platform.release()}"
    machine += f", Python {platform.python_version()}"
    parts = [HEAD.format(when=time.strftime("%Y-%m-%d"), machine=machine)]
    for runtime, figures in found.items():
        parts.append(f"\n## {runtime}\n")
        if isinstance(figures, str):
            parts.append(f"Not measured: {figures}.\n")
            continue
        parts.append("| | measured | aim |\n|---|---|---|")
        parts += [f"| {f.what} | {f.found} | {f.aim}{'' if f.kept else ', **missed**'} |" for f in figures]
    return "\n".join(parts) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="Many sandboxes, for long.")
    parser.add_argument("--runtime", action="append", help="only this one (may be given again)")
    parser.add_argument("--at-once", type=int, default=AT_ONCE)
    parser.add_argument("--idle", type=int, help="200, or 100 where each brings a kernel")
    parser.add_argument("--cycles", type=int, default=CYCLES)
    parser.add_argument("--write-docs", action="store_true", help="write docs/scale.md")
    options = parser.parse_args()
    found = {name: measured(name, options) for name in options.runtime or RUNTIMES}
    print(document(found))
    if options.write_docs:
        DOCUMENT.write_text(document(found), encoding="utf-8")
    return int(any(isinstance(figures, str) or not all(f.kept for f in figures) for figures in found.values()))


if __name__ == "__main__":
    sys.exit(main())
