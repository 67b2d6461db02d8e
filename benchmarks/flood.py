"""Many watched sandboxes, and guests that do more than can be told: what it costs and what is lost, in numbers.

    python benchmarks/flood.py                    measure, print
    python benchmarks/flood.py --write-docs       also write docs/watching-cost.md
    python benchmarks/flood.py --seconds 5 --runtime gvisor

Exit code 0: every aim kept; 1: one is missed.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # started as a script, only this folder is on the path

import cloche  # noqa: E402
from benchmarks.conftest import compiled  # noqa: E402
from benchmarks.scale import own_memory, private_memory, processes  # noqa: E402

DOCUMENT = ROOT / "docs" / "watching-cost.md"
BOXES, GUESTS, AT_ONCE = 100, 2, 8
MEMORY = {"namespaces": 30 << 20, "gvisor": 1600 << 20}
"""Bytes that so many idle watched boxes may take, with all their processes and the host's growth."""
COUNT = cloche.Monitor("full", resolve=False, overload="count")
WAIT = cloche.Monitor("full", resolve=False, overload="wait")


@dataclass(frozen=True, slots=True)
class Flood:
    """What came of one flood: acts of the guest, nanoseconds of each, and the reader's side of it."""

    how: str
    acts: int
    each: float
    taken: int
    lost: int
    seconds: float

    def row(self, plain: float) -> list[str]:
        """Give the cells of its row; ``plain`` is what an act takes where nobody watches."""
        return [
            self.how, f"{self.acts / self.seconds / 1e3:.0f}", f"{self.each / 1e3:.2f}", f"{self.each / plain:.1f}",
            f"{self.taken / self.seconds / 1e3:.0f}", str(self.lost),
        ]  # fmt: skip


HEAD_FLOOD = [
    "", "acts, thousands a second", "µs each, in the guest", "beside not watched",
    "events taken in Python, thousands a second", "events lost, all of them counted",
]  # fmt: skip


def memory(host: cloche.Host, runtime: str, monitor: cloche.Monitor | None) -> int:
    """Give the bytes that idle boxes take: their processes' share of memory, and what the host grew by."""
    before = private_memory(os.getpid())
    with ThreadPoolExecutor(AT_ONCE) as pool:
        boxes = list(
            pool.map(lambda _: host.create(runtime=runtime, isolation="standard", monitor=monitor), range(BOXES))
        )
        list(pool.map(lambda box: box.exec("true").check(), boxes))
    time.sleep(3)  # until each has its spare shepherd, and the helpers of its start have ended
    theirs = [pid for box in boxes for pid in processes(box.info())]
    found = sum(own_memory(pid) for pid in theirs) + private_memory(os.getpid()) - before
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda box: box.delete(), boxes))
    return found


@dataclass(frozen=True, slots=True)
class Way:
    """One way to watch a flood; with ``reads`` a thread of the host takes the events."""

    how: str
    monitor: cloche.Monitor | None = None
    rules: str = "off"
    reads: bool = False


WAYS = {
    "namespaces": (
        Way("not watched"), Way("`count`, one reader", COUNT, reads=True), Way("`count`, nobody reads", COUNT),
        Way("`wait`, one reader", WAIT, reads=True),
    ),
    "gvisor": (
        Way("not watched"), Way("all bundled rules: what they judge is told", None, "on"),
        Way("every act told, one reader", COUNT, reads=True), Way("every act told, nobody reads", COUNT),
        Way("every act told and judged, one reader", WAIT, "on", reads=True),
    ),
}  # fmt: skip


def flood(host: cloche.Host, runtime: str, guest: str, way: Way, seconds: float) -> Flood:
    """Let guests open a file that is not there as fast as they can."""
    mount = cloche.Mount(str(Path(guest).parent), str(Path(guest).parent))
    taken = 0

    def take(events: cloche.Events) -> None:
        nonlocal taken
        for batch in events.batches():
            taken += len(batch)

    with host.create(
        runtime=runtime, isolation="standard", mounts=(mount,), monitor=way.monitor, rules=way.rules
    ) as box:
        events = box.events("open") if way.monitor is not None else None
        reader = threading.Thread(target=take, args=(events,)) if events is not None and way.reads else None
        if reader is not None:
            reader.start()
        began = time.monotonic()
        arguments = (guest, "flood", "/none-such", str(int(seconds * 1e3)))
        with ThreadPoolExecutor(GUESTS) as pool:
            done = list(pool.map(lambda _: box.exec(*arguments, timeout=10 * seconds + 60), range(GUESTS)))
        took = time.monotonic() - began
        if events is not None:
            time.sleep(0.5)  # what is on its way
            events.close()
        if reader is not None:
            reader.join()
        told = [json.loads(one.check().text) for one in done]
        acts = sum(one["count"] for one in told)
        each = sum(one["ns"] for one in told) / acts
        lost = events.lost if events is not None else 0
        return Flood(way.how, acts=acts, each=each, taken=taken, lost=lost, seconds=took)


def floods(host: cloche.Host, runtime: str, guest: str, seconds: float) -> list[list[str]]:
    """Give the table of all floods."""
    found = [flood(host, runtime, guest, way, seconds) for way in WAYS[runtime]]
    return [HEAD_FLOOD, *(one.row(found[0].each) for one in found)]


HEAD = """# What watching costs where there is much of it

Written by `python benchmarks/flood.py --write-docs`; don't edit. {when}, {machine}. What it costs a
guest that works as usual is in [benchmarks.md](benchmarks.md).

Memory is that of a hundred idle sandboxes: all their processes' proportional share of it (proc_pid_smaps(5)), and
by how much the host's own grew. In a flood two guests of one sandbox open a file that is not there as fast as they can,
for {seconds:g} s; depth `full`.
"""
SECTION = """
## {runtime}

| {boxes} idle sandboxes | measured | aim |
|---|---|---|
{memory}

{floods}
"""


def table(rows: list[list[str]]) -> str:
    """Give a table in Markdown; the first row is its head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---|" + "---:|" * (len(rows[0]) - 1), *lines[1:]])


def section(host: cloche.Host, runtime: str, guest: str, seconds: float) -> tuple[str, bool]:
    """Measure one runtime; give its part of the page, and whether its aim was kept."""
    memory(host, runtime, None)  # what a host and its Python keep from then on
    plain, watched = memory(host, runtime, None), memory(host, runtime, cloche.Monitor("full"))
    rows = floods(host, runtime, guest, seconds)
    most = MEMORY[runtime]
    kept = watched <= most
    aim = f"at most {most >> 20} MiB{'' if kept else ': missed'}"
    mib = [
        f"| not watched | {plain / 2**20:.1f} MiB |  |",
        f"| watched at depth `full` | {watched / 2**20:.1f} MiB | {aim} |",
    ]
    return SECTION.format(runtime=runtime, boxes=BOXES, memory="\n".join(mib), floods=table(rows)), kept


def main() -> int:
    """Measure, print, and say by the exit code whether the aims were kept."""
    parser = argparse.ArgumentParser(description="Measure watched sandboxes and floods of events.")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each flood lasts")
    parser.add_argument("--runtime", choices=WAYS, action="append", help="only this one; may be given again")
    parser.add_argument("--write-docs", action="store_true", help=f"also write {DOCUMENT}")
    options = parser.parse_args()
    machine = f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, Linux {platform.release()}"
    machine += f", Python {platform.python_version()}"
    page = HEAD.format(when=time.strftime("%Y-%m-%d"), machine=machine, seconds=options.seconds)
    kept = True
    with tempfile.TemporaryDirectory(prefix="cloche-flood-", dir="/var/tmp") as folder, cloche.Host() as host:
        Path(folder).chmod(0o755)
        guest = compiled("watched.c", Path(folder))
        for runtime in options.runtime or WAYS:
            if (reason := host.unavailable(runtime)) is not None:
                page += f"\n## {runtime}\n\nNot measured: {reason}.\n"
                continue
            part, good = section(host, runtime, guest, options.seconds)
            page, kept = page + part, kept and good
    print(page)
    if options.write_docs:
        DOCUMENT.write_text(page)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
