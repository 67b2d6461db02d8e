"""What of a record is only what the guest claims, so that a rule that refuses by it can be got round (decision 36)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from cloche.errors import SpecError
from cloche.events.acts import Act
from cloche.rules.condition import DEPTH_MAX, All, AnyOf, Compare, Condition, Not
from cloche.rules.fields import FIELDS
from cloche.rules.lower import reads
from cloche.rules.rule import Rule

OPENS: Final = frozenset({Act.OPEN, Act.WRITE_OPEN, Act.CREATE})
_IN_MEMORY: Final = OPENS | {Act.CONNECT, Act.BIND, Act.ACCEPT, Act.SEND}
"""Acts whose numbers may lie in memory: the address of a socket, how a file is opened, by one of the calls for it."""
_VOUCHED: Final = frozenset({"result", "pid", "tid", "exec", "denied", "static", "source", "call"})
HOSTS: Final = frozenset({
    Act.CREATED, Act.STARTED, Act.PAUSED, Act.RESUMED, Act.STOPPED, Act.DELETED, Act.BEGUN, Act.ENDED, Act.LOST,
})  # fmt: skip
"""Acts that hosts tell of themselves."""
_KEYS: Final = {"dir": "file", "path": "file", "arg0": "arg0", "arg1": "arg1", "target": "target"}


def comparisons(condition: Condition, depth: int = 0) -> Iterator[Compare]:
    """Give all comparisons of a condition. Raises ``SpecError`` for one that is too deep, or is none."""
    if depth > DEPTH_MAX:
        raise SpecError(f"conditions are more than {DEPTH_MAX} deep; make several rules")
    match condition:
        case All(parts) | AnyOf(parts):
            for part in parts:
                yield from comparisons(part, depth + 1)
        case Not(part):
            yield from comparisons(part, depth + 1)
        case Compare():
            yield condition
        case _:
            raise SpecError(f"{type(condition).__name__} is no condition; join comparisons with & | ~")


def claims(rule: Rule, emulated: frozenset[Act]) -> str:
    """Say by what that the guest claims a rule judges, for people; ``""``: by nothing of the kind."""
    steps = [(rule.events, rule.where)] + [
        (step.events, step.where) for step in (rule.after.steps if rule.after else ())
    ]
    found: dict[str, set[Act]] = {}
    keys = [*(rule.count.key + rule.count.distinct if rule.count else ()), *(rule.after.key if rule.after else ())]
    for events, where in steps:
        open_kinds = events & OPENS - emulated
        if open_kinds and not events >= OPENS:
            found.setdefault("which kind of opening it is", set()).update(open_kinds)
        for asked in comparisons(where):
            found.setdefault(asked.field, set()).update(_claimed(asked, events - emulated))
        for key in keys:
            if key in _KEYS:
                asked = Compare(_KEYS[key], "exists")
                found.setdefault(f"the key {key}", set()).update(_claimed(asked, events - emulated))
    return ", ".join(f"{name} (of {', '.join(sorted(acts))})" for name, acts in sorted(found.items()) if acts)


def _claimed(asked: Compare, events: Iterable[Act]) -> list[Act]:
    field = FIELDS[asked.field]
    if field.name in _VOUCHED or field.kind == "process":
        return []
    if field.kind == "number":
        return [act for act in events if act in _IN_MEMORY and reads(asked, act)]
    if field.kind == "flag":
        return [act for act in events if act not in HOSTS]
    return [act for act in events if act not in HOSTS and reads(asked, act)]
