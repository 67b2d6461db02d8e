from __future__ import annotations

from cloche.testing import RuntimeConformance
from cloche_process.runtime import ProcessRuntime


class TestProcess(RuntimeConformance):
    runtime = ProcessRuntime
