"""Events as they happen: of a sandbox that is there (``cloche events BOX``), and of a program that is being run."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from typing import TYPE_CHECKING, Final

import click

from cloche.commands import attached, event_rows
from cloche.commands.tables import Table, show_json
from cloche.errors import ClocheError
from cloche.events.acts import Act

if TYPE_CHECKING:
    from collections.abc import Collection
    from types import TracebackType
    from typing import Self

    from cloche.blocking import Sandbox
    from cloche.blocking_events import Events
    from cloche.events.event import EventBatch
    from cloche.events.recorder import EventRecorder
ALL: Final = frozenset(Act)


class Live:
    """Takes the events of one sandbox: shows each in a line, keeps them in a file, counts them."""

    def __init__(self, *, show: bool, as_json: bool = False, stderr: bool = False, file: str | None = None) -> None:
        self.counts: Counter[Act] = Counter()
        self._show = show
        self._as_json = as_json
        self._stderr = stderr
        self._file = file
        self._recorder: EventRecorder | None = None

    def open(self) -> None:
        """Begin the file, if there is to be one: when all else has begun. Raises ``FileError`` if it is there."""
        if self._file is not None:
            from cloche.events.recorder import EventRecorder  # noqa: PLC0415 - few record

            self._recorder = EventRecorder(self._file)

    def take(self, events: Events) -> None:
        """Take them to their end."""
        if self._show and not self._as_json:
            click.echo(click.style(event_rows.HEADINGS, dim=True), err=self._stderr)
        for batch in events.batches():
            self._take(batch)
        self.counts[Act.LOST] = events.lost

    def _take(self, batch: EventBatch) -> None:
        self.counts.update(event.act for event in batch)
        if self._recorder is not None:
            self._recorder.write(batch)
        if self._show:
            event_rows.show(list(batch), as_json=self._as_json, stderr=self._stderr)

    def close(self) -> None:
        """Close the file."""
        if self._recorder is not None:
            self._recorder.close()

    def tell(self) -> None:
        """Say in a line how many of each there were, and that none was lost, or how many."""
        lost = self.counts.pop(Act.LOST, 0)
        order = sorted(self.counts.items(), key=lambda pair: (-pair[1], pair[0]))
        each = ", ".join(f"{act.value} {count:,}" for act, count in order)
        said = f"cloche: {self.counts.total():,} events{': ' + each if each else ''}; lost {lost:,}"
        click.echo(click.style(said, fg="red") if lost else said, err=True)
        self.counts[Act.LOST] = lost


def follow(box: Sandbox, wanted: Collection[Act], sources: Collection[str], live: Live) -> int:
    """Take the events of a sandbox until it is deleted, or somebody wants no more."""
    events = box.events(*(wanted if wanted != ALL else ()), sources=sources)
    with attached.Signals() as stop, contextlib.closing(live):
        live.open()
        try:
            with stop.acting(events.close, lambda: None), events:
                live.take(events)
        except attached.Interrupted:
            live.counts[Act.LOST] = events.lost
        except BrokenPipeError:
            return 0
        live.tell()
        return 128 + stop.caught if stop.caught else 0


def show_counts(box: Sandbox, wanted: Collection[Act], *, as_json: bool) -> None:
    """Show how often each act was seen so far."""
    counts = box.event_counts()
    found = {act: count for act, count in counts.items() if act in wanted or act is Act.LOST}
    if as_json:
        show_json({act.value: count for act, count in found.items()})
        return
    table = Table(("act", "seen"))
    for act, count in sorted(found.items(), key=lambda pair: (pair[0] is Act.LOST, -pair[1], pair[0])):
        table.add(act.value, f"{count:,}")
    table.show()
    if not box.spec.monitor:
        click.echo("its guest is not watched; create it with --monitor full to see what it does", err=True)


class Beside:
    """Takes the events of a sandbox in a thread of its own, while a program runs in it."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._thread: threading.Thread | None = None
        self._trouble: ClocheError | OSError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the end of the events, which comes with that of the sandbox."""
        if self._thread is not None:
            self._thread.join()
        self._live.close()
        if self._thread is not None and kind is None:
            self._live.tell()
        if self._trouble is not None and error is None:
            raise self._trouble

    def begin(self, box: Sandbox) -> None:
        """Take what happens from now on."""
        self._live.open()
        events = box.events(sources=("guest", "life"))
        self._thread = threading.Thread(target=self._take, args=(events,), name="events", daemon=True)
        self._thread.start()

    def _take(self, events: Events) -> None:
        try:
            self._live.take(events)
        except (ClocheError, OSError) as error:  # raised where it can be told
            self._trouble = error
            events.close()
