"""What is told of the environment of a program that is started: what steers loaders and shells, and no more."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from cloche_native import events
from cloche_native import rules as native
from cloche_native.events import ACTS, FLAGS, Record
from tests.native.watched import Watched

SELF = "/proc/self/exe"  # which no loader loads
PRELOAD = b"LD_PRELOAD=/x.so\0"
STEERING = (
    "LD_PRELOAD LD_AUDIT LD_LIBRARY_PATH LD_DEBUG GCONV_PATH HISTFILE HISTSIZE HISTFILESIZE HISTCONTROL HISTIGNORE "
    "BASH_ENV ENV PROMPT_COMMAND PYTHONSTARTUP PYTHONPATH PYTHONHOME PERL5OPT PERL5LIB RUBYOPT NODE_OPTIONS "
    "GIT_SSH_COMMAND EDITOR VISUAL PAGER PATH"
).split()


def told(watch: Callable[..., Watched], *acts: object) -> tuple[list[str], Record]:
    """Run it: what it printed, and the record of its execve."""
    box = watch(wants=[ACTS["exec"]])
    lines = box.run(*acts, calls=("execve",), program="environ")
    return lines, box.records()[-1]


def test_what_steers_is_told_and_nothing_else(watch: Callable[..., Watched]) -> None:
    given = [f"{name}=of {name}" for name in STEERING]
    others = ["HOME=/", "LD_PRELOADED=1", "XPATH=1", "PATH", "=PATH", "path=1", "", "PAT=H"]
    _, record = told(watch, "given", SELF, *given, *others)
    assert record.target_resolved == b"".join(entry.encode() + b"\0" for entry in given)
    assert record.target.startswith(b"/proc/self/exe\0LD_PRELOAD=of")
    assert not record.flags & (FLAGS["text-kernel"] << 3 | FLAGS["unreadable"])


def test_each_entry_is_cut_and_so_is_all_of_it(watch: Callable[..., Watched]) -> None:
    _, record = told(watch, "given", SELF, "PATH=" + "x" * 600, "EDITOR=vi")
    assert record.target_resolved == b"PATH=" + b"x" * 506 + b"\0EDITOR=vi\0"
    assert record.flags & FLAGS["cut"]
    _, record = told(watch, "given", SELF, *["PATH=" + "y" * 400] * 12)
    assert record.target_resolved == (b"PATH=" + b"y" * 400 + b"\0") * 10 + b"PATH=" + b"y" * 29 + b"\0"
    assert record.flags & FLAGS["cut"]


@pytest.mark.parametrize(
    ("kind", "lines", "kept", "flags"),
    [
        ("none", [], b"", ()),
        ("ends", [], PRELOAD, ()),
        ("crosses", [], PRELOAD, ()),
        ("list", [], PRELOAD, ()),
        ("fewer", [], PRELOAD, ()),
        ("many", [], b"", ("cut",)),
        ("nowhere", [str(-errno.EFAULT)], b"", ("unreadable",)),
        ("unreadable", [str(-errno.EFAULT)], b"", ("unreadable",)),
        ("unended", [str(-errno.EFAULT)], b"", ("unreadable",)),
        ("endless", [str(-errno.EFAULT)], PRELOAD * 240 + PRELOAD[:14] + b"\0", ("cut",)),
    ],
)
def test_whatever_the_environment_is_the_program_gets_what_the_kernel_says(
    watch: Callable[..., Watched], kind: str, lines: list[str], kept: bytes, flags: tuple[str, ...]
) -> None:
    said, record = told(watch, kind)
    assert said == lines
    assert record.target_resolved == kept
    assert {name for name in ("cut", "unreadable") if record.flags & FLAGS[name]} == set(flags)


def test_an_environment_of_32_megabytes_is_read_no_further_than_is_kept(watch: Callable[..., Watched]) -> None:
    said, record = told(watch, "huge")
    assert said == [str(-errno.E2BIG)]
    assert record.target_resolved == (b"PATH=" + b"x" * 506 + b"\0") * 7 + b"PATH=" + b"x" * 505 + b"\0"
    assert record.flags & FLAGS["cut"]


def test_an_entry_that_changes_while_it_is_read_is_kept_as_it_was_read_or_not_at_all(
    watch: Callable[..., Watched],
) -> None:
    box = watch(wants=[ACTS["exec"]])
    assert box.run("race", 300, calls=("execve",), program="environ") == ["0"]
    kept = {record.target_resolved for record in box.records()[1:]}
    assert kept <= {PRELOAD, b""}


def test_a_rule_may_ask_for_it_and_it_is_never_taken_for_a_path(watch: Callable[..., Watched]) -> None:
    def rule(name: str, **asked: Any) -> native.RuleSpec:  # noqa: ANN401 - as a rule is asked
        return native.RuleSpec(name=name, acts=frozenset({"exec"}), answer=1, **asked)

    rules = native.compile([
        rule("loads", texts=(native.Text("prefix", "LD_PRELOAD=", "target-resolved"),)),
        rule("path", paths=(native.Paths(("/**",), "in", ("target-resolved",)),)),
        rule("outside", paths=(native.Paths(("/x",), "outside", ("target-resolved",)),)),
    ])  # fmt: skip
    raw = events.pack(act="exec", target_resolved=b"/etc/passwd\0")
    assert rules.state().judge(raw) == []
    box = watch(wants=[])
    box.supervisor.judge(rules)
    assert box.run("given", SELF, "LD_PRELOAD=/x", calls=("execve",), program="environ") == [str(-errno.EPERM)]
    assert box.run("given", SELF, "EDITOR=/x", calls=("execve",), program="environ") == []
