"""The live table of ``cloche top``, drawn by textual. Needs the extra ``cloche[top]``."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Final

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Header, Static
from textual.worker import get_current_worker

from cloche.commands import event_rows, top_rows
from cloche.errors import ClocheError
from cloche.events.event import printable

if TYPE_CHECKING:
    from cloche.blocking import Host, Sandbox

EVENTS_SHOWN: Final = 20
INCIDENTS_SHOWN: Final = 10
DRAINED: Final = 0.2
"""Seconds between two looks for events of the sandbox that is shown in detail."""


class Top(App[None]):
    """A row for each sandbox. Everything that may wait for a host is done in threads."""

    TITLE = "cloche top"
    CSS = "#said { height: 1; } #events { height: auto; } #incidents { height: auto; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "act('pause')", "pause"), Binding("r", "act('resume')", "resume"),
        Binding("k", "kill", "kill"), Binding("q", "quit", "quit"),
    ]  # fmt: skip

    def __init__(self, host: Host, *, every: float = 1.0) -> None:
        super().__init__()
        self.seen: list[top_rows.Seen] = []
        self._host = host
        self._every = every
        self._doomed = ""
        """The id of the sandbox that the next k kills."""

    def compose(self) -> ComposeResult:
        """Give what is on the screen."""
        yield Header()
        table: DataTable[Text] = DataTable(id="boxes", cursor_type="row", zebra_stripes=True)
        yield table
        yield Static(id="said", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        self.table.add_columns(*top_rows.HEADINGS)
        self.table.focus()
        self.look()
        self.set_interval(self._every, self.look)

    @property
    def table(self) -> DataTable[Text]:
        """The table of sandboxes."""
        return self.query_one("#boxes", DataTable)

    @property
    def chosen(self) -> top_rows.Seen | None:
        """What the cursor is on."""
        row = self.table.cursor_row
        return self.seen[row] if 0 <= row < len(self.seen) else None

    def look(self) -> None:
        """Look at all sandboxes again, unless the look before is still under way."""
        if not any(worker.group == "look" and worker.is_running for worker in self.workers):
            self.run_worker(self._look, thread=True, group="look", exit_on_error=False)

    def _look(self) -> None:
        seen = top_rows.all_there(self._host, self.seen)
        for one in seen:
            one.look()
        if not get_current_worker().is_cancelled:
            self.call_from_thread(self.show, seen)

    def show(self, seen: list[top_rows.Seen]) -> None:
        """Draw the rows; the cursor stays on its sandbox."""
        chosen = self.chosen
        self.seen = seen
        self.table.clear()
        for one in seen:
            self.table.add_row(*(Text(cell) for cell in one.cells()), key=one.id)
        if chosen is not None and chosen in seen:
            self.table.move_cursor(row=seen.index(chosen))
        if isinstance(self.screen, Detail):
            self.screen.show_incidents()

    def say(self, text: str) -> None:
        """Show a line below the table."""
        self.screen_stack[0].query_one("#said", Static).update(Text(printable(text)))

    def action_act(self, verb: str) -> None:
        """Pause or resume the chosen sandbox."""
        self._doomed = ""
        one = self.chosen
        if one is not None and one.box is not None:
            self._do(one, verb, getattr(one.box, verb))

    def action_kill(self) -> None:
        """Kill the chosen sandbox, if it was asked for twice."""
        one = self.chosen
        if one is None or one.box is None:
            return
        if self._doomed != one.id:
            self._doomed = one.id
            self.say(f"press k again to kill {one.name}: what runs in it ends")
            return
        self._doomed = ""
        self._do(one, "kill", one.box.kill)

    def _do(self, one: top_rows.Seen, verb: str, act: Callable[[], object]) -> None:
        def done() -> None:
            try:
                act()
                said = f"{one.name}: {verb} done"
            except ClocheError as error:
                said = f"{one.name}: {error}"
            self.call_from_thread(self.say, said)
            self.call_from_thread(self.look)

        self.run_worker(done, thread=True, group="acts", exit_on_error=False)

    def on_data_table_row_selected(self) -> None:
        """Show one sandbox in detail."""
        one = self.chosen
        if one is not None and one.box is not None:
            self.push_screen(Detail(one, one.box))


class Detail(Screen[None]):
    """The last events and incidents of one sandbox, until Escape."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "app.pop_screen", "back")]

    def __init__(self, one: top_rows.Seen, box: Sandbox) -> None:
        super().__init__()
        self._one = one
        self._box = box
        self._last: deque[str] = deque(maxlen=EVENTS_SHOWN)

    def compose(self) -> ComposeResult:
        """Give what is on the screen."""
        yield Header()
        facts = ", ".join(f"{name} {value}" for name, value in self._box.info().items() if value)
        yield Static(Text(printable(facts, 600)), id="facts")
        yield Static(Text("incidents, newest first", style="bold"))
        yield Static(id="incidents", markup=False)
        yield Static(Text("events from now on", style="bold"))
        yield Static(id="events", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to take its events."""
        self.show_incidents()
        self.run_worker(self._take, thread=True, group="events", exit_on_error=False)

    def show_incidents(self) -> None:
        """Draw the incidents there are now."""
        told = self._one.told()[:INCIDENTS_SHOWN]
        text = Text("\n").join(Text.from_ansi(line) for line in told) if told else Text("none", style="dim")
        self.query_one("#incidents", Static).update(text)

    def _take(self) -> None:
        worker = get_current_worker()
        with contextlib.suppress(ClocheError), contextlib.closing(self._box.events()) as events:
            while not worker.is_cancelled:
                found = events.drain()
                self._last.extend(event_rows.line(event) for event in found[-EVENTS_SHOWN:])
                if found:
                    self.app.call_from_thread(self._show_events)
                time.sleep(DRAINED)

    def _show_events(self) -> None:
        if self.is_mounted:
            self.query_one("#events", Static).update(Text("\n").join(Text.from_ansi(line) for line in self._last))
