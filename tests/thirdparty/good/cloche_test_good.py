"""A plugin that keeps its contract: level, command, tap, rule, response, choice, observer and settings of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloche
from cloche import Guarantee

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import click


class Bell(cloche.EventTap):
    """Tells, among the events of a sandbox, that it was rung in."""

    name = "bell"
    summary = "rings once for each sandbox"

    def attach(self, spec: cloche.Spec, instance: cloche.Instance) -> cloche.EventSource | None:
        """Give a source that has told already."""
        del instance
        source = cloche.MadeSource(self.name, "other", frozenset({cloche.Act.SYSTEM}), sandbox=spec.number)
        source.make(cloche.Act.SYSTEM, target=b"ring")
        return source


class CallTeacher(cloche.Response):
    """Has somebody come."""

    name = "call-teacher"
    summary = "calls the teacher"

    async def respond(self, incident: cloche.Incident, box: cloche.AsyncSandbox) -> str | None:
        return f"called for {incident.rule} in {box.id}"


class Classroom:
    """Lets pupils run small programs, and keeps a register of what was run."""

    def __init__(self) -> None:
        self.register: Path | None = None

    @cloche.hookimpl
    def cloche_configure(self, config: Mapping[str, Any]) -> None:
        if "register" in config:
            self.register = Path(config["register"])

    @cloche.hookimpl
    def cloche_isolation_levels(self) -> list[cloche.IsolationLevel]:
        limits = cloche.Limits(
            memory="64M", cpu=0.5, pids=16, open_files=64, file_size="1M", disk="4M", output="64K", wall="5s"
        )
        needs = frozenset({Guarantee.PROCESS, Guarantee.FILESYSTEM, Guarantee.NETWORK})
        return [
            cloche.IsolationLevel(
                name="classroom",
                summary="small programs of pupils",
                guarantees=needs,
                limits=limits,
                syscalls="enhanced",
            )
        ]

    @cloche.hookimpl
    def cloche_event_sources(self) -> list[cloche.EventTap]:
        return [Bell()]

    @cloche.hookimpl
    def cloche_rules(self) -> list[cloche.Rule]:
        return [
            cloche.Rule(
                id="borrowed-book",
                summary="Someone writes into the books that are there for all",
                severity=cloche.Severity.MEDIUM,
                events=frozenset({cloche.Act.WRITE_OPEN}),
                where=cloche.F.file.under("/books"),
                response="call-teacher",
            )
        ]

    @cloche.hookimpl
    def cloche_responses(self) -> list[cloche.Response]:
        return [CallTeacher()]

    @cloche.hookimpl
    def cloche_commands(self) -> list[click.Command]:
        import click  # noqa: PLC0415 - only a command line needs it

        @click.command()
        def register() -> None:
            """Print what was run."""
            click.echo(self.register.read_text() if self.register is not None else "")

        return [register]

    @cloche.hookimpl
    def cloche_select_runtime(self, spec: cloche.Spec, candidates: Sequence[cloche.Runtime]) -> cloche.Runtime | None:
        return candidates[-1] if spec.level.name == "classroom" else None

    @cloche.hookimpl
    def cloche_sandbox_created(self, notice: cloche.Notice) -> None:
        self._note(notice)

    @cloche.hookimpl
    def cloche_sandbox_deleted(self, notice: cloche.Notice) -> None:
        self._note(notice)

    def _note(self, notice: cloche.Notice) -> None:
        if self.register is not None:
            with self.register.open("a") as file:
                file.write(f"{notice.type} {notice.name}\n")


plugin = Classroom()
