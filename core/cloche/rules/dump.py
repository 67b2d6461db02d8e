"""Rules as YAML, which ``files`` reads."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any, Final

from cloche.errors import SpecError
from cloche.rules.condition import ALWAYS
from cloche.rules.rule import After, Count, Earlier, Example, Rule
from cloche.rules.written import written_condition

_PLAIN: Final = re.compile(r"[A-Za-z/][A-Za-z0-9_./ -]*[A-Za-z0-9_/]|[A-Za-z]", re.ASCII)
_WORDS: Final = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
WIDTH: Final = 110


def rules_text(rules: Iterable[Rule]) -> str:
    """Give rules as the text of a file: ``parse_rules`` makes equal ones of it.

    Raises ``SpecError`` for a rule with an ``evaluate``, which is a function.
    """
    return "\n".join(_entry(rule) for rule in rules)


def _entry(rule: Rule) -> str:
    if rule.evaluate is not None:
        raise SpecError(f"rule {rule.id!r}: its evaluate is a function, which can't be written")
    plain = rule_as_plain(rule)
    lines: list[str] = []
    for key, value in plain.items():
        if key == "where":
            lines += _condition_lines(value)
        elif key == "examples":
            lines += ["examples:", *(f"  - {_flow(example)}" for example in value)]
        else:
            lines.append(f"{key}: {_flow(value)}")
    return "".join(f"{'- ' if index == 0 else '  '}{line}\n" for index, line in enumerate(lines))


def rule_as_plain(rule: Rule) -> dict[str, Any]:
    """Give what a rule says as plain data, its conditions as text; what is as by default is left out, and evaluate."""
    return _values(rule)


def _values(value: Any) -> dict[str, Any]:  # noqa: ANN401 - one of the values below
    out: dict[str, Any] = {}
    for f in fields(value):
        own = getattr(value, f.name)
        default = f.default if f.default_factory is MISSING else f.default_factory()
        if f.name == "where":
            if own != ALWAYS:
                out["where"] = written_condition(own)
        elif own != default and f.name != "evaluate":
            out[f.name] = errno.errorcode.get(own, own) if f.name == "answer" else _plain(own)
    return out


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a field holds
    if isinstance(value, Count | After | Earlier | Example):
        return _values(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(own) for key, own in value.items()}
    if isinstance(value, frozenset):
        return sorted(map(str, value))
    if isinstance(value, tuple | list):
        return [_plain(own) for own in value]
    if value is None or isinstance(value, bool | float):
        return value
    return int(value) if type(value) is int else str(value)


def _condition_lines(text: str) -> list[str]:
    """Give a condition broken before its words, where that is the same: not inside of quotes."""
    if len(text) <= WIDTH or '"' in text:
        return [f"where: {_flow(text)}"]
    lines = ["where: >-", ""]
    for word in text.split(" "):
        if len(lines[-1]) + len(word) > WIDTH and lines[-1]:
            lines.append("")
        lines[-1] += word if not lines[-1] else f" {word}"
    return [lines[0], *(f"    {line}" for line in lines[1:])]


def _flow(value: Any) -> str:  # noqa: ANN401 - plain data
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(own)}" for key, own in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) and value.lower() not in _WORDS else _quoted(value)
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value)


def _quoted(text: str) -> str:
    """Give a double-quoted text; of JSON's escapes all are YAML's, but not the halves of what lies above U+FFFF."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise SpecError(f"{text!r:.80} is not valid UTF-8, so it can't stand in a file of rules") from None
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else _escaped(c) for c in quoted)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 - four digits
