"""Falco's operators as cloche's."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

import cloche
from cloche import Condition
from cloche_imports.logic import UNKNOWN, Part, compared, numbered

_HOW: Final = {
    "=": "one_of", "==": "one_of", "!=": "one_of", "in": "one_of", "intersects": "one_of", "contains": "contains",
    "bcontains": "contains", "icontains": "icontains", "startswith": "startswith", "bstartswith": "startswith",
    "endswith": "endswith", "pmatch": "under", "glob": "glob", "regex": "matches",
}  # fmt: skip
_NETWORKS_MAX: Final = 256


def networks(name: str, values: list[str]) -> Part:
    """Ask for networks by how their addresses begin; those of IPv4 only."""
    begins: list[str] = []
    for value in values:
        try:
            network = ipaddress.IPv4Network(value.strip("\"'"), strict=False)
        except ValueError:
            return UNKNOWN
        octets = max(1, -(-network.prefixlen // 8))
        if 1 << (octets * 8 - network.prefixlen) > _NETWORKS_MAX:
            return UNKNOWN
        for part in network.subnets(new_prefix=octets * 8):
            whole = str(part.network_address).split(".")[:octets]
            begins.append(".".join(whole) + ("." if octets < 4 else ""))  # noqa: PLR2004 - as many as an address has
    return compared(name, "startswith", begins)


def numbers(name: str, op: str, values: list[str]) -> Part:
    """Compare a field with numbers."""
    if not all(value.isdigit() and len(value) < 10 for value in values):  # noqa: PLR2004 - no port or user is longer
        return UNKNOWN
    numbers = [int(value) for value in values]
    on = cloche.F[name]
    if op in ("<", "<=", ">", ">=") and len(numbers) == 1:
        made = {"<": on < numbers[0], "<=": on <= numbers[0], ">": on > numbers[0], ">=": on >= numbers[0]}
        return Part(made[op], tells=True)
    return numbered(name, "one_of", numbers) if op in ("=", "==", "in") else UNKNOWN


def texts(name: str, op: str, values: list[str]) -> Part:
    """Compare a text with others; what an operator can't mean of such a text is not known."""
    if op == "exists":
        return Part(cloche.F[name].exists())
    if op in ("glob", "iglob") and name in ("file", "path", "to", "name"):
        return _glob(name, values) if op == "glob" else UNKNOWN
    how = _HOW.get(op)
    if how is None or (
        how == "under" and (name not in ("file", "path", "to") or not all(v[:1] == "/" for v in values))
    ):
        return UNKNOWN
    if name == "name" and "/" in "".join(values):
        values = [value for value in values if "/" not in value]  # a name never holds one
        return compared(name, how, values)
    return compared(name, how, values)


def _glob(name: str, patterns: list[str]) -> Part:
    """Say a pattern whose ``*`` passes over ``/`` too by what it begins, ends with, or holds."""
    whole: Condition | None = None
    for pattern in patterns:
        if re.fullmatch(r"(/(\*|[^*?\[\]]+))+", pattern) and "/*/" in pattern:
            component = cloche.F[name].glob(pattern.replace("${", "$${"))  # each star a whole component
            whole = component if whole is None else whole | component
            continue
        middle = pattern.strip("*")
        if not middle or re.search(r"[*?\[\]]", middle):
            return UNKNOWN
        how = {(True, True): "contains", (True, False): "endswith", (False, True): "startswith"}.get(
            (pattern.startswith("*"), pattern.endswith("*")), "one_of"
        )
        one = compared(name, how, [middle]).condition
        if not isinstance(one, Condition):
            return UNKNOWN
        whole = one if whole is None else whole | one
    return UNKNOWN if whole is None else Part(whole, tells=True, size=len(patterns))
