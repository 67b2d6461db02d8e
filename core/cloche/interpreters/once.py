"""Code run without a host of one's own: a host for the whole process, made when it is first needed.

Interpreters are kept by their options. A process made by fork begins anew: threads don't come along.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack

from cloche.interpreters.values import Bounds, Modules

if TYPE_CHECKING:
    from cloche.blocking import Host
    from cloche.interpreters.blocking import Interpreter
    from cloche.interpreters.prepared import OnConsole
    from cloche.interpreters.values import Ran

KEPT: Final = 16
"""Interpreters that stay prepared; the one not used for longest goes when another is needed."""


@dataclass(slots=True)
class _Kept:
    interpreter: Interpreter
    users: int = 0


class Shared:
    """The host of the process and its interpreters. Used by many threads."""

    def __init__(self) -> None:
        self._host: Host | None = None
        self._lock = threading.Lock()
        self._making = threading.Lock()
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()

    @contextmanager
    def interpreter(self, language: str, options: Mapping[str, Any]) -> Iterator[Interpreter]:
        """Give an interpreter that is prepared with ``options``; it stays while it is used."""
        key = (language, *(_hashable(value) for value in options.values()))
        kept = self._take(key) or self._make(key, language, options)
        try:
            yield kept.interpreter
        finally:
            with self._lock:
                kept.users -= 1

    def close(self) -> None:
        """Close everything; it may be used again afterwards."""
        with self._making:
            with self._lock:
                kept, self._kept = self._kept, OrderedDict()
                host, self._host = self._host, None
            for one in kept.values():
                one.interpreter.close()
            if host is not None:
                host.__exit__(None, None, None)

    def _take(self, key: Hashable) -> _Kept | None:
        with self._lock:
            if (kept := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                kept.users += 1
            return kept

    def _make(self, key: Hashable, language: str, options: Mapping[str, Any]) -> _Kept:
        with self._making:
            if (kept := self._take(key)) is not None:  # another thread has made it meanwhile
                return kept
            if self._host is None:
                from cloche.blocking import Host  # noqa: PLC0415 - see cloche.__getattr__

                self._host = Host(registry=False, pool=False)
                self._host.__enter__()
            made = _Kept(self._host.interpreter(language, **options), users=1)
            with self._lock:
                self._kept[key] = made
                late = [one for one, kept in self._kept.items() if not kept.users][: max(0, len(self._kept) - KEPT)]
                gone = [self._kept.pop(one) for one in late]
            for one in gone:
                one.interpreter.close()
            return made


class Once(TypedDict, total=False):
    """The options of ``run_js`` and its like."""

    timeout: float | str | None
    memory: int | str | None
    isolation: str | None
    functions: Mapping[str, Callable[..., object]] | None
    modules: Modules | None
    bounds: Bounds | None
    on_console: OnConsole | None
    strict: bool


def run_js(code: str, variables: Mapping[str, object] | None = None, **options: Unpack[Once]) -> Ran:
    """Run JavaScript in a fresh interpreter and give how it ended: ``cloche.run_js("1 + 2").value`` is 3.

    ``variables`` are copied in as globals. Options: ``timeout`` in seconds and ``memory`` in bytes (or text like
    ``"64M"``) at most, ``functions`` of this process that it may call, ``modules`` it may import, ``bounds``,
    ``on_console`` for each line it prints, and ``isolation`` and ``strict`` as for ``Host.create``. The first call in a
    process takes longer: it opens a host, which is closed at the end of the process. Code that fails is data. Raises
    ``SpecError``, ``Unenforceable``, ``StartError``.
    """
    return _run("javascript", code, variables, **options)


def run_ts(code: str, variables: Mapping[str, object] | None = None, **options: Unpack[Once]) -> Ran:
    """Run TypeScript, its types taken off unchecked; as ``run_js``."""
    return _run("typescript", code, variables, **options)


def run_python(code: str, variables: Mapping[str, object] | None = None, **options: Unpack[Once]) -> Ran:
    """Run Python without a process; as ``run_js``. Programs with packages of their own are for ``cloche.run``."""
    return _run("python", code, variables, **options)


def _run(
    language: str,
    code: str,
    variables: Mapping[str, object] | None,
    *,
    timeout: float | str | None = None,
    memory: int | str | None = None,
    on_console: OnConsole | None = None,
    isolation: str | None = None,
    functions: Mapping[str, Callable[..., object]] | None = None,
    modules: Modules | None = None,
    bounds: Bounds | None = None,
    strict: bool = True,
) -> Ran:
    options = {
        "isolation": isolation, "limits": None if memory is None else {"memory": memory}, "functions": functions,
        "modules": modules, "bounds": bounds, "strict": strict,
    }  # fmt: skip
    with _shared.interpreter(language, options) as interpreter:
        return interpreter.run(code, variables, timeout=timeout, on_console=on_console)


def close() -> None:
    """Close what this process has open for such runs; called at its end."""
    _shared.close()


def _hashable(value: object) -> Hashable:
    """Give what stands for an option in a key; a function for itself, however it compares."""
    if isinstance(value, Modules):
        return (value.allow, tuple(sorted(value.sources.items())), value.folder, value.preload)
    if isinstance(value, Mapping):
        return tuple((name, id(one) if callable(one) else one) for name, one in value.items())
    return value if isinstance(value, Hashable) else repr(value)


def _begin_anew() -> None:
    global _shared  # noqa: PLW0603 - one for each process, which is what this module is for
    _left.append(_shared)  # its threads are not here; what it holds must not be given back as if they were
    _shared = Shared()


_shared = Shared()
_left: list[Shared] = []
os.register_at_fork(after_in_child=_begin_anew)
atexit.register(close)
