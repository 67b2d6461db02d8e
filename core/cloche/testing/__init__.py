"""Tools for testing what is built on cloche, or extends it. Never imported by cloche itself.

``RuntimeConformance`` tests any runtime, ``FakeRuntime`` stands in for a real one; ``cloche.testing.leaks`` is a
pytest plugin with the fixture ``no_leaks``.
"""

from typing import TYPE_CHECKING

from cloche.testing.fake import FakeInstance, FakeProcess, FakeRuntime
from cloche.testing.guest import Guest, Program
from cloche.testing.programs import PROGRAMS

if TYPE_CHECKING:
    from cloche.testing.conformance import RuntimeConformance

__all__ = ["PROGRAMS", "FakeInstance", "FakeProcess", "FakeRuntime", "Guest", "Program", "RuntimeConformance"]


def __getattr__(name: str) -> object:
    """Import the conformance tests when they are asked for: they need pytest, the rest does not."""
    if name != "RuntimeConformance":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pytest  # noqa: PLC0415 - see above

    pytest.register_assert_rewrite("cloche.testing.conformance", "cloche.testing.guarantees")
    from cloche.testing.conformance import RuntimeConformance  # noqa: PLC0415 - the same

    return RuntimeConformance
