"""``cloche rules``: what behaviour is found, what rules can ask, and whether their examples hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cloche.commands import new_host
from cloche.commands.tables import Table, format_option, one_line, plain_text, show_json
from cloche.errors import ClocheError, SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloche.rules.examples import Failure
    from cloche.rules.rule import Rule


class Commands(click.Group):
    """Its own sub-commands, and those of plugins that are named ``rules.NAME``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give every name, plugins' last."""
        return [*super().list_commands(ctx), *sorted(_of_plugins(ctx))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Give the command of that name, or ``None``. Plugins are loaded only for a name that is not our own."""
        return super().get_command(ctx, cmd_name) or _of_plugins(ctx).get(cmd_name)


@click.group("rules", cls=Commands)
def command() -> None:
    """Show, test and import behaviour rules.

    Own rules are YAML files in ~/.config/cloche/rules or /etc/cloche/rules, or named in cloche.toml.
    """


@command.command("list")
@format_option
def list_(*, as_json: bool) -> None:
    """List all rules, the gravest first.

    One that is off judges only where it is named: `cloche run --rules ID`.
    """
    known = new_host().plugins.rules_from()
    rows = sorted(known.values(), key=lambda pair: (-pair[0].severity, pair[0].id))
    if as_json:
        show_json([_brief(rule, origin) for rule, origin in rows])
        return
    table = Table(("rule", "severity", "mode", "on", "acts", "ATT&CK", "from"), fixed=4)
    for rule, origin in rows:
        acts = " ".join(sorted(act.value for act in rule.events))
        on = "on" if rule.enabled else "off"
        table.add(rule.id, str(rule.severity), rule.mode, on, acts, " ".join(rule.attack), _short(origin))
    table.show()
    click.echo(f"{len(rows)} rules. `cloche rules show ID` tells all of one.")


@command.command("show")
@click.argument("name", metavar="ID")
@format_option
def show(*, name: str, as_json: bool) -> None:
    """Show all that the rule ID says, and its examples."""
    from cloche.rules.dump import rule_as_plain  # noqa: PLC0415 - `cloche rules --help` needs none of it
    from cloche.rules.written import written_condition  # noqa: PLC0415 - the same

    rule, origin = _named(new_host().plugins.rules_from(), [name])[0]
    plain = rule_as_plain(rule)
    if as_json:
        show_json({**plain, **_brief(rule, origin), "where": written_condition(rule.where)})
        return
    table = Table(("rule", one_line(rule.id)))
    table.add("finds", rule.summary)
    table.add("from", one_line(origin))
    table.add("severity", str(rule.severity))
    table.add("mode", f"{rule.mode}{', also by what the guest claims' if rule.best_effort else ''}")
    table.add("on", "on" if rule.enabled else "off: it judges only where it is named")
    table.add("acts", ", ".join(sorted(act.value for act in rule.events)))
    table.add("where", written_condition(rule.where))
    for key, value in plain.items():
        if key not in _SHOWN:
            table.add(key, one_line(_flat(value)))
    if rule.evaluate is not None:
        table.add("evaluate", "a function of the plugin must agree, after the act")
    for number, example in enumerate(plain.get("examples", ()), 1):
        events = "\n".join(one_line(_flat(event)) for event in example["events"])
        table.add(f"{'matches' if example.get('match', True) else 'silent'} {number}", events)
    table.show()


@command.command("fields")
@format_option
def fields(*, as_json: bool) -> None:
    """Show what conditions can look at: the fields, their kinds, and what can be asked of each kind."""
    from cloche.events.acts import Act  # noqa: PLC0415 - `cloche rules --help` needs none of it
    from cloche.rules.condition import usable  # noqa: PLC0415 - the same
    from cloche.rules.fields import FIELDS  # noqa: PLC0415 - the same

    if as_json:
        show_json([{"name": one.name, "kind": one.kind, "summary": one.summary} for one in FIELDS.values()])
        return
    table = Table(("field", "kind", "what it is"), fixed=2)
    for one in FIELDS.values():
        acts = [act.value for act in Act if one.kind == "number" and one.place(act) is not None]
        table.add(one.name, one.kind, f"of {', '.join(acts)}" if 0 < len(acts) < len(Act) else one.summary)
    table.show()
    kinds = Table(("kind", "what can be asked"))
    for kind in dict.fromkeys(one.kind for one in FIELDS.values()):
        kinds.add(kind, ", ".join(sorted(usable(kind))))
    kinds.show()


@command.command("test")
@click.argument("names", nargs=-1, metavar="[ID]...")
@format_option
def test(*, names: Sequence[str], as_json: bool) -> int:
    """Run the examples of rules, of all if none is named: each must match, or stay silent, as it says.

    The exit code is 0 if all do, else 1.
    """
    known = new_host().plugins.rules_from()
    chosen = [rule for rule, _ in (_named(known, names) if names else known.values())]
    return _report(chosen, _tested(chosen, quiet=as_json), as_json=as_json)


@command.command("check")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@format_option
def check(*, files: Sequence[str], as_json: bool) -> int:
    """Check rules in files: each key and value, that no id is taken, and that the examples hold.

    The exit code is 0 if all are good, else 1.
    """
    from cloche.rules.files import read_rules  # noqa: PLC0415 - `cloche rules --help` needs none of it

    known = new_host().plugins.rules_from()
    out: list[dict[str, Any]] = []
    for file in files:
        errors: list[str] = []
        rules: tuple[Rule, ...] = ()
        try:
            rules = read_rules(file)
        except ClocheError as error:
            errors.append(str(error))
        taken = [rule.id for rule in rules if rule.id in known and not _same(known[rule.id][1], file)]
        errors += [f"{file}: the rule id {name!r} is taken by {known[name][1]}; rename one" for name in taken]
        errors += [
            f"{file}: rule {one.rule!r}: example {one.number}: {one.why}" for one in _tested(rules, quiet=as_json)
        ]
        out.append({"file": file, "rules": [rule.id for rule in rules], "errors": errors})
    if as_json:
        show_json(out)
    else:
        for one in out:
            for line in one["errors"]:
                click.echo(plain_text(line))
            if not one["errors"]:
                click.echo(plain_text(f"{one['file']}: {len(one['rules'])} rules, all good"))
    return 1 if any(one["errors"] for one in out) else 0


# -- inside -------------------------------------------------------------------------------------------------------

_SHOWN = frozenset({
    "id", "summary", "severity", "mode", "best_effort", "enabled", "events", "where", "examples",
})  # fmt: skip


def _of_plugins(ctx: click.Context) -> Mapping[str, click.Command]:
    if "rules_commands" not in ctx.meta:
        found = new_host().plugins.commands
        ctx.meta["rules_commands"] = {
            name.removeprefix("rules."): one for name, one in found.items() if name.startswith("rules.")
        }
    commands: Mapping[str, click.Command] = ctx.meta["rules_commands"]
    return commands


def _named(known: Mapping[str, tuple[Rule, str]], names: Sequence[str]) -> list[tuple[Rule, str]]:
    """Give rules by id or pattern. Raises ``SpecError`` for a name that names none."""
    from fnmatch import fnmatchcase  # noqa: PLC0415 - `cloche rules --help` needs none of it

    found: dict[str, tuple[Rule, str]] = {}
    for name in names:
        some = {own: pair for own, pair in known.items() if own == name or fnmatchcase(own, name)}
        if not some:
            raise SpecError(f"rules: {one_line(name)!r} names no rule; `cloche rules list` shows them")
        found |= some
    return list(found.values())


def _tested(rules: Sequence[Rule], *, quiet: bool) -> list[Failure]:
    """Run the examples of rules; a person at a terminal sees how far that is."""
    from rich.console import Console  # noqa: PLC0415 - takes longer to import than all else of a short command
    from rich.progress import Progress  # noqa: PLC0415

    from cloche.rules.examples import failures  # noqa: PLC0415 - `cloche rules --help` needs none of it

    found: list[Failure] = []
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        for rule in progress.track(rules, description="examples"):
            found += failures(rule)
    return found


def _report(rules: Sequence[Rule], found: Sequence[Failure], *, as_json: bool) -> int:
    count = sum(len(rule.examples) for rule in rules)
    bare = [rule.id for rule in rules if not rule.examples]
    if as_json:
        failed = [{"rule": one.rule, "example": one.number, "why": one.why} for one in found]
        show_json({"rules": len(rules), "examples": count, "failures": failed, "without_examples": bare})
        return 1 if found else 0
    for one in found:
        click.echo(plain_text(f"{one.rule}: example {one.number}: {one.why}"))
    if bare:
        click.echo(plain_text(f"no examples: {', '.join(bare)}"))
    click.echo(f"{len(rules)} rules, {count} examples, {len(found)} failed")
    return 1 if found else 0


def _brief(rule: Rule, origin: str) -> dict[str, Any]:
    return {
        "id": rule.id, "summary": rule.summary, "severity": str(rule.severity), "mode": rule.mode,
        "enabled": rule.enabled, "events": sorted(act.value for act in rule.events), "attack": list(rule.attack),
        "tags": sorted(rule.tags), "from": origin, "examples": _examples(rule),
    }  # fmt: skip


def _examples(rule: Rule) -> list[dict[str, Any]]:
    from cloche.rules.dump import rule_as_plain  # noqa: PLC0415 - `cloche rules --help` needs none of it

    examples: list[dict[str, Any]] = rule_as_plain(rule).get("examples", [])
    return examples


def _short(origin: str) -> str:
    """Give whose it is in a word: the plugin's name, or the file's path."""
    return origin.split("'")[1] if origin.startswith("plugin '") else one_line(origin)


def _same(origin: str, file: str) -> bool:
    from pathlib import Path  # noqa: PLC0415 - `cloche rules --help` needs none of it

    return origin.startswith("/") and Path(origin).resolve() == Path(file).resolve()


def _flat(value: Any) -> str:  # noqa: ANN401 - plain data
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_flat(own)}" for key, own in value.items())
    if isinstance(value, list):
        return ", ".join(_flat(own) if not isinstance(own, dict) else f"({_flat(own)})" for own in value)
    return str(value)
