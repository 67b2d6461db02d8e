"""The part of a sandbox that ends it: by itself, for its time, at its user's word."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import anyio

from cloche.errors import SnapshotError, StateError
from cloche.interpreters.boxed import AsyncBoxed
from cloche.monitoring.shown import AsyncShown
from cloche.notices import NoticeType
from cloche.spec import State

if TYPE_CHECKING:
    from cloche.background import Watchers
    from cloche.host import AsyncHost
    from cloche.pool.warm import Warm
    from cloche.programs import Programs
    from cloche.sandbox import AsyncSandbox
    from cloche.snapshots.saving import Saving
    from cloche.snapshots.snapshot import BoxSnapshot


class Ending(AsyncShown, AsyncBoxed):
    """How a sandbox comes to its end, and gives back what it holds."""

    deleted: bool
    _host: AsyncHost
    _programs: Programs
    _turn: anyio.Lock
    _pausing: anyio.Lock
    _watchers: Watchers
    _warm: Warm | None
    """What held the box before, if it comes out of a pool."""

    async def _watch(self) -> None:
        broken = ""
        try:
            waiting = self._instance.wait() if self._warm is None else self._warm.fallen()
            reason = await waiting or "it went down by itself"
        except Exception as error:  # noqa: BLE001 - a runtime that breaks its contract; its box can't be trusted any more
            reason = broken = f"its runtime failed: {type(error).__name__}: {error}"
        if self.state is not State.STOPPED:
            self.state, self.reason = State.STOPPED, reason
            self._emit(NoticeType.FAILED, error=reason)
        await self._close_sessions()
        if broken:
            await self._kill()
        self._stopped.set()

    async def _give_back(self) -> None:
        if self.deleted:
            return
        self._watchers.cancel()
        if self._warm is not None:
            self._warm.let_go()
        self._mark_stopped("deleted", cause="killed")
        try:
            await self._close_sessions()
            await self._reach.aclose()
            await self._end_watch()
            await self._instance.delete()
            await self._programs.ended()
        finally:
            self._stopped.set()
        self.deleted = True
        self._host.forget(cast("AsyncSandbox", self))  # the one class that this is a part of
        await self._close_hub()

    async def save(self, label: str, template: str = "") -> BoxSnapshot:
        """Do what ``checkpoint`` does, for a template of that key too; called by those who make templates."""
        from cloche.snapshots.saving import Saving  # noqa: PLC0415 - few sandboxes are saved

        async with self._pausing, self._turn:
            self._need("save", State.RUNNING)
            if running := self._programs.running():
                raise StateError(
                    f"can't save sandbox {self.id}: {running} of its programs have not ended; end or await them first"
                )
            async with Saving(self._host, cast("AsyncSandbox", self), label, template) as saving:
                self.state, self.reason = State.STOPPED, "checkpointed"  # nothing starts, and its end is no news
                with anyio.CancelScope(shield=True):
                    await self._write(saving)
                return await saving.commit()

    async def _write(self, saving: Saving) -> None:
        try:
            await saving.write(self._instance)
        except SnapshotError:
            if not self._stopped.is_set():
                self.state, self.reason = State.RUNNING, ""
            raise
        finally:
            if self.state is State.STOPPED:
                await self._down()

    async def _down(self) -> None:
        """Note that it is down, its programs gone."""
        self._programs.end("killed", f"its sandbox was stopped: {self.reason}")
        await self._close_sessions()
        await self._instance.kill()
        self._stopped.set()
        self._emit(NoticeType.STOPPED, reason=self.reason)

    async def _expire(self, what: str, bound: float) -> None:
        await (anyio.sleep(bound) if what == "lifetime" else self._programs.quiet(bound))
        await self._stop(f"limit:{what}")

    async def _stop(self, reason: str) -> None:
        news = self._mark_stopped(reason, cause=reason)
        await self._close_sessions()
        await self._kill()
        self._stopped.set()
        if news:
            self._emit(NoticeType.STOPPED, reason=reason)

    async def _kill(self) -> None:
        with anyio.CancelScope(shield=True):
            async with self._turn:
                if not self.deleted:
                    await self._instance.kill()

    def _mark_stopped(self, reason: str, *, cause: str) -> bool:
        """Let no more programs start and say why the running ones end; gives whether that is news."""
        self._programs.end(cause, f"its sandbox was stopped: {reason}")
        if self.state is State.STOPPED:
            return False
        self.state, self.reason = State.STOPPED, reason
        return True
