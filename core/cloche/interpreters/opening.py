"""What both faces of an interpreter do with plain calls."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from cloche import units
from cloche.errors import SpecError, StateError
from cloche.interpreters.live import Live
from cloche.interpreters.prepared import NOTICES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cloche.interpreters.asynchronous import AsyncInterpreter
    from cloche.interpreters.contract import LiveInterpreter
    from cloche.interpreters.live import Flow
    from cloche.interpreters.prepared import Prepared
    from cloche.interpreters.stock import Stock


def opened(prepared: Prepared, ttl: float | str | None) -> Live:
    """Give a new session."""
    seconds = checked_ttl(ttl)
    return Live(prepared, prepared.open(), ttl=seconds)


def boxed(prepared: Prepared, ttl: float | str | None, gate: Callable[[], None], snapshot: bytes | None) -> Live:
    """Give a session, new or as it was saved, that is all that its interpreter is for."""
    seconds = checked_ttl(ttl)
    live = prepared.open() if snapshot is None else revived(prepared, snapshot)
    return Live(prepared, live, ttl=seconds, gate=gate, released=prepared.close)


def restored(prepared: Prepared, snapshot: bytes, ttl: float | str | None) -> Live:
    """Give a session as it was saved."""
    seconds = checked_ttl(ttl)
    return Live(prepared, revived(prepared, snapshot), ttl=seconds)


def revived(prepared: Prepared, snapshot: bytes) -> LiveInterpreter:
    """Give an interpreter as it was saved. Raises ``SnapshotError``."""
    if not isinstance(snapshot, bytes | bytearray | memoryview):
        raise SpecError(f"restore: the bytes that snapshot() gave are needed, not {units.shown(snapshot)}")
    prepared.check_open()
    return prepared.language.restore(bytes(snapshot))


def refuse_within(interpreters: Iterable[AsyncInterpreter], what: str) -> None:
    """Raise ``StateError`` in a function that code of one of these called: ``what`` would wait for that code."""
    here = threading.get_ident()
    if any(one._prepared.used_by(here) for one in list(interpreters)):  # noqa: SLF001 - two parts of one thing
        raise StateError(f"a function that code calls can't {what}: its run is still going on")


def pooled(prepared: Prepared, stock: Stock, live: LiveInterpreter, ttl: float | None) -> Live:
    """Give the session of one that is out of the pool, whose place is free when it is closed."""

    def released() -> None:
        stock.leave()
        if not prepared.closed:
            stock.fill()

    return Live(prepared, live, ttl=ttl, released=released)


def closed(prepared: Prepared, stock: Stock) -> None:
    """Close an interpreter with its pool."""
    stock.close()
    prepared.close()


def ended(flow: Flow, owned: Live | None) -> None:
    """End a stream, and the session that was opened for it."""
    flow.close()
    if owned is not None:
        owned.close()


def checked_ttl(ttl: float | str | None) -> float | None:
    """Give ``ttl`` in seconds. Raises ``SpecError``."""
    return None if ttl is None else units.duration(ttl, "ttl", infinite=False)


def notices(types: tuple[str, ...]) -> tuple[str, ...]:
    """Give types of notices of an interpreter, all for none. Raises ``SpecError``."""
    for one in types:
        if one not in NOTICES:
            raise SpecError(f"on: {units.shown(one)} is no notice of an interpreter; they are {', '.join(NOTICES)}")
    return types or tuple(NOTICES)
