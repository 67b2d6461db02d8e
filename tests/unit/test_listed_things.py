"""Lists of known bad things: how they are read, what is refused, and what the rules made of them find."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cloche import Context, EventBatch, Rule, Severity, SpecError
from cloche.rules.compile import compiled
from cloche.rules.holds import holds
from cloche.rules.surroundings import Surroundings
from cloche_native import events
from cloche_rules.lists import PATTERNS_MAX, ListedThings

HERE = Surroundings()


def rules(**config: Any) -> dict[str, Rule]:  # noqa: ANN401 - a table of a configuration
    plugin = ListedThings()
    plugin.cloche_configure(config)
    return {rule.id: rule for rule in plugin.cloche_rules()}


def matched(rule: Rule, act: str, target: bytes, family: int = 2) -> bool:
    (event,) = EventBatch(events.pack(act=act, target=target, args=(family, 443)))
    if event.act not in rule.events or not holds(rule.where, event, HERE):
        return False
    return rule.evaluate is None or rule.evaluate(Context(rule, event, HERE))


def found(known: dict[str, Rule], address: str) -> bool:
    return any(matched(rule, "connect", address.encode(), 10 if ":" in address else 2) for rule in known.values())


def written(folder: Path, text: str, name: str = "list") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def bundle(folder: Path, *patterns: str, **more: object) -> str:
    indicators = [{"type": "indicator", "pattern_type": "stix", "pattern": pattern, **more} for pattern in patterns]
    objects = [{"type": "identity", "name": "somebody"}, *indicators]
    return written(folder, json.dumps({"type": "bundle", "objects": objects}), "bundle.json")


def test_without_lists_there_are_no_rules() -> None:
    assert rules() == {}


@pytest.mark.parametrize(
    ("entry", "inside", "outside"),
    [
        ("192.0.2.7", ["192.0.2.7"], ["192.0.2.70", "192.0.2.8", "1192.0.2.7"]),
        ("192.0.2.0/24", ["192.0.2.0", "192.0.2.255"], ["192.0.3.1"]),
        ("192.0.2.16/30", ["192.0.2.16", "192.0.2.19"], ["192.0.2.15", "192.0.2.20"]),
        ("198.18.0.0/15", ["198.18.0.1", "198.19.255.255"], ["198.20.0.0", "198.17.255.255"]),
        ("198.0.0.0/8", ["198.0.0.1", "198.255.255.255"], ["199.0.0.1"]),
        ("2001:DB8::7", ["2001:db8::7"], ["2001:db8::8"]),
        ("2001:db8::/33", ["2001:db8::1", "2001:db8:7fff::"], ["2001:db8:8000::", "2001:db7::", "192.0.2.1"]),
        ("::ffff:192.0.2.7", ["192.0.2.7"], ["192.0.2.8"]),
    ],
)
def test_an_address_is_found_where_its_list_has_it(
    tmp_path: Path, entry: str, inside: list[str], outside: list[str]
) -> None:
    known = rules(addresses=[written(tmp_path, f"# known bad\n\n{entry}  # so they say\n")])
    assert [address for address in inside if not found(known, address)] == []
    assert [address for address in outside if found(known, address)] == []


def test_addresses_beyond_what_c_is_given_are_found_in_python(tmp_path: Path) -> None:
    text = "\n".join(f"10.{n >> 8}.{n & 255}.1" for n in range(PATTERNS_MAX + 10))
    known = rules(addresses=[written(tmp_path, text)])
    assert set(known) == {"listed-address", "listed-network"}
    assert found(known, "10.0.0.1")
    assert found(known, f"10.{PATTERNS_MAX + 9 >> 8}.{PATTERNS_MAX + 9 & 255}.1")
    assert not found(known, "10.0.0.2")
    made = compiled(tuple(known.values()), HERE, emulated=frozenset(), block=Severity.HIGH, audit=False)
    assert any("listed-address" in caveat for caveat in made.caveats)


@pytest.mark.parametrize("many", [False, True])
def test_a_domain_is_found_in_a_command_line_with_those_below_it(tmp_path: Path, *, many: bool) -> None:
    others = "\n".join(f"site{n}.example" for n in range(1500)) if many else ""
    rule = rules(domains=[written(tmp_path, f"Bad.Example.\n{others}")])["listed-domain"]
    assert matched(rule, "exec", b"curl\0https://x.BAD.example/y\0")
    assert matched(rule, "exec", b"ssh\0me@bad.example\0")
    assert not matched(rule, "exec", b"curl\0https://notbad.example\0")
    assert not matched(rule, "exec", b"curl\0https://bad.example.org\0")


def test_indicators_of_a_bundle_are_found(tmp_path: Path) -> None:
    path = bundle(
        tmp_path, "[ipv4-addr:value = '192.0.2.7' OR ipv6-addr:value IN ('2001:db8::1', '2001:db8::2')]",
        "[domain-name:value='bad.example'] OR [ipv4-addr:value = '198.51.100.0/24']",
    )  # fmt: skip
    known = rules(stix=[path])
    for address in ("192.0.2.7", "2001:db8::2", "198.51.100.9"):
        assert found(known, address)
    assert matched(known["listed-domain"], "exec", b"curl\0bad.example\0")


def test_a_program_is_found_by_its_digest(tmp_path: Path) -> None:
    lines, indicator = "0" * 64 + "  bad.exe\n" + "A" * 64, f"[file:hashes.'SHA-256' = '{'b' * 64}']"
    known = rules(hashes=[written(tmp_path, lines)], stix=[bundle(tmp_path, indicator)])
    rule = known["listed-program"]
    (event,) = EventBatch(events.pack(act="exec", path=b"/tmp/x"))
    assert rule.digest
    assert rule.evaluate is not None
    found = {d: rule.evaluate(Context(rule, event, HERE, digest=d)) for d in ("0" * 64, "a" * 64, "b" * 64, "c" * 64)}
    assert found == {"0" * 64: True, "a" * 64: True, "b" * 64: True, "c" * 64: False}
    assert not rule.evaluate(Context(rule, event, HERE))


@pytest.mark.parametrize("line", ["0" * 63, "0" * 65, "g" * 64, "x", "0" * 64 + "*x"])
def test_what_is_no_digest_is_a_bad_line(tmp_path: Path, line: str) -> None:
    with pytest.raises(SpecError, match=r"list:1: "):
        rules(hashes=[written(tmp_path, line)])


@pytest.mark.parametrize("more", [{"revoked": True}, {"valid_until": "2020-01-01T00:00:00Z"}])
def test_an_indicator_that_holds_no_more_is_left_out(tmp_path: Path, more: dict[str, object]) -> None:
    assert rules(stix=[bundle(tmp_path, "[ipv4-addr:value = '192.0.2.7']", **more)]) == {}
    assert found(rules(stix=[bundle(tmp_path, "[ipv4-addr:value = '192.0.2.7']")]), "192.0.2.7")


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("[ipv4-addr:value = '192.0.2.7' AND domain-name:value = 'a.example']", "only OR joins"),
        ("[ipv4-addr:value = '192.0.2.7'] FOLLOWEDBY [ipv4-addr:value = '192.0.2.8']", "only OR joins"),
        ("[file:hashes.'SHA-256' = 'ab']", "no SHA-256"),
        ("[file:hashes.MD5 = 'd41d8cd98f00b204e9800998ecf8427e']", "known are"),
        ("[ipv4-addr:value LIKE '192.%']", "known are = and IN"),
        ("[ipv4-addr:value = 7]", "a text in ''"),
        ("[ipv4-addr:value = '192.0.2.7'", "is needed"),
        ("", "is needed"),
        ("[ipv4-addr:value = 'x\x1b[2J']", "x1b"),
        ("{", "not understood"),
    ],
)
def test_an_indicator_that_says_more_is_named_and_refused(tmp_path: Path, pattern: str, why: str) -> None:
    path = bundle(tmp_path, pattern, "[ipv4-addr:value = '192.0.2.9']")
    with pytest.raises(SpecError, match=r"bundle\.json: object 2: ") as caught:
        rules(stix=[path])
    assert why in str(caught.value)
    assert str(caught.value).isprintable()
    assert found(rules(stix=[path], bad_lines="skip"), "192.0.2.9")


@pytest.mark.parametrize(
    "line", ["nonsense", "192.0.2.300", "192.0.2.1/33", "0.0.0.0/0", "::/0", "10.0.0.0/7", "x" * 2000, "\x1b[2J"]
)
def test_a_bad_line_is_named_by_its_number_and_refused_or_left_out(tmp_path: Path, line: str) -> None:
    path = written(tmp_path, f"192.0.2.7\n{line}\n")
    with pytest.raises(SpecError, match=r"list:2: ") as caught:
        rules(addresses=[path])
    assert str(caught.value).isprintable()
    known = rules(addresses=[path], bad_lines="skip")
    assert found(known, "192.0.2.7")
    assert not found(known, "203.0.113.9")


@pytest.mark.parametrize(
    "line", ["nodot", "-a.example", "a..b", "a b.example", "1.2.3.4", f"{'a' * 64}.example", "../x.example"]
)
def test_what_is_no_domain_is_a_bad_line(tmp_path: Path, line: str) -> None:
    with pytest.raises(SpecError, match=r"list:1: "):
        rules(domains=[written(tmp_path, line)])


def test_of_many_bad_lines_a_few_are_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="and 15 more"):
        rules(addresses=[written(tmp_path, "bad\n" * 20)])


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"adresses": []}, "unknown keys: adresses"),
        ({"addresses": "/x"}, "a list of absolute paths"),
        ({"addresses": ["x"]}, "a list of absolute paths"),
        ({"addresses": [7]}, "a list of absolute paths"),
        ({"addresses": ["/x"] * 65}, "at most 64"),
        ({"addresses": ["/nowhere/at/all"]}, "can't read this list"),
        ({"addresses": ["/dev/zero"]}, "not a regular file"),
        ({"addresses": ["/"]}, "can't read this list"),
        ({"bad_lines": "maybe"}, "'refuse' or 'skip'"),
    ],
)
def test_a_bad_table_is_refused(config: dict[str, Any], why: str) -> None:
    with pytest.raises(SpecError, match=why):
        rules(**config)


def test_a_pipe_in_the_place_of_a_list_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SpecError, match="not a regular file"):
        rules(addresses=[str(tmp_path / "pipe")])


@pytest.mark.parametrize(
    "text", ["", "[]", '{"type": "bundle"}', "[" * 100_000, '{"type":"bundle","objects":{}}', "\ufffe{"]
)
def test_what_is_no_bundle_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SpecError, match=r"bundle|JSON"):
        rules(stix=[written(tmp_path, text)])


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"192.0.2.7\n\xff\n")
    with pytest.raises(SpecError, match=r"not UTF-8: byte 10"):
        rules(addresses=[str(tmp_path / "list")])


def test_too_many_entries_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloche_rules.lists_read.ENTRIES_MAX", 3)
    with pytest.raises(SpecError, match="over 3 entries"):
        rules(addresses=[written(tmp_path, "\n".join(f"192.0.2.{n}" for n in range(5)))])
