"""``cloche doctor``: what works on this machine, what does not, why, and the fix."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from cloche.commands import new_host
from cloche.commands.tables import Table, format_option, show_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloche.commands.outlook import Outlook
    from cloche.runtime import Runtime
    from cloche.runtime_parts import Check

_WORDS = {True: "ok", False: "no", None: "note"}  # all padded to the longest, so that the tables line up


@click.command("doctor")
@format_option
def command(*, as_json: bool) -> int:
    """Show what works on this machine, what does not, and the fix.

    Everything is tried for real. The exit code is 0 if every isolation level can be kept, else 1.
    """
    from cloche.commands.outlook import outlooks  # noqa: PLC0415 - `cloche doctor --help` needs none of it
    from cloche.runtime_parts import Check  # noqa: PLC0415
    from cloche_native import checks  # noqa: PLC0415

    host = new_host()
    _, views = outlooks(host.plugins, list(host.levels))
    groups: dict[str, Sequence[Check]] = {
        "this machine": [Check(name, found, ok=ok, fix=fix) for name, ok, found, fix in checks.machine()],
        **{f"runtime {name}": _checks(runtime) for name, runtime in host.runtimes.items()},
        "isolation levels": [_level(view, host.runtimes) for view in views],
    }
    healthy = bool(views) and all(view.chosen for view in views)
    if as_json:
        plain = {title: [asdict(check) for check in rows] for title, rows in groups.items()}
        show_json({"ok": healthy, "checks": plain})
    else:
        _show(groups)
        click.echo(_verdict(views))
    return 0 if healthy else 1


def _checks(runtime: Runtime) -> Sequence[Check]:
    from cloche.runtime_parts import Check  # noqa: PLC0415 - see command

    try:
        return list(runtime.checks())
    except Exception as error:  # noqa: BLE001 - a third party's code; its trouble must not hide the others
        return [Check("its own checks", f"failed: {type(error).__name__}: {error}", ok=False)]


def _level(view: Outlook, runtimes: Mapping[str, Runtime]) -> Check:
    from cloche.runtime_parts import Check  # noqa: PLC0415 - see command

    if view.chosen is None:
        why = "; ".join(f"{name}: {reason}" for name, reason in view.refused.items()) or "no runtime is installed"
        return Check(view.level, why, ok=False, fix="fix what is marked `no` above, or run with --lenient")
    kept = [name for name in view.reports if name not in view.refused and runtimes[name].runs_programs]
    others = [name for name in kept if name != view.chosen]
    more = f", also by {', '.join(others)}" if others else ""
    not_by = "".join(f"; not by {name}: {why}" for name, why in view.refused.items())
    return Check(view.level, f"kept by {view.chosen}{more}{not_by}", ok=True)


def _show(groups: dict[str, Sequence[Check]]) -> None:
    widest = max(len(text) for title, rows in groups.items() for text in (title, *(check.name for check in rows)))
    for title, rows in groups.items():
        table = Table((title.ljust(widest), "", "what is so, and what to do"), fixed=2)
        for check in rows:
            fix = f"\n-> {check.fix}" if check.fix else ""
            table.add(check.name, _WORDS[check.ok].ljust(4), check.found + fix)
        table.show()


def _verdict(views: Sequence[Outlook]) -> str:
    if not views:
        return "Nothing can be run: no plugin provides an isolation level. See `cloche plugins`."
    lost = [view.level for view in views if not view.chosen]
    if lost:
        return f"Isolation {', '.join(lost)} can't be kept on this machine."
    return "Every isolation level can be kept on this machine."
