"""``cloche inspect``: all about one sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cloche.commands import boxes, new_host, words
from cloche.commands.policy_rows import policy_rows
from cloche.commands.ps import age, plain, state
from cloche.commands.tables import Table, format_option, one_line, report, show_json
from cloche.errors import NotFound
from cloche.registry.plain import to_plain

if TYPE_CHECKING:
    from cloche.blocking import Job, Sandbox
    from cloche.registry.record import SandboxRecord


@click.command("inspect")
@boxes.box_argument
@format_option
def command(which: str, *, as_json: bool) -> None:
    """Show all about the sandbox BOX: what it may do, what is kept of that and how, its jobs, how open it is.

    Values of its environment are shown only by -o json.
    """
    from cloche.exposure import score  # noqa: PLC0415 - `cloche inspect --help` needs none of it

    with new_host() as host, boxes.find(host, which) as box:
        record = next((one for one in host.list() if one.id == box.id), None)
        if record is None:
            raise NotFound(f"sandbox {which!r} was deleted just now")
        jobs = sorted(box.jobs(), key=lambda job: job.started)
        open_ = score(box.spec, box.enforcement)
        if as_json:
            show_json({
                **plain(record), "info": dict(box.info()), "jobs": [_job(job) for job in jobs],
                "rules": to_plain(box.spec.rules), "env": dict(box.spec.env), "score": open_.number, "word": open_.word,
            })  # fmt: skip
            return
        table = Table(("sandbox", box.id))
        rows = [*_head(box, record), *policy_rows(box.spec)]
        rows.append(("score", f"{open_.number:.2f} {open_.word} (0.0 sealed, 10.0 open)"))
        told = {"id", "owner", *(key for key, _ in rows)}
        for key, value in (*rows, *((key, value) for key, value in box.info().items() if key not in told)):
            table.add(one_line(key), one_line(value))
        table.show()
        if jobs:
            listed = Table(("job", "state", "program"), fixed=2)
            for job in jobs:
                listed.add(job.id, _ended(job), one_line(" ".join(job.args)))
            listed.show()
        report(box.enforcement, "what is kept").show()


def _head(box: Sandbox, record: SandboxRecord) -> list[tuple[str, str]]:
    return [
        ("name", box.name or "-"),
        ("state", state(record)),
        ("age", age(record)),
        ("runtime", box.runtime),
        ("owner", f"{'the keeper' if record.kept else 'a program'}, process {record.pid}"),
        *((f"metadata {key}", value) for key, value in record.metadata.items()),
    ]


def _job(job: Job) -> dict[str, Any]:
    result = job.result
    return {
        "id": job.id, "args": list(job.args), "pid": job.pid, "running": job.running,
        "exit_code": None if result is None else result.exit_code, "reason": None if result is None else result.reason,
    }  # fmt: skip


def _ended(job: Job) -> str:
    if job.result is None:
        return "running"
    return f"{job.result.reason}, {words.number(job.result.exit_code)}"
