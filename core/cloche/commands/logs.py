"""``cloche logs``: what a program in a sandbox has printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cloche.commands import attached, boxes
from cloche.commands.tables import Table, format_option, one_line, show_json, stream
from cloche.errors import NotFound

if TYPE_CHECKING:
    from cloche.blocking import Job, Sandbox


@click.command("logs")
@boxes.box_argument
@click.argument("job", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on until the program ends; its exit code is passed on.")
@click.option("--list", "only_list", is_flag=True, help="List the jobs of the sandbox instead.")
@format_option
def command(which: str, job: str | None, *, follow: bool, only_list: bool, as_json: bool) -> int:
    """Show what the last job started in BOX has printed, or the job of the id JOB.

    Jobs are programs started by `create` or `exec -d`. The last megabyte or so of each is kept. Both streams come out
    as they went in: standard error on standard error.
    """
    with boxes.attached(which) as box:
        if only_list:
            _list(box, as_json=as_json)
            return 0
        chosen = _choose(box, job)
        if as_json:
            _json(chosen, follow=follow)
            return 0
        with attached.Signals() as stop:
            try:
                if not follow:
                    for chunk in chosen.held():
                        attached.write(chunk, stop)
                    return 0
                attached.follow(chosen, stop, lambda chunk: attached.write(chunk, stop), feed=False, end=box.detach)
            except attached.Interrupted:
                return 128 + stop.caught
            except BrokenPipeError:
                return 0
            return 128 + stop.caught if stop.caught else chosen.wait().exit_code


def _choose(box: Sandbox, job: str | None) -> Job:
    if job is not None:
        return box.attach(job)
    held = box.jobs()
    if not held:
        raise NotFound(
            f"sandbox {box.name or box.id} has no job; `cloche create BOX -- PROGRAM` or `cloche exec -d` starts one"
        )
    return max(held, key=lambda one: one.started)


def _list(box: Sandbox, *, as_json: bool) -> None:
    rows = [
        {"id": job.id, "args": list(job.args), "running": job.running,
         "exit_code": None if job.result is None else job.result.exit_code}
        for job in sorted(box.jobs(), key=lambda one: one.started)
    ]  # fmt: skip
    if as_json:
        show_json(rows)
        return
    table = Table(("job", "state", "program"), fixed=2)
    for row, job in zip(rows, sorted(box.jobs(), key=lambda one: one.started), strict=False):
        state = "running" if row["running"] else f"ended, {row['exit_code']}"
        table.add(job.id, state, one_line(" ".join(job.args)))
    table.show()


def _json(job: Job, *, follow: bool) -> None:
    if follow:
        job.wait()
    show_json({
        "job": job.id,
        "args": list(job.args),
        "running": job.running,
        "exit_code": None if job.result is None else job.result.exit_code,
        "output": [{"seq": c.seq, "stream": c.stream, **stream(c.data)} for c in job.held()],
    })  # fmt: skip
