"""Cloche's gvisor runtime as contenders, and a resident program that answers lines."""

import shutil
from collections.abc import Iterator
from typing import ClassVar

import cloche
from benchmarks.ours import Cloche
from benchmarks.ours_watched import Watched
from benchmarks.peers import Contender, WrongAnswerError

ECHO = "import sys\nfor line in sys.stdin: print(len(line), flush=True)"
PYTHON = "/usr/bin/python3"


class Resident(Cloche):
    """A living sandbox with a program in it that answers each line with one."""

    def __init__(self) -> None:
        super().__init__()
        self.job: cloche.Job | None = None
        self.answers: Iterator[cloche.Chunk] = iter(())

    def message(self, *, count: int) -> None:
        """Send ``count`` lines, each when the last one is answered. A timed call."""
        if self.job is None:
            box = self.held.enter_context(self._create_for(PYTHON))
            self.job = box.spawn(PYTHON, "-I", "-c", ECHO, stdin=cloche.OPEN)
            self.answers = self.job.output()
        for number in range(count):
            self.job.write(b"x" * (number % 7) + b"\n")
            if next(self.answers).data != b"%d\n" % (number % 7 + 1):
                raise WrongAnswerError(f"{self.name}: line {number} was answered wrong")


class ClocheResident(Resident):
    name = "cloche resident"
    what = "namespaces at enhanced: a Python program that answers lines"


class OnGvisor(Contender):
    """May be missing: cloche brings no gVisor."""

    def find(self) -> str | None:
        return None if shutil.which("runsc") else "runsc is not installed (apt: runsc)"


class Gvisor(OnGvisor, Resident):
    name = "cloche gvisor"
    what = "gvisor at enhanced, all of it enforced; create + exec + delete on a living Host"
    runtime = "gvisor"


class GvisorRules(OnGvisor, Watched):
    name = "cloche gvisor rules"
    what = "the same with all bundled rules: only the acts that they judge are told"
    runtime = "gvisor"
    monitor: ClassVar[cloche.Monitor | None] = None
    rules = "on"


class GvisorAll(OnGvisor, Watched):
    name = "cloche gvisor all"
    what = "the same at depth `full`; every event is taken by a thread of the host"
    runtime = "gvisor"
    monitor = cloche.Monitor("full", resolve=False, overload="count")


OURS_GVISOR: dict[str, type[Cloche]] = {ours.name: ours for ours in (ClocheResident, Gvisor, GvisorRules, GvisorAll)}
