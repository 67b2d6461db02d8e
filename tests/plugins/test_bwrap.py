from __future__ import annotations

from cloche.testing import RuntimeConformance
from cloche_bwrap.runtime import BwrapRuntime


class TestBwrap(RuntimeConformance):
    runtime = BwrapRuntime
