"""The part of a host that prepares interpreters: which runtime runs a language, and what it keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, TypeVar, cast, get_args

from cloche import units
from cloche.enforcement import Guarantee
from cloche.errors import ClocheError, RuntimeUnavailable, SpecError, StateError, Unenforceable
from cloche.interpreters.asynchronous import AsyncInterpreter
from cloche.interpreters.calls import checked
from cloche.interpreters.keyboard import Keyboard
from cloche.interpreters.opening import refuse_within
from cloche.interpreters.prepared import Prepared
from cloche.interpreters.stock import SessionPoolSettings
from cloche.interpreters.values import Bounds, ConsoleMode, InterpreterSpec, Modules
from cloche.policy import Limits
from cloche.programs import blame

if TYPE_CHECKING:
    from cloche.host import AsyncHost
    from cloche.interpreters.contract import Language
    from cloche.runtime import Runtime
    from cloche.spec import Spec

SHORT: Final = {"js": "javascript", "ts": "typescript", "py": "python"}
THREADS: Final = 64
"""Threads of the asynchronous face of one host: as many runs go on at once."""
T = TypeVar("T")


class AsyncInterpreters:
    """What a host does to run code without a process."""

    _interpreters: set[AsyncInterpreter]
    _keyboard: Keyboard
    _threads: ThreadPoolExecutor | None = None

    async def interpreter(
        self,
        language: str,
        *,
        isolation: str | None = None,
        runtime: str | None = None,
        require: Iterable[Guarantee | str] = (),
        limits: Limits | Mapping[str, object] | None = None,
        bounds: Bounds | Mapping[str, object] | None = None,
        modules: Modules | Mapping[str, object] | None = None,
        functions: Mapping[str, Callable[..., object]] | None = None,
        console: ConsoleMode = "collect",
        harden: bool = True,
        random: bool = True,
        clock: Literal["host", "frozen"] = "host",
        pool: SessionPoolSettings | Mapping[str, object] | None = None,
        strict: bool = True,
    ) -> AsyncInterpreter:
        """Prepare to run code of a language (``javascript``, ``typescript``, ``python``), each time isolated.

        ``isolation``, ``require``, ``limits`` and ``strict`` are as for ``create``; of limits those on memory, output,
        wall, disk and files hold for each run or session. ``bounds`` are on stack, source, values and calls;
        ``modules`` is what code may import, ``functions`` what it may call of the host, where a coroutine function
        runs on the host's event loop. ``console`` is collected in ``Ran.console``, printed (``inherit``) or ``off``.
        With ``harden`` the language's own objects are frozen; without ``random`` all draw the same random numbers;
        with ``clock="frozen"`` time stands still. ``pool`` is what waits for ``acquire``. The first one on a machine
        may take seconds. Raises ``SpecError``, ``Unenforceable``, ``RuntimeUnavailable``, ``StartError``.
        """
        host = self._open_host()
        kept = SessionPoolSettings.of(pool)
        asked = host.asked(isolation=isolation, require=require, limits=limits, strict=strict)[1]
        spec = interpreter_spec(
            language, asked, bounds=bounds, modules=modules, functions=functions, console=console, harden=harden,
            random=random, clock=clock,
        )  # fmt: skip
        chosen, prepared = await self._choose_language(spec, host.config.runtime if runtime is None else runtime)
        return await self._interpret(chosen, prepared, spec, kept)

    # -- for sandboxes ----------------------------------------------------------------------------------------------

    async def interpret_in(self, name: str, spec: InterpreterSpec, owner: str) -> AsyncInterpreter:
        """Prepare a language of one runtime for a sandbox; called by it."""
        self._open_host()
        chosen, prepared = await self._choose_language(spec, name)
        return await self._interpret(chosen, prepared, spec, SessionPoolSettings(), owner)

    def check_outside(self, what: str) -> None:
        """Raise ``StateError`` in a function that code of this host called: ``what`` would wait for that code."""
        refuse_within(self._interpreters, what)

    async def close_interpreters(self) -> None:
        """End all interpreters and their threads; called as the host closes."""
        for interpreter in list(self._interpreters):
            await interpreter.close()
        self._keyboard.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _open_host(self) -> AsyncHost:
        host = cast("AsyncHost", self)  # the one class that this is a part of
        if host.tasks is None:
            raise StateError("the host is not open; use it as a context manager")
        return host

    async def _interpret(
        self, chosen: Runtime, language: Language, spec: InterpreterSpec, kept: SessionPoolSettings, owner: str = ""
    ) -> AsyncInterpreter:
        host, threads = cast("AsyncHost", self), self._executor()
        loop = asyncio.get_running_loop()
        prepared = Prepared(
            language, spec, runtime=chosen.name, loop=loop, listeners=host.subscriptions, keyboard=self._keyboard,
            owner=owner,
        )  # fmt: skip
        made = AsyncInterpreter(prepared, kept, threads)
        self._interpreters.add(made)
        prepared.on_closed = partial(self._interpreters.discard, made)
        try:
            await made.pool.warm()
        except BaseException:
            await made.close()
            raise
        return made

    def _executor(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="cloche-run")
        return self._threads

    async def _choose_language(self, spec: InterpreterSpec, wanted: str | None) -> tuple[Runtime, Language]:
        """Give who runs the language, and it prepared: of those that keep all that is asked the level's preference."""
        host = self._open_host()
        if wanted is not None and (reason := await host.unavailable(wanted)) is not None:
            raise RuntimeUnavailable(wanted, reason)
        able = [one for one in host.runtimes.values() if spec.language in one.languages]
        if not able:
            known = sorted({name for one in host.runtimes.values() for name in one.languages})
            raise SpecError(
                f"language: {units.shown(spec.language)} is run by no runtime that is loaded; they run: "
                f"{', '.join(known) or 'none'}"
            )
        if wanted is not None:
            able = [one for one in able if one.name == wanted]
            if not able:
                raise SpecError(f"language: runtime {wanted!r} does not run {spec.language}; leave out runtime=")
        strong = spec.level.prefer == "strong"
        able.sort(key=lambda one: (strong or Guarantee.KERNEL not in one.guarantees, one.strength), reverse=True)
        refused: dict[str, str] = {}
        for one in able:
            if (reason := await host.unavailable(one.name)) is not None:
                refused[one.name] = reason
                continue
            language = await self._in_thread(partial(_prepared, one, spec, refused))
            if language is not None:
                return one, language
        raise Unenforceable(_nothing_left(spec, refused), reasons=refused)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor(), work)


def interpreter_spec(
    language: str,
    asked: Spec,
    *,
    bounds: Bounds | Mapping[str, object] | None = None,
    modules: Modules | Mapping[str, object] | None = None,
    functions: Mapping[str, Callable[..., object]] | None = None,
    console: ConsoleMode = "collect",
    harden: bool = True,
    random: bool = True,
    clock: Literal["host", "frozen"] = "host",
) -> InterpreterSpec:
    """Give the whole, checked request: level, limits and guarantees are those of ``asked``. Raises ``SpecError``."""
    if not isinstance(language, str) or not language:
        raise SpecError(f"language: a name such as 'javascript' is needed, not {units.shown(language)}")
    for name, value in (("harden", harden), ("random", random)):
        if not isinstance(value, bool):
            raise SpecError(f"{name} is True or False, not {units.shown(value)}")
    if console not in get_args(ConsoleMode):
        raise SpecError(f"console: {units.shown(console)} is unknown; use {', '.join(get_args(ConsoleMode))}")
    if clock not in ("host", "frozen"):
        raise SpecError(f"clock: {units.shown(clock)} is unknown; use host or frozen")
    return InterpreterSpec(
        language=SHORT.get(language, language), level=asked.level, limits=asked.limits,
        bounds=_of(Bounds, bounds, "bounds"), modules=checked_modules(_of(Modules, modules, "modules")),
        functions=checked(functions), console=console, harden=harden, random=random, clock=clock, strict=asked.strict,
        guarantees=asked.guarantees,
    )  # fmt: skip


def checked_modules(modules: Modules) -> Modules:
    """Give modules with names and sources checked. Raises ``SpecError``."""
    allow = frozenset(units.text(name, "modules.allow") for name in units.sequence(modules.allow, "modules.allow"))
    if not isinstance(modules.sources, Mapping):
        raise SpecError(f"modules.sources: a mapping is needed, not {units.shown(modules.sources)}")
    for name, source in modules.sources.items():
        if not isinstance(name, str) or not isinstance(source, str):
            raise SpecError(f"modules.sources: {units.shown(name)}: names and sources are text")
    folder = None if modules.folder is None else units.host_path(modules.folder, "modules.folder")
    preload = tuple(units.text(name, "modules.preload") for name in units.sequence(modules.preload, "modules.preload"))
    made = replace(modules, allow=allow, folder=folder, preload=preload)
    if refused := [name for name in preload if not made.allows(name)]:
        raise SpecError(f"modules.preload: {', '.join(refused)} may not be imported; add to modules.allow")
    return made


def _of(kind: type[T], value: T | Mapping[str, object] | None, what: str) -> T:
    if value is None:
        return kind()
    if isinstance(value, Mapping):
        return kind(**units.fields_of(kind, value, what))
    units.instance(value, kind, what)
    return value


def _prepared(runtime: Runtime, spec: InterpreterSpec, refused: dict[str, str]) -> Language | None:
    """Give the language as this runtime runs it, or note why it can't. ``SpecError`` is for the caller."""
    try:
        with blame(runtime.name):
            language = runtime.language(spec)
    except SpecError:
        raise
    except ClocheError as error:
        refused[runtime.name] = str(error)
        return None
    unmet = language.enforcement.refusals(spec.needed())
    if unmet and spec.strict:
        refused[runtime.name] = "; ".join(f"{feature}: {why}" for feature, why in unmet.items())
        language.close()
        return None
    return language


def _nothing_left(spec: InterpreterSpec, refused: Mapping[str, str]) -> str:
    lines = "".join(f"\n  {name}: {why}" for name, why in refused.items())
    return (
        f"no runtime here can run {spec.language} at isolation {spec.level.name!r} as asked; nothing was run:{lines}\n"
        "ask for less, or give strict=False to run with what can be kept (interpreter.enforcement says what that is).\n"
        "`cloche doctor` shows how to fix the machine"
    )
