"""Tools for testing what is built on cloche, or extends it. Never imported by cloche itself.

``RuntimeConformance`` tests any runtime, ``VfsConformance`` any file system,
``EventSourceConformance`` any source of events, ``SnapshotConformance`` any runtime
that saves its sandboxes, ``LanguageConformance`` any language that a runtime runs
without a process. ``FakeRuntime`` stands in for a real runtime;
``cloche.testing.leaks`` is a pytest plugin with the fixture ``no_leaks``.
"""

import importlib
import sys
from typing import TYPE_CHECKING

from cloche.testing.fake import FakeInstance, FakeProcess, FakeRuntime
from cloche.testing.fake_language import FakeInterpreter, FakeLanguage, FakeLanguageRuntime
from cloche.testing.guest import Guest, Program
from cloche.testing.language_programs import FAKE, JAVASCRIPT, PYTHON, LanguagePrograms
from cloche.testing.programs import PROGRAMS
from cloche.testing.rules import assert_rule
from cloche.testing.speaking import GuestPrograms

if TYPE_CHECKING:
    from cloche.testing.conformance import RuntimeConformance
    from cloche.testing.events import EventSourceConformance
    from cloche.testing.languages import LanguageConformance
    from cloche.testing.snapshots import SnapshotConformance
    from cloche.testing.vfs import VfsConformance

__all__ = [
    "FAKE",
    "JAVASCRIPT",
    "PROGRAMS",
    "PYTHON",
    "EventSourceConformance",
    "FakeInstance",
    "FakeInterpreter",
    "FakeLanguage",
    "FakeLanguageRuntime",
    "FakeProcess",
    "FakeRuntime",
    "Guest",
    "GuestPrograms",
    "LanguageConformance",
    "LanguagePrograms",
    "Program",
    "RuntimeConformance",
    "SnapshotConformance",
    "VfsConformance",
    "assert_rule",
]


def __getattr__(name: str) -> object:
    """Import the conformance tests when they are asked for: they need pytest, the rest does not."""
    homes = {
        "RuntimeConformance": "conformance", "VfsConformance": "vfs", "EventSourceConformance": "events",
        "LanguageConformance": "languages", "SnapshotConformance": "snapshots",
    }  # fmt: skip
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pytest  # noqa: PLC0415 - see above

    parts = [
        f"cloche.testing.{part}"
        for part in (*homes.values(), "ends", "guarantees", "language_ends", "vfs_names", "vfs_model")
    ]
    pytest.register_assert_rewrite(*(part for part in parts if part not in sys.modules))
    return getattr(importlib.import_module(f"cloche.testing.{homes[name]}"), name)
