"""Rules in YAML files: read, refused, written, found."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloche import (
    Act,
    After,
    Config,
    Count,
    Earlier,
    Example,
    F,
    Plugins,
    Rule,
    Severity,
    SpecError,
    hookimpl,
    load_yaml,
    parse_rules,
    read_rules,
    rules_text,
)
from cloche import settings as core_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEAD = "- id: one\n  summary: for tests\n  severity: high\n  events: [exec]\n"
WHOLE = """
- list: shells
  items: [bash, dash]
- list: programs
  items: [shells, 7, python3]
- macro: by_program
  where: process.name in (programs)

- id: whole
  summary: "All that can be said: \\u00e9"
  severity: critical
  events: [create, rename]
  where: >-
    file under (/etc/cron.d, ${home})
    and not by_program
  count: {limit: 5, per: 10s, key: [sandbox, pid], distinct: [path]}
  mode: inline
  best_effort: true
  answer: EACCES
  response: suspend
  message: "{file} was made"
  hint: use another folder
  attack: [T1053.003]
  tags: [persistence, cron]
  version: 3
  enabled: false
  examples:
    - events: [{act: create, path: /etc/cron.d/x, args: {mode: 0o644}}]
    - events:
        - {act: create, path: /workspace/x, at: 0.5}
        - {act: exec, target: "sh\\0-c\\0"}
      match: false
      profile: {home: /home/me}
- id: second
  summary: after another
  severity: low
  events: [exec]
  after:
    steps: [{events: [create], where: file endswith .sh}, {events: [chmod]}]
    within: 1m
    key: [exec]
"""


def rule(name: str) -> Rule:
    return Rule(id=name, summary="for tests", severity=Severity.HIGH, events=frozenset({Act.EXEC}))


def test_a_file_says_all_that_a_rule_can_say() -> None:
    whole, second = parse_rules(WHOLE)
    programs = F["process.name"].one_of("bash", "dash", "7", "python3")
    assert whole == Rule(
        id="whole", summary="All that can be said: é", severity=Severity.CRITICAL,
        events=frozenset({Act.CREATE, Act.RENAME}), where=F.file.under("/etc/cron.d", "${home}") & ~programs,
        count=Count(5, 10.0, key=("sandbox", "pid"), distinct=("path",)), mode="inline", best_effort=True,
        answer=errno.EACCES, response="suspend", message="{file} was made", hint="use another folder",
        attack=("T1053.003",), tags=frozenset({"persistence", "cron"}), version=3, enabled=False,
        examples=(
            Example(({"act": "create", "path": "/etc/cron.d/x", "args": {"mode": 0o644}},)),
            Example(
                ({"act": "create", "path": "/workspace/x", "at": 0.5}, {"act": "exec", "target": "sh\0-c\0"}),
                match=False, profile={"home": "/home/me"},
            ),
        ),
    )  # fmt: skip
    assert second.after == After(
        (Earlier(frozenset({Act.CREATE}), F.file.endswith(".sh")), Earlier(frozenset({Act.CHMOD}))), 60.0, ("exec",)
    )


def test_what_is_written_is_read_as_equal_rules() -> None:
    rules = parse_rules(WHOLE)
    text = rules_text(rules)
    assert parse_rules(text) == rules
    assert rules_text(parse_rules(text)) == text
    assert text.startswith('- id: whole\n  summary: "All that can be said: é"\n  severity: critical\n')
    assert "\n  answer: EACCES\n" in text


characters = st.characters(exclude_categories=["Cs"])
words = st.text(characters, min_size=1, max_size=120).map(lambda text: text.replace("\0", "x"))
numbers = st.integers(-(1 << 63), 1 << 63) | st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.none() | st.booleans() | numbers | st.text(characters),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(characters, max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(words, min_size=1, max_size=6), st.dictionaries(words, plain, max_size=3))
def test_any_values_survive_being_written(values: list[str], event: dict[str, Any]) -> None:
    one = Rule(
        id="one", summary="for tests", severity=Severity.HIGH, events=frozenset({Act.EXEC}),
        where=F.file.under(*values) | F.argv.contains(*values),
        examples=(Example(({**event, "act": "exec"},)),),
    )  # fmt: skip
    assert parse_rules(rules_text([one])) == (one,)


def test_a_function_can_not_be_written() -> None:
    one = Rule(
        id="one", summary="for tests", severity=Severity.HIGH, events=frozenset({Act.EXEC}), evaluate=lambda _: True
    )
    with pytest.raises(SpecError, match="rule 'one': its evaluate is a function"):
        rules_text([one])


@pytest.mark.parametrize("text", ["", "# nothing\n", "[]"])
def test_a_file_may_hold_no_rule(text: str) -> None:
    assert parse_rules(text) == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id: one", "f.yaml: a list of rules is needed"),
        ("- one", "f.yaml: a list of rules is needed"),
        ("- severity: high", "f.yaml:1: this is no rule, list or macro: the key 'id' is missing"),
        (f"{HEAD}  wehre: climbs", "f.yaml:5: unknown key 'wehre'; known are id, summary"),
        (f"{HEAD}  evaluate: os.system", "f.yaml:5: unknown key 'evaluate'"),
        ("- id: one\n  summary: x\n", "f.yaml:1: rule 'one': missing 2 required keyword-only arguments"),
        (f"{HEAD}  where: climbs and", "f.yaml:5: rule 'one': where: line 1, column 11: a field"),
        (f"{HEAD}  where: 5", "f.yaml:5: rule 'one': where: a condition is needed, not 5"),
        (f"{HEAD}  where: shells", "'shells' is no flag, no macro"),
        (f"{HEAD}{HEAD}", "f.yaml:5: there is a rule 'one' above"),
        ("- id: one\n  summary: x\n  severity: bad\n  events: [exec]", "f.yaml:1: rule 'one': severity: 'bad'"),
        ("- id: ../x\n  summary: x\n  severity: low\n  events: [exec]", "is not a name"),
        ("- id: one\n  summary: x\n  severity: low\n  events: []", "it looks at no act"),
        ("- id: one\n  summary: x\n  severity: low\n  events: [[exec]]", "f.yaml:1: rule 'one': events"),
        (f"{HEAD}  count: 5", "f.yaml:5: rule 'one': count: a mapping is needed, not 5"),
        (f"{HEAD}  count: {{limit: 5}}", "f.yaml:5: rule 'one': count: missing 1 required"),
        (f"{HEAD}  count: {{limit: 5, per: 1s, every: 2}}", "unknown key 'every'; known are limit, per"),
        (f"{HEAD}  count: {{limit: -1, per: 1s}}", "count.limit"),
        (f"{HEAD}  after: {{steps: [], within: 1s}}", "one to three steps are needed"),
        (f"{HEAD}  after: {{steps: [{{events: [exec], where: '('}}], within: 1s}}", "after.steps: where: line 1"),
        (f"{HEAD}  after: {{within: 1s}}", "after.steps: a list is needed, not None"),
        (f"{HEAD}  examples: [5]", "examples: a mapping is needed, not 5"),
        (f"{HEAD}  examples: [{{events: [5]}}]", "each event is a mapping"),
        (f"{HEAD}  examples: [{{}}]", "a list is needed, not None"),
        (f"{HEAD}  answer: EWRONG", "'EWRONG' is no name of an errno"),
        (f"{HEAD}  answer: errorcode", "'errorcode' is no name of an errno"),
        (f"{HEAD}  tags: [[a]]", "tags"),
        ("- list: a\n  items: 5", "f.yaml:1: list 'a': items: a list is needed"),
        ("- list: a\n  items: [[1]]", "neither text nor a whole number"),
        ("- list: 5\n  items: []", "f.yaml:1: list: a name is needed, not 5"),
        ("- list: a\n  items: []\n- macro: a\n  where: climbs", "f.yaml:3: macro: the name 'a' is taken above"),
        ("- macro: a\n  condition: climbs", "f.yaml:2: unknown key 'condition'"),
        ("- macro: a\n  where: b\n- macro: b\n  where: climbs", "'b' is no flag, no macro"),
        ("- {a: 1, a: 2}", "f.yaml:1: the key 'a' stands here twice"),
        ("- id: one\n  id: two", "f.yaml:2: the key 'id' stands here twice"),
        ("- &a [x]\n- *a", "f.yaml:1: anchors and aliases are not taken"),
        ("- *a", "f.yaml:1: anchors and aliases are not taken"),
        ("- !!python/object/apply:os.system [id]", "f.yaml:1: the tag 'tag:yaml.org,2002:python/object"),
        ("- !!str 5", "f.yaml:1: the tag 'tag:yaml.org,2002:str'"),
        ("---\n[]\n---\n[]\n", "f.yaml:3: a second document"),
        ("- {1: 2}", "f.yaml:1: the key 1 is no text"),
        ("- {[a]: 2}", "f.yaml:1: the key [] is no text"),
        ("- [", "f.yaml:2: not valid YAML: "),
        ("a: b: c", "f.yaml:1: not valid YAML: mapping values are not allowed"),
        ("- a\n- \0", "f.yaml:2: there is a NUL character"),
        ("- \x01", "f.yaml: not valid YAML"),
        ("- \ud800", "f.yaml: not valid YAML"),
        ("[" * 100, "f.yaml:1: nested more than 24 deep"),
        ("- " * 100, "f.yaml:1: nested more than 24 deep"),
        ("a: " + "[1,1,1,1,1,1,1,1,1,1],\n" * 6000, "not valid YAML"),
        ("- [" + "1," * 300_000 + "]", "more than 200000 things"),
        ("# " + "x" * (1 << 20), "longer than 1048576 characters"),
        ("\n".join(f"- id: r{number}" for number in range(5000)), "5000 entries; at most 4096"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("pure", [False, True])
def test_a_bad_file_is_refused_with_its_line(text: str, told: str, pure: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    if pure:
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
        if len(text) > 10_000:
            pytest.skip("the loader in Python takes seconds for what is long; its bounds are the same code")
    with pytest.raises(SpecError) as error:
        parse_rules(text, where="f.yaml")
    assert str(error.value).startswith("f.yaml")
    assert told in str(error.value) or (pure and "not valid YAML" in told)  # their lines differ there
    assert str(error.value).isprintable()


def test_aliases_that_would_grow_without_end_are_refused_soon() -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    begun = time.monotonic()
    with pytest.raises(SpecError, match="anchors and aliases"):
        parse_rules(bomb)
    assert time.monotonic() - begun < 1


def test_macros_and_lists_that_would_grow_without_end_are_refused_soon() -> None:
    macros = "- macro: m0\n  where: climbs\n" + "".join(
        f"- macro: m{n}\n  where: m{n - 1} and m{n - 1}\n" for n in range(1, 60)
    )
    lists = "- list: l0\n  items: [x, y]\n" + "".join(
        f"- list: l{n}\n  items: [l{n - 1}, l{n - 1}]\n" for n in range(1, 60)
    )
    begun = time.monotonic()
    with pytest.raises(SpecError, match="more than 4096 comparisons"):
        parse_rules(macros)
    with pytest.raises(SpecError, match="more than 4096 values"):
        parse_rules(lists)
    assert time.monotonic() - begun < 2


def test_words_are_what_yaml_1_2_says() -> None:
    text = "[yes, no, on, 0755, 0x1f, 0o17, 1:30, 1e3, .5, ~, true, '5', \"true\", 1_000, 2001-01-01, +7, -3]"
    assert load_yaml(text, "f") == [
        "yes", "no", "on", "0755", 31, 15, "1:30", 1000.0, 0.5, None, True, "5", "true", "1_000", "2001-01-01", 7, -3,
    ]  # fmt: skip


@given(plain)
def test_any_data_in_a_rule_is_read_or_refused(value: object) -> None:
    for key in (
        "events",
        "where",
        "count",
        "after",
        "examples",
        "tags",
        "attack",
        "answer",
        "mode",
        "version",
        "summary",
    ):
        written = yaml.safe_dump([{"id": "one", "summary": "s", "severity": "low", "events": ["exec"]} | {key: value}])
        with contextlib.suppress(SpecError):
            parse_rules(written)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(SpecError):
        parse_rules(text)


# -- where they are found ----------------------------------------------------------------------------------------------


class Provider:
    def __init__(self, *names: str) -> None:
        self._names = names

    @hookimpl
    def cloche_rules(self) -> list[Rule]:
        return [rule(name) for name in self._names]


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plugins]:
    """Give a function that makes plugins that look for files of rules in the folders ``etc`` and ``config``."""
    monkeypatch.setattr(core_settings, "SYSTEM_FOLDER", tmp_path / "etc")

    def make(*plugins: object, named: list[str] | None = None, **files: str) -> Plugins:
        for key, text in files.items():
            where, _, name = key.partition("_")
            path = tmp_path / ("etc" if where == "etc" else "config/cloche") / "rules" / f"{name}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        config = Config.load({"rules": {"files": named}} if named is not None else {})
        environ = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
        return Plugins.load(config, plugins=plugins, entry_points=False, environ=environ)

    return make


def test_rules_come_from_plugins_two_folders_and_named_files(places: Callable[..., Plugins], tmp_path: Path) -> None:
    named = tmp_path / "more.rules"
    named.write_text(HEAD.replace("one", "four"))
    named.chmod(0o666)  # the caller's choice
    plugins = places(
        Provider("one"), named=[str(named)], own_b=HEAD.replace("one", "three"), etc_a=HEAD.replace("one", "two")
    )
    assert list(plugins.rules) == ["one", "two", "three", "four"]
    origins = {name: origin for name, (_, origin) in plugins.rules_from().items()}
    assert origins["one"] == "plugin 'Provider' of the program itself"
    assert origins["two"] == str(tmp_path / "etc/rules/a.yaml")
    assert origins["four"] == str(named)


def test_files_are_read_when_rules_are_wanted_and_once(places: Callable[..., Plugins], tmp_path: Path) -> None:
    plugins = places(own_a="- bad")
    plugins.ask()
    with pytest.raises(SpecError, match="a list of rules is needed"):
        _ = plugins.rules
    (tmp_path / "config/cloche/rules/a.yaml").write_text(HEAD)
    assert list(plugins.rules) == ["one"]
    (tmp_path / "config/cloche/rules/a.yaml").unlink()
    assert list(plugins.rules) == ["one"]


@pytest.mark.parametrize(
    ("provided", "files"),
    [((), {"own_a": HEAD, "etc_b": HEAD}), (("one",), {"own_a": HEAD}), ((), {"own_a": HEAD, "own_b": HEAD})],
)
def test_an_id_that_is_taken_is_refused(
    provided: tuple[str, ...], files: dict[str, str], places: Callable[..., Plugins]
) -> None:
    plugins = places(Provider(*provided), **files)
    with pytest.raises(SpecError, match=r"the rule id 'one' is taken by .*; rename one"):
        _ = plugins.rules


def test_a_plugin_that_fails_later_takes_its_rules_with_it(places: Callable[..., Plugins]) -> None:
    class Late(Provider):
        @hookimpl
        def cloche_profiles(self) -> list[object]:
            return [self]

    plugins = places(Late("late"), own_a=HEAD)
    assert list(plugins.rules) == ["late", "one"]
    _ = plugins.profiles
    assert list(plugins.rules) == ["one"]


def test_a_found_file_that_others_may_write_is_refused(places: Callable[..., Plugins], tmp_path: Path) -> None:
    plugins = places(own_a=HEAD)
    path = tmp_path / "config/cloche/rules/a.yaml"
    path.chmod(0o666)
    with pytest.raises(SpecError, match="is not trusted"):
        _ = plugins.rules
    assert [one.id for one in read_rules(path)] == ["one"]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda path: path.write_bytes(b"- \xff"), "not UTF-8: byte 2 is 0xff"),
        (lambda path: path.write_bytes(b"#" * ((1 << 20) + 1)), "longer than 1048576 bytes"),
        (os.mkfifo, "not a regular file"),
        (lambda path: path.mkdir(), "not a regular file"),
        (lambda path: path.symlink_to(path), "can't read this file of rules"),
        (lambda path: path.symlink_to("nowhere"), "can't read this file of rules"),
    ],
)
def test_what_is_no_readable_file_is_refused(
    spoil: Callable[[Path], object], told: str, places: Callable[..., Plugins], tmp_path: Path
) -> None:
    plugins = places()
    path = tmp_path / "config/cloche/rules/a.yaml"
    path.parent.mkdir(parents=True)
    spoil(path)
    with pytest.raises(SpecError, match=told):
        _ = plugins.rules


def test_a_folder_that_can_not_be_looked_into_is_an_error(places: Callable[..., Plugins], tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/rules").symlink_to(tmp_path / "etc/rules")
    with pytest.raises(SpecError, match="can't look for rules here"):
        _ = places().rules


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"file": []}, "rules: unknown key 'file'; known is files"),
        ({"files": "/a"}, "rules.files: a sequence is needed"),
        ({"files": ["a.yaml"]}, "must be an absolute path"),
        ({"files": [5]}, "text is needed"),
        ([], "a table is needed"),
    ],
)
def test_the_configuration_names_files_by_absolute_paths(table: object, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        Config.load({"rules": table})


def test_a_named_file_that_is_missing_is_an_error(places: Callable[..., Plugins]) -> None:
    with pytest.raises(SpecError, match=r"/nowhere/x\.yaml: can't read"):
        _ = places(named=["/nowhere/x.yaml"]).rules


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(raw)
    told = ""
    try:
        read_rules(path)
    except SpecError as error:
        told = str(error)
    assert told == "" or str(path) in told
