"""What all calls of one program work on, and the calls about itself: arguments, clocks, random bytes, its end."""

from __future__ import annotations

import os
import struct
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from cloche_wasm.wasi.descriptors import Table
from cloche_wasm.wasi.errors import Errno, Exited, Refused
from cloche_wasm.wasi.polling import CLOCKS, SUBSCRIPTION, Wait
from cloche_wasm.wasi.waiting import Waiting
from cloche_wasm.wasi.world import World

if TYPE_CHECKING:
    from cloche_wasm.wasi.telling import Teller

VECTORS_MAX: Final = 1024  # buffers of one call, as Linux's IOV_MAX
PIECE_MAX: Final = 1 << 20  # bytes that one call moves; the program asks again for more
EVENTS_MAX: Final = 1024  # subscriptions of one poll_oneoff


class Memory(Protocol):
    """A program's memory. Both raise ``IndexError`` for what does not lie in it, and then have done nothing."""

    def read(self, at: int, size: int) -> bytes:
        """Give ``size`` bytes."""
        ...

    def write(self, at: int, data: bytes) -> None:
        """Put ``data`` there."""
        ...


class Guest:
    """One program's state."""

    def __init__(
        self,
        *,
        args: Sequence[str],
        env: Sequence[str],
        world: World,
        table: Table,
        waiting: Waiting,
        file_size: int | None = None,
        random: Callable[[int], bytes] = os.urandom,
        teller: Teller | None = None,
        refused: Counter[str] | None = None,
    ) -> None:
        self.memory: Memory | None = None
        """Set once the program is made: before that it can call nothing."""
        self.world = world
        self.table = table
        self.waiting = waiting
        self.file_size = file_size
        self.teller = teller
        self.refused: Counter[str] = Counter() if refused is None else refused
        """How often more of a limit was refused, by its name; shared by the programs of a box."""
        self._args = [os.fsencode(arg) + b"\0" for arg in args]
        self._env = [os.fsencode(line) + b"\0" for line in env]
        self._random = random

    # -- memory -----------------------------------------------------------------------------------------------------

    def take(self, at: int, size: int) -> bytes:
        """Give bytes of the program's memory."""
        if self.memory is None:
            raise Refused(Errno.FAULT)
        return self.memory.read(at, size)

    def put(self, at: int, layout: str, *values: int) -> None:
        """Put numbers there, little endian, as the module struct lays them out."""
        self.put_bytes(at, struct.pack("<" + layout, *values))

    def put_bytes(self, at: int, data: bytes) -> None:
        """Put bytes there."""
        if self.memory is None:
            raise Refused(Errno.FAULT)
        if data:
            self.memory.write(at, data)

    def text(self, at: int, size: int) -> str:
        """Give a path of the program."""
        if size > PIECE_MAX:
            raise Refused(Errno.NAMETOOLONG)
        raw = self.take(at, size)
        if b"\0" in raw:
            raise Refused(Errno.INVAL)
        return os.fsdecode(raw)

    def vectors(self, at: int, count: int) -> list[tuple[int, int]]:
        """Give the buffers of a call, (address, size), together no more than one call moves."""
        if count > VECTORS_MAX:
            raise Refused(Errno.INVAL)
        left, out = PIECE_MAX, []
        for address, size in struct.iter_unpack("<II", self.take(at, 8 * count)):
            out.append((address, min(size, left)))
            left -= out[-1][1]
        return out

    # -- arguments --------------------------------------------------------------------------------------------------

    def args_sizes_get(self, count: int, size: int) -> None:
        self._sizes(self._args, count, size)

    def args_get(self, pointers: int, texts: int) -> None:
        self._texts(self._args, pointers, texts)

    def environ_sizes_get(self, count: int, size: int) -> None:
        self._sizes(self._env, count, size)

    def environ_get(self, pointers: int, texts: int) -> None:
        self._texts(self._env, pointers, texts)

    def _sizes(self, texts: list[bytes], count: int, size: int) -> None:
        self.put(count, "I", len(texts))
        self.put(size, "I", sum(map(len, texts)))

    def _texts(self, texts: list[bytes], pointers: int, at: int) -> None:
        begins = [at + sum(map(len, texts[:number])) for number in range(len(texts))]
        self.put(pointers, f"{len(texts)}I", *(begin & 0xFFFFFFFF for begin in begins))
        self.put_bytes(at, b"".join(texts))

    # -- clocks, chance, end ------------------------------------------------------------------------------------------

    def clock_res_get(self, clock: int, to: int) -> None:
        if clock not in CLOCKS:
            raise Refused(Errno.INVAL)
        self.put(to, "Q", 1)

    def clock_time_get(self, clock: int, precision: int, to: int) -> None:
        if clock not in CLOCKS:
            raise Refused(Errno.INVAL)
        self.put(to, "Q", CLOCKS[clock]())

    def random_get(self, to: int, size: int) -> None:
        while size:
            piece = min(size, PIECE_MAX)
            self.put_bytes(to, self._random(piece))
            to, size = to + piece, size - piece

    def sched_yield(self) -> None:
        time.sleep(0)

    def proc_exit(self, code: int) -> None:
        raise Exited(code)

    def poll_oneoff(self, subscriptions: int, events: int, count: int, found: int) -> None:
        if not 0 < count <= EVENTS_MAX:
            raise Refused(Errno.INVAL)
        wait = Wait(self.table)
        raw = self.take(subscriptions, SUBSCRIPTION * count)
        for at in range(0, len(raw), SUBSCRIPTION):
            wait.add(raw, at)
        ready = wait.done(self.waiting)
        self.put_bytes(events, b"".join(ready))
        self.put(found, "I", len(ready))
