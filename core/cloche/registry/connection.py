"""This side of a connection to another host's door: it asks, and hands on what is told unasked."""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import anyio

from cloche.errors import ClocheError, RegistryError
from cloche.registry.messages import VERSION, Channel, Message, ProtocolError, trusted
from cloche.registry.plain import error_from

HELLO: Final = 10.0
Told = Callable[[Message], None]


class Connection:
    """One connection to a host's door: asks, and hands on what is told unasked."""

    def __init__(self, connected: socket.socket) -> None:
        if not trusted(connected):
            connected.close()
            raise RegistryError("the other end of that door belongs to another user")
        self._channel = Channel(connected)
        self._ids = itertools.count(1)
        self._waiting: dict[int, tuple[anyio.Event, list[Message]]] = {}
        self._told: Told | None = None
        self._early: list[Message] = []
        self._lost: Callable[[str], None] = lambda _: None
        self.why = ""
        self.host_id = ""

    async def hello(self) -> None:
        """Exchange versions. Raises ``RegistryError``."""
        try:
            with anyio.fail_after(HELLO):
                await self._channel.send({"id": 0, "do": "hello", "cloche": VERSION})
                message = await self._channel.receive()
        except (EOFError, TimeoutError, ProtocolError) as error:
            self.close()
            raise RegistryError(f"the host that owns the sandbox does not answer: {error or 'it is busy'}") from None
        message.close()
        if message.body.get("cloche") != VERSION:
            self.close()
            raise RegistryError("the host that owns the sandbox runs another version of cloche; end it, or use its own")
        self.host_id = str(message.body.get("host"))

    def listen(self, told: Told, lost: Callable[[str], None]) -> None:
        """Choose who is told of messages that answer nothing, and of the connection's end."""
        self._told, self._lost = told, lost
        early, self._early = self._early, []
        for message in early:
            told(message)

    def number(self) -> int:
        """Give a number that this connection has not used: for a request, a program, one who follows a job."""
        return next(self._ids)

    async def serve(self) -> None:
        """Take what comes until the connection ends; run it beside everything else."""
        try:
            while True:
                message = await self._channel.receive()
                number = message.body.get("id")
                waiting = self._waiting.pop(number, None) if isinstance(number, int) else None
                if waiting is not None:
                    waiting[1].append(message)
                    waiting[0].set()
                elif "id" in message.body:
                    message.close()  # whoever asked was interrupted
                elif self._told is not None:
                    self._told(message)
                else:
                    self._early.append(message)
        except (EOFError, ProtocolError) as error:
            self.close(f"the host that owns the sandbox is gone: {error}")
        except ClocheError as error:
            self.close(f"the host that owns the sandbox said what makes no sense: {error}")
        finally:
            self.close()

    async def ask(
        self, do: str, body: Mapping[str, Any] | None = None, *, data: bytes = b"", fds: Sequence[int] = ()
    ) -> Message:
        """Ask for ``do`` and give the answer. Raises what it raised there, ``RegistryError`` if nobody answers."""
        number = self.number()
        answer: list[Message] = []
        came = anyio.Event()
        self._waiting[number] = (came, answer)
        try:
            await self._channel.send({"id": number, "do": do, **(body or {})}, data, fds)
            await came.wait()
        except BaseException as error:
            for message in answer:
                message.close()
            if isinstance(error, EOFError | ProtocolError):
                raise RegistryError(self.why or str(error)) from None
            raise
        finally:
            self._waiting.pop(number, None)
        if not answer:
            raise RegistryError(self.why or "the connection was closed")
        if (trouble := answer[0].body.get("error")) is not None:
            answer[0].close()
            raise error_from(trouble)
        return answer[0]

    async def say(self, body: Mapping[str, Any]) -> None:
        """Say something that has no answer; nothing happens if nobody is there any more."""
        with contextlib.suppress(EOFError):
            await self._channel.send(body)

    def close(self, why: str = "the connection was closed") -> None:
        """Close it: whoever waits for an answer gets none. Harmless when repeated."""
        if not self.why:
            self.why = why
            self._channel.hang_up()
            for message in self._early:
                message.close()
            for came, _ in self._waiting.values():
                came.set()
            self._lost(why)
