"""Runtime ``bwrap``: Linux namespaces through bubblewrap, with a static filter and the agent as process 1."""

from __future__ import annotations

from cloche import Runtime, hookimpl
from cloche_bwrap.runtime import BwrapRuntime


@hookimpl
def cloche_runtimes() -> list[Runtime]:
    """Provide the runtime."""
    return [BwrapRuntime()]
