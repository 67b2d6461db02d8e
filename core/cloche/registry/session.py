"""One connection to a host's door: what another process asks of one sandbox, and what it is told.

A request carries ``id`` and ``do``, its answer the same ``id``. What happens by itself is told without one: ``state``
(of the sandbox), ``exit`` (of a program), ``job``, ``output``, ``end``. Programs started here end with the connection.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import anyio

from cloche import __version__, units
from cloche.errors import ClocheError, SpecError, StateError
from cloche.monitor import Monitor
from cloche.policy import Limits
from cloche.registry.follows import Follows
from cloche.registry.held import HeldVerbs
from cloche.registry.held_events import EventVerbs
from cloche.registry.messages import FDS_MAX, VERSION, Channel, Message, ProtocolError
from cloche.registry.plain import count_from, error_to_plain, from_plain, to_plain
from cloche.rules.ruleset import Rules
from cloche.runtime import GuestProcess
from cloche.runtime_parts import Stdio
from cloche.spec import ProcessSpec, State, Window

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from cloche.registry.door import Door
    from cloche.sandbox import AsyncSandbox

HELLO: Final = 5.0
ASKED_MAX: Final = 256  # requests that are being worked on at once
QUEUED_MAX: Final = 4096  # messages that wait to be taken
Answer = tuple[Mapping[str, Any], bytes, Sequence[int]]
PLAIN: Final[Answer] = ({}, b"", ())


@dataclass(slots=True)
class Lent:
    """A program whose streams the other process holds."""

    guest: GuestProcess
    linger: bool


class Session:
    """Serves one connection until it ends."""

    def __init__(self, door: Door, channel: Channel) -> None:
        self.box: AsyncSandbox | None = None
        self.looks = self._tied = False  # it asks how the pool does, and needs nothing; its sandbox ends with it
        self._door = door
        self._channel = channel
        self._lent: dict[int, Lent] = {}
        self._asked = 0
        self._queue: deque[Answer] = deque()
        self._bell = anyio.Event()
        self._group: TaskGroup | None = None
        self._follows = Follows()
        self._held = HeldVerbs(self.post, self.own_box, self._follows)
        self._verbs: dict[str, Callable[[Message], Awaitable[Answer]]] = {
            "attach": self._attach, "create": self._create, "start": self._simple, "pause": self._simple,
            "resume": self._simple, "kill": self._simple, "delete": self._simple, "stats": self._stats,
            "update": self._update, "info": self._info, "trees": self._trees, "exec": self._exec,
            "pool": self._pool, "signal": self._signal, "end": self._end, "resize": self._resize, **self._held.verbs,
            **EventVerbs(self.post, self.own_box, self._follows).verbs,
        }  # fmt: skip

    async def run(self) -> None:
        """Serve until the other side goes away or breaks a rule."""
        try:
            with contextlib.suppress(EOFError, ProtocolError, TimeoutError):
                with anyio.fail_after(HELLO):
                    await self._hello()
                await self._serve()
        finally:
            with anyio.CancelScope(shield=True):
                await self._put_down()
            self._channel.hang_up()

    async def _hello(self) -> None:
        message = await self._channel.receive()
        message.close()
        own = {"cloche": VERSION, "version": __version__, "host": self._door.host_id, "kept": self._door.kept}
        await self._channel.send({"id": message.body.get("id", 0), **own})
        if message.body.get("cloche") != VERSION:
            raise ProtocolError("it speaks another version")

    async def _serve(self) -> None:
        async with anyio.create_task_group() as self._group:
            self._follows.group = self._group
            self._group.start_soon(self._write)
            with contextlib.suppress(EOFError, ProtocolError):
                while True:
                    message = await self._channel.receive()
                    if self._follows.more(message.body):
                        continue
                    self._asked += 1
                    if self._asked > ASKED_MAX:
                        message.close()
                        break
                    self._group.start_soon(self._answer, message)
            self._group.cancel_scope.cancel()

    async def _answer(self, message: Message) -> None:
        request = message.body.get("id")
        try:
            verb = self._verbs.get(str(message.body.get("do")))
            body, data, fds = await (verb or _unknown)(message)
            self.post({"id": request, **body}, data, fds)
        except Exception as error:  # noqa: BLE001 - told to whoever asked; one request must not end the others
            self.post({"id": request, "error": error_to_plain(error)})
        finally:
            message.close()
            self._asked -= 1

    def post(self, body: Mapping[str, Any], data: bytes = b"", fds: Sequence[int] = ()) -> None:
        """Send a message after those that wait already. Who lets too many wait is hung up on."""
        if len(self._queue) >= QUEUED_MAX:
            self._channel.hang_up()
            return
        self._queue.append((body, data, fds))
        self._bell.set()

    async def _write(self) -> None:
        with contextlib.suppress(EOFError):
            while True:
                while self._queue:
                    body, data, fds = self._queue.popleft()
                    try:
                        await self._channel.send(body, data, fds)
                    except ProtocolError as error:
                        await self._channel.send({"id": body.get("id"), "error": error_to_plain(error)})
                self._bell = anyio.Event()
                await self._bell.wait()

    async def _put_down(self) -> None:
        """End what was started here and may not stay."""
        for lent in list(self._lent.values()):
            if not lent.linger:
                with contextlib.suppress(ClocheError):  # its box is gone
                    await lent.guest.kill()
            _close_terminal(lent.guest)
        self._lent.clear()
        if self._tied and self.box is not None and not self.box.deleted:
            await self.box.delete()

    # -- the sandbox ------------------------------------------------------------------------------------------------

    def own_box(self) -> AsyncSandbox:
        """Give the sandbox that this connection is about."""
        if self.box is None:
            raise StateError("attach to a sandbox first")
        return self.box

    async def _attach(self, message: Message) -> Answer:
        self._once()
        self.box = self._door.find(from_plain(str, message.body.get("sandbox"), "sandbox"))
        return self._snapshot(self.box)

    async def _create(self, message: Message) -> Answer:
        self._once()
        made = await self._door.create(message.body.get("request"))
        if isinstance(made, str):
            return {"elsewhere": made}, b"", ()
        self.box, self._tied = made, from_plain(bool, message.body.get("tied", False), "tied")
        return self._snapshot(made)

    async def _pool(self, _: Message) -> Answer:
        self.looks = True
        return {"pool": to_plain(await self._door.pool())}, b"", ()

    def _once(self) -> None:
        if self.box is not None:
            raise StateError("a connection is about one sandbox; make another connection")

    def _snapshot(self, box: AsyncSandbox) -> Answer:
        body = {
            "spec": to_plain(box.spec), "runtime": box.runtime, "enforcement": box.enforcement.as_json(),
            "state": box.state.value, "reason": box.reason, "workspace": box.workspace,
            "jobs": [self._held.view(job) for job in box.jobs()],
        }  # fmt: skip
        return body, b"", ()

    async def _simple(self, message: Message) -> Answer:
        await getattr(self.own_box(), message.body["do"])()
        return PLAIN

    async def _stats(self, _: Message) -> Answer:
        return {"stats": dict(await self.own_box().stats())}, b"", ()

    async def _update(self, message: Message) -> Answer:
        box = self.own_box()
        if "rules" in message.body:
            await box.update(rules=from_plain(Rules, message.body["rules"], "rules"))
        elif "monitor" in message.body:
            await box.update(monitor=from_plain(Monitor, message.body["monitor"], "monitor"))
        else:
            await box.update(limits=from_plain(Limits, message.body.get("limits"), "limits"))
        return {"spec": to_plain(box.spec), "enforcement": box.enforcement.as_json()}, b"", ()

    async def _info(self, _: Message) -> Answer:
        return {"info": dict(self.own_box().info())}, b"", ()

    async def _trees(self, message: Message) -> Answer:
        """Give some of the folders of the files API, from the one of that number on."""
        trees = self.own_box().trees()
        first = count_from(message.body, "from", len(trees))
        given = trees[first : first + FDS_MAX]
        views = [{"path": t.path, "uid": t.uid, "gid": t.gid, "writable": t.writable} for t in given]
        return {"trees": views, "all": len(trees)}, b"", [tree.fd for tree in given]

    def tell_state(self, kind: str = "") -> None:
        """Tell how the sandbox is now; ``kind`` is the event that made it so."""
        box = self.own_box()
        paths: list[str] = []
        if box.state is State.STOPPED:  # what went with its processes is no longer to be used
            with contextlib.suppress(ClocheError):  # its runtime gives none
                paths = [tree.path for tree in box.trees()]
        told = {"event": "state", "kind": kind, "state": box.state.value, "reason": box.reason, "trees": paths}
        self.post(told)

    def tell_job(self, job: Any) -> None:  # noqa: ANN401 - an AsyncJob; see held.py
        """Tell that a job began or ended."""
        self.post({"event": "job", "job": self._held.view(job)})

    # -- programs ---------------------------------------------------------------------------------------------------

    async def _exec(self, message: Message) -> Answer:
        process: ProcessSpec = from_plain(ProcessSpec, message.body.get("process"), "process")
        number = count_from(message.body, "program")
        if number in self._lent or self._group is None:
            raise SpecError(f"program: {number} is in use")
        guest = await self.own_box().lend(process, _stdio(message))
        self._lent[number] = Lent(guest, process.linger)
        self._group.start_soon(self._await_end, number, guest)
        fds = () if guest.terminal is None else (guest.terminal,)
        return {"pid": guest.pid}, b"", fds

    async def _await_end(self, number: int, guest: GuestProcess) -> None:
        end = await guest.wait()
        if self.own_box().state is State.STOPPED:
            self.tell_state()  # first: the other side must know why it ends
        found = [asdict(one) for one in await self.own_box().verdict(guest.number)]
        self.post({"event": "exit", "program": number, "exit": to_plain(end), "violations": found})
        self._lent.pop(number, None)
        _close_terminal(guest)

    def _guest(self, message: Message) -> GuestProcess | None:
        """Give the program a request is about; ``None`` if it has ended, which is no error."""
        number = count_from(message.body, "program")
        lent = self._lent.get(number)
        return lent.guest if lent is not None else None

    async def _signal(self, message: Message) -> Answer:
        number = count_from(message.body, "number", 64, least=1)
        if (guest := self._guest(message)) is not None:
            await guest.signal(number)
        return PLAIN

    async def _end(self, message: Message) -> Answer:
        if (guest := self._guest(message)) is not None:
            await guest.kill()
        return PLAIN

    async def _resize(self, message: Message) -> Answer:
        window = from_plain(Window, message.body.get("window"), "window")
        if (guest := self._guest(message)) is not None:
            await guest.resize(window)
        return PLAIN


async def _unknown(message: Message) -> Answer:
    raise SpecError(f"this host knows no verb {units.shown(message.body.get('do'))}")


def _stdio(message: Message) -> Stdio:
    """Give the descriptors that came with a request. Only pipes: anything else would let the guest at the host."""
    given = from_plain(tuple[bool, ...], message.body.get("stdio"), "stdio")
    if len(given) != 3 or sum(given) != len(message.fds):  # noqa: PLR2004 - standard input, output and error
        raise SpecError(f"stdio: it says {units.shown(given)}, and {len(message.fds)} descriptors came")
    for fd in message.fds:
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):
            raise SpecError("stdio: a program's streams are pipes, nothing else")
    left = iter(message.fds)
    return Stdio(*(next(left) if there else None for there in given))


def _close_terminal(guest: GuestProcess) -> None:
    if guest.terminal is not None:
        os.close(guest.terminal)
        guest.terminal = None
