"""What the policy refused is in the result, with what to do about it: in sandboxes that are judged."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cloche import Host, Rules

pytestmark = pytest.mark.usefixtures("no_leaks")
RUNTIMES = ("namespaces", "bwrap", "process")
WALLS = "echo x > /usr/new; echo x > /usr/new; python3 -c 'import socket; socket.socket()'; unshare -U true; true"


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_refusals_by_the_policy_are_in_the_result(host_of: Callable[[str], Host], runtime: str) -> None:
    with host_of(runtime).create(isolation="standard", rules=Rules(use=("sensitive-file-read",))) as box:
        found = {(one.rule, one.target): one for one in box.exec("sh", "-c", WALLS).violations}
        assert ("mount:system", "/usr/new") in found
        assert found["mount:system", "/usr/new"].count == 2
        assert found["network:none", "AF_INET"].hint.startswith("it has no network")
        assert any(rule == "syscall:denied" and target.startswith("unshare") for rule, target in found)
        fine = box.exec("sh", "-c", "echo x > a; mkdir b; mv a b; ls /usr > b/c; rm -r b; echo y > /dev/null")
        assert fine.ok, fine.explain()
        assert fine.violations == ()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_limit_that_ended_a_program_is_in_the_result(host_of: Callable[[str], Host], runtime: str) -> None:
    with host_of(runtime).create(isolation="standard", limits={"output": "1K"}) as box:
        assert [one.rule for one in box.exec("yes").violations] == ["limit:output"]
        assert [one.rule for one in box.exec("sleep", "9", timeout=0.1).violations] == ["limit:timeout"]
        assert box.exec("false").violations == ()


def test_of_many_refusals_some_are_told_and_the_rest_is_counted(host_of: Callable[[str], Host]) -> None:
    program = "i=0; while [ $i -lt 300 ]; do mkdir /usr/d$i 2> /dev/null; i=$((i+1)); done; mkdir fine"
    with host_of("namespaces").create(isolation="standard", rules=Rules(use=("sensitive-file-read",))) as box:
        found = box.exec("sh", "-c", program).violations
        assert {one.rule for one in found} == {"mount:system"}
        assert len(found) == 65
        assert sum(one.count for one in found) == 300
        assert found[-1].target == "(others)"
