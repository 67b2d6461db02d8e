"""Rules in YAML files: several a file, with lists and macros above those that use them.

::

    - list: shells
      items: [bash, dash, sh]

    - macro: by_shell
      where: process.name in (shells)

    - id: cron-entry                    # the fields of cloche.Rule
      summary: A file is put where cron runs it
      severity: high
      events: [create, rename]
      where: file under (/etc/cron.d, /etc/cron.daily) or to under /etc/cron.d and by_shell
      count: {limit: 5, per: 10s, key: [sandbox]}
      attack: [T1053.003]
      tags: [persistence]
      examples:
        - events: [{act: create, path: /etc/cron.d/x}]
        - events: [{act: create, path: /workspace/x}]
          match: false

``after: {steps: [{events: [...], where: ...}], within: 30s, key: [pid]}`` asks for earlier events; ``answer`` is an
errno by name or number. ``evaluate`` is a function, so it can't stand in a file.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from cloche import settings, units, yamls
from cloche.errors import SpecError
from cloche.rules.condition import VALUES_MAX, Condition
from cloche.rules.parse import parse_condition
from cloche.rules.rule import After, Count, Earlier, Example, Rule
from cloche.yamls import Table

KIND: Final = "file of rules"
RULES_MAX: Final = 4096
NAMES_MAX: Final = 4096
_T = TypeVar("_T")


def read_rules(path: str | Path, *, found: bool = False) -> tuple[Rule, ...]:
    """Give the rules of a file; ``found`` as in ``settings.read``. Raises ``SpecError`` naming file and line."""
    place = Path(units.text(str(path), KIND))
    return parse_rules(settings.read(place, KIND, found=found, most=yamls.FILE_MAX), where=str(path))


def parse_rules(text: str, *, where: str = "rules") -> tuple[Rule, ...]:
    """Give the rules of a YAML text; errors begin with ``where`` and the line. Raises ``SpecError``."""
    items = yamls.load_yaml(text, where)
    if items is None:
        return ()
    if not isinstance(items, list) or not all(isinstance(item, Table) for item in items):
        raise SpecError(f"{where}: a list of rules is needed, each beginning with '- id: NAME'")
    if len(items) > RULES_MAX:
        raise SpecError(f"{where}: {len(items)} entries; at most {RULES_MAX}")
    return _File(where).rules(items)


class _File:
    """What one file has defined so far."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._lists: dict[str, tuple[str, ...]] = {}
        self._macros: dict[str, Condition] = {}

    def rules(self, items: list[Table]) -> tuple[Rule, ...]:
        made: dict[str, Rule] = {}
        for item in items:
            here = f"{self._where}:{item.line}"
            if "list" in item:
                self._list(item, here)
            elif "macro" in item:
                self._macro(item, here)
            else:
                rule = self._rule(item, here)
                if rule.id in made:
                    raise SpecError(f"{here}: there is a rule {rule.id!r} above; give one another id")
                made[rule.id] = rule
        return tuple(made.values())

    def _list(self, item: Table, here: str) -> None:
        _known(item, ("list", "items"), here)
        name = self._new(item["list"], here, "list")
        if not isinstance(item.get("items"), list):
            raise SpecError(f"{here}: list {name!r}: items: a list is needed, not {units.shown(item.get('items'))}")
        values: list[str] = []
        for value in item["items"]:
            if isinstance(value, bool) or not isinstance(value, str | int):
                raise SpecError(f"{here}: list {name!r}: {units.shown(value)} is neither text nor a whole number")
            values += self._lists.get(str(value), (str(value),))
            if len(values) > VALUES_MAX:
                raise SpecError(f"{here}: list {name!r}: more than {VALUES_MAX} values")
        self._lists[name] = tuple(values)

    def _macro(self, item: Table, here: str) -> None:
        _known(item, ("macro", "where"), here)
        name = self._new(item["macro"], here, "macro")
        self._macros[name] = self._condition(item.get("where"), f"{self._where}:{item.at('where')}: macro {name!r}")

    def _new(self, name: object, here: str, kind: str) -> str:
        if not isinstance(name, str):
            raise SpecError(f"{here}: {kind}: a name is needed, not {units.shown(name)}")
        units.identifier(name, f"{here}: {kind}")
        if name in self._lists or name in self._macros:
            raise SpecError(f"{here}: {kind}: the name {name!r} is taken above")
        return name

    def _condition(self, text: object, what: str) -> Condition:
        if isinstance(text, bool):  # `where: true`
            text = "always" if text else "never"
        if not isinstance(text, str):
            raise SpecError(f"{what}: where: a condition is needed, not {units.shown(text)}")
        return parse_condition(text, what=f"{what}: where", macros=self._macros, lists=self._lists)

    def _rule(self, item: Table, here: str) -> Rule:
        known = tuple(f.name for f in fields(Rule) if f.name != "evaluate")
        if "id" not in item:
            raise SpecError(f"{here}: this is no rule, list or macro: the key 'id' is missing")
        _known(item, known, here)
        what = f"rule {units.shown(item['id'])}"
        values: dict[str, Any] = {}
        for key, value in item.items():
            place = f"{self._where}:{item.at(key)}: {what}: {key}"
            values[key] = self._value(key, value, place)
        return _made(lambda: Rule(**values), f"{here}: {what}")

    def _value(self, key: str, value: object, place: str) -> object:
        match key:
            case "where":
                return self._condition(value, place.removesuffix(": where"))
            case "count":
                return _made(partial(Count, **units.fields_of(Count, value, place)), place)
            case "after":
                return self._after(value, place)
            case "examples":
                return tuple(self._example(one, place) for one in _list(value, place))
            case "answer":
                return _errno(value, place)
        return value

    def _after(self, value: object, place: str) -> After:
        own = units.fields_of(After, value, place)
        steps: list[Earlier] = []
        for step in _list(own.get("steps"), f"{place}.steps"):
            parts = units.fields_of(Earlier, step, f"{place}.steps")
            if "where" in parts:
                parts["where"] = self._condition(parts["where"], f"{place}.steps")
            steps.append(_made(partial(Earlier, **parts), place))
        return _made(partial(After, **{**own, "steps": tuple(steps)}), place)

    def _example(self, value: object, place: str) -> Example:
        own = units.fields_of(Example, value, place)
        events = _list(own.get("events"), f"{place}.events")
        if not all(isinstance(event, Mapping) for event in events):
            raise SpecError(f"{place}.events: each event is a mapping, such as {{act: open, path: /etc/shadow}}")
        return _made(partial(Example, **{**own, "events": tuple(events)}), place)


def _known(item: Table, known: tuple[str, ...], here: str) -> None:
    for key in item:
        if key not in known:
            line = f"{here.rpartition(':')[0]}:{item.at(key)}"
            raise SpecError(f"{line}: unknown key {units.shown(key)}; known are {', '.join(known)}")


def _list(value: object, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise SpecError(f"{place}: a list is needed, not {units.shown(value)}")
    return value


def _errno(value: object, place: str) -> object:
    if not isinstance(value, str):
        return value
    number = getattr(errno, value, None) if value[:1] == "E" else None
    if not isinstance(number, int):
        raise SpecError(f"{place}: {units.shown(value)} is no name of an errno, such as EACCES")
    return number


def _made(make: Callable[[], _T], place: str) -> _T:
    try:
        return make()
    except SpecError as error:
        file, _, rest = place.partition(": ")
        text = str(error)
        raise SpecError(f"{file}: {text}" if text.startswith("rule ") else f"{file}: {rest}: {text}") from None
    except TypeError as error:  # a key without a default is missing; the message names it
        raise SpecError(f"{place}: {str(error).partition('() ')[2] or error}") from None
