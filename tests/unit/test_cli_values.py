"""What people type and read at the command line."""

from __future__ import annotations

import importlib
import math

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche import Enforced, Guarantee, Mount, Partial, Rules, Severity, SpecError, Unenforced, Workspace, units
from cloche.commands import COMMANDS, MODULES, words
from cloche.commands import given as typed

OPTION = click.Option(["--x"])
CONTEXT = click.Context(click.Command("run"))


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("/a:/b", Mount("/a", "/b")),
        ("/a:/b:ro", Mount("/a", "/b")),
        ("/a:/b:rw", Mount("/a", "/b", read_only=False)),
        ("a b:/c d", Mount("a b", "/c d")),
        ("/a:/b:read,list", Mount("/a", "/b", operations=frozenset({"read", "list"}))),
        ("/a:/b:create", Mount("/a", "/b", operations=frozenset({"create"}))),
    ],
)
def test_a_mount_is_read_only_unless_said(text: str, mount: Mount) -> None:
    assert typed.mounts(CONTEXT, OPTION, (text,)) == [mount]


@pytest.mark.parametrize(
    "text", ["", ":", "/a", "/a:", ":/b", "/a:/b:", "/a:/b:rx", "/a:/b:ro:rw", "/a:/b:read,x", "/a:/b:read,"]
)
def test_a_malformed_mount_is_a_usage_error(text: str) -> None:
    with pytest.raises(click.BadParameter):
        typed.mounts(CONTEXT, OPTION, (text,))


@pytest.mark.parametrize("text", ["/a:b", "/a:/", "/a:/b/../c"])
def test_a_mount_that_can_not_be_meant_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        typed.mounts(CONTEXT, OPTION, (text,))


@pytest.mark.parametrize(
    ("text", "workspace"),
    [
        ("tmpfs", Workspace()),
        ("/a", Workspace("bind", "/a")),
        ("/a:bind", Workspace("bind", "/a")),
        ("/a:overlay", Workspace("overlay", "/a")),
        ("/a:b:bind", Workspace("bind", "/a:b")),
        (None, None),
    ],
)
def test_a_workspace_is_a_folder_and_how_it_is_used(text: str | None, workspace: Workspace | None) -> None:
    assert typed.workspace(CONTEXT, OPTION, text) == workspace


@pytest.mark.parametrize("text", ["", ":bind", "/a:", "/a:ro", "tmpfs:bind:x"])
def test_a_malformed_workspace_is_a_usage_error(text: str) -> None:
    with pytest.raises(click.BadParameter):
        typed.workspace(CONTEXT, OPTION, text)


@pytest.mark.parametrize(
    ("text", "block", "rules"),
    [
        (None, None, None),
        (None, "high", {"auto_block": "high"}),
        ("on", None, Rules()),
        ("off", None, Rules(use=())),
        ("audit", "never", Rules(audit=True, auto_block="never")),
        ("hidden-file,tag:network", "low", Rules(use=("hidden-file", "tag:network"), auto_block=Severity.LOW)),
    ],
)
def test_rules_are_a_word_or_names(text: str | None, block: str | None, rules: Rules | dict[str, str] | None) -> None:
    options = {"rules": text, "auto_block": block, "auto_suspend": None, "auto_terminate": None}
    found = typed.rules(options)
    assert found == rules if not isinstance(rules, Rules) else Rules.of(found or {}) == rules


@pytest.mark.parametrize("text", ["", ",", ",,"])
def test_rules_without_a_name_are_a_usage_error(text: str) -> None:
    with pytest.raises(click.BadParameter, match="names no rule"):
        typed.rules({"rules": text, "auto_block": None, "auto_suspend": None, "auto_terminate": None})


def test_variables_are_given_or_taken_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "x")
    monkeypatch.delenv("NOT_HERE", raising=False)
    values = typed.variables(CONTEXT, OPTION, ("A=1", "B=", "C=a=b", "HERE", "A=2"))
    assert values == {"A": "2", "B": "", "C": "a=b", "HERE": "x"}
    for bad in ("=x", "", "NOT_HERE"):
        with pytest.raises(click.BadParameter):
            typed.variables(CONTEXT, OPTION, (bad,))
    with pytest.raises(SpecError):
        typed.variables(CONTEXT, OPTION, ("A=\0",))


def test_a_guest_with_a_terminal_learns_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "vt100")
    assert typed.environment({"A": "1"}, terminal=True) == {"TERM": "vt100", "A": "1"}
    assert typed.environment({"TERM": "dumb"}, terminal=True) == {"TERM": "dumb"}
    assert typed.environment({"A": "1"}, terminal=False) == {"A": "1"}
    monkeypatch.delenv("TERM")
    assert typed.environment({}, terminal=True) == {}


@given(st.integers(1, units.SIZE_MAX))
def test_a_size_that_is_shown_can_be_typed_and_is_nearly_the_same(value: int) -> None:
    shown = words.size(value)
    back = units.size(shown if shown[-1] in "KMGT" else int(shown.split()[0]), "x")
    assert math.isclose(back, value, rel_tol=0.05)


@pytest.mark.parametrize(
    ("value", "text"), [(512 << 20, "512M"), (3 << 29, "1.5G"), (1 << 10, "1K"), (7, "7 bytes"), (None, "-")]
)
def test_a_size_is_short(value: int | None, text: str) -> None:
    assert words.size(value) == text


@given(st.floats(0.001, 1e6).map(lambda value: round(value, 3)))
def test_a_duration_that_is_shown_can_be_typed(value: float) -> None:
    assert math.isclose(units.duration(words.seconds(value), "x"), value, rel_tol=1e-4)


@pytest.mark.parametrize(
    ("value", "text"),
    [(900, "15m"), (60, "60s"), (7200, "2h"), (0.25, "250ms"), (1.5, "1.5s"), (None, "-"), (math.inf, "-")],
)
def test_a_duration_is_short(value: float | None, text: str) -> None:
    assert words.seconds(value) == text


@pytest.mark.parametrize(("value", "text"), [(1 << 20, "1048576"), (0.5, "0.5"), (2.0, "2"), (100, "100"), (None, "-")])
def test_a_number_is_plain(value: float | None, text: str) -> None:
    assert words.number(value) == text


def test_features_come_in_the_order_of_their_declaration() -> None:
    names = ["wall", "output", "disk", "process", "kernel"]
    assert words.features(names) == ["process", "kernel", "disk", "output", "wall"]
    assert words.features(Guarantee) == list(Guarantee)


def test_a_verdict_is_one_word_and_one_sentence() -> None:
    assert words.kept(Enforced("a quota")) == ("yes", "a quota")
    assert words.kept(Partial("a quota", "it is coarse")) == ("partly", "a quota; but it is coarse")
    assert words.kept(Unenforced("there is none", "buy one")) == ("no", "there is none; buy one")


def test_each_command_in_the_list_has_its_module() -> None:
    for name in COMMANDS:
        module = importlib.import_module(f"cloche.commands.{MODULES.get(name, name)}")
        command = getattr(module, name if name in MODULES else "command")
        assert isinstance(command, click.Command)
        assert command.name == name
