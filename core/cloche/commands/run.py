"""``cloche run``: one program in a sandbox of its own, its streams and its end as if it ran right here."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from cloche.commands import attached, new_host, options, program, tables

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from cloche.blocking import Host, Sandbox
    from cloche.commands.events_live import Beside


@click.command("run", context_settings={"allow_interspersed_args": False})
@click.argument("args", nargs=-1, required=True, metavar="[--] PROGRAM [ARGS]...")
@options.policy
@options.pool
@program.options
@click.option(
    "--language", metavar="NAME", help="PROGRAM is a file of code to be run without a process: js, ts, py; - is stdin."
)
@click.option("--events", "show_events", is_flag=True, help="Show what PROGRAM does on standard error, as it happens.")
@click.option("--record", "events_file", metavar="FILE", help="Keep that in FILE, for `cloche events replay`.")
@click.option("--report", is_flag=True, help="First print what is kept, and how, to standard error.")
def command(args: tuple[str, ...], **chosen: Any) -> int:  # noqa: ANN401 - click hands over what is declared above
    """Run PROGRAM in a sandbox of its own, which is gone when it ends.

    \b
    cloche run -- python3 -c 'print(6 * 7)'
    cloche run --isolation maximum -v ./data:/data -- sh -c 'wc -l /data/*'
    cloche run -it --workspace . -- bash
    cloche run --language js --memory 64M -- sum.js 1 2
    cloche run --runtime NAME app.wasm -- 1 2       (one that runs modules)

    Its exit code is passed on, 128 + n if signal n ended it. 124: time-out. 125: cloche failed. 126: not executable,
    or a policy that can't be kept here. 127: no such program in the sandbox.
    """  # noqa: D301 - \b keeps click from filling the lines
    with attached.Signals() as stop:
        try:
            code = _run(args, chosen, stop)
        except attached.Interrupted:
            code = 0
        return 128 + stop.caught if stop.caught else code


def _run(args: tuple[str, ...], chosen: dict[str, Any], stop: attached.Signals) -> int:
    if chosen["language"] is not None:
        from cloche.commands import run_code  # noqa: PLC0415 - most runs are of programs

        return run_code.run(args, chosen, stop)
    program.check(chosen)
    with new_host() as host:
        with _beside(chosen) as beside, _made(host, chosen) as box:
            announce(box, report=chosen["report"])
            if beside is not None:
                beside.begin(box)
            ran = program.run(box, _placed(host, box, args), chosen, stop, end=box.kill)
        return program.tell(ran, box, chosen, stop)


def _made(host: Host, chosen: dict[str, Any]) -> Sandbox:
    """Make the sandbox here, or have the keeper give one of its pool, which ends with this process all the same."""
    asked = options.keywords(chosen, terminal=chosen["tty"])
    if chosen["pool"] in (None, "off"):
        return host.create(**asked)
    return host.keep(**asked, pool=chosen["pool"], tied=True)


def _placed(host: Host, box: Sandbox, args: tuple[str, ...]) -> tuple[str, ...]:
    """Give the command line for the box; where no programs of this machine run, the one named is put in first."""
    if host.runtimes[box.runtime].runs_programs:
        return args
    name, rest = args[0], args[2:] if args[1:2] == ("--",) else args[1:]
    if not os.path.isfile(name) or box.files.exists(name):
        return (name, *rest)
    placed = os.path.basename(name)
    box.files.upload(name, placed)
    return (placed, *rest)


def _beside(chosen: dict[str, Any]) -> AbstractContextManager[Beside | None]:
    """Give what takes the events beside the program, if somebody wants them; the guest is then watched fully."""
    if not chosen["show_events"] and chosen["events_file"] is None:
        return nullcontext()
    from cloche.commands.events_live import Beside, Live  # noqa: PLC0415 - a run that nobody watches does without

    chosen["monitor"] = chosen["monitor"] or "full"
    return Beside(Live(show=chosen["show_events"], stderr=True, file=chosen["events_file"]))


def announce(box: Sandbox, *, report: bool = False) -> None:
    """Say on standard error what is not kept, and all of it if ``report``."""
    if report:
        title = f"sandbox {box.id}: isolation {box.spec.level.name}, runtime {box.runtime}"
        tables.report(box.enforcement, title).show(stderr=True)
    for name, why in box.enforcement.refusals(box.spec.needed()).items():
        click.echo(f"cloche: {name} is not kept: {why}", err=True)
