"""One incident as a line, and as a tree of all its evidence. Nothing of a guest's steers the terminal."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from cloche.commands.audit import moment
from cloche.events.event import printable

if TYPE_CHECKING:
    from rich.tree import Tree

HEADINGS: Final = f"{'time':19}  {'severity':8}  {'sandbox':12}  {'id':16}  rule: what [what was done]"
_COLOURS: Final = {"low": "cyan", "medium": "yellow", "high": "red", "critical": "bright_red"}
ATTACK: Final = "https://attack.mitre.org/techniques/"


def line(one: Mapping[str, Any]) -> str:
    """Give an incident, as plain data, in one line; colours are for ``click.echo``."""
    severity = _text(one.get("severity"), 8)
    taken = ", ".join(_text(name) for name in _taken(one, done=True))
    times = f" ({one['count']} times)" if isinstance(one.get("count"), int) and one["count"] > 1 else ""
    done = f" [{taken}]" if taken else " [audit: nothing was done]" if one.get("audit") else ""
    return "  ".join((
        f"{moment(float(one.get('time') or 0)):19}",
        click.style(f"{severity:8}", fg=_COLOURS.get(severity)),
        f"{_text(one.get('sandbox_name') or one.get('sandbox'), 12):12}",
        f"{_text(one.get('id'), 16):16}",
        f"{_text(one.get('rule'))}: {_text(one.get('message'))}{times}{done}",
    ))  # fmt: skip


def show(one: Mapping[str, Any]) -> None:
    """Print the tree."""
    from rich.console import Console  # noqa: PLC0415 - it takes longer to import than a short command takes

    Console(highlight=False).print(tree(one))


def tree(one: Mapping[str, Any]) -> Tree:
    """Give all that is known of an incident as a tree."""
    from rich.text import Text  # noqa: PLC0415 - see show
    from rich.tree import Tree as Drawn  # noqa: PLC0415 - see show

    severity = _text(one.get("severity"))
    style = _COLOURS.get(severity, "").replace("bright_red", "bold red")
    root = Drawn(Text.assemble((severity, style), f" {_text(one.get('rule'))}: {_text(one.get('message'))}"))

    def branch(title: str, lines: Iterable[str]) -> None:
        lines = list(lines)
        if lines:
            made = root.add(Text(title, style="bold"))
            for text in lines:
                made.add(Text(text))

    box = _text(one.get("sandbox_name"))
    facts = [
        f"incident {_text(one.get('id'))}, {moment(float(one.get('time') or 0))}",
        f"sandbox {_text(one.get('sandbox'))}" + (f" ({box})" if one.get("sandbox_name") else ""),
        f"rule {_text(one.get('rule'))}, version {_text(one.get('rule_version'))}",
    ]
    facts += [f"{one['count']} times"] if isinstance(one.get("count"), int) and one["count"] > 1 else []
    branch("what", facts)
    branch("the act", _act(one.get("event")))
    branch("why it matched", (f"{_text(name)} = {_value(value)}" for name, value in _pairs(one.get("fields"))))
    root_of = None
    for facts_of in reversed(_list(one.get("process"))):  # the oldest ancestor first, its child below it
        text = Text(_process(facts_of))
        root_of = (root.add(Text("processes", style="bold")) if root_of is None else root_of).add(text)
    branch(
        "program of the caller's", [" ".join(_text(arg) for arg in _list(one.get("args")))] if one.get("args") else []
    )
    branch("before it", (_event(event) for event in _list(one.get("before"))))
    done = [
        f"{_text(taken.get('response'))}: {'done' if taken.get('done') else 'not done'}"
        + (f", {_text(taken.get('detail'))}" if taken.get("detail") else "")
        for taken in _list(one.get("taken"))
        if isinstance(taken, Mapping)
    ]
    done += ["the act was refused"] if one.get("blocked") else []
    done += ["only watched: nothing is done in audit mode"] if one.get("audit") else []
    branch("what was done", done or ["nothing"])
    branch("ATT&CK", (f"{_text(id_)} {ATTACK}{_text(id_).replace('.', '/')}" for id_ in _list(one.get("attack"))))
    branch("what to do", [_text(one.get("hint"))] if one.get("hint") else [])
    return root


# -- inside ------------------------------------------------------------------------------------------------------------


def _act(event: object) -> list[str]:
    if not isinstance(event, Mapping) or not event:
        return []
    rest = {name: value for name, value in event.items() if name not in ("act", "time", "sandbox", "number", "claimed")}
    claimed = [_text(name) for name in _list(event.get("claimed"))]
    lines = [
        _event(event),
        *(f"{_text(name)}: {_value(value)}" for name, value in rest.items() if value not in ([], {})),
    ]
    return [*lines, *([f"only claimed by the guest: {', '.join(claimed)}"] if claimed else [])]


def _event(event: object) -> str:
    if not isinstance(event, Mapping):
        return _text(event)
    texts = [_value(event[name]) for name in ("path", "target") if event.get(name)]
    result = f" = {_text(event['result'])}" if "result" in event else ""
    clock = moment(float(event.get("time") or 0))[-8:]
    return f"{clock} {_text(event.get('act'))} {' -> '.join(texts)}{result}".rstrip()


def _process(facts: object) -> str:
    if not isinstance(facts, Mapping):
        return _text(facts)
    args = " ".join(_text(arg) for arg in _list(facts.get("args")))
    return f"{_text(facts.get('pid'))} {_text(facts.get('exe') or '?')}" + (f": {args}" if args else "")


def _taken(one: Mapping[str, Any], *, done: bool) -> list[object]:
    taken = [taken for taken in _list(one.get("taken")) if isinstance(taken, Mapping)]
    return [each.get("response") for each in taken if bool(each.get("done")) == done]


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _pairs(value: object) -> list[tuple[Any, Any]]:
    return list(value.items()) if isinstance(value, Mapping) else []


def _value(value: object) -> str:
    if isinstance(value, Mapping) and set(value) == {"base64"}:  # bytes that are no UTF-8
        try:
            return printable(os.fsdecode(base64.b64decode(str(value["base64"]))))
        except ValueError:
            return _text(value["base64"])
    if isinstance(value, Mapping):
        return ", ".join(f"{_text(name)} {_value(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_value(one) for one in value)
    return _text(value)


def _text(value: object, most: int = 400) -> str:
    return printable("" if value is None else str(value), most)
