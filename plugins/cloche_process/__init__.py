"""Runtime ``process``: a plain process with every restriction Linux offers without namespaces."""

from __future__ import annotations

from cloche import Runtime, hookimpl
from cloche_process.runtime import ProcessRuntime


@hookimpl
def cloche_runtimes() -> list[Runtime]:
    """Provide the runtime."""
    return [ProcessRuntime()]
