"""Runtimes ``namespaces`` and ``bwrap``: the same boxes in Linux namespaces, entered directly or by bubblewrap.

Which of the two makes a box is decided by their order here, see docs/decisions/.
"""

from __future__ import annotations

from cloche import Runtime, hookimpl
from cloche_bwrap.direct import NamespacesRuntime
from cloche_bwrap.runtime import BwrapRuntime


@hookimpl
def cloche_runtimes() -> list[Runtime]:
    """Provide the runtimes, the preferred one first."""
    return [NamespacesRuntime(), BwrapRuntime()]
