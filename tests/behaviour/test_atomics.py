"""Attack scripts are found: this project's own, and those of a corpus that is no part of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.behaviour import atomics
from tests.behaviour.ground import Ground

OWN = Path(__file__).parent / "attacks.json"
AT_LEAST = 0.95
UNTOLD = {"T1620-1", "T1055.008-1", "T1046-1"}
"""Calls that the filter refuses: gVisor tells nobody of them, so nothing but their having no effect is to be seen."""


@pytest.mark.parametrize("script", atomics.corpus(OWN), ids=lambda script: script.key)
def test_an_attack_is_found(ground: Ground, script: atomics.Script) -> None:
    outcome = atomics.attempt(ground, script)
    assert outcome.found or (ground.runtime == "gvisor" and script.key in UNTOLD), outcome


def test_harmless_commands_are_no_attacks(ground: Ground) -> None:
    quiet = atomics.Script(  # noqa: S604 - the name of a shell, none is started here
        key="T0", technique="T0000", name="harmless", shell="sh", label="must_detect",
        command="echo x > f && cat f && mkdir d && mv f d/ && ls -l d && rm -r d",
    )  # fmt: skip
    assert atomics.attempt(ground, quiet).outcome == "missed"


@pytest.mark.timeout(900)
def test_nearly_all_of_a_corpus_that_the_environment_names_is_found(corpus: Path) -> None:
    scripts = [script for script in atomics.corpus(corpus) if script.label == "must_detect"]
    outcomes = atomics.attempted(scripts)
    found, all_ = atomics.score(outcomes, "must_detect")
    assert found >= AT_LEAST * all_, atomics.table([one for one in outcomes if not one.found])


def test_nothing_an_attack_changes_is_there_for_the_next(ground: Ground) -> None:
    with ground.box() as box:
        box.exec("sh", "-c", "echo changed > /etc/profile; echo mine > /workspace/f").check()
    with ground.box() as box:
        assert "changed" not in box.exec("cat", "/etc/profile").text
        assert not box.files.exists("/workspace/f")


def test_an_attack_is_an_ordinary_user_of_the_host_and_can_not_steer_the_kernel(ground: Ground) -> None:
    with ground.box() as box:
        if ground.runtime == "gvisor":  # to the host all of it is the sentry
            outside = os.stat(f"/proc/{box.info()['agent_pid']}").st_uid
        else:
            outside = int(box.exec("awk", "{print $2}", "/proc/self/uid_map").text)
        assert outside != 0
        assert not box.exec("sh", "-c", "cat /proc/sys/kernel/ostype > /proc/sys/kernel/ostype").ok
        assert not box.exec("sh", "-c", "exec 9> /proc/sys/vm/swappiness").ok
