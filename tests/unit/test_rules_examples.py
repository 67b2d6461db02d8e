"""Examples of rules are run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche import Act, After, Count, Earlier, Example, F, Rule, Severity, SpecError
from cloche.rules.examples import example_matches, failures
from cloche.testing import assert_rule

if TYPE_CHECKING:
    from cloche import Condition, Context

BASE = Rule(id="one", summary="for tests", severity=Severity.HIGH, events=frozenset(Act))


def rule(where: Condition, **more: Any) -> Rule:  # noqa: ANN401 - fields of a rule
    return replace(BASE, where=where, **more)


def event(act: str = "create", **more: object) -> dict[str, object]:
    return {"act": act, **more}


@pytest.mark.parametrize(
    ("where", "plain"),
    [
        (F.file.under("/etc"), event(path="/etc/cron.d/x")),
        (F.resolved.under("/etc"), event(path="/x", resolved="/etc/x")),
        (F.mode.has(0o4000), event("chmod", path="/x", args={"mode": 0o4755})),
        (F.arg0 == 0o4755, event("chmod", path="/x", args=[0o4755])),
        (F.flag("denied") & (F.result == -1), event(path="/x", flags=["denied"], result=-1)),
        (F.argv == "-c", event("exec", path="/bin/sh", argv=["sh", "-c", "id"])),
        (F.cmdline == "sh -c id", event("exec", path="/bin/sh", target="sh\0-c\0id\0")),
        (F.env.startswith("LD_PRELOAD="), event("exec", path="/x", argv=["x"], env=["LD_PRELOAD=/tmp/a.so"])),
        (F["process.name"] == "bash", event(path="/x", process="/bin/bash")),
        (
            F["process.cmdline"].contains("-c id"),
            event(path="/x", process={"exe": "/bin/sh", "args": ["sh", "-c", "id"]}),
        ),
        (F["parent.name"] == "nginx", event(path="/x", process="/bin/sh", ancestors=["/usr/sbin/nginx", "/init"])),
        (F.ancestors == "init", event(path="/x", ancestors=["/usr/sbin/nginx", {"exe": "/sbin/init"}])),
        (F.call == "openat", event(path="/x", call="openat")),
        (F.source == "files", event(path="/x", source="files")),
        (F.exec == 3, event(path="/x", exec=3)),
        (F.pid == 7, event(path="/x", pid=7)),
        (F.name == "\udcff", event(path={"base64": "L/8="})),
        ((F.port == 4444) & (F.address == "10.0.0.1"), event("connect", target="10.0.0.1", args={"port": 4444})),
    ],
)
def test_an_event_is_made_of_what_is_said_of_it(where: Condition, plain: dict[str, object]) -> None:
    assert example_matches(rule(where), Example((plain,)))
    assert not example_matches(rule(~where), Example((plain,)))


def test_only_the_acts_of_a_rule_match() -> None:
    one = replace(BASE, events=frozenset({Act.CREATE}))
    assert example_matches(one, Example((event(path="/x"),)))
    assert not example_matches(one, Example((event("exec", path="/x"),)))


def test_surroundings_are_those_of_the_example() -> None:
    one = rule(~F.file.under("${workspace}"))
    assert not example_matches(one, Example((event(path="/workspace/x"),)))
    assert example_matches(one, Example((event(path="/workspace/x"),), profile={"workspace": "/work"}))


def test_a_count_is_of_one_key_and_one_time() -> None:
    one = rule(F.name == "x", count=Count(2, 1.0, key=("dir",)))
    three = [event(path="/a/x") for _ in range(3)]
    assert example_matches(one, Example(tuple(three)))
    assert not example_matches(one, Example(tuple(three[:2])))
    assert not example_matches(one, Example((event(path="/b/x"), *three[1:])))
    assert not example_matches(one, Example((event(path="/a/y"), *three[1:])))
    assert not example_matches(one, Example((three[0], three[1], event(path="/a/x", at=1.5))))
    distinct = rule(F.name == "x", count=Count(1, 1.0, distinct=("dir",)))
    assert example_matches(distinct, Example((event(path="/a/x"), event(path="/b/x"))))
    assert not example_matches(distinct, Example((event(path="/a/x"), event(path="/a/x"))))


def test_earlier_steps_come_in_order_and_in_time() -> None:
    steps = (Earlier(frozenset({Act.CREATE})), Earlier(frozenset({Act.CHMOD}), F.mode.has(0o111)))
    one = replace(BASE, events=frozenset({Act.EXEC}), after=After(steps, 10.0, ("path",)))
    create, chmod, run = event(path="/x"), event("chmod", path="/x", args={"mode": 0o755}), event("exec", path="/x")
    assert example_matches(one, Example((create, chmod, run)))
    assert not example_matches(one, Example((chmod, create, run)))
    assert not example_matches(one, Example((create, run)))
    assert not example_matches(one, Example((create, {**chmod, "path": "/y"}, run)))
    assert not example_matches(one, Example((create, {**chmod, "args": {"mode": 0o644}}, run)))
    assert not example_matches(one, Example((create, chmod, {**run, "at": 11})))


def test_a_function_of_a_rule_is_asked_with_what_is_known() -> None:
    seen: list[Context] = []

    def evaluate(context: Context) -> bool:
        seen.append(context)
        return context.process is not None and context.process.name == "sh"

    one = replace(BASE, evaluate=evaluate, count=Count(0, 1.0))
    assert example_matches(one, Example((event(path="/x", process="/bin/sh", ancestors=["/bin/init"]),)))
    assert not example_matches(one, Example((event(path="/x"),)))
    assert (seen[0].counted, [facts.name for facts in seen[0].ancestors]) == (1, ["init"])


def test_a_function_that_raises_is_a_failure_of_the_example() -> None:
    def evaluate(context: Context) -> bool:
        raise ConnectionError(f"nobody answers for {context.rule.id}\x1b")

    (found,) = failures(replace(BASE, evaluate=evaluate, examples=(Example((event(path="/x"),)),)))
    assert found.why == r"rule 'one': its evaluate raised ConnectionError: nobody answers for one\x1b"


@pytest.mark.parametrize(
    ("plain", "told"),
    [
        ({}, "event 1: act None is unknown"),
        (event("opened"), "act 'opened' is unknown; `cloche events acts` names them"),
        ({"act": []}, "act [] is unknown"),
        (event(paht="/x"), "unknown key 'paht'; known are act"),
        (event(path=5), "event 1: path: text is needed, not 5"),
        (event(path="/a\0b"), "NUL"),
        (event(path="/" * 5000), "more than the 4095"),
        (event(path={"base64": "?"}), "no base64"),
        (event(path="\ud800"), "not valid text"),
        (event(args={"port": 5}), "create has no 'port'; it has flags, mode, resolve"),
        (event(args={"mode": "x"}), "event 1: "),
        (event(args=[1, 2, 3, 4, 5]), "four arguments"),
        (event(args=5), "a sequence is needed"),
        (event(flags=["wrong"]), "'wrong' is unknown"),
        (event(flags=5), "a sequence is needed"),
        (event(claimed=["wrong"]), "'wrong' is unknown; known are path"),
        (event(call="openfile"), "is no system call"),
        (event(call=5), "is no system call"),
        (event(source="god"), "source 'god' is unknown"),
        (event(source=[]), "source [] is unknown"),
        (event(result="x"), "event 1: "),
        (event(result=1 << 80), "does not fit"),
        (event(pid=-1), "pid"),
        (event(exec=True), "exec"),
        (event(at=-1), "seconds from the first event"),
        (event(at="now"), "seconds from the first event"),
        (event(process=5), "a process is its path"),
        (event(process={"name": "x"}), "a process is its path"),
        (event(process={"exe": "x", "args": "y"}), "a sequence is needed"),
        (event(ancestors="x"), "a sequence is needed"),
        (event(argv="x"), "a sequence is needed"),
        (event(argv=[5]), "text is needed"),
    ],
)  # fmt: skip
def test_what_is_no_event_is_told(plain: dict[str, object], told: str) -> None:
    with pytest.raises(SpecError) as error:
        example_matches(BASE, Example((plain,)))
    assert told in str(error.value)
    assert str(error.value).isprintable()
    (found,) = failures(replace(BASE, examples=(Example((plain,)),)))
    assert found.why == str(error.value)


def test_an_example_has_events() -> None:
    with pytest.raises(SpecError, match="1 to 4096 events are needed, not 0"):
        example_matches(BASE, Example(()))
    with pytest.raises(SpecError, match="home"):
        example_matches(BASE, Example((event(path="/x"),), profile={"hoem": "/"}))


keys = st.sampled_from(["act", "path", "args", "flags", "process", "at", "call", "result", "pid"])


@given(st.dictionaries(keys, st.none() | st.integers() | st.text() | st.lists(st.integers() | st.text())))
def test_any_plain_data_is_made_or_refused(plain: dict[str, Any]) -> None:
    found = failures(replace(BASE, examples=(Example((plain,)),)))
    assert all(one.why.isprintable() for one in found)


def test_a_rule_is_asserted_by_its_examples() -> None:
    good = Example((event(path="/etc/x"),))
    other = Example((event(path="/x\x1b[2J"),), match=False)
    one = rule(F.file.under("/etc"), examples=(good, other))
    assert_rule(one)
    with pytest.raises(AssertionError, match="no example matches"):
        assert_rule(replace(one, examples=(other,)))
    with pytest.raises(AssertionError, match="no example does not match"):
        assert_rule(replace(one, examples=(good,)))
    with pytest.raises(AssertionError, match=r"a cloche\.Rule is needed, not 5"):
        assert_rule(5)  # type: ignore[arg-type]
    with pytest.raises(AssertionError) as error:
        assert_rule(replace(one, where=~one.where))
    first, second = str(error.value).splitlines()
    assert first == "rule one: example 1: it must match and does not: act='create', path='/etc/x'"
    assert (
        second == "rule one: example 2: it must not match and does: act='create', path='/x\\\\x1b[2J'"
        or "\x1b" not in second
    )
