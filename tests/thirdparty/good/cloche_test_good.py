"""A plugin that keeps its contract: a level, a command, a choice, an observer and settings of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloche
from cloche import Guarantee

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import click


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
    def cloche_sandbox_created(self, event: cloche.Event) -> None:
        self._note(event)

    @cloche.hookimpl
    def cloche_sandbox_deleted(self, event: cloche.Event) -> None:
        self._note(event)

    def _note(self, event: cloche.Event) -> None:
        if self.register is not None:
            with self.register.open("a") as file:
                file.write(f"{event.type} {event.name}\n")


plugin = Classroom()
