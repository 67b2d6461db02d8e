"""Runtime ``gvisor``: sandboxes with a kernel of their own, made by gVisor's ``runsc``, without any daemon."""

from __future__ import annotations

from cloche import Runtime, hookimpl
from cloche_gvisor.runtime import GvisorRuntime


@hookimpl
def cloche_runtimes() -> list[Runtime]:
    """Provide the runtime."""
    return [GvisorRuntime()]
