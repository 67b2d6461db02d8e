"""What rules become in one sandbox, what is refused, and why."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from cloche import Act, SpecError
from cloche.rules.compile import WAYS_MAX, Compiled, compiled
from cloche.rules.condition import ALWAYS, AnyOf, Condition, F, Not
from cloche.rules.rule import After, Count, Earlier, Rule
from cloche.rules.severity import Severity, Threshold
from cloche.rules.surroundings import Surroundings

STRICT = frozenset({Act.OPEN, Act.WRITE_OPEN, Act.CREATE, Act.UNLINK})


def rule(name: str = "one", **parts: Any) -> Rule:  # noqa: ANN401 - parts of any rule
    given: dict[str, Any] = {"id": name, "summary": "x", "severity": Severity.HIGH, "events": {"unlink", "exec"}}
    return Rule(**given | parts)


def made(
    *rules: Rule, emulated: frozenset[Act] = frozenset(), block: Threshold = Severity.HIGH, audit: bool = False
) -> Compiled:
    return compiled(rules, Surroundings(), emulated=emulated, block=block, audit=audit)


def test_a_rule_is_judged_in_c_as_far_as_it_can_be_and_the_rest_in_python() -> None:
    asked = F.file.under("${workspace}") & F["process.name"].contains("sh") & ~F.cmdline.matches("x+")
    program = made(rule(where=asked))
    assert [spec.name for spec in program.specs] == ["one", "one#2"]  # exec has a command line, unlink has none
    assert all(spec.paths[0].patterns == ("/workspace/**",) for spec in program.specs)
    assert all(spec.respond == 40 and spec.answer == 0 for spec in program.specs)
    process = F["process.name"].contains("sh")
    wheres = {next(iter(spec.acts)): program.rest[spec.name].where for spec in program.specs}
    assert wheres == {"unlink": process, "exec": process & ~F.cmdline.matches("x+")}


def test_what_c_can_judge_leaves_nothing() -> None:
    program = made(rule(where=F.argv == "-c", events={"exec"}))
    assert program.rest["one"].where is None
    assert program.rest["one"].rule.id == "one"


def test_acts_that_can_never_match_are_not_looked_at() -> None:
    assert made(rule(where=F.cmdline.contains("x"))).specs[0].acts == {"exec"}
    assert made(rule(where=F.file.under("${mounted}"))) == Compiled((), {})


def test_many_values_of_one_field_are_one_native_rule() -> None:
    values = [f"word{number}" for number in range(300)]
    (spec,) = made(rule(where=F.cmdline.contains(*values) | F.argv.startswith("x"), events={"exec"})).specs
    assert len(spec.either[0].tests) == 302


def test_a_rule_that_needs_too_many_native_ones_is_left_to_python_behind_what_fits() -> None:
    pairs = [(F.first == n) & (F.argv == f"{n}") | (F.arg1 == n) for n in range(9)]
    where = F.path.under("/w") & AnyOf((pairs[0], pairs[1]))
    for pair in pairs:
        where &= pair | (F.pid == 3) & F.climbs
    program = made(rule(where=where, events={"exec"}))
    assert 0 < len(program.specs) <= WAYS_MAX
    assert all(program.rest[spec.name].where == where for spec in program.specs)
    assert all(spec.paths for spec in program.specs)
    with pytest.raises(SpecError, match="over 64 native rules"):
        made(rule(where=where, events={"exec"}, count=Count(1, 1)))


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"mode": "inline", "where": F.cmdline.matches("x")}, "C can't judge cmdline matches in full; it is inline"),
        ({"mode": "inline", "where": F["process.name"] == "x"}, r"process\.name =="),
        ({"count": Count(1, 1), "where": F.name.matches("x")}, "matches in full; it counts"),
        ({"after": After((Earlier(frozenset({Act.OPEN}), F["parent.name"] == "x"),), 1)}, "an earlier step"),
        ({"where": F.file.glob("x")}, "rule 'one': condition on file: pattern"),
        ({"where": F["process.name"].glob("[x")}, "has no end"),
        ({"where": F.file.under("${nowhere}")}, "stands for nothing"),
        ({"where": F.file == "/" + "*" * 4000}, "more than 4095 bytes"),
        ({"count": Count(1, 1e9)}, "per is a time"),
        ({"after": After((Earlier(frozenset({Act.OPEN})),), float("inf"))}, "within is a time"),
    ],
)
def test_a_rule_that_c_cant_judge_so_is_refused_by_name(parts: dict[str, Any], reason: str) -> None:
    with pytest.raises(SpecError, match=reason) as caught:
        made(rule(**parts), block="never")
    assert str(caught.value).startswith("rule 'one'")


def test_a_condition_that_is_too_deep_is_refused() -> None:
    where: Condition = F.pid == 1
    for _ in range(70):
        where = Not(where)
    with pytest.raises(SpecError, match="more than 64 deep"):
        made(rule(where=where))


@pytest.mark.parametrize(
    ("events", "where", "claim"),
    [
        ({"unlink"}, F.file.under("/etc"), "file"),
        ({"exec"}, F.argv == "-c", "argv"),
        ({"connect"}, F.port == 22, "port"),
        ({"unlink"}, F.flag("climbs"), "climbs"),
        ({"open"}, ALWAYS, "which kind of opening"),
        ({"open", "write-open", "create"}, F.flags.has(1), "flags"),
    ],
)
def test_refusing_by_what_the_guest_claims_must_be_asked_for(events: set[str], where: Condition, claim: str) -> None:
    asked = rule(mode="inline", events=events, where=where, answer=errno.EACCES)
    with pytest.raises(SpecError, match=f"rule 'one': it would refuse by what the guest claims.*{claim}"):
        made(asked)
    for elsewhere in (made(asked, block="never"), made(asked, audit=True), made(asked, block=Severity.CRITICAL)):
        assert (elsewhere.specs[0].answer, elsewhere.caveats) == (0, ())
    tried = made(rule(mode="inline", events=events, where=where, best_effort=True, answer=errno.EACCES))
    assert tried.specs[0].answer == errno.EACCES
    assert "rule one refuses by what the guest claims" in tried.caveats[0]


@pytest.mark.parametrize(
    ("events", "where"),
    [
        ({"setid"}, F.first == 0), ({"chmod"}, F.mode.has(0o6000)), ({"socket"}, F.family == 17),
        ({"open", "write-open", "create"}, ALWAYS), ({"unlink"}, F.pid == 3), ({"exec"}, ~F.to.under("/etc")),
    ],
)  # fmt: skip
def test_what_the_kernel_vouches_for_may_refuse(events: set[str], where: Condition) -> None:
    program = made(rule(mode="inline", events=events, where=where))
    assert program.specs[0].answer == errno.EPERM
    assert program.caveats == ()


def test_what_the_host_does_in_the_guests_stead_may_refuse_by_its_texts() -> None:
    asked = rule(mode="inline", events={"open", "unlink"}, where=F.file.under("/etc") & F.name.endswith(".key"))
    assert made(asked, emulated=STRICT).specs[0].answer == errno.EPERM
    flagged = rule(mode="inline", events=["open", "write-open", "create"], where=F.flags.has(1))
    with pytest.raises(SpecError, match="flags"):  # no path is looked at, so they are not done by the host
        made(flagged, emulated=STRICT)
    wider = rule(mode="inline", events={"unlink", "exec"}, where=F.file.under("/etc"))
    with pytest.raises(SpecError, match=r"file \(of exec\)"):
        made(wider, emulated=STRICT)


def test_what_came_before_and_what_is_counted_by_is_claimed_too() -> None:
    step = Earlier(frozenset({Act.CONNECT}), F.address == "192.0.2.1")
    found: tuple[dict[str, Any], ...] = ({"after": After((step,), 1)}, {"count": Count(1, 1, ("path",))})
    for parts in found:
        with pytest.raises(SpecError, match=r"address|key path"):
            made(rule(mode="inline", events={"unlink"}, **parts))


def test_a_count_over_several_native_rules_is_one_count() -> None:
    program = made(rule(where=(F.flags == 1) & F.climbs | F.file.under("/w"), count=Count(3, 60)))
    assert len(program.specs) > 1
    assert {spec.window.shared for spec in program.specs if spec.window} == {"one"}


def test_more_than_a_program_holds_is_refused_and_says_what() -> None:
    with pytest.raises(SpecError, match="10000 rules make 10000 native rules, of which one sandbox has 1024 at most"):
        made(*(rule(f"r{n}", where=F.pid == n) for n in range(10_000)))
    many = [f"/d{n}/{m}" for n in range(5) for m in range(4000)]
    with pytest.raises(SpecError, match="20000 patterns of paths"):
        made(*(rule(f"r{n}", where=F.file.under(*many[n * 4000 : n * 4000 + 4000])) for n in range(5)))
    with pytest.raises(SpecError, match="there are two of that id"):
        made(rule(), rule())
