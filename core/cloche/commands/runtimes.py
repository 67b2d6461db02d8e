"""``cloche runtimes``: the ways to isolate, whether they work here, and what each keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cloche.commands import new_host, words
from cloche.commands.tables import Table, format_option, report, show_json
from cloche.errors import SpecError

if TYPE_CHECKING:
    from cloche.enforcement import Enforcement
    from cloche.runtime import Runtime


@click.command("runtimes")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--isolation", metavar="LEVEL", help="Show what would be kept at this level; see `cloche levels`.")
@format_option
def command(names: tuple[str, ...], *, isolation: str | None, as_json: bool) -> None:
    """Show the ways to isolate, and what each keeps on this machine.

    Each one is tried for real, once per machine. "partly" comes with what to know; "no" with the way out.
    """
    from cloche.commands.outlook import outlooks  # noqa: PLC0415 - `cloche runtimes --help` needs none of it

    host = new_host()
    unknown = [name for name in names if name not in host.runtimes]
    if unknown:
        known = ", ".join(host.runtimes) or "none"
        raise SpecError(f"runtime: {unknown[0]!r} is unknown; known runtimes: {known}")
    level = isolation or host.config.default_isolation
    looked = [level] if isolation or level in host.levels else []
    reasons, views = outlooks(host.plugins, looked)
    reports = views[0].reports if views else {}
    shown = [(runtime, reasons[name]) for name, runtime in host.runtimes.items() if not names or name in names]
    if as_json:
        show_json([_plain(runtime, reason, level, reports.get(runtime.name)) for runtime, reason in shown])
        return
    table = Table(("runtime", "works", "what it is"), fixed=2)
    for runtime, reason in shown:
        table.add(runtime.name, "no" if reason else "yes", reason or runtime.summary)
    table.show()
    for runtime, _ in shown:
        if runtime.name in reports:
            report(reports[runtime.name], f"{runtime.name} at isolation {level}").show()


def _plain(runtime: Runtime, reason: str | None, level: str, kept: Enforcement | None) -> dict[str, Any]:
    out: dict[str, Any] = {
        "name": runtime.name,
        "summary": runtime.summary,
        "strength": runtime.strength,
        "available": reason is None,
        "reason": reason,
    }
    if kept is not None:
        plain = kept.as_json()
        out |= {"isolation": level, "enforcement": {name: plain[name] for name in words.features(plain)}}
    return out
