"""Tools for testing what is built on cloche, or extends it. Never imported by cloche itself.

``FakeRuntime`` stands in for a real one; ``cloche.testing.leaks`` is a pytest plugin with the fixture ``no_leaks``.
"""

from cloche.testing.fake import FakeInstance, FakeProcess, FakeRuntime
from cloche.testing.guest import Guest, Program
from cloche.testing.programs import PROGRAMS

__all__ = ["PROGRAMS", "FakeInstance", "FakeProcess", "FakeRuntime", "Guest", "Program"]
