"""Rules that would refuse, where the runtime only sees what its guests do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from cloche import Act, F, Host, Incident, Mount, Rule, Rules, Severity, SpecError, State, Unenforceable
from cloche.rules.compile import Compiled, compiled
from cloche.rules.surroundings import Surroundings
from cloche.rules.vetoes import Vetoes
from cloche.testing import FakeRuntime
from tests.awaited import settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cloche.testing import Guest

pytestmark = pytest.mark.usefixtures("no_own_leaks")


def rule(name: str = "secret", **given: Any) -> Rule:  # noqa: ANN401 - of many kinds
    usual: dict[str, Any] = {
        "summary": "opens a secret", "severity": Severity.HIGH, "events": frozenset({Act.OPEN}), "mode": "inline",
        "where": F.file.under("/srv/keys"), "best_effort": True,
    }  # fmt: skip
    return Rule(id=name, **{**usual, **given})


def made(one: Rule, around: Surroundings, *, contains: bool = False, acts: frozenset[Act] = frozenset()) -> Compiled:
    vetoes = Vetoes("watcher", acts, contains)
    return compiled((one,), around, emulated=frozenset(), block=Severity.HIGH, audit=False, vetoes=vetoes)


WRITES = frozenset({Act.WRITE_OPEN, Act.CREATE, Act.UNLINK})


@pytest.mark.parametrize(
    ("one", "around"),
    [
        (rule(), Surroundings(forbidden=("/srv/keys",))),
        (rule(), Surroundings(forbidden=("/srv/**",))),
        (rule(where=F.file == "/srv/keys/a"), Surroundings(forbidden=("/srv",))),
        (rule(where=F.file.glob("/srv/keys/*/id_*") | F.file.under("/x")), Surroundings(forbidden=("/srv", "/x"))),
        (rule(events=WRITES), Surroundings(read_only=("/srv",))),
        (rule(events=WRITES, where=F.file.under("/srv/keys") & (F.arg0 == 0)), Surroundings(read_only=("/srv",))),
    ],
)  # fmt: skip
def test_what_the_policy_keeps_from_the_guest_needs_no_refusal(one: Rule, around: Surroundings) -> None:
    found = made(one, around)
    assert found.kept == {"secret"}
    assert not found.contained


@pytest.mark.parametrize(
    ("one", "around"),
    [
        (rule(), Surroundings()),
        (rule(), Surroundings(read_only=("/srv",))),
        (rule(events=WRITES | {Act.OPEN}), Surroundings(read_only=("/srv",))),
        (rule(), Surroundings(forbidden=("/srv/key", "/srv/keys/deep", "/srv/*"))),
        (rule(where=~F.file.under("/srv")), Surroundings(forbidden=("/srv",))),
        (rule(where=F.file.under("/srv") | F.file.under("/x")), Surroundings(forbidden=("/srv",))),
        (rule(where=F.file.glob("/srv*/x")), Surroundings(forbidden=("/srv",))),
        (rule(where=F.file.exists()), Surroundings(forbidden=("/srv",))),
        (rule(events=frozenset({Act.CONNECT}), where=F.arg1 == 22), Surroundings(forbidden=("/",))),
    ],
)
def test_what_it_does_not_wholly_keep_is_an_error_that_says_what_to_do(one: Rule, around: Surroundings) -> None:
    with pytest.raises(SpecError, match=r"(?s)rule 'secret'.*'watcher' sees .* only as they are done.*auto_suspend"):
        made(one, around)
    assert made(one, around, contains=True).contained == {"secret"}


def test_acts_that_can_be_refused_are() -> None:
    found = made(rule(), Surroundings(), acts=frozenset({Act.OPEN}))
    assert (found.kept, found.contained) == (frozenset(), frozenset())
    with pytest.raises(SpecError, match="sees exec only"):
        made(rule(events={Act.OPEN, Act.EXEC}), Surroundings(), acts=frozenset({Act.OPEN}))
    assert made(rule(events={Act.READ}), Surroundings()).contained == frozenset(), "only hosts do it"


def test_claims_are_no_matter_where_nothing_is_refused() -> None:
    assert made(rule(best_effort=False), Surroundings(), contains=True).caveats == ()


# -- sandboxes -------------------------------------------------------------------------------------------------------


class Watcher(FakeRuntime):
    """A runtime that sees and refuses nothing."""

    name: ClassVar[str] = "watcher"
    vetoes: ClassVar[frozenset[Act]] = frozenset()


async def opens(guest: Guest) -> int:
    """Open each path that it is given; end with 1 if it is refused."""
    refused = any(guest.does(Act.OPEN, path) < 0 for path in guest.args[1:])
    await guest.sleep(0)
    return int(refused)


@pytest.fixture
def host(fakes: Callable[..., object]) -> Iterator[Host]:
    runtimes = [kind(programs={"opens": opens}) for kind in (Watcher, FakeRuntime)]
    with Host(plugins=[fakes(*runtimes)], entry_points=False) as host:
        yield host


def test_a_refusal_by_the_level_s_threshold_becomes_a_pause(host: Host) -> None:
    with host.create(runtime="watcher", rules=Rules(use=(rule(severity=Severity.CRITICAL),))) as box:
        assert "can't refuse acts" in str(box.enforcement["rules"])
        assert "of which none refuses" in str(box.enforcement["rules"])
        job = box.spawn("opens", "/srv/keys/a", "/b")
        incident = settled(box, "secret", "suspend", "block")
        assert box.state is State.PAUSED
        took(incident, "suspend", done=True)
        took(incident, "block", done=False)
        assert not incident.blocked
        box.resume()
        assert job.wait().exit_code == 0, "it was done"


def test_a_refusal_that_the_policy_asks_for_is_an_error(host: Host) -> None:
    asked = Rules(use=(rule(severity=Severity.LOW),), auto_block=Severity.LOW)
    with pytest.raises(SpecError, match="rule 'secret': the runtime 'watcher' sees open only"):
        host.create(runtime="watcher", rules=asked)
    with host.create(rules=asked) as box:
        assert box.runtime == "fake", "another can"
        assert box.exec("opens", "/srv/keys/a").exit_code == 1
    with pytest.raises(Unenforceable, match="watcher"), host.create(rules=asked, require={"kernel"}):
        pass
    with host.create(runtime="watcher", rules=Rules(use=(rule(),), auto_block="never")) as box:
        assert box.exec("opens", "/srv/keys/a").exit_code == 0
        with pytest.raises(SpecError, match="sees open only"):
            box.update(rules=asked)
        assert box.spec.rules.auto_block == "never"


def test_what_the_policy_keeps_from_the_guest_is_told_as_that(host: Host, tmp_path: Path) -> None:
    keys = Mount(str(tmp_path), "/srv/keys", read_only=True)
    asked = Rules(use=(rule(events=WRITES, severity=Severity.LOW),), auto_block=Severity.LOW)
    with host.create(runtime="watcher", mounts=[keys], rules=asked) as box:
        assert "the policy's paths keep from the guest: secret" in str(box.enforcement["rules"])


def test_what_the_host_does_is_refused_all_the_same(host: Host) -> None:
    with host.create(
        runtime="watcher", rules=Rules(use=(rule(severity=Severity.CRITICAL, where=F.file.under("/workspace")),))
    ) as box:
        with pytest.raises(Exception, match="secret") as caught:
            box.files.read("/workspace/a")
        assert getattr(caught.value, "violation", None) is not None


def took(incident: Incident, what: str, *, done: bool) -> None:
    assert (what, done) in [(answer.response, answer.done) for answer in incident.taken], incident.taken
