"""What ``cloche top`` knows of each sandbox: its figures, how much it does, what rules found."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from cloche.commands import boxes, stats, words
from cloche.commands.incidents_tree import line
from cloche.errors import ClocheError
from cloche.events.acts import Act
from cloche.events.event import printable
from cloche.rules.severity import Severity
from cloche.spec import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloche.blocking import Host, Sandbox
    from cloche.incidents.incident import Incident

HEADINGS: Final = ("sandbox", "runtime", "state", "cpu", "memory", "pids", "events/s", "incidents", "last incident")
LETTERS: Final = {Severity.CRITICAL: "C", Severity.HIGH: "H", Severity.MEDIUM: "M", Severity.LOW: "L"}
LAST_MAX: Final = 120


class Seen:
    """One sandbox as it was at the last look."""

    def __init__(self, name: str, runtime: str, box: Sandbox | None, trouble: str = "") -> None:
        self.name = name
        self.runtime = runtime
        self.box = box
        self.incidents: Sequence[Incident] = ()
        self.rate: float | None = None
        """Acts a second since the look before, lost ones too; ``None`` where nothing is watched."""
        self._figures = stats.Watched(name, box, trouble)
        self._count = 0
        self._at = 0.0

    @property
    def id(self) -> str:
        """Its id, or its name where it can't be reached."""
        return self.name if self.box is None else self.box.id

    @property
    def state(self) -> str:
        """Its state in a word, and why where there is a why."""
        if self.box is None:
            return "gone"
        return f"{self.box.state} ({self.box.reason})" if self.box.reason else str(self.box.state)

    def look(self) -> None:
        """Look again. What can't be told at the moment is left empty."""
        self._figures.look()
        if self.box is None:
            return
        try:
            counts, at = self.box.event_counts(), time.monotonic()
            self.incidents = self.box.incidents()
        except ClocheError as error:
            self.rate, self._figures.trouble = None, str(error)
            return
        count = sum(number for act, number in counts.items() if act is not Act.LOST) + counts.get(Act.LOST, 0)
        watched = bool(self.box.spec.monitor) or bool(self.box.spec.rules)
        self.rate = max(0.0, (count - self._count) / (at - self._at)) if watched and self._at else None
        self._count, self._at = count, at

    def cells(self) -> tuple[str, ...]:
        """Give its row: text that nothing of a guest's steers a terminal by."""
        now = self._figures
        used = now.row() if now.now else ("", "", "", "", "")
        last = self.incidents[-1] if self.incidents else None
        said = "" if last is None else f"{last.severity} {last.rule}: {last.message}"
        return (
            printable(self.name, 24), self.runtime, printable(self.state, 40), used[2], used[3], used[4],
            "" if self.rate is None else words.number(round(self.rate, 1)), tally(self.incidents),
            printable(said or now.trouble, LAST_MAX),
        )  # fmt: skip

    def plain(self) -> dict[str, Any]:
        """Give it as plain data."""
        found = Counter(str(one.severity) for one in self.incidents)
        last: Mapping[str, Any] | None = self.incidents[-1].as_json() if self.incidents else None
        return {**self._figures.plain(), "runtime": self.runtime, "events_per_second": self.rate,
                "incidents": dict(found), "last_incident": last}  # fmt: skip

    def told(self) -> list[str]:
        """Give its incidents in a line each, newest first."""
        return [line(one.as_json()) for one in reversed(self.incidents)]


def tally(incidents: Iterable[Incident]) -> str:
    """Give how many there are by severity, gravest first: ``C1 H2``; what is only worth knowing is left out."""
    found = Counter(one.severity for one in incidents)
    return " ".join(f"{letter}{found[severity]}" for severity, letter in LETTERS.items() if found[severity])


def all_there(host: Host, before: Sequence[Seen] = ()) -> list[Seen]:
    """Give the sandboxes of all hosts of this user, with what is known of them already."""
    known = {one.id: one for one in before}
    found: list[Seen] = []
    for record in host.list():
        if record.orphaned or record.trouble or record.state is State.STOPPED:
            continue
        if record.id in known:
            found.append(known[record.id])
            continue
        try:
            found.append(Seen(record.name or record.id, record.runtime, boxes.find(host, record.id)))
        except ClocheError as error:
            found.append(Seen(record.name or record.id, record.runtime, None, str(error)))
    return [one for one in found if one.box is None or not one.box.deleted]
