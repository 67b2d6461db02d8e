"""YAML files that decide about isolation, read with care: plain data only, bounded, with the line of each key.

Anchors and aliases, tags, a key twice, more than one document and deep nesting are refused. What a word without quotes
is follows YAML 1.2: ``null``, ``true`` and ``false``, numbers (``0x``, ``0o``); ``yes``, ``on`` and ``0755`` are texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from cloche import units
from cloche.errors import SpecError

FILE_MAX: Final = 1 << 20
DEPTH_MAX: Final = 24
NODES_MAX: Final = 200_000
_INT: Final = re.compile(r"[-+]?(?:0x[0-9a-fA-F]{1,16}|0o[0-7]{1,22}|0|[1-9][0-9]{0,19})", re.ASCII)
_FLOAT: Final = re.compile(
    r"[-+]?(?:\.[0-9]{1,30}|(?:0|[1-9][0-9]{0,29})(?:\.[0-9]{0,30})?)(?:[eE][-+]?[0-9]{1,3})?", re.ASCII
)
_WORDS: Final = {"": None, "~": None, "null": None, "true": True, "false": False}


class Table(dict[str, Any]):
    """A mapping that knows in which line it and each of its keys stands, from 1."""

    line: int = 1
    lines: dict[str, int]

    def at(self, key: str) -> int:
        """Give the line of a key; the table's own for one that is not there."""
        return self.lines.get(key, self.line)


def load_yaml(text: str, where: str) -> Any:  # noqa: ANN401 - whatever the file holds
    """Give what a YAML text holds: dicts (each a ``Table``), lists, texts, numbers, true, false and ``None``.

    Raises ``SpecError`` naming ``where`` and the line for what is no YAML or refused as the module says.
    """
    import yaml  # noqa: PLC0415 - 20 ms that a host without a file need not pay

    if not isinstance(text, str):
        raise SpecError(f"{where}: text is needed, not {units.shown(text)}")
    if len(text) > FILE_MAX:
        raise SpecError(f"{where}: longer than {FILE_MAX} characters")
    if "\0" in text:
        raise SpecError(f"{where}:{text.count(chr(10), 0, text.index(chr(0))) + 1}: there is a NUL character")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Builder(where).built(yaml.parse(text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise SpecError(f"{where}{line}: not valid YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError) as error:  # UnicodeEncodeError for lone surrogates, characters YAML has not
        raise SpecError(f"{where}: not valid YAML: {units.one_line(str(error), most=200)}") from None


class _Builder:
    """Makes data of the events of a parser, without recursion."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._open: list[Any] = []
        self._keys: list[Any] = []
        """For each open table the key that waits for its value; ``_NONE`` where a key comes next."""
        self._root: Any = None
        self._documents = 0
        self._nodes = 0

    def built(self, events: Iterator[Any]) -> Any:  # noqa: ANN401 - whatever the file holds
        for event in events:
            kind = type(event).__name__
            self._check(event, kind)
            if kind == "ScalarEvent":
                self._put(_scalar(event), event)
            elif kind in ("MappingStartEvent", "SequenceStartEvent"):
                made = self._made(event, kind)
                self._put(made, event)
                self._open.append(made)
                self._keys.append(_NONE)
            elif kind in ("MappingEndEvent", "SequenceEndEvent"):
                self._open.pop()
                self._keys.pop()
        return self._root

    def _made(self, event: Any, kind: str) -> Any:  # noqa: ANN401 - PyYAML's events have one type each
        if kind == "SequenceStartEvent":
            return []
        table = Table()
        table.line, table.lines = event.start_mark.line + 1, {}
        return table

    def _check(self, event: Any, kind: str) -> None:  # noqa: ANN401
        if kind == "DocumentStartEvent":
            self._documents += 1
            if self._documents > 1:
                self._fail(event, "a second document; put all into one")
        if kind == "AliasEvent" or getattr(event, "anchor", None) is not None:
            self._fail(event, "anchors and aliases are not taken here; write it out")
        tag = getattr(event, "tag", None)
        if tag is not None:
            self._fail(event, f"the tag {units.shown(tag)}; only plain data is taken")
        if len(self._open) > DEPTH_MAX:
            self._fail(event, f"nested more than {DEPTH_MAX} deep")
        self._nodes += 1
        if self._nodes > NODES_MAX:
            self._fail(event, f"more than {NODES_MAX} things")

    def _put(self, value: Any, event: Any) -> None:  # noqa: ANN401
        if not self._open:
            self._root = value
            return
        top = self._open[-1]
        if isinstance(top, list):
            top.append(value)
        elif self._keys[-1] is _NONE:
            if not isinstance(value, str):
                self._fail(event, f"the key {units.shown(value)} is no text")
            if value in top:
                self._fail(event, f"the key {units.shown(value)} stands here twice")
            top.lines[value] = event.start_mark.line + 1
            self._keys[-1] = value
        else:
            top[self._keys[-1]] = value
            self._keys[-1] = _NONE

    def _fail(self, event: Any, why: str) -> None:  # noqa: ANN401
        raise SpecError(f"{self._where}:{event.start_mark.line + 1}: {why}")


_NONE: Final = object()


def _scalar(event: Any) -> Any:  # noqa: ANN401 - a text, number, truth or nothing
    text: str = event.value
    if event.style is not None and event.style != "":
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text.lstrip("+"), 0)
    return float(text) if _FLOAT.fullmatch(text) else text
