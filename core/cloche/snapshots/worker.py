"""The resident worker of a box: a Python that has all imported, and forks where a program is asked of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cloche import units
from cloche.errors import SpecError, StartError, Unsupported
from cloche.programs import blame
from cloche.request import make_process

if TYPE_CHECKING:
    from cloche.runtime import Instance
    from cloche.sandbox import AsyncSandbox

SCRIPT_MAX: Final = 100_000
"""Bytes; with the imports it is one argument of a program (execve(2): 128 KiB)."""


def wanted(imports: Iterable[str], script: str) -> str:
    """Give what the worker is told to prepare. Raises ``SpecError`` for a name that is no module's."""
    names = [units.text(name, "imports", most=200) for name in units.sequence(imports, "imports")]
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise SpecError(f"imports: {units.shown(name)} is no name of a module")
    return json.dumps({"imports": names, "script": units.text(script, "script", most=SCRIPT_MAX)})


@cache
def source() -> str:
    """Give the worker's program."""
    return Path(__file__).with_name("worker_python.py").read_text(encoding="utf-8")


async def start(box: AsyncSandbox, instance: Instance, imports: Iterable[str], script: str, python: str) -> None:
    """Start it in ``box`` and wait until it is prepared; called by the box."""
    if not instance.takes_workers:
        raise Unsupported(f"sandboxes of {box.runtime!r} have no resident workers")
    args = (units.text(python, "python"), "-c", source(), wanted(imports, script))
    process = make_process(box.spec, "/", args, env=None, cwd=None, tty=False, linger=False)
    with blame(box.runtime):
        await instance.start_worker(process)
    # It takes the first request when it is prepared; and what its first fork costs is paid now.
    done = await box.exec(python, "-c", "", worker=True)
    if not done.ok:
        raise StartError(f"the worker can't prepare itself: {done.explain()}")
