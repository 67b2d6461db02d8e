"""Rules made from lists that the configuration names, table ``[plugins.lists]`` of ``cloche.toml``.

``addresses``, ``domains`` and ``hashes`` are files with one entry a line, ``stix`` bundles of STIX 2.1;
``bad_lines = "skip"`` leaves out what can't be read, which otherwise refuses the lists. Addresses are IPv4 and IPv6, or
networks of them; hashes are SHA-256, of programs that a guest starts.
"""

from __future__ import annotations

import ipaddress
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from cloche import Act, Condition, Context, F, Rule, Severity, SpecError, hookimpl
from cloche_rules.lists_read import TOLD, Lists, Network, read_lines, read_stix

PATTERNS_MAX: Final = 4096
"""Patterns of addresses that C is given; what needs more is asked in Python."""
DOMAINS_MAX: Final = 1000
"""Domains that C looks for in command lines."""
FILES_MAX: Final = 64
_KEYS: Final = {"addresses": "address", "domains": "domain", "hashes": "hash", "stix": "stix"}
_TALKS: Final = frozenset({Act.CONNECT, Act.SEND})
_NAMES: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?")
_OCTETS: Final = 4
_COMMON: Final[Mapping[str, Any]] = {"tags": frozenset({"lists", "network"}), "attack": ("T1071", "T1105")}


class ListedThings:
    """The plugin: reads the lists when it is configured and gives a rule for each kind of thing in them."""

    def __init__(self) -> None:
        self._lists = Lists()

    @hookimpl
    def cloche_configure(self, config: Mapping[str, Any]) -> None:
        """Read the lists. Raises ``SpecError``: for an unknown key, a file that can't be read, a bad line."""
        if unknown := sorted(set(config) - {*_KEYS, "bad_lines"}):
            known = ", ".join((*_KEYS, "bad_lines"))
            raise SpecError(f"plugins.lists: unknown keys: {', '.join(unknown)}; known: {known}")
        skip = config.get("bad_lines", "refuse")
        if skip not in ("refuse", "skip"):
            raise SpecError(f"plugins.lists: bad_lines is 'refuse' or 'skip', not {skip!r:.40}")
        lists = Lists()
        for key, kind in _KEYS.items():
            for path in _files(config.get(key, []), f"plugins.lists.{key}"):
                if kind == "stix":
                    read_stix(path, lists)
                else:
                    read_lines(path, kind, lists)
        if lists.bad and skip == "refuse":
            more = f"; and {len(lists.bad) - TOLD} more" if len(lists.bad) > TOLD else ""
            told = f"{'; '.join(lists.bad[:TOLD])}{more}"
            raise SpecError(f'plugins.lists: {told}; mend them, or write bad_lines = "skip"')
        self._lists = lists

    @hookimpl
    def cloche_rules(self) -> list[Rule]:
        """Provide rules for addresses, domains and hashes, where there are any."""
        lists = self._lists
        return [*_of_addresses(lists.networks), *_of_domains(lists.domains), *_of_hashes(lists.hashes)]


def _of_addresses(networks: Iterable[Network]) -> list[Rule]:
    """Give one rule that C judges, of what fits patterns, and one that Python does of the rest."""
    patterns: list[str] = []
    rest: list[Network] = []
    fours = [one for one in networks if isinstance(one, ipaddress.IPv4Network)]
    sixes = [one for one in networks if isinstance(one, ipaddress.IPv6Network)]
    ordered: list[Network] = [*ipaddress.collapse_addresses(fours), *ipaddress.collapse_addresses(sixes)]
    for network in ordered:
        made = _patterns(network)
        if made is None or len(patterns) + len(made) > PATTERNS_MAX:
            rest.append(network)
        else:
            patterns += made
    rules = []
    if patterns:
        rules.append(_address_rule("listed-address", F.target.glob(*patterns), inline=True))
    if rest:
        rules.append(_address_rule("listed-network", F.address.exists() & ~(F.family == 1), within=_within(rest)))
    return rules


def _address_rule(
    name: str, where: Condition, *, inline: bool = False, within: Callable[[str], bool] | None = None
) -> Rule:
    def evaluate(context: Context) -> bool:
        return within is None or within(context.event.target or "")

    return Rule(
        id=name, severity=Severity.HIGH, events=_TALKS, where=where, mode="inline" if inline else "observe",
        best_effort=inline, evaluate=None if within is None else evaluate,
        summary="an address is contacted that a list of the configuration names", message="{address}",
        hint="this address is on a list of known bad ones; use another", **_COMMON,
    )  # fmt: skip


def _patterns(network: Network) -> list[str] | None:
    """Give patterns that match just the addresses of a network; ``None`` where it takes too many."""
    if network.version != _OCTETS:
        return [f"/{network.network_address}"] if network.num_addresses == 1 else None
    whole, more = divmod(network.prefixlen, 8)
    octets = str(network.network_address).split(".")
    if whole == _OCTETS:
        return [f"/{network.network_address}"]
    first = int(octets[whole])
    last = [first] if not more else range(first, first + (1 << 8 - more))
    if not more:
        return [f"/{'.'.join((*octets[:whole], '*'))}"]
    tail = ["*"] if whole + 1 < _OCTETS else []
    return [f"/{'.'.join((*octets[:whole], str(octet), *tail))}" for octet in last]


def _within(networks: Iterable[Network]) -> Callable[[str], bool]:
    """Give what says of an address whether it is in one of networks that do not overlap."""
    ordered = sorted((one.version, int(one.network_address), int(one.broadcast_address)) for one in networks)
    begins = [one[:2] for one in ordered]

    def within(text: str) -> bool:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        place = bisect_right(begins, (address.version, int(address))) - 1
        return place >= 0 and ordered[place][0] == address.version and int(address) <= ordered[place][2]

    return within


def _of_domains(domains: Iterable[str]) -> list[Rule]:
    known = frozenset(domains)
    if not known:
        return []

    def evaluate(context: Context) -> bool:
        return any(_listed(name.lower(), known) for name in _NAMES.findall(context.event.target or ""))

    where = F.cmdline.icontains(*sorted(known)) if len(known) <= DOMAINS_MAX else F.cmdline.contains(".")
    return [
        Rule(
            id="listed-domain", severity=Severity.MEDIUM, events=frozenset({Act.EXEC}), where=where, evaluate=evaluate,
            summary="a program is given a domain that a list of the configuration names", message="{cmdline}",
            hint="this domain is on a list of known bad ones; use another", **_COMMON,
        )
    ]  # fmt: skip


def _of_hashes(hashes: Iterable[str]) -> list[Rule]:
    known = frozenset(hashes)
    if not known:
        return []
    return [
        Rule(
            id="listed-program", severity=Severity.HIGH, events=frozenset({Act.EXEC}), digest=True,
            evaluate=lambda context: context.digest in known,
            summary="a program is started whose SHA-256 a list of the configuration names", message="{file}: {cmdline}",
            hint="this program is on a list of known bad ones; use another", attack=("T1204.002",),
            tags=frozenset({"lists", "execution"}),
        )
    ]  # fmt: skip


def _listed(name: str, known: frozenset[str]) -> bool:
    """Whether a name, or a domain that it is below, is listed."""
    parts = name.strip(".").split(".")
    return any(".".join(parts[begin:]) in known for begin in range(len(parts) - 1))


def _files(value: object, what: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(path, str) and path.startswith("/") for path in value):
        raise SpecError(f"{what}: a list of absolute paths is needed, not {value!r:.80}")
    if len(value) > FILES_MAX:
        raise SpecError(f"{what}: {len(value)} files; at most {FILES_MAX}")
    return value


plugin = ListedThings()
