"""Sigma's rules for Linux, read by pySigma: programs started, files made, connections, and what auditd notes.

Sigma compares without regard to the case of letters. Of a command line that holds something that is kept; paths and
names are compared as they are written, for to Linux they are different ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import cloche
from cloche import Act, Condition, Rule, Severity, SpecError, load_yaml
from cloche_imports.logic import FALSE, TRUE, UNKNOWN, Evaluator, Group, Leaf, Notes, Part, compared, numbered
from cloche_imports.operators import networks
from cloche_imports.report import Imported, Report, free_id, one_line

_SEVERITIES: Final = {
    "critical": Severity.CRITICAL, "high": Severity.HIGH, "medium": Severity.MEDIUM, "low": Severity.LOW,
    "informational": Severity.INFO,
}  # fmt: skip
_FILES: Final = frozenset({Act.OPEN, Act.WRITE_OPEN, Act.CREATE, Act.UNLINK, Act.RENAME, Act.CHMOD, Act.CHOWN})
_CATEGORIES: Final = {
    "process_creation": frozenset({Act.EXEC}), "file_event": frozenset({Act.CREATE}),
    "network_connection": frozenset({Act.CONNECT}),
}  # fmt: skip
_AUDITD: Final = {"EXECVE": frozenset({Act.EXEC}), "PATH": _FILES, "SYSCALL": frozenset(Act)}
_STARTED: Final = {
    "Image": "file", "CommandLine": "cmdline", "ParentCommandLine": "parent.cmdline", "exe": "file", "comm": "name",
    "proctitle": "cmdline",
}  # fmt: skip
_DONE: Final = {
    "Image": "process.exe", "CommandLine": "process.cmdline", "TargetFilename": "file", "name": "file",
    "DestinationIp": "address", "dst_ip": "address", "exe": "process.exe", "comm": "process.name",
}  # fmt: skip
PACKAGE: Final = "Sigma rules are read by pySigma: pip install 'cloche[sigma]'"


def import_sigma(texts: Iterable[tuple[str, str]]) -> Report:
    """Give the rules of Sigma files, texts with where they came from. Raises ``SpecError`` if pySigma is missing."""
    try:
        from sigma.rule import SigmaRule  # noqa: PLC0415 - an optional package
    except ImportError:
        raise SpecError(PACKAGE) from None
    report = Report()
    taken: set[str] = set()
    for where, text in texts:
        try:
            data = _mapping(text, where)
        except SpecError as error:
            report.troubles.append(str(error))
            continue
        name = one_line(str(data.get("title") or where))
        try:
            report.imported.append(_imported(name, SigmaRule.from_dict(dict(data)), data, taken))
        except SpecError as error:
            report.imported.append(Imported(name, (), (one_line(str(error), most=400),)))
        except Exception as error:  # noqa: BLE001 - what pySigma raises for a bad rule is of many kinds
            report.imported.append(Imported(name, (), (one_line(f"pySigma: {error}", most=400),)))
    return report


def _mapping(text: str, where: str) -> dict[str, Any]:
    data = load_yaml(text, where)  # pySigma's own reader would follow aliases without end
    if not isinstance(data, dict):
        raise SpecError(f"{where}: a Sigma rule is a mapping")
    return data


def _imported(name: str, rule: Any, data: Mapping[str, Any], taken: set[str]) -> Imported:  # noqa: ANN401 - pySigma's
    acts = _acts(rule)
    found: dict[Condition, set[Act]] = {}
    lines: dict[str, None] = {}
    why: dict[str, None] = {}
    trees = [condition.parsed for condition in rule.detection.parsed_condition]
    for act in sorted(acts):
        notes = Notes()
        part = Evaluator(notes).part(Group("or", tuple(_tree(tree, act, rule) for tree in trees)))
        if part.condition is False:
            continue
        if part.condition is None or isinstance(part.condition, bool) or (notes.demanded and not part.tells):
            asked = "; ".join(list(notes.widened)[:6]) or _fields(trees)
            why[f"too little is left: {asked} can't be asked"] = None
            continue
        found.setdefault(part.condition, set()).add(act)
        lines |= dict.fromkeys(notes.lines())
    if not found:
        raise SpecError("; ".join(list(why)[:3]) or "it is about no act that cloche tells of")
    made = tuple(_rule(name, data, asked, some, taken) for asked, some in found.items())
    return Imported(name, made, tuple(lines))


def _acts(rule: Any) -> frozenset[Act]:  # noqa: ANN401 - pySigma's
    source = rule.logsource
    if source.product not in (None, "linux"):
        raise SpecError(f"it is for {source.product}")
    if source.category in _CATEGORIES:
        return _CATEGORIES[source.category]
    if source.service == "auditd":
        return frozenset(Act)
    what = source.service or source.category or "nothing in particular"
    raise SpecError(f"it looks at the log of {what}, not at what a guest does")


def _tree(node: Any, act: Act, rule: Any) -> object:  # noqa: ANN401 - pySigma's
    kind = type(node).__name__
    if kind in ("ConditionAND", "ConditionOR", "ConditionNOT"):
        word = kind.removeprefix("Condition").lower()
        return Group(word, tuple(_tree(part, act, rule) for part in node.args))
    if kind == "ConditionFieldEqualsValueExpression":
        audit = rule.logsource.service == "auditd"
        return Leaf(one_line(f"{node.field} {node.value}", most=80), _part(node.field, node.value, act, audit=audit))
    if kind == "ConditionValueExpression":
        found = _text("cmdline", node.value, anywhere=True) if act is Act.EXEC else UNKNOWN
        return Leaf(one_line(f"keyword {node.value}", most=80), found)
    return Leaf(kind, UNKNOWN)


def _fields(trees: Iterable[Any]) -> str:
    """Give the names of the fields that are asked, for people."""
    found: dict[str, None] = {}
    waiting = list(trees)
    while waiting:
        node = waiting.pop()
        found |= {str(node.field): None} if getattr(node, "field", None) else {}
        waiting += [part for part in getattr(node, "args", ()) if hasattr(part, "args") or hasattr(part, "field")]
    return ", ".join(sorted(found)) or "keywords"


# -- comparisons --------------------------------------------------------------------------------------------------


def _part(field: str, value: Any, act: Act, *, audit: bool) -> Part:  # noqa: ANN401 - pySigma's
    if audit and field == "type":
        return TRUE if act in _AUDITD.get(str(value).upper(), frozenset()) else FALSE
    if audit and act is Act.EXEC and re.fullmatch(r"a\d+", field):
        return _text("argv", value)
    if audit and field in ("SYSCALL", "syscall"):
        return _text("call", value) if not str(value).isdigit() else UNKNOWN
    if field in ("ParentImage", "ParentProcessName"):
        return _name_of(value)
    if field in ("DestinationPort", "dst_port") and act is Act.CONNECT:
        return numbered("port", "one_of", [int(str(value))]) if str(value).isdigit() else UNKNOWN
    if field == "Initiated":
        return TRUE if str(value).lower() == "true" else FALSE
    if audit and field == "nametype":
        made = {"CREATE": Act.CREATE, "DELETE": Act.UNLINK}.get(str(value))
        return UNKNOWN if made is None else TRUE if made is act else FALSE
    name = (_STARTED if act is Act.EXEC else _DONE).get(field)
    if name is None or (name == "file" and act is not Act.EXEC and act not in _FILES):
        return UNKNOWN
    return _text(name, value)


def _text(name: str, value: Any, *, anywhere: bool = False) -> Part:  # noqa: ANN401 - pySigma's
    kind = type(value).__name__
    try:
        match kind:
            case "SigmaString" | "SigmaCasedString":
                return _string(name, value, anywhere=anywhere)
            case "SigmaNumber":
                return _string(name, str(value), anywhere=anywhere)
            case "SigmaRegularExpression":
                return Part(
                    cloche.F[name].matches(f"(?i){value.regexp}" if value.flags else str(value.regexp)), tells=True
                )
            case "SigmaCIDRExpression":
                return networks(name, [str(value.cidr)])
            case "SigmaNull":
                return Part(~cloche.F[name].exists())
            case "SigmaExists":
                return Part(cloche.F[name].exists())
    except SpecError:
        return UNKNOWN  # an expression that takes more than linear time, a text that is too long
    return UNKNOWN


def _string(name: str, value: Any, *, anywhere: bool) -> Part:  # noqa: ANN401 - pySigma's, or text
    pieces: list[str | None] = [
        piece if isinstance(piece, str) else "?" if piece.name == "WILDCARD_SINGLE" else None
        for piece in ([value] if isinstance(value, str) else value.s)
    ]  # fmt: skip
    if any(
        piece == "?" for piece, raw in zip(pieces, getattr(value, "s", ()), strict=False) if not isinstance(raw, str)
    ):
        return UNKNOWN
    before = anywhere or (bool(pieces) and pieces[0] is None)
    after = anywhere or (bool(pieces) and pieces[-1] is None)
    texts = [piece for piece in pieces if piece]
    if not texts:
        return Part(cloche.F[name].exists()) if pieces else compared(name, "one_of", [""])
    holds = "icontains" if name.endswith("cmdline") else "contains"
    if len(texts) == 1:
        how = {(True, True): holds, (True, False): "endswith", (False, True): "startswith"}.get(
            (before, after), "one_of"
        )
        return compared(name, how, texts)
    parts = [compared(name, holds, [text]) for text in texts]
    parts[0] = parts[0] if before else compared(name, "startswith", texts[:1])
    parts[-1] = parts[-1] if after else compared(name, "endswith", texts[-1:])
    whole = cloche.F[name].exists()
    for part in parts:
        if isinstance(part.condition, Condition):
            whole = whole & part.condition
    return Part(whole, tells=True, size=len(parts))


def _name_of(value: Any) -> Part:  # noqa: ANN401 - pySigma's
    """Ask for the program of the parent, of which cloche knows the name."""
    text = str(value).lstrip("*")
    if "*" in text.strip("*"):
        return UNKNOWN
    if str(value).startswith("*") and not text.endswith("*") and text.startswith("/") and text.count("/") == 1:
        return compared("parent.name", "one_of", [text[1:]])
    if not str(value).startswith("*") and not text.endswith("*") and text.startswith("/"):
        return compared("parent.name", "one_of", [text.rpartition("/")[2]])
    return UNKNOWN


def _rule(
    name: str, data: Mapping[str, Any], asked: Condition, acts: Iterable[Act], taken: set[str]
) -> Rule:  # fmt: skip
    tags = [str(tag).lower() for tag in data.get("tags") or []]
    attack = [tag.removeprefix("attack.").upper() for tag in tags if re.fullmatch(r"attack\.t\d{4}(\.\d{3})?", tag)]
    return Rule(
        id=free_id("sigma", name, taken), summary=name, message=name,
        severity=_SEVERITIES.get(str(data.get("level", "")).lower(), Severity.LOW), events=frozenset(acts),
        attack=tuple(dict.fromkeys(attack)), tags=frozenset({"sigma"}),
        enabled=data.get("status") not in ("deprecated", "unsupported"), where=asked,
    )  # fmt: skip
