"""What runs code without a process, and what it is measured by: the same code and the same answer for each."""

import re
import time
from abc import abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks.peers import Answer, Contender, WrongAnswerError

ADD = ("1+2", 3)
CALLS = 100
CALLING = f"(() => {{ let n = 0; for (let i = 0; i < {CALLS}; i++) n += twice(i); return n; }})()"
CALLED = CALLS * (CALLS - 1)
COMPUTING = "(() => { const fib = (n) => n < 2 ? n : fib(n - 1) + fib(n - 2); return fib(27); })()"
COMPUTED = 196_418
YIELDED = 500
STREAMING = f"for (let i = 0; i < {YIELDED}; i++) yield i"
STREAMED = YIELDED * (YIELDED - 1) // 2
FILLED = 50_000
FILLING = (
    f"globalThis.heap = Array.from({{length: {FILLED}}}, (_, i) => "
    '({id: i, name: "item " + i, tags: [i % 7, i % 11]})); heap.length'
)
"""Makes a heap of some 14 MB."""
WAITED = 3.0
"""Seconds; after one, those of cloche rest."""
LAST = (f"heap[{FILLED - 1}].name", f"item {FILLED - 1}")


class Interpreter(Contender):
    """One that runs code; ``fresh``, ``warm`` and ``call`` are the timed calls, each of ``count`` runs."""

    def start(self) -> None:
        self.fresh(1)

    def answer(self, *program: str) -> Answer:
        raise WrongAnswerError(f"{self.name} runs no programs: {program}")

    def unavailable(self) -> str | None:
        if (missing := self.find()) is not None:
            return missing
        try:
            self.fresh(1)
            self.warm(1)
            self.call()
        except (OSError, WrongAnswerError) as error:
            return f"did not run: {error}"
        return None

    @abstractmethod
    def fresh(self, count: int) -> None:
        """Run ``1+2`` in an interpreter of its own that is gone afterwards, ``count`` times."""

    @abstractmethod
    def warm(self, count: int) -> None:
        """Run it in one that stays."""

    @abstractmethod
    def call(self) -> None:
        """Run code that calls a function of the host `CALLS` times."""

    def density(self, count: int) -> float:
        """Give the bytes of private memory for each of ``count`` interpreters that wait after a first run.

        To be asked once of a process: what is freed there is not given back, and would be found again for nothing.
        """
        with ExitStack() as held:
            self.keep(held)
            before = private_bytes()
            for _ in range(count):
                self.keep(held)
            time.sleep(WAITED)
            return (private_bytes() - before) / count

    def keep(self, held: ExitStack) -> None:
        """Make an interpreter, run ``1+2`` in it, and leave it to ``held``."""
        raise NotImplementedError


def private_bytes() -> int:
    """Give what this process alone has in memory, in bytes; file mappings that were not written to are not in it."""
    text = Path("/proc/self/smaps_rollup").read_text()
    return sum(int(found) for found in re.findall(r"^Private_Dirty: +(\d+) kB$", text, re.MULTILINE)) << 10


def repeated(count: int, run: Callable[[], object], name: str, wanted: object) -> None:
    """Run ``count`` times, and raise unless each answer is right."""
    for _ in range(count):
        right(name, run(), wanted)


def right(name: str, got: object, wanted: object) -> None:
    """Raise unless the answer is right."""
    if got != wanted:
        raise WrongAnswerError(f"{name}: got {got!r} instead of {wanted!r}")
