"""JavaScript prepared under one spec: its template, and what is the same for all interpreters made of it."""

from __future__ import annotations

import contextlib
import os
import re
import weakref
from collections.abc import Callable, Mapping
from typing import Final

from cloche import (
    Bounds,
    GuestError,
    InterpreterSpec,
    LiveInterpreter,
    Ran,
    Running,
    SnapshotError,
    SpecError,
)
from cloche_native import wasm
from cloche_wasm import engine, template
from cloche_wasm.boot import Recipe
from cloche_wasm.bridge import bridged, link
from cloche_wasm.cache import Cache
from cloche_wasm.javascript import boot, codec, report
from cloche_wasm.javascript.gate import ROOM, Gate
from cloche_wasm.javascript.live import JavaScriptInterpreter
from cloche_wasm.javascript.sources import Sources
from cloche_wasm.living import Molded, memory_of
from cloche_wasm.typescript import to_javascript

_RESTORED: Final = 5.0
"""Seconds in which a restored guest must say that it is there."""
_languages: weakref.WeakSet[JavaScriptLanguage] = weakref.WeakSet()
_IDENTIFIER: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")


def _body(translate: Callable[[str], str], code: str) -> str:
    """Translate what is not a program by itself: it may yield and return."""
    whole = translate(f"async function* stream() {{\n{code}\n}}")
    return whole[whole.index("{") + 1 : whole.rindex("}")]


def _name(name: str) -> str:
    if not isinstance(name, str) or _IDENTIFIER.fullmatch(name) is None:
        raise SpecError(f"functions: {name!r:.80} is no name that JavaScript can call")
    return name


def typescript(spec: InterpreterSpec, *, cache: Cache | None = None) -> JavaScriptLanguage:
    """Prepare TypeScript: types are taken off, not checked, and the rest is JavaScript."""
    return JavaScriptLanguage(spec, cache=cache, translate=to_javascript)


class JavaScriptLanguage(Molded):
    """Interpreters of one spec. ``translate`` makes JavaScript of code in another language, or raises ``SpecError``."""

    magic = b"clochejs"

    def __init__(
        self, spec: InterpreterSpec, *, cache: Cache | None = None, translate: Callable[[str], str] | None = None
    ) -> None:
        """Make its template, which takes a second or two where there is none in the cache.

        Raises ``SpecError`` for modules or functions that can't be, ``StartError``, ``RuntimeUnavailable``.
        """
        self.spec = spec
        self.enforcement = report.of(spec)
        self.memory = memory_of(spec)
        """Bytes that one of its interpreters may have."""
        self._translate = translate
        self._functions = [_name(name) for name in spec.functions]
        self._sources = Sources(spec.modules)
        try:
            self._made = self._prepare(cache)
        except BaseException:
            self._sources.close()
            raise
        self.template = self._made.digest
        self.commands, self.prepares = self._made.handles["command"], self._made.handles["prepare"]
        self._image = self._made.image[:]
        self._mold = self._molded(self._made)
        self._brief = self._briefly(cache)
        """What those for a single run are made of, as long as there are places for them."""
        _languages.add(self)

    def open(self) -> LiveInterpreter:
        """Give a fresh interpreter."""
        return JavaScriptInterpreter(self, self.opened())

    def once(self, code: str, variables: Mapping[str, object] | None, running: Running) -> Ran:
        """Run ``code`` in an interpreter of its own, whose state before the run nobody will want."""
        live = JavaScriptInterpreter(self, self._briefly_opened(), keeps=False)
        try:
            running.interrupt = live.interrupt
            return live.run(code, variables, running)
        finally:
            live.close()

    def restore(self, snapshot: bytes) -> LiveInterpreter:
        """Give an interpreter in the state of ``snapshot``."""
        instance = self.unsaved(snapshot)
        out = instance.invoke(self.commands, (b"restored",), wall=_RESTORED, grace=1.0, calls=self.gate(Running(1.0)))
        if out.text != b"":
            instance.close()
            raise SnapshotError("the snapshot holds no interpreter that answers")
        return JavaScriptInterpreter(self, instance)

    def close(self) -> None:
        """Close the folder of modules; the template goes with its last user."""
        self._sources.close()

    def source(self, code: str, *, yields: bool = False) -> bytes | Ran:
        """Give code as it is run, or how it ends where it can't be. With ``yields`` it is the body of a stream."""
        text = self.text(code)
        if isinstance(text, Ran):
            return text
        if b"\0" in text:
            return Ran("error", error=GuestError("SyntaxError", "the code holds a NUL character"))
        if self._translate is None:
            return text
        try:
            return _body(self._translate, code).encode() if yields else self._translate(code).encode()
        except SpecError as error:
            return Ran("error", error=GuestError("SyntaxError", str(error)))

    def gate(self, running: Running) -> Gate:
        """Give who answers in one run."""
        return Gate(self.spec, self._sources, running)

    def setup(self, running: Running) -> dict[str, object]:
        """Give what each interpreter is told before its first run, where it is not as the template has it."""
        told: dict[str, object] = {}
        if self.spec.bounds.value != Bounds().value:
            told["value"] = self.spec.bounds.value
        if self.spec.limits.output is not None and self.spec.limits.output < ROOM:
            told["room"] = self.spec.limits.output
        if self._functions and running.calls is not None:
            told["functions"] = [[name, running.calls.is_async(name) is True] for name in self._functions]
        return told

    def console(self, running: Running) -> str:
        """Give what the guest's console does in a run."""
        if self.spec.console == "off":
            return "off"
        return "collect" if running.on_console is None else "live"

    def packed(self, variables: Mapping[str, object]) -> str:
        """Give variables as the guest takes them. Raises ``SpecError``."""
        return self.crossing(variables, codec.pack)

    def forked(self) -> None:
        """Do without what a process made by fork can't rely on: somebody may have held its locks. Nothing is freed."""
        self._left, self._brief = self._brief, None

    def _briefly_opened(self) -> wasm.Instance:
        if (mold := self._brief) is not None:
            with contextlib.suppress(wasm.StartError):  # all places are taken
                return mold.open()
        return self.opened()

    def _prepare(self, cache: Cache | None) -> template.Template:
        names, texts = self._sources.preloaded()
        scripts = boot.scripts(harden=self.spec.harden, preload=names, texts=texts)
        self._recipe = Recipe(scripts, functions=(boot.GATE,))
        return template.prepare(self._recipe, engine.engine(self.spec.bounds.stack), link, cache=cache)

    def _briefly(self, cache: Cache | None) -> wasm.Mold | None:
        pooled = engine.pooled(self.spec.bounds.stack)
        return None if pooled is None else self._molded(template.prepare(self._recipe, pooled, link, cache=cache))

    def _molded(self, made: template.Template) -> wasm.Mold:
        handles = {name: made.handles[name] for name in wasm.Entries._fields}
        return wasm.Mold(
            bridged(made.engine),
            made.pre,
            image=self._image,
            stack_pointer=made.stack_pointer,
            dead=made.stack_pointer,  # the stack comes first, and is empty between calls
            entries=wasm.Entries(**handles),
            memory=self.memory,
            result=2 * self.spec.bounds.value + 1024,  # the guest counts characters, and says which value is too large
            clock=self.spec.clock,
        )


def _after_fork() -> None:
    for language in list(_languages):
        language.forked()
    engine.pooled.cache_clear()


os.register_at_fork(after_in_child=_after_fork)
