"""Rules asked for by name, on a real runtime: what docs/behaviour.md says, and what the command line shows of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import cloche as library

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Run = Callable[..., subprocess.CompletedProcess[bytes]]

pytestmark = pytest.mark.usefixtures("no_leaks")
PAGE = Path(__file__).parents[2] / "docs" / "behaviour.md"
LINK = ("sh", "-c", "ln -s /etc/shadow mine")


def test_the_examples_of_the_page_work(capsys: pytest.CaptureFixture[str]) -> None:
    sources = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(sources) == 4
    with library.Host() as host:
        for source in sources:
            names: dict[str, Any] = {"cloche": library, "host": host}
            exec(compile(source, str(PAGE), "exec"), names)  # noqa: S102 - our own documentation
    assert "refused symlink /workspace/mine: suspicious-symlink; copy what you need" in capsys.readouterr().out


def test_what_a_program_tried_is_said_when_it_ended_and_not_by_quiet(cloche: Run) -> None:
    done = cloche("run", "--rules", "on", "--", *LINK)
    assert done.returncode != 0
    assert b"cloche: refused symlink /workspace/mine: suspicious-symlink; " in done.stderr
    assert b"suspicious" not in cloche("run", "--rules", "on", "-q", "--", *LINK).stderr
    found = json.loads(cloche("run", "--rules", "suspicious-symlink", "-o", "json", "--", *LINK).stdout)["violations"]
    assert [(one["rule"], one["blocked"], one["severity"]) for one in found] == [("suspicious-symlink", True, "high")]
    assert cloche("run", "--rules", "on", "--auto-block", "never", "--", *LINK).returncode == 0
    audit = cloche("run", "--rules", "audit", "--", *LINK)
    assert audit.returncode == 0
    assert b"cloche: found (high) symlink /workspace/mine: suspicious-symlink; " in audit.stderr


def test_a_run_that_a_rule_ended_says_which_and_is_no_success(cloche: Run) -> None:
    hostile = ("sh", "-c", "cat /etc/shadow; sleep 20; echo late")
    done = cloche("run", "--rules", "sensitive-file-read", "--auto-terminate", "high", "--", *hostile)
    assert done.returncode == 137
    assert done.stdout == b""
    assert b"sh: its sandbox was stopped: rule:sensitive-file-read" in done.stderr
    # One that has ended well by then was killed for it all the same.
    quick = cloche(
        "run", "--rules", "sensitive-file-read", "--auto-terminate", "high", "--", *hostile[:2], "cat /etc/shadow; :"
    )
    assert (quick.returncode == 137) == (b"its sandbox was stopped" in quick.stderr)


def test_a_sandbox_that_stays_is_judged_for_whoever_runs_something_in_it(cloche: Run, made: Callable[..., str]) -> None:
    box = made("--rules", "suspicious-symlink", "--auto-block", "high", "--auto-suspend", "critical")
    done = cloche("exec", box, "--", *LINK)
    assert b"cloche: refused symlink /workspace/mine: suspicious-symlink; " in done.stderr
    shown = " ".join(cloche("inspect", box).stdout.decode().split())
    assert "rules suspicious-symlink" in shown
    assert "rules suspend from critical on" in shown
    assert "which may refuse: suspicious-symlink" in shown
    rules = json.loads(cloche("inspect", box, "-o", "json").stdout)["rules"]
    assert (rules["use"], rules["auto_block"], rules["auto_suspend"]) == (
        ["suspicious-symlink"],
        "high",
        "critical",
    )
    with library.Host() as host, host.attach(box) as attached:
        attached.update(rules="off")
        assert attached.exec(*LINK).ok
        attached.update(rules="on")
        assert "suspicious-symlink" in {v.rule for v in attached.exec("ln", "-sf", "/etc/shadow", "b").violations}


def test_rules_that_are_not_there_run_nothing(cloche: Run, tmp_path: Path) -> None:
    done = cloche("run", "--rules", "no-such-rule", "--", "true")
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"'no-such-rule' names no rule; `cloche rules list` shows them" in done.stderr
    (tmp_path / "cloche.toml").write_text('[host]\nblocked_plugins = ["rules"]\n')
    bare = cloche("run", "--rules", "on", "--", "true", env={"CLOCHE_CONFIG": str(tmp_path / "cloche.toml")})
    assert bare.returncode == 126
    assert b"rules: no plugin brings rules that could judge here" in bare.stderr
