"""Cloche as contenders that watch what their guests do; each event is taken by a thread of the host."""

import errno
import json
import threading
import time
from typing import Any, ClassVar

import cloche
from benchmarks.ours import Cloche
from benchmarks.peers import Answer, WrongAnswerError
from cloche.events.acts import Act
from cloche_native.rules import Paths, RuleSpec

REFUSED = "/usr/bin/refused"
"""What no guest with a rule may open; it need not be there."""
RULES = (
    RuleSpec(
        name="refused",
        acts=frozenset({"open", "write-open", "create"}),
        paths=(Paths((REFUSED,)),),
        answer=errno.EACCES,
    ),
)


class Watched(Cloche):
    """Of one depth; the calls of the guest are judged by the supervisor and told to one reader."""

    name = "cloche writes"
    what = "namespaces at enhanced, depth `writes`; every event is taken by a thread of the host"
    monitor: ClassVar[cloche.Monitor | None] = cloche.Monitor("writes", resolve=False, overload="count")

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}
        """Of the last guest: how many events of each act there were."""
        self.taken = self.lost = 0
        """Of the last guest: how many events the reader took, and how many were lost to it."""

    def answer(self, *program: str) -> Answer:
        with self._create_for(program[0]) as box:
            with box.events() as events:
                reader = threading.Thread(target=self._take, args=(events,))
                reader.start()
                result = box.exec(*program)
                self.counts = {str(act): count for act, count in box.event_counts().items()}
            reader.join()
            self.lost = events.lost
        if result.reason != "exited":
            raise WrongAnswerError(f"{self.name}: {result.explain()}")
        return Answer(result.exit_code, result.stdout)

    def _take(self, events: cloche.Events) -> None:
        self.taken = 0
        for batch in events.batches():
            self.taken += len(batch)

    def measured(self, program: list[str]) -> dict[str, Any]:
        """Give what the guest prints, and what was seen of it: ``counts`` by act, ``taken``, ``lost``."""
        figures = super().measured(program)
        return {**figures, "counts": self.counts, "taken": self.taken, "lost": self.lost}

    def visible(self, *, guest: str, count: int) -> list[int]:
        """Give for each of ``count`` opens of a guest the nanoseconds until Python has its event."""
        seen: dict[str, int] = {}
        with self._create_for(guest) as box, box.events(Act.OPEN) as events:

            def take() -> None:
                for event in events:
                    seen[str(event.path)] = time.monotonic_ns()

            reader = threading.Thread(target=take)
            reader.start()
            result = box.exec(guest, "marks", "/tmp/mark", str(count))  # noqa: S108  # inside
            self._good(result)
            until = time.monotonic() + 5
            while f"/tmp/mark.{count - 1}" not in seen and time.monotonic() < until:  # noqa: S108  # inside
                time.sleep(0.001)
            events.close()
            reader.join()
        made: list[int] = json.loads(result.text)["ns"]
        return [seen[f"/tmp/mark.{number}"] - at for number, at in enumerate(made)]  # noqa: S108  # inside


class WatchedFull(Watched):
    name = "cloche full"
    what = "the same at depth `full`, with the paths that the guest gave"
    monitor = cloche.Monitor("full", resolve=False, overload="count")


class WatchedResolved(Watched):
    name = "cloche resolved"
    what = "the same at depth `full`, with where each path led as well"
    monitor = cloche.Monitor("full", resolve=True, overload="count")


class WatchedJudged(WatchedResolved):
    name = "cloche judged"
    what = "the same, all bundled rules on"
    rules = "on"


class WatchedStrict(Watched):
    name = "cloche strict"
    what = "the same at depth `strict`, a rule judges each path: files are opened by the host in the guest's stead"
    monitor = cloche.Monitor("strict", resolve=True, overload="count", rules=RULES)


class WatchedRule(Watched):
    name = "cloche rule"
    what = "depth `full`, and a rule judges the path of each open that the guest gave"
    monitor = cloche.Monitor("full", resolve=False, overload="count", rules=RULES)


class WatchedWaiting(Watched):
    name = "cloche waiting"
    what = "depth `full`; a guest waits rather than that an event is lost"
    monitor = cloche.Monitor("full", resolve=False, overload="wait")


class WatchedBusy(WatchedFull):
    name = "cloche busy"
    what = "depth `full`, while another thread of the host runs Python without end"

    def answer(self, *program: str) -> Answer:
        over = threading.Event()

        def spin() -> None:
            while not over.is_set():
                pass

        spinning = threading.Thread(target=spin)
        spinning.start()
        try:
            return super().answer(*program)
        finally:
            over.set()
            spinning.join()


OURS_WATCHED: dict[str, type[Cloche]] = {
    ours.name: ours
    for ours in (
        Watched,
        WatchedFull,
        WatchedResolved,
        WatchedJudged,
        WatchedStrict,
        WatchedRule,
        WatchedWaiting,
        WatchedBusy,
    )
}
