"""A whole language in memory: a few statements written as Python's. It isolates nothing and says so.

Everything that a host does with an interpreter can be tried with it: sessions, streams, limits, calls of the host,
every way to end. Names, numbers, texts, lists, dicts, ``+``, ``*``, assignments, ``raise Error("text")``, ``yield``, a
``while`` loop without body, and calls: of functions of the host, and of these: ``print``, ``warn``, ``grow(bytes)``,
``spin()`` (which only a hard end stops), ``recurse()``, ``refused("name")`` and ``crash()``.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from cloche.enforcement import Enforcement, Kept, Partial, Unenforced
from cloche.errors import SnapshotError, StateError
from cloche.interpreters.contract import Item, Language, LiveInterpreter, Running, Stream
from cloche.interpreters.values import Ran, Reason
from cloche.testing.fake import FakeRuntime
from cloche.testing.fake_run import Ended, FakeRun

if TYPE_CHECKING:
    from cloche.interpreters.values import InterpreterSpec

IDLE: Final = 1 << 16
"""Bytes that an interpreter pretends to hold when it has run nothing."""


class FakeInterpreter(LiveInterpreter):
    """One interpreter of a ``FakeLanguage``."""

    def __init__(self, language: FakeLanguage, state: Mapping[str, Any] | None = None) -> None:
        self._language = language
        self._spec = language.spec
        self._globals: dict[str, Any] = dict(state or {})
        self._grown = 0
        self._why: Reason | None = None
        self._running = False
        self._closed = False
        self.rested = 0
        """How often it was told to rest."""
        language.interpreters.append(self)

    def run(self, code: str, variables: Mapping[str, object] | None, running: Running) -> Ran:
        """Run ``code``; a ``yield`` in it is an error."""
        done = FakeRun(self, code, variables, running, streams=False).go(None)
        assert isinstance(done, Ran)
        return done

    def stream(self, code: str, variables: Mapping[str, object] | None, running: Running) -> Stream:
        """Start a program that yields."""
        return _FakeStream(FakeRun(self, code, variables, running, streams=True))

    def interrupt(self, why: str) -> None:
        """Note that the run that goes on is to end."""
        if self._running:
            self._why = cast("Reason", why)

    def rest(self) -> None:
        """Count it."""
        self.rested += 1

    def memory(self) -> int:
        """Give what it pretends to hold."""
        return IDLE + self._grown

    def snapshot(self) -> bytes:
        """Give the globals."""
        self.check()
        return json.dumps({"template": self._language.template, "globals": self._globals}).encode()

    def close(self) -> None:
        """Take it off its language's list."""
        if not self._closed:
            self._closed = True
            self._language.interpreters.remove(self)

    # -- for its runs -----------------------------------------------------------------------------------------------

    @property
    def spec(self) -> InterpreterSpec:
        """What was asked for."""
        return self._spec

    def check(self) -> None:
        """Raise ``StateError`` once it is closed."""
        if self._closed:
            raise StateError("the interpreter is closed")

    def begin(self) -> dict[str, Any]:
        """Take up a run; give the globals."""
        self.check()
        self._running, self._why = True, None
        return self._globals

    def pause(self) -> None:
        """Lay a run down."""
        self._running = False

    def roll_back(self, state: Mapping[str, Any]) -> None:
        """Be as before."""
        self._globals = dict(state)

    def grow(self, size: int) -> None:
        """Hold more."""
        if self.memory() + size > (self._spec.limits.memory or size):
            raise Ended("limit:memory")
        self._grown += size

    def check_time(self, until: float) -> None:
        """End the run if it is to end."""
        if self._why is not None:
            raise Ended(self._why)
        if time.monotonic() >= until:
            raise Ended("timeout")


class _FakeStream(Stream):
    def __init__(self, run: FakeRun) -> None:
        self._run = run

    def next(self, sent: object = None) -> Item | Ran:
        return self._run.go(sent)

    def close(self) -> None:
        self._run.close()


class FakeLanguage(Language):
    """The language under one spec. ``interpreters`` lists those that are not closed."""

    def __init__(self, spec: InterpreterSpec, *, unkept: Mapping[str, str] | None = None) -> None:
        self.spec = spec
        pretended: Mapping[str, Kept] = dict.fromkeys(
            spec.needed(), Partial("pretended", "a fake language isolates nothing; it is for tests")
        )
        self.enforcement = Enforcement({**pretended, **{name: Unenforced(why) for name, why in (unkept or {}).items()}})
        told = (spec.language, spec.harden, spec.random, sorted(spec.modules.allow))
        self.template = hashlib.sha256(repr(told).encode()).hexdigest()
        self.interpreters: list[FakeInterpreter] = []
        self.closed = False

    def open(self) -> LiveInterpreter:
        """Give a fresh interpreter."""
        return FakeInterpreter(self)

    def restore(self, snapshot: bytes) -> LiveInterpreter:
        """Give one with the globals of a snapshot."""
        try:
            table = json.loads(snapshot)
            template, state = table["template"], dict(table["globals"])
        except (ValueError, KeyError, TypeError) as error:
            raise SnapshotError(f"the snapshot is damaged: {error}") from error
        if template != self.template:
            raise SnapshotError("the snapshot is of another template: restore it with the options it was made with")
        return FakeInterpreter(self, state)

    def close(self) -> None:
        """Note it."""
        self.closed = True


class FakeLanguageRuntime(FakeRuntime):
    """A ``FakeRuntime`` that runs a language too. ``unkept`` and ``broken`` hold for it as for boxes."""

    languages: ClassVar[frozenset[str]] = frozenset({"fake"})

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - those of FakeRuntime, checked there
        super().__init__(**options)
        self.prepared: list[FakeLanguage] = []
        """Every language that was asked for."""

    def language(self, spec: InterpreterSpec) -> Language:
        """Give the language."""
        self.prepared.append(FakeLanguage(spec, unkept=self.unkept))
        return self.prepared[-1]
