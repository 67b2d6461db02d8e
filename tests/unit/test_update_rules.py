"""Rules of a living sandbox, changed: what is asked is checked first, whoever judges by them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cloche import Act, Host, Limits, Rule, Rules, Severity, SpecError, StateError, Unsupported

pytestmark = pytest.mark.usefixtures("no_own_leaks")
OWN = Rule(id="own", summary="a rule of the caller", severity=Severity.LOW, events=frozenset({Act.EXEC}))


@pytest.mark.parametrize(
    ("bad", "message"),
    [("sometimes", "one of off, on, audit"), (3, "a cloche.Rules"), ({"user": ()}, "'user' is unknown")],
)
def test_rules_that_make_no_sense_are_refused(host: Host, bad: object, message: str) -> None:
    with host.create() as box:
        with pytest.raises(SpecError, match=message):
            box.update(rules=bad)  # type: ignore[arg-type]
        with pytest.raises(SpecError, match="limits, monitor or rules, one at a time"):
            box.update(rules="on", limits=Limits(pids=9))
        assert not box.spec.rules


def test_a_sandbox_without_rules_stays_so_and_says_it(host: Host) -> None:
    with host.create() as box:
        before = box.spec
        box.update(rules="off")
        with pytest.raises(Unsupported, match=r"rules: sandbox .* is not judged"):
            box.update(rules=Rules(use=(OWN,)))
        assert box.spec == before
        box.kill()
        with pytest.raises(StateError, match="change the rules of"):
            box.update(rules="off")


def test_what_another_process_can_not_be_given_is_refused_before_it_is_asked(host: Host) -> None:
    with Host(plugins=[], entry_points=False) as other, host.create() as box, other.attach(box.id) as attached:
        with pytest.raises(SpecError, match="rule 'own' itself can't be written down"):
            attached.update(rules=Rules(use=(OWN,)))
        attached.update(rules="off")
        with pytest.raises(SpecError, match="rule 'own' itself"):
            host.keep(rules=Rules(use=(OWN,)))


def test_rules_are_part_of_what_a_name_stands_for(host: Host) -> None:
    asked = Rules(use=(OWN,), without=(), sensitive=("/k",))
    with host.create(name="one", rules=asked, strict=False) as box:
        assert box.spec.rules == replace(asked, auto_block=box.spec.level.auto_block, auto_suspend="never",
                                         auto_terminate="never")  # fmt: skip
        with host.create(name="one", rules=asked, strict=False) as same:
            assert same.id == box.id
            for other in (replace(asked, sensitive=()), replace(asked, auto_block=Severity.LOW), Rules.of("off")):
                with pytest.raises(SpecError, match=r"is not what was asked: .*rules"):
                    host.create(name="one", rules=other, strict=False)
            other = replace(asked, use=(replace(OWN, severity=Severity.HIGH),))
            with pytest.raises(SpecError, match="rules: a rule itself was asked, another of that name it has"):
                host.create(name="one", rules=other, strict=False)
