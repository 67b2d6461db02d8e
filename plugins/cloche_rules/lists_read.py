"""Lists of known bad things, read from files: one a line, or indicators of a STIX 2.1 bundle. Nothing is fetched."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from cloche import SpecError

FILE_MAX: Final = 16 << 20
LINE_MAX: Final = 1024
ENTRIES_MAX: Final = 100_000
TOLD: Final = 5
"""Bad lines that an error names."""
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_DOMAIN: Final = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])", re.ASCII
)
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<text>'(?:[^'\\]|\\.)*')|(?P<word>[A-Za-z0-9_:-]+(?:\.(?:[A-Za-z0-9_:-]+|'[^']*'))*)|(?P<sign>[][()=,]))"
)
_WIDEST: Final = {4: 8, 6: 16}
"""Bits that networks must have: a shorter one is a mistake, and would name half the world."""
_HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_OBJECTS: Final = {
    "ipv4-addr:value": "address", "ipv6-addr:value": "address", "domain-name:value": "domain",
    "file:hashes.'SHA-256'": "hash", "file:hashes.SHA-256": "hash",
}  # fmt: skip


@dataclass(slots=True)
class Lists:
    """What was read, and what could not be."""

    networks: set[Network] = field(default_factory=set)
    domains: set[str] = field(default_factory=set)
    hashes: set[str] = field(default_factory=set)
    """SHA-256, in lower-case hex."""
    bad: list[str] = field(default_factory=list)
    """Where something stands that is none of what was wanted, and what is wrong with it."""

    def add(self, kind: str, text: str, where: str) -> None:
        """Note an address, a network, a domain or a hash; one that is none is noted as bad."""
        if len(self.networks) + len(self.domains) + len(self.hashes) >= ENTRIES_MAX:
            raise SpecError(f"{where}: over {ENTRIES_MAX} entries in all lists; leave some out")
        try:
            if kind == "address":
                self.networks.add(_network(text))
            elif kind == "hash":
                self.hashes.add(digest(text))
            else:
                self.domains.add(domain(text))
        except ValueError as error:
            self.bad.append(f"{where}: {str(error)[:100]!a}")


def _network(text: str) -> Network:
    network = ipaddress.ip_network(text, strict=False)
    if network.prefixlen < _WIDEST[network.version]:
        raise ValueError(f"{text[:60]} is too wide: /{_WIDEST[network.version]} is the widest")
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    return network if mapped is None else ipaddress.ip_network(mapped)  # the guest's are told as IPv4


def domain(text: str) -> str:
    """Give a domain in lower case without a dot at its end. Raises ``ValueError`` for what is none."""
    name = text.lower().removesuffix(".")
    if _DOMAIN.fullmatch(name) is None:
        raise ValueError(f"{text[:60]!r} is no domain such as example.org")
    return name


def digest(text: str) -> str:
    """Give a SHA-256 in lower-case hex, also of a line of sha256sum(1). Raises ``ValueError`` for what is none."""
    words = text.lower().split(maxsplit=1)
    if not words or _HASH.fullmatch(words[0]) is None:
        raise ValueError(f"{text[:60]!r} is no SHA-256 in hex: 64 digits are needed")
    return words[0]


def read_lines(path: str, kind: str, into: Lists) -> None:
    """Read a plain file: one entry a line, ``#`` begins a comment, empty lines are left out. Raises ``SpecError``."""
    for number, line in enumerate(_text(path).splitlines(), 1):
        entry = line.partition("#")[0].strip()
        if len(line) > LINE_MAX:
            into.bad.append(f"{path}:{number}: longer than {LINE_MAX} characters")
        elif entry:
            into.add(kind, entry, f"{path}:{number}")


def read_stix(path: str, into: Lists, *, now: datetime | None = None) -> None:
    """Read the indicators of a STIX 2.1 bundle that hold now. Raises ``SpecError`` for a file that is no bundle.

    Understood are comparisons of ``ipv4-addr:value``, ``ipv6-addr:value``, ``domain-name:value`` and
    ``file:hashes.'SHA-256'`` by ``=`` or ``IN``, joined by ``OR``. An indicator that says more is noted as bad, whole.
    """
    try:
        bundle = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{path}: not JSON: {str(error)[:100]}") from None
    objects = bundle.get("objects") if isinstance(bundle, dict) and bundle.get("type") == "bundle" else None
    if not isinstance(objects, list):
        raise SpecError(f"{path}: no STIX 2.1 bundle: an object with type 'bundle' and a list of objects is needed")
    for number, one in enumerate(objects, 1):
        if isinstance(one, dict) and one.get("type") == "indicator" and _holds(one, now or datetime.now(UTC)):
            where = f"{path}: object {number}"
            try:
                found = list(_compared(one))
            except ValueError as error:
                into.bad.append(f"{where}: {str(error)[:160]!a}")
                continue
            for kind, value in found:
                into.add(kind, value, where)


def _text(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise SpecError(f"{path}: can't read this list: it is not a regular file")
            raw = file.read(FILE_MAX + 1)
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: can't read this list: {error}") from None
    if len(raw) > FILE_MAX:
        raise SpecError(f"{path}: longer than {FILE_MAX >> 20} MiB; cut the list into several files")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: not UTF-8: byte {error.start}") from None


def _holds(indicator: dict[str, Any], now: datetime) -> bool:
    """Whether an indicator is neither revoked nor past its time; a time that can't be read is none."""
    if indicator.get("revoked") is True:
        return False
    try:
        until = datetime.fromisoformat(str(indicator.get("valid_until")))
    except ValueError:
        return True
    return now < (until if until.tzinfo else until.replace(tzinfo=UTC))


def _compared(indicator: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Give what a pattern compares with, as kind and value. Raises ``ValueError`` for one that says more than that."""
    pattern = indicator.get("pattern")
    if indicator.get("pattern_type", "stix") != "stix" or not isinstance(pattern, str) or len(pattern) > 64 * LINE_MAX:
        raise ValueError("its pattern is none of STIX, or too long")
    tokens = _tokens(pattern)
    while True:
        _take(tokens, "[")
        while True:
            yield from _comparison(tokens)
            if not tokens or tokens[-1] != "OR":
                break
            tokens.pop()
        _take(tokens, "]")
        if not tokens:
            return
        _take(tokens, "OR")


def _comparison(tokens: list[str]) -> Iterator[tuple[str, str]]:
    path = tokens.pop() if tokens else ""
    kind = _OBJECTS.get(path)
    if kind is None:
        raise ValueError(f"it compares {path[:60]}: known are {', '.join(_OBJECTS)}")
    sign = tokens.pop() if tokens else ""
    if sign == "=":
        yield kind, _value(tokens)
        return
    if sign != "IN":
        raise ValueError(f"it compares by {sign[:20]!r}: known are = and IN")
    _take(tokens, "(")
    yield kind, _value(tokens)
    while tokens and tokens[-1] == ",":
        tokens.pop()
        yield kind, _value(tokens)
    _take(tokens, ")")


def _value(tokens: list[str]) -> str:
    token = tokens.pop() if tokens else ""
    if not token.startswith("'"):
        raise ValueError(f"a text in '' is needed, not {token[:20]!r}")
    return re.sub(r"\\(.)", r"\1", token[1:-1])


def _take(tokens: list[str], wanted: str) -> None:
    token = tokens.pop() if tokens else "its end"
    if token != wanted:
        raise ValueError(f"{wanted!r} is needed, not {token[:20]!r}: only OR joins what is compared")


def _tokens(pattern: str) -> list[str]:
    """Give the tokens, the first last."""
    found, at = [], 0
    pattern = pattern.strip()
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        if token is None:
            raise ValueError(f"{pattern[at : at + 20]!r} is not understood")
        found.append(token[token.lastgroup or 0])
        at = token.end()
    return found[::-1]
