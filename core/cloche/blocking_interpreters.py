"""The blocking face of what a host and its sandboxes do to run code without a process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal, Unpack

from cloche.interpreters.blocking import Interpreter, Session
from cloche.interpreters.values import Bounds, ConsoleMode, Modules, Speaking

if TYPE_CHECKING:
    from cloche.bridge import Bridge
    from cloche.enforcement import Guarantee
    from cloche.host import AsyncHost
    from cloche.interpreters.stock import SessionPoolSettings
    from cloche.policy import Limits
    from cloche.sandbox import AsyncSandbox


class Boxed:
    """The sessions of a sandbox (blocking face of ``AsyncBoxed``)."""

    _inner: AsyncSandbox
    _bridge: Bridge

    def session(
        self,
        language: str,
        *,
        ttl: float | str | None = None,
        restore: bytes | None = None,
        **options: Unpack[Speaking],
    ) -> Session:
        call = partial(self._inner.session, language, ttl=ttl, restore=restore, **options)
        return Session(self._bridge.call(call).live)


class Interpreters:
    """The verbs of a host that prepare interpreters (blocking face of ``AsyncInterpreters``)."""

    _inner: AsyncHost
    _bridge: Bridge

    def interpreter(
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
    ) -> Interpreter:
        call = partial(
            self._inner.interpreter, language, isolation=isolation, runtime=runtime, require=require, limits=limits,
            bounds=bounds, modules=modules, functions=functions, console=console, harden=harden, random=random,
            clock=clock, pool=pool, strict=strict,
        )  # fmt: skip
        return Interpreter(self._bridge.call(call))
