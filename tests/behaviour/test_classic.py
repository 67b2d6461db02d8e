"""Classic escapes have no effect, and each is told: as a violation, or as an incident of a rule.

Under gVisor what its filter and its kernel refuse is told by nobody; there it is enough that nothing came of it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import cloche
from tests.behaviour import tried
from tests.behaviour.classic import ESCAPES, Escape
from tests.behaviour.ground import REFUSING


@pytest.mark.parametrize("one", ESCAPES, ids=lambda one: one.id)
def test_a_classic_escape_is_refused_and_told(host: cloche.Host, programs: Path, runtime: str, one: Escape) -> None:
    seen = tried.escape(host, one, programs, runtime)
    assert not seen.done, seen
    assert seen.rules | seen.refused or runtime not in REFUSING, seen
