"""Conditions from text: what ``syntax`` reads, with fields and operators given their meaning.

====================  ================================================
``= == !=``           one value; ``true`` and ``false`` for flags
``< <= > >=``         numbers
``in intersects``     one of several: ``call in (open, openat)``
``contains`` ...      ``contains icontains startswith endswith glob matches has under``: one of several
``bcontains``         bytes in hexadecimal: ``bcontains 7f454c46``; so ``bstartswith``
``pmatch``            ``under``
``regex``             ``matches``
``exists``            without a value
====================  ================================================

A name by itself is a flag (``climbs``), a macro of the file, ``always`` or ``never``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final, get_args

from cloche import units
from cloche.errors import SpecError
from cloche.rules.condition import ALWAYS, OPS, All, AnyOf, Compare, Condition, Not, Op, Value
from cloche.rules.fields import FIELDS
from cloche.rules.syntax import TERMS_MAX, Joined, Node, Term, Word, condition_tree

NEVER: Final = AnyOf(())
_SAME: Final[Mapping[str, Op]] = {
    "=": "==", "==": "==", "!=": "==", "in": "==", "intersects": "==", "pmatch": "under", "regex": "matches",
    "bcontains": "contains", "bstartswith": "startswith", "<": "<", ">=": ">=", "<=": "<", ">": ">=",
    **{op: op for op in get_args(Op)},
}  # fmt: skip
_NUMBER: Final = re.compile(r"-?(?:0x[0-9a-f]{1,16}|0o[0-7]{1,22}|0|[1-9][0-9]{0,19})", re.ASCII | re.IGNORECASE)
_TRUTH: Final = {"true": 1, "false": 0, "1": 1, "0": 0}


def parse_condition(
    text: str,
    *,
    what: str = "condition",
    macros: Mapping[str, Condition] | None = None,
    lists: Mapping[str, tuple[str, ...]] | None = None,
) -> Condition:
    """Give the condition that ``text`` says.

    ``macros`` are conditions by name; ``lists`` are values by name, put where such a name stands among values without
    quotes. Raises ``SpecError`` beginning with ``what``, line and column.
    """
    return _Maker(what, macros or {}, lists or {}).made(condition_tree(text, what))


def comparisons(condition: Condition) -> int:
    """Give how many comparisons a condition has: what it costs to look at all of it."""
    match condition:
        case All() | AnyOf():
            return sum(map(comparisons, condition.parts))
        case Not():
            return comparisons(condition.part)
    return 1


class _Maker:
    """Makes conditions of trees. What macros stand for is counted: each could be made of two of the one before."""

    def __init__(self, what: str, macros: Mapping[str, Condition], lists: Mapping[str, tuple[str, ...]]) -> None:
        self._what = what
        self._macros = macros
        self._lists = lists
        self._terms = 0

    def made(self, node: Node) -> Condition:
        if isinstance(node, Term):
            where = f"{self._what}: line {node.line}, column {node.column}"
            found = _compared(node, where, self._lists) if node.op else _named(node.field, where, self._macros)
            self._terms += comparisons(found)
            if self._terms > TERMS_MAX:
                raise SpecError(f"{where}: more than {TERMS_MAX} comparisons, with those of its macros")
            return found
        return _joined(node, [self.made(part) for part in node.parts])


def _joined(node: Joined, parts: list[Condition]) -> Condition:
    whole = parts[0]
    if node.word == "not":
        return ~whole
    for part in parts[1:]:
        whole = whole & part if node.word == "and" else whole | part
    return whole


def _named(name: str, where: str, macros: Mapping[str, Condition]) -> Condition:
    if name in macros:
        return macros[name]
    if name in ("always", "never"):
        return ALWAYS if name == "always" else NEVER
    known = FIELDS.get(name)
    if known is None:
        raise SpecError(f"{where}: {units.shown(name)} is no flag, no macro and not compared with anything")
    if known.kind != "flag":
        raise SpecError(f"{where}: an operator is expected after {name}, such as {name} exists")
    return Compare(name, "==", (1,))


def _compared(term: Term, where: str, lists: Mapping[str, tuple[str, ...]]) -> Condition:
    known = FIELDS.get(term.field)
    if known is None:
        raise SpecError(f"{where}: field {units.shown(term.field)} is unknown; `cloche rules fields` lists them")
    if term.op not in _SAME:
        raise SpecError(f"{where}: {term.op} has no meaning here; use one of {', '.join(OPS)}")
    words = [one for word in term.values for one in _listed(word, lists)]
    if term.op.startswith("b"):
        words = [_from_hex(word, where) for word in words]
    values: list[Value]
    if known.kind in ("number", "flag"):
        values = [_number(word, where, flag=known.kind == "flag") for word in words]
    else:
        values = [word.text for word in words]
    if term.op in ("<=", ">"):  # the value itself belongs to what is below
        values = [value + 1 for value in values if isinstance(value, int)] or values
    try:
        found = Compare(term.field, _SAME[term.op], tuple(values))
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from None
    return ~found if term.op == "!=" else found


def _listed(word: Word, lists: Mapping[str, tuple[str, ...]]) -> list[Word]:
    if word.quoted or word.text not in lists:
        return [word]
    return [Word(text, quoted=True) for text in lists[word.text]]


def _number(word: Word, where: str, *, flag: bool) -> int:
    if flag and word.text in _TRUTH:
        return _TRUTH[word.text]
    if flag or _NUMBER.fullmatch(word.text) is None:
        needed = "true or false" if flag else "a number (12, 0x1f, 0o755)"
        raise SpecError(f"{where}: {needed} is needed, not {units.shown(word.text)}")
    return int(word.text, 0)


def _from_hex(word: Word, where: str) -> Word:
    try:
        return Word(os.fsdecode(bytes.fromhex(word.text)), quoted=True)
    except ValueError:
        raise SpecError(f"{where}: bytes in hexadecimal are needed, not {units.shown(word.text)}") from None
