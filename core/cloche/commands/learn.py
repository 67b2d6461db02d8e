"""``cloche learn``: the narrowest profile for a program, from what it was seen to do."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cloche.commands import attached, new_host, options, program, words
from cloche.commands.run import announce
from cloche.commands.tables import Table, one_line
from cloche.errors import FileError

if TYPE_CHECKING:
    from cloche.blocking import Host
    from cloche.learning.draft import Draft, Learned
    from cloche.learning.more import More
    from cloche.profile import Profile
    from cloche.spec import Result

MORE: Final = 1
"""The exit code of --diff where the program needs more."""
CELL_MAX: Final = 200
SHOWN_MAX: Final = 8
"""Rows of one kind; of more, how many there are."""


@click.command("learn", context_settings={"allow_interspersed_args": False})
@click.argument("args", nargs=-1, required=True, metavar="[--] PROGRAM [ARGS]...")
@options.policy
@program.options
@click.option("--as", "called", metavar="NAME", help="Name of the profile; that of PROGRAM if left out.")
@click.option("--save", metavar="FILE", type=click.Path(path_type=Path), help="Where it goes; ./NAME.toml if left out.")
@click.option("--diff", "against", metavar="PROFILE", help="Write none; show what PROGRAM needs that PROFILE lacks.")
def command(args: tuple[str, ...], **chosen: Any) -> int:  # noqa: ANN401 - click hands over what is declared above
    """Run PROGRAM, see what it does, and write the narrowest profile in which it can do that again.

    \b
    cloche learn -v ./repo:/src --workspace ./out -- make -C /src
    cloche run --profile ./make.toml -- make -C /src
    cloche learn --diff ./make.toml -- make -C /src

    Give it all that it may use: folders, a network. What it did not use is left out of the profile, what it only read
    is read-only, limits are what it took with room to spare, and rules that its own behaviour matches are left out by
    name. Nothing is refused meanwhile but by the level. Look at the file before you trust it: it allows what this one
    run did, be that good or bad. The exit code is PROGRAM's; with --diff 1 if it needs more, else 0.
    """  # noqa: D301 - \b keeps click from filling the lines
    program.check(chosen)
    with attached.Signals() as stop:
        try:
            return _learn(args, chosen, stop)
        except attached.Interrupted:
            return 128 + stop.caught


def _learn(args: tuple[str, ...], chosen: dict[str, Any], stop: attached.Signals) -> int:
    from cloche.learning.draft import Learned, drafted  # noqa: PLC0415 - `cloche learn --help` needs none of it
    from cloche.learning.places import used  # noqa: PLC0415 - the same
    from cloche.learning.watching import Watching  # noqa: PLC0415 - the same

    name = chosen["called"] or _name(args[0])
    file: Path = chosen["save"] or Path(f"{name}.toml")
    if chosen["against"] is None and file.exists():
        raise FileError(f"{file} is there; remove it, or name another by --save")
    with new_host() as host:
        base = _base(host, chosen)
        keywords = _keywords(host, chosen, base)
        with host.create(**keywords) as box, Watching(box) as watching:
            announce(box)
            result = program.run(box, args, chosen, stop, end=box.kill, printed=watching.printed)
            if result is None or stop.caught:
                return program.tell(result, box, chosen, stop)
            watching.finish(result)
            watching.seen.moved(box.workspace, box.spec.workspace.target)
            places = used(box.spec, watching.seen)
            learned = Learned(box.spec, watching.seen, watching.figures, places, result.violations)
        code = program.tell(result, box, {**chosen, "quiet": True}, stop)
        if base is not None and chosen["against"] is not None:
            return _compare(host, learned, base, quiet=chosen["quiet"])
        draft = drafted(
            learned, name=name, summary=f"learned from one run of {_name(args[0])}", env=keywords["env"],
            rules=keywords["rules"],
        )  # fmt: skip
    _write(file, draft)
    if not chosen["quiet"]:
        _table(learned, draft).show(stderr=True)
    click.echo(f"cloche: the profile {name} is in {file}{_doubt(result)}", err=True)
    return code


def _base(host: Host, chosen: dict[str, Any]) -> Profile | None:
    if chosen["against"] is not None and chosen["profile"] is not None:
        raise click.UsageError("--diff names the profile; leave out --profile")
    asked = chosen["against"] or chosen["profile"]
    return None if asked is None else host.profiles.choose(asked)


def _keywords(host: Host, chosen: dict[str, Any], base: Profile | None) -> dict[str, Any]:
    """Give those of ``create``: all that the caller gave, nothing forbidden, wide limits, everything seen."""
    from cloche.events.acts import Act  # noqa: PLC0415 - `cloche learn --help` needs none of it
    from cloche.files.access import UNRESTRICTED  # noqa: PLC0415 - the same
    from cloche.monitor import Monitor  # noqa: PLC0415 - the same
    from cloche.policy import Limits  # noqa: PLC0415 - the same
    from cloche.rules.ruleset import Rules  # noqa: PLC0415 - the same

    keywords = options.keywords(chosen, terminal=chosen["tty"])
    keywords["monitor"] = Monitor("full", acts=frozenset(Act), overload="wait")
    asked = Rules.of(keywords["rules"] or ("on" if host.plugins.rules else "off"))
    keywords["rules"] = replace(asked, audit=bool(asked))
    keywords["limits"] = {**_wide(), **keywords["limits"]}
    del keywords["profile"]
    if base is not None:
        keywords["policy"] = replace(base.policy, limits=Limits(), paths=UNRESTRICTED, forbidden=())
        keywords["env"] = {**base.env, **keywords["env"]}
    return keywords


def _wide() -> dict[str, Any]:
    from cloche.exposure import Capacity  # noqa: PLC0415 - `cloche learn --help` needs none of it

    here = Capacity.here()
    return {
        "memory": min(4 << 30, here.memory // 2), "cpu": here.processors, "pids": 1024, "open_files": 4096,
        "file_size": "2G", "output": "256M", "wall": "1h",
    }  # fmt: skip


def _name(path: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", os.path.basename(path)).lstrip("_.-")[:63] or "learned"


def _write(file: Path, draft: Draft) -> None:
    text = draft.to_toml()
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        raise FileError(f"{file}: {error.strerror}; name another by --save") from None


def _doubt(result: Result) -> str:
    return "" if result.ok else ", but the program failed, so it may not be all that it needs"


def _table(learned: Learned, draft: Draft) -> Table:
    """Give what was seen, and what the profile makes of it."""
    from cloche.learning.places import folders  # noqa: PLC0415 - see _keywords

    seen, policy = learned.seen, draft.profile.policy
    table = Table(("what", "seen", "in the profile"))
    for program_path, count in seen.programs.most_common(SHOWN_MAX):
        _add(table, "program", f"{program_path} ({count} times)" if count > 1 else program_path)
    _rest(table, "programs", len(seen.programs))
    for place in learned.places:
        did = ", ".join(sorted(place.operations)) or "not used"
        kept = ", ".join(place.patterns) or ("left out" if place.source else "its own")
        _add(table, "folder", f"{place.target}: {did}", kept)
    for title, operations in (("read", {"read"}), ("changed", {"write", "create", "delete"})):
        own = [path for path, done in seen.paths.items() if done & operations]
        found = folders(own)
        for folder, count in list(found.items())[:SHOWN_MAX]:
            _add(table, title, f"{folder} ({count} files)" if count > 1 else folder)
        _rest(table, title, len(found))
    for address, _ in (seen.near + seen.far).most_common(SHOWN_MAX):
        _add(table, "network", address)
    _add(table, "network", draft.notes["network"], policy.network.mode if policy.network else "")
    for (act, call), count in seen.refused.most_common(SHOWN_MAX):
        _add(table, "refused", f"{act} by {call} ({count} times)")
    for rule, violation in learned.rules.items():
        _add(table, f"{violation.severity} rule", f"{rule}: {violation.operation} {violation.target}", "without it")
    for name in ("memory", "pids", "cpu", "wall", "output", "file_size"):
        if (note := draft.notes.get(f"limits.{name}")) is not None:
            _add(table, name, note, _bound(name, getattr(policy.limits, name)))
    return table


def _add(table: Table, *cells: str) -> None:
    """Add a row whose texts may be a guest's."""
    table.add(*(one_line(cell, most=CELL_MAX) for cell in cells))


def _rest(table: Table, title: str, count: int) -> None:
    if count > SHOWN_MAX:
        table.add(title, f"and {count - SHOWN_MAX} more")


def _bound(name: str, value: float) -> str:
    if name in ("memory", "output", "file_size"):
        return words.size(int(value))
    return words.seconds(value) if name == "wall" else words.number(value)


def _compare(host: Host, learned: Learned, base: Profile, *, quiet: bool) -> int:
    from cloche.learning.more import missing  # noqa: PLC0415 - see _keywords
    from cloche.request import make_spec  # noqa: PLC0415 - the same

    spec = make_spec(
        base.policy, host.levels, name=None, rootfs=None, env=base.env, hostname="cloche", user=1000,
        lifetime=base.lifetime, idle_timeout=base.idle_timeout, metadata=None, strict=True,
    )  # fmt: skip
    found: list[More] = missing(learned, spec)
    if not found:
        click.echo(f"cloche: the profile {base.name} gives all that was used", err=True)
        return 0
    if not quiet:
        table = Table(("key", "the profile has", "the program needs"))
        for one in found:
            _add(table, one.what, one.has, one.needs)
        table.show(stderr=True)
    click.echo(f"cloche: the profile {base.name} lacks {len(found)} of what was used", err=True)
    return MORE
