"""Rules of a monitor hold in real boxes: what they refuse is refused, all else works, and both are told."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

import cloche
from cloche import Act, EventFlag, Monitor
from cloche_native.rules import Paths, RuleSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.monitor import Depth

pytestmark = pytest.mark.usefixtures("no_leaks")
KEEP = RuleSpec(name="keep", acts=frozenset({"unlink"}), paths=(Paths(("/**/keep*",)),), answer=errno.EACCES)
SECRET = RuleSpec(
    name="secret", acts=frozenset({"open", "write-open", "create"}), paths=(Paths(("/**/secret",)),), answer=errno.EPERM
)
TRIES = """
import os, sys
open("keep-it", "w").close(); open("other", "w").close(); os.mkdir("in"); os.symlink("../keep-it", "in/link")
os.symlink("../secret", "in/alias")
make = lambda name: open(name, "w")
for act, name in ((os.unlink, "keep-it"), (os.unlink, "in/../keep-it"), (os.unlink, "other"),
                  (open, "secret"), (open, "other-secret"), (os.unlink, "in/link"),
                  (open, "in/alias"), (make, "in/alias"), (make, "made")):
    try:
        act(name)
        print(name, "done")
    except OSError as error:
        print(name, error.errno)
"""


@pytest.fixture(params=["namespaces", "bwrap", "process"])
def host(request: pytest.FixtureRequest, host_of: Callable[[str], cloche.Host]) -> cloche.Host:
    return host_of(request.param)


@pytest.mark.parametrize("depth", ["full", "strict"])
def test_what_a_rule_refuses_is_refused_and_told(host: cloche.Host, depth: Depth) -> None:
    monitor = Monitor(depth, acts=frozenset({Act.UNLINK}), rules=(KEEP, SECRET))
    if depth == "strict" and host.config.runtime == "process":  # it has no view of its own, and says so
        with pytest.raises(cloche.Unenforceable, match="rules: "):
            host.create(isolation="standard", monitor=monitor)
        return
    with host.create(isolation="standard", monitor=monitor) as box, box.events(sources=("guest",)) as events:
        done = box.exec("python3", "-c", TRIES)
        assert done.text.splitlines() == [
            f"keep-it {errno.EACCES}", f"in/../keep-it {errno.EACCES}", "other done", f"secret {errno.EPERM}",
            f"other-secret {errno.ENOENT}", "in/link done",
            f"in/alias {errno.EPERM}", f"in/alias {errno.EPERM}", "made done",
        ], done  # fmt: skip
        told = [(event.act, event.denied) for event in events.drain() if event.flags & EventFlag.MATCHED]
        assert told == [(act, True) for act in (Act.UNLINK, Act.UNLINK, Act.OPEN, Act.OPEN, Act.CREATE)]
        assert "judges" in str(box.enforcement["rules"])
        assert isinstance(box.enforcement["rules"], cloche.Partial)
