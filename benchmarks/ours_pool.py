"""Cloche with boxes that wait, and without: from asking for a sandbox to the first output of a program in it."""

import time
from typing import ClassVar, Literal

import cloche
from benchmarks.ours import Cloche
from benchmarks.ours_gvisor import OnGvisor
from benchmarks.peers import WrongAnswerError

ECHO = ("/bin/echo", "first")
PATIENCE = 30.0


class Anew(Cloche):
    name = "cloche anew"
    what = "namespaces at enhanced, a new box: create + the first output of a program in it"
    pool: ClassVar[Literal["require", "off"]] = "off"

    def __init__(self) -> None:
        super().__init__()
        self.host = self.held.enter_context(cloche.Host(pool=self.pool != "off"))
        self.given: cloche.Sandbox | None = None

    def first(self) -> None:
        """Ask for a sandbox and have it print something. A timed call; the sandbox goes with the next ``prepare``."""
        self.given = self.host.create(isolation="enhanced", runtime=self.runtime, pool=self.pool)
        if self.given.exec(*ECHO).stdout != b"first\n":
            raise WrongAnswerError(f"{self.name}: the first output is wrong")

    def prepare(self) -> None:
        """Delete the last sandbox, and wait until another is ready, where any is to be."""
        if self.given is not None:
            self.given.delete()
        if self.pool != "off":
            self.host.pool.warm(1, isolation="enhanced", runtime=self.runtime)
            deadline = time.monotonic() + PATIENCE
            while not self.host.pool.stats().idle:
                if time.monotonic() > deadline:
                    raise WrongAnswerError(f"{self.name}: no box is ready")
                time.sleep(0.01)
        time.sleep(0.05)  # what was done behind the last one is over


class Waited(Anew):
    name = "cloche waited"
    what = "the same out of a pool: checkout + the first output; a box was ready each time"
    pool = "require"


class GvisorAnew(OnGvisor, Anew):
    name = "cloche gvisor anew"
    what = "gvisor at enhanced, a new box: create + the first output"
    runtime = "gvisor"


class GvisorWaited(OnGvisor, Waited):
    name = "cloche gvisor waited"
    what = "gvisor out of a pool: checkout + the first output"
    runtime = "gvisor"


OURS_POOL: dict[str, type[Cloche]] = {ours.name: ours for ours in (Anew, Waited, GvisorAnew, GvisorWaited)}
