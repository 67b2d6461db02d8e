"""How one box is watched: its trace session, the pipe of its strace, and whether both are still there."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import anyio

from cloche import Act, Monitor, Origin, SandboxError, Spec, StartError, Unsupported
from cloche_gvisor import session
from cloche_gvisor.contract import Control
from cloche_gvisor.control import SocketControl
from cloche_gvisor.reflex import Reflex
from cloche_gvisor.source import SentrySource
from cloche_native.lines import Lines
from cloche_native.seccheck import Listener

LOG: Final = 9
"""Descriptor at which runsc finds the pipe."""
BUFFER: Final = 4 << 20
"""Bytes of messages that wait for the listener; then the guest waits."""
RING_LEAST: Final = 4 << 20
BEAT: Final = 0.5
"""Seconds between two looks at whether the session is still there, and what it lost."""
MISSED: Final = 3
"""How often a sentry may give no answer in a row."""
UNTRACED: Final = (
    "paths of acts that were not watched from the start are not told: gVisor writes them only if asked then"
)


class Watching:
    """Watches one box, from its launch to its end."""

    def __init__(self, spec: Spec) -> None:
        """Take what is asked. Until ``close`` a pipe is held, where texts come by one."""
        self.source: SentrySource | None = None
        self.reflex: Reflex | None = None
        """What stops the guest at once, where a control socket is had."""
        self._monitor = spec.monitor
        self._number = spec.number
        self._origin = Origin({spec.number: spec.id})
        asked = session.asked(session.at_depth(spec.monitor.seen, spec.monitor.depth))
        self._traced = asked.traced
        self._lines: Lines | None = None
        self._log = self._theirs = -1
        if self._traced:
            ours, self._log = os.pipe2(os.O_CLOEXEC)
            self._lines = Lines(ours)

    def flags(self) -> tuple[str, ...]:
        """Give what runsc is to be told on its command line."""
        return session.strace(self._traced, f"/proc/self/fd/{LOG}")

    def passed(self) -> Mapping[int, int]:
        """Give the descriptors that the launcher takes over, by their numbers there."""
        return {LOG: self._log} if self._log >= 0 else {}

    async def start(self, control: Control) -> None:
        """Have the sentry tell from now on: before any program runs. Raises ``StartError``."""
        self._close_log()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with suppress(PermissionError):  # without root the usual room must do; nothing is lost for it
            theirs.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, BUFFER)
        self._theirs = theirs.detach()  # it blocks: a sentry waits for room, and its guest with it
        monitor, acts = self._monitor, _told(self._monitor)
        asked = session.asked(session.at_depth(monitor.seen, monitor.depth))
        try:
            await control.pause()  # between these two no program may be born
            there = await control.processes()
            for message in session.there(there):
                os.write(self._theirs, message)
            await control.trace_create(asked.session, [self._theirs])
            # In a restored box cloche-inner is not paused, and gets processes ready for programs that are to come.
            known = {task.pid for task in there}
            for message in session.there(task for task in await control.processes() if task.pid not in known):
                os.write(self._theirs, message)
            await control.resume()
            listener = Listener(
                ours.fileno(), sandbox=self._number, wants=[act.number for act in acts], shadows=session.shadows(),
                lines=self._lines,
                ring=max(RING_LEAST, 1 << (monitor.ring - 1).bit_length()),
            )  # fmt: skip
        except (SandboxError, OSError) as error:
            ours.close()
            raise StartError(f"the box can't be watched: {error}") from error
        ours.detach()
        self.source = SentrySource(listener, acts, self._origin, waits=monitor.overload == "wait")
        if isinstance(control, SocketControl):
            try:
                self.reflex = await Reflex.of(listener, control)
            except SandboxError as error:
                raise StartError(f"the box can't be stopped by rules: {error}") from error
        if monitor.rules:
            self.source.judge(self.source.program(monitor.rules))

    async def change(self, monitor: Monitor, control: Control) -> Mapping[str, str]:
        """Watch as ``monitor`` says from now on; see ``Instance.watch``. The guest stands still meanwhile."""
        if self.source is None:
            raise SandboxError("the box is not watched yet: it was not started")
        if monitor.depth == "strict":
            raise Unsupported("monitor: gVisor lets nobody act in its guest's place; use 'full'")
        asked = session.asked(session.at_depth(monitor.seen, monitor.depth), self._traced)
        program = self.source.program(monitor.rules)
        before = session.asked(session.at_depth(self._monitor.seen, self._monitor.depth), self._traced)
        if asked != before:
            await control.pause()
            try:
                await control.trace_create(asked.session, [self._theirs], force=True)
            finally:
                await control.resume()  # it stands still still if it did before: a sentry counts
        if monitor.rules != self._monitor.rules:
            self.source.judge(program)
        self.source.change(_told(monitor))
        self._monitor = monitor
        return {name: UNTRACED for name in ("events", "rules") if asked.traced - self._traced}

    async def beat(self, control: Control) -> None:
        """Look again and again whether the session is there and what it lost; tell the source."""
        missed, forgotten = 0, False
        while self.source is not None and not self.source.blind:
            await anyio.sleep(BEAT)
            forgotten = await self._go_on(control, forgotten=forgotten)
            try:
                sessions = await control.trace_list()
            except SandboxError as error:
                missed += 1
                if missed == MISSED:
                    self.source.lose_sight(f"the sentry does not say whether it tells: {error}")
                continue
            missed = 0
            mine = next((one for one in sessions if one.name == session.NAME), None)
            if mine is None:
                self.source.lose_sight("its trace session is gone")
            else:
                self.source.dropped(sum(mine.dropped.values()))

    async def _go_on(self, control: Control, *, forgotten: bool) -> bool:
        """Let a guest go on that was stopped and for which nobody has come in a beat; says whether to look again."""
        if self.reflex is None or not self.reflex.acted:
            return False
        if forgotten and await self.reflex.taken():
            await control.resume()
            self.reflex.arm()
        return not forgotten

    def close(self) -> None:
        """Stop watching. The box must be down. Harmless when repeated."""
        self._close_log()
        if self.reflex is not None:
            self.reflex.close()
        if self.source is not None:
            self.source.close()
        if self._lines is not None:
            self._lines.close()
        if self._theirs >= 0:
            os.close(self._theirs)
            self._theirs = -1

    def _close_log(self) -> None:
        if self._log >= 0:
            os.close(self._log)
            self._log = -1


_SO_SNDBUFFORCE: Final = 32


def _told(monitor: Monitor) -> frozenset[Act]:
    return session.at_depth(monitor.told, monitor.depth)
