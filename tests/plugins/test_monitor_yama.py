"""Where Yama keeps processes from looking into others, what the report says of watching is what happens."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cloche
from cloche import Act, EventFlag

if TYPE_CHECKING:
    from collections.abc import Callable

SCOPE = Path("/proc/sys/kernel/yama/ptrace_scope")
LEVEL = SCOPE.read_text(encoding="ascii").strip() if SCOPE.exists() else ""

pytestmark = [
    pytest.mark.usefixtures("no_leaks"),
    pytest.mark.skipif(not LEVEL, reason="this kernel has no Yama; tests/modern has, at each level"),
]


@pytest.mark.parametrize("runtime", ["namespaces", "process"])
def test_a_guest_is_looked_into_just_where_the_report_says_so(
    runtime: str, host_of: Callable[[str], cloche.Host]
) -> None:
    host = host_of(runtime)
    closed = LEVEL == "3" or (LEVEL == "2" and runtime == "process" and os.geteuid() != 0)
    if closed:
        with pytest.raises(cloche.Unenforceable, match=f"ptrace_scope is {LEVEL}"):
            host.create(isolation="standard", monitor="full")
    with (
        host.create(isolation="standard", strict=False, monitor="full") as box,
        box.events(sources=("guest",)) as events,
    ):
        left = "(sleep 0.1; mkdir late) >/dev/null 2>&1 & mkdir soon"
        assert box.exec("sh", "-c", left, linger=True).exit_code == 0
        if closed:
            assert isinstance(box.enforcement["events"], cloche.Unenforced)
            assert events.drain() == []
            return
        assert isinstance(box.enforcement["events"], cloche.Partial)
        made: list[str] = []
        while len(made) < 2:  # the second has lost its parent by then
            event = next(events)
            assert EventFlag.UNREADABLE not in event.flags or event.act is Act.EXEC
            if event.act is Act.MKDIR:
                made.append(os.path.basename(event.path or ""))
        assert made == ["soon", "late"]
