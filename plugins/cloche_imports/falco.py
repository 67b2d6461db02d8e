"""Falco's rules: lists, macros, appending and overriding, exceptions; each condition asked for one act after another.

How the parts that cloche has no word for are treated: ``evt.dir`` is always ``<``, for an act is seen once; a sandbox
is a container (``container.id`` is not ``host``) of no image, and of no pod: comparisons of ``container.image``,
``k8s`` and ``ka`` are false. Users, terminals, times of processes and names of hosts are not known, and left out as
``logic`` says. ``proc.aname[N]`` is any ancestor.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import cloche
from cloche import Act, Condition, Rule, Severity, SpecError, Term, condition_tree, load_yaml, parse_condition
from cloche_imports.falco_calls import CALLS, GRAVE, UNSEEN
from cloche_imports.falco_fields import Situation, part_of
from cloche_imports.logic import FALSE, TRUE, Evaluator, Notes, Part
from cloche_imports.report import Imported, Report, free_id, one_line

_SEVERITIES: Final = {
    "emergency": Severity.CRITICAL, "alert": Severity.CRITICAL, "critical": Severity.CRITICAL, "error": Severity.HIGH,
    "warning": Severity.MEDIUM, "notice": Severity.LOW, "informational": Severity.INFO, "info": Severity.INFO,
    "debug": Severity.INFO,
}  # fmt: skip
_ATTACK: Final = re.compile(r"TA?\d{4}(\.\d{3})?", re.ASCII)
_GIVEN: Final = {"container": TRUE}
"""Macros that Falco's own plugins bring."""
_SITUATIONS: Final = tuple(Situation(call, act) for call, acts in CALLS.items() for act in acts)
VALUES_MAX: Final = 4096
ALWAYS: Final = parse_condition("always")


@dataclass(slots=True)
class _Files:
    """What all files say, appended and overridden."""

    lists: dict[str, list[str]] = field(default_factory=dict)
    macros: dict[str, str] = field(default_factory=dict)
    rules: dict[str, dict[str, Any]] = field(default_factory=dict)
    trees: dict[str, object] = field(default_factory=dict)
    """Of macros, once they are read."""


def import_falco(texts: Iterable[tuple[str, str]]) -> Report:
    """Give the rules of Falco files: each text with where it came from, in the order in which Falco would load them."""
    report = Report()
    files = _Files()
    for where, text in texts:
        try:
            items = _items(text, where)
        except SpecError as error:
            report.troubles.append(str(error))
            continue
        for item in items:
            _take(files, item, where, report)
    taken: set[str] = set()
    for name, item in files.rules.items():
        report.imported.append(_imported(files, name, item, taken))
    return report


# -- reading ------------------------------------------------------------------------------------------------------


def _items(text: str, where: str) -> list[object]:
    items = load_yaml(text, where) or []
    if not isinstance(items, list):
        raise SpecError(f"{where}: a list of rules is needed")
    return items


def _take(files: _Files, item: object, where: str, report: Report) -> None:
    if not isinstance(item, dict):
        report.troubles.append(f"{where}: {item!r:.80} is no rule, macro or list")
    elif isinstance(name := item.get("list"), str):
        items = [str(value).lower() if isinstance(value, bool) else str(value) for value in item.get("items") or []]
        files.lists[name] = [*(files.lists.get(name, []) if _appends(item, "items") else []), *items]
    elif isinstance(name := item.get("macro"), str):
        before = f"{files.macros.get(name, '')} " if _appends(item, "condition") else ""
        files.macros[name] = before + str(item.get("condition", ""))
    elif isinstance(name := item.get("rule"), str):
        known = files.rules.setdefault(name, {})
        for key, value in item.items():
            add = _appends(item, key) and key in known and key in ("condition", "output", "desc", "tags", "exceptions")
            if add and isinstance(value, list):
                known[key] = [*known[key], *value]
            else:
                known[key] = f"{known[key]} {value}" if add else value
    elif not any(str(key).startswith("required_") for key in item):
        report.troubles.append(f"{where}: {str(item)[:80]!r} is no rule, macro or list")


def _appends(item: Mapping[str, Any], key: str) -> bool:
    override = item.get("override")
    if isinstance(override, Mapping):
        return override.get(key) == "append"
    return item.get("append") is True


# -- one rule -----------------------------------------------------------------------------------------------------


def _imported(files: _Files, name: str, item: Mapping[str, Any], taken: set[str]) -> Imported:
    try:
        found, notes = _by_act(files, _condition(item))
        return Imported(name, tuple(_rules(name, item, found, taken)), notes)
    except SpecError as error:
        return Imported(name, (), (str(error),))


def _condition(item: Mapping[str, Any]) -> str:
    if item.get("source", "syscall") != "syscall":
        raise SpecError(f"its source is {item['source']}, not the system calls of a guest")
    text = item.get("condition")
    if not isinstance(text, str):
        raise SpecError("it has no condition of its own")
    return text + _exceptions(item.get("exceptions"))


def _by_act(files: _Files, text: str) -> tuple[dict[Condition | None, set[Act]], tuple[str, ...]]:
    """Give the acts that a rule is about by what is asked of them (``None``: nothing), and what was left out."""
    tree = condition_tree(text, "condition", strict=False)
    calls: dict[Act, dict[str, Part]] = {}
    lines: dict[str, None] = {}
    why: dict[str, None] = {}
    for at in _SITUATIONS:
        notes = Notes()
        part = _Reading(files, at, notes).part(tree)
        if part.condition is False:
            continue
        if part.condition is None:
            why["all that it asks is unknown here: " + "; ".join(notes.widened or notes.narrowed or ["its terms"])] = (
                None
            )
        elif notes.demanded and not part.tells and at.act not in GRAVE:
            why[f"too little is left: {'; '.join(list(notes.widened)[:6])} can't be asked"] = None
        else:
            calls.setdefault(at.act, {})[at.call] = part
            lines |= dict.fromkeys(notes.lines())
    if not calls:
        raise SpecError("; ".join(list(why)[:3]) or _nothing(text))
    found: dict[Condition | None, set[Act]] = {}
    for act, parts in calls.items():
        found.setdefault(_of_act(act, parts), set()).add(act)
    unseen = sorted(call for call in UNSEEN if re.search(rf"\b{call}\b", text))
    lines |= dict.fromkeys(f"finds less: {call} is not told of" for call in unseen)
    return found, tuple(lines)


def _nothing(text: str) -> str:
    return "it is about no act that cloche tells of" + ("" if "evt.type" not in text else ", as its evt.type")


def _of_act(act: Act, parts: Mapping[str, Part]) -> Condition | None:
    """Give what is asked of an act, the calls that it can be told apart where they are asked differently."""
    every = [call for call, acts in CALLS.items() if act in acts]
    groups: dict[Condition | bool | None, list[str]] = {}
    for call, part in parts.items():
        groups.setdefault(part.condition, []).append(call)
    if len(groups) == 1 and len(parts) == len(every) and act not in (Act.KERNEL, Act.PTRACE, Act.NAMESPACE):
        only = next(iter(groups))
        return only if isinstance(only, Condition) else None
    whole: Condition | None = None
    for asked, names in groups.items():
        one = cloche.F.call.one_of(*names)
        one = one & asked if isinstance(asked, Condition) else one
        whole = one if whole is None else whole | one
    return whole


class _Reading(Evaluator):
    """One condition asked for one act."""

    def __init__(self, files: _Files, at: Situation, notes: Notes) -> None:
        super().__init__(notes, self._compared, self._macro_of)
        self._files = files
        self._at = at

    def _compared(self, term: Term) -> Part:
        values: list[str] = []
        for word in term.values:
            values += [word.text] if word.quoted else _expanded(self._files.lists, word.text)
        if not values and term.op != "exists":
            return FALSE  # in an empty list
        return part_of(term, values, self._at)

    def _macro_of(self, name: str) -> object:
        if name in self._files.macros:
            if name not in self._files.trees:
                self._files.trees[name] = condition_tree(self._files.macros[name], f"macro {name}", strict=False)
            return self._files.trees[name]
        if name in _GIVEN:
            return _GIVEN[name]
        raise SpecError(f"the macro {name} is not in these files; give the file that has it too")


def _expanded(lists: Mapping[str, list[str]], name: str, within: tuple[str, ...] = ()) -> list[str]:
    if name not in lists:
        return [_unquoted(name)]
    if name in within:
        raise SpecError(f"list {name!r} is made of itself")
    found: list[str] = []
    for item in lists[name]:
        found += _expanded(lists, item, (*within, name))
        if len(found) > VALUES_MAX:
            raise SpecError(f"list {name!r} has more than {VALUES_MAX} values")
    return found


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1].replace(f"\\{text[0]}", text[0])
    return text


def _exceptions(given: object) -> str:
    """Give exceptions as what is to be appended to a condition."""
    text = ""
    for one in given if isinstance(given, list) else []:
        if not isinstance(one, dict) or not one.get("values"):
            continue
        names, comps, values = one.get("fields"), one.get("comps"), one["values"]
        if isinstance(names, str):
            text += f" and not {names} {comps or 'in'} ({', '.join(map(_quoted, values))})"
            continue
        ops = comps if isinstance(comps, list) else ["="] * len(names or ())
        rows = [
            " and ".join(_term(*cell) for cell in zip(names or (), ops, row, strict=False))
            for row in values if isinstance(row, list)
        ]  # fmt: skip
        text += f" and not ({' or '.join(f'({row})' for row in rows)})" if rows else ""
    return text


def _term(name: str, op: str, value: object) -> str:
    if isinstance(value, list):
        return f"{name} {op} ({', '.join(map(_quoted, value))})"
    return f"{name} {op} {_quoted(value)}"


def _quoted(value: object) -> str:
    text = str(value)
    return text if re.fullmatch(r"\w+", text) else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


# -- made ---------------------------------------------------------------------------------------------------------


def _rules(
    name: str, item: Mapping[str, Any], found: Mapping[Condition | None, set[Act]], taken: set[str]
) -> Iterable[Rule]:
    tags = [str(tag) for tag in item.get("tags") or [] if isinstance(tag, str)]
    message = str(item.get("output", "")).partition("|")[0].partition("(")[0].partition("%")[0]
    for asked, acts in found.items():
        yield Rule(
            id=free_id("falco", name, taken), summary=one_line(name),
            severity=_SEVERITIES.get(str(item.get("priority", "")).lower(), Severity.LOW), events=frozenset(acts),
            message=one_line(message, most=200).replace("{", "").replace("}", ""),
            attack=tuple(dict.fromkeys(tag for tag in tags if _ATTACK.fullmatch(tag))),
            tags=frozenset({"falco", *(tag for tag in tags if re.fullmatch(r"[a-z][a-z0-9_-]{0,40}", tag))}),
            enabled=item.get("enabled") is not False, where=ALWAYS if asked is None else asked,
        )  # fmt: skip
