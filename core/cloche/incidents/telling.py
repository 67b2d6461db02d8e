"""What is said of a match: its operation and target, the fields that were looked at, and the message, escaped."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from cloche.events.acts import Act, EventFlag
from cloche.events.event import printable
from cloche.rules.condition import All, AnyOf, Compare, Condition, Not
from cloche.rules.fields import FIELDS
from cloche.rules.holds import number, signed, texts_of

if TYPE_CHECKING:
    from cloche.events.event import Event
    from cloche.incidents.match import ProcessFacts
    from cloche.rules.rule import Rule

VALUE_MAX: Final = 200
MESSAGE_MAX: Final = 1000
COMMAND_MAX: Final = 1000
_NAMED: Final = re.compile(r"\{([a-z][a-z0-9_.]*)\}")
_ADDRESSED: Final = frozenset({Act.CONNECT, Act.BIND, Act.SEND, Act.ACCEPT})
_PORT: Final = 1


def target_of(event: Event) -> str:
    """Give on what an act was done, as the guest named it or where that led; ``""`` where it has nothing of the kind.

    Of a program that was started it is the command line. It is a guest's text, and as hostile.
    """
    if event.act is Act.EXEC and event.target:
        return event.target.removesuffix("\0").replace("\0", " ")[:COMMAND_MAX]
    if event.act in _ADDRESSED and event.target:
        return f"{event.target} port {event.args[_PORT]}" if event.args[_PORT] else event.target
    first = event.resolved or event.path
    if event.act in (Act.RENAME, Act.LINK) and first:
        return f"{first} -> {event.target_resolved or event.target or ''}"
    return first or event.target or ""


def hits(event: Event) -> int:
    """Give how many acts it counts as: none if it is but one place of several at which a program was looked for."""
    return 0 if event.act is Act.EXEC and event.flags & EventFlag.MISSING and not event.denied else 1


def message_of(rule: Rule, event: Event | None, family: Sequence[ProcessFacts]) -> str:
    """Give a rule's message with each ``{field}`` filled in, in one line that can be printed.

    A rule without one tells its summary, and what it was done on.
    """
    if event is None:
        return f"{rule.summary} (the record of the act was lost)"
    if not rule.message:
        target = target_of(event)
        return rule.summary + (f": {printable(target, VALUE_MAX)}" if target else "")

    def value(named: re.Match[str]) -> str:
        if named[1] not in FIELDS:
            return named[0]
        found = field_value(named[1], event, family)
        return printable(str(found), VALUE_MAX) if found is not None else "-"

    return _NAMED.sub(value, rule.message)[:MESSAGE_MAX]


def field_value(name: str, event: Event, family: Sequence[ProcessFacts]) -> str | int | None:
    """Give what an event has of a field, ``None`` where it has nothing: of several texts the last, where it led."""
    field = FIELDS[name]
    if field.kind in ("number", "flag"):
        found = number(field, event)
        return None if found is None else signed(found)
    if field.kind == "process":
        return _of_process(name, family)
    texts = texts_of(field, event)
    if field.kind == "text":
        return os.fsdecode(b" ".join(texts)) if texts else None
    return os.fsdecode(texts[-1]) if texts else None


def looked_at(rule: Rule, event: Event, family: Sequence[ProcessFacts]) -> dict[str, Any]:
    """Give the fields that a rule looked at, by name, as far as the event has them."""
    names = dict.fromkeys(_names(rule.where))
    found = {name: field_value(name, event, family) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def asks_of_process(condition: Condition) -> bool:
    """Say whether a condition looks at the process, not only at the event."""
    return any(FIELDS[name].kind == "process" for name in _names(condition))


def _names(condition: Condition) -> Iterator[str]:
    match condition:
        case All(parts) | AnyOf(parts):
            for part in parts:
                yield from _names(part)
        case Not(part):
            yield from _names(part)
        case Compare(field):
            yield field


def _of_process(name: str, family: Sequence[ProcessFacts]) -> str | None:
    if name == "ancestors":
        return " ".join(one.name for one in family[1:] if one.name) or None
    whose, _, what = name.partition(".")
    place = 0 if whose == "process" else 1
    if place >= len(family):
        return None
    facts = family[place]
    return " ".join(facts.args) or None if what == "cmdline" else getattr(facts, what)
