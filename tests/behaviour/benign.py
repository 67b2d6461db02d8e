"""Honest work, run in sandboxes with all rules on: nothing grave may be found in it, and nothing refused.

::

    python -m tests.behaviour.benign [--all] [--names NAME ...] [--cache FOLDER] [--runtime gvisor]

What some of it needs from a registry (source archives, wheels, packages) is fetched beforehand, outside, into a folder
that the sandbox sees read-only at ``/cache``. A sandbox has no network.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cloche
from tests.behaviour.ground import RUNTIMES, WATCH, told_only
from tests.behaviour.work import WORK, Work

GRAVE = cloche.Severity.HIGH
SECONDS = 240
CACHE = Path(os.environ.get("CLOCHE_BENIGN_CACHE", "build/benign"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How one piece of work went."""

    work: Work
    ok: bool
    incidents: Mapping[str, str] = field(default_factory=dict)
    """Rules that matched, with their severity."""
    grave: tuple[str, ...] = ()
    """One line for each incident that is grave."""
    refused: tuple[str, ...] = ()
    """One line for each act that a rule refused."""
    events: int = 0
    seconds: float = 0.0
    detail: str = ""


def fetch(work: Work, cache: Path) -> str:
    """Bring what the work needs into the cache; give why that can't be had, or nothing."""
    lacking = [name for name in work.needs if _program(name) is None]
    if lacking:
        return f"{', '.join(lacking)} is not installed"
    for kind, names in work.fetch.items():
        mark = cache / kind / f".{work.name}-{zlib.crc32(' '.join(names).encode()):x}"
        if mark.exists():
            continue
        mark.parent.mkdir(parents=True, exist_ok=True)
        for command in _commands(kind, names, cache):
            got = subprocess.run(command, cwd=mark.parent, capture_output=True, text=True, timeout=600, check=False)
            if got.returncode != 0:
                return f"{' '.join(command[:4])} ...: {got.stderr.strip()[-200:]}"
        mark.touch()
    return ""


def _commands(kind: str, names: Sequence[str], cache: Path) -> Iterator[list[str]]:
    pip = [sys.executable, "-m", "pip", "download", "-q", "--dest", str(cache / kind)]
    if kind == "wheels":
        yield [*pip, *names]
    elif kind == "sources":
        for name in names:
            yield [*pip, "--no-deps", "--no-binary", name, name]
    elif kind == "npm":
        scratch = cache / kind / "scratch"
        scratch.mkdir(exist_ok=True)
        yield ["npm", "install", "--prefix", str(scratch), "--cache", str(cache / kind / "cache"), *names]
    elif kind == "npm-packs":
        yield ["npm", "pack", "--silent", *names]
    elif kind == "deb":
        yield ["apt-get", "download", "-q", *names]


def _program(name: str) -> str | None:
    """Find a program as a guest would, or where a user's toolchain is."""
    return shutil.which(name, path="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin") or shutil.which(
        name, path=str(Path.home() / ".cargo/bin")
    )


@contextmanager
def box_for(host: cloche.Host, work: Work, cache: Path, runtime: str) -> Iterator[cloche.Sandbox]:
    """Give the sandbox that a piece of work is done in: the profile for its kind, rules on."""
    mounts = [cloche.Mount(str(cache.absolute()), "/cache")] if work.fetch else []
    if work.toolchain:
        root = subprocess.run(
            [str(_program("rustc")), "--print", "sysroot"], capture_output=True, text=True, check=True
        )
        mounts.append(cloche.Mount(root.stdout.strip(), "/toolchain"))
    with host.create(
        profile=work.profile, mounts=mounts, monitor=WATCH, rules=told_only(runtime), runtime=runtime
    ) as box:
        yield box


def done(host: cloche.Host, work: Work, cache: Path, runtime: str) -> Run:
    """Do a piece of work and give what was found in it. Raises ``OSError``."""
    begin = time.monotonic()
    with box_for(host, work, cache, runtime) as box:
        result = box.exec(*work.argv(), timeout=SECONDS)
        incidents = box.incidents()
        events = sum(box.event_counts().values())
    grave = [one for one in incidents if one.severity >= GRAVE]
    # A rule of less than the level's threshold refuses nothing: the static filter did, and the rule says what it was.
    refused = [str(one) for one in result.violations if one.mechanism == "rule" and one.blocked and _grave(one)]
    return Run(
        work=work, ok=result.ok, incidents={one.rule: str(one.severity) for one in incidents}, events=events,
        grave=tuple(f"{one} {one.fields}" for one in grave), refused=tuple(refused),
        seconds=time.monotonic() - begin, detail="" if result.ok else f"{result.explain()} {result.text[-800:]}",
    )  # fmt: skip


def _grave(one: cloche.Violation) -> bool:
    return cloche.Severity.of(one.severity) >= GRAVE


def main(arguments: Sequence[str] | None = None) -> int:
    """Be the program of this module."""
    parser = argparse.ArgumentParser(description="Do honest work in sandboxes with all rules on.")
    parser.add_argument("--all", action="store_true", help="also what takes long, or must be fetched first")
    parser.add_argument("--names", nargs="*", help="only these")
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"where to fetch to ({CACHE})")
    parser.add_argument("--runtime", choices=RUNTIMES, default="namespaces")
    asked = parser.parse_args(arguments)
    bad = 0
    with cloche.Host() as host:
        for work in WORK:
            if work.name not in asked.names if asked.names else not (work.quick or asked.all):
                continue
            if reason := fetch(work, asked.cache):
                sys.stdout.write(f"{work.name:16} not done: {reason}\n")
                continue
            run = done(host, work, asked.cache, asked.runtime)
            bad += not run.ok or bool(run.grave) or bool(run.refused)
            found = ", ".join(f"{rule} ({severity})" for rule, severity in run.incidents.items())
            sys.stdout.write(
                f"{work.name:16} {'ok' if run.ok else 'FAILED'} {run.events} events, {run.seconds:.1f} s; {found}\n"
            )
            for line in (*run.grave, *run.refused, *([run.detail] if run.detail else [])):
                sys.stdout.write(f"    {line}\n")
            sys.stdout.flush()
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
