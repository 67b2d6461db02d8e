"""A sandbox of another host, as its user holds it here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread

from cloche import units
from cloche.errors import RegistryError, SpecError, Unsupported
from cloche.events.acts import Act, act_set
from cloche.events.event import Origin
from cloche.incidents.incident import Incident
from cloche.job import AsyncJob
from cloche.monitor import Depth, Monitor
from cloche.monitoring.stream import ROOM, ROOM_LEAST, AsyncEvents, Stream
from cloche.notices import NoticeType
from cloche.pipes import Open, Stdin, checked_stdin
from cloche.policy import Limits
from cloche.programs import Programs
from cloche.registry.connection import Connection
from cloche.registry.held_job import HeldJob
from cloche.registry.held_stream import Follower, HeldFeed
from cloche.registry.messages import DATA_MAX, Message
from cloche.registry.plain import enforcement_from, from_plain, to_plain
from cloche.registry.remote import RemoteInstance
from cloche.request import make_process
from cloche.rules.ruleset import Rules, RulesLike
from cloche.sandbox import RING_SIZE, AsyncSandbox
from cloche.spec import Spec, State, Window
from cloche.update import asked_change

if TYPE_CHECKING:
    from cloche.background import Background
    from cloche.host import AsyncHost
    from cloche.snapshots.snapshot import BoxSnapshot

PARTING: Final = 5.0  # seconds that the last events of a deleted sandbox may take


class AttachedSandbox(AsyncSandbox):
    """A living box that another host of this user owns. Leaving its ``with`` block detaches and does not delete it.

    Programs run here as in a sandbox of one's own: this process holds their streams, and they end with it (unless
    ``linger``). Those begun with ``detach=True`` are held by the host that owns the box and go on.
    """

    def __init__(
        self, host: AsyncHost, connection: Connection, body: Mapping[str, Any], *, tasks: Background, owner: str
    ) -> None:
        spec: Spec = from_plain(Spec, body.get("spec"), "spec")
        remote = RemoteInstance(connection, from_plain(str, body.get("workspace"), "workspace"))
        super().__init__(
            host, spec, remote, runtime=from_plain(str, body.get("runtime"), "runtime"),
            enforcement=enforcement_from(body.get("enforcement")), tasks=tasks, report=lambda _: self.enforcement,
        )  # fmt: skip
        self.owner = owner
        self._tasks = tasks
        self._remote = remote
        self._connection = connection
        self._programs = Programs(spec, remote, runtime=self.runtime, tasks=tasks, life=self._life, prefix="a")
        remote.found, self._programs.verdict = self._violations.add, self.verdict
        self._deleting = False
        self._held: dict[str, HeldJob] = {}
        self._followed: dict[int, Follower] = {}
        self._feeds: set[HeldFeed] = set()
        self._take_state(body)
        for view in from_plain(tuple[Any, ...], body.get("jobs"), "jobs"):
            self._take_job(view)
        connection.listen(self._told, self._lost)

    async def __aexit__(self, *error: object) -> None:
        await self.detach()

    async def detach(self) -> None:
        """Let go of a sandbox of another host, as leaving its block does: what this process started in it ends."""
        with anyio.CancelScope(shield=True):
            self._programs.end("killed", "its caller detached from the sandbox")
            self._connection.close("this host has detached from the sandbox")
            await self._programs.ended()
            await anyio.to_thread.run_sync(self._reach.close)
            self._remote.close_trees()
            self._host.registry.attached.discard(self)

    async def learn(self) -> None:
        """Ask the owner for what ``info`` shows."""
        await self._remote.learn()

    async def start(self) -> None:
        """Bring a created sandbox up. Raises ``StartError``; the sandbox is then deleted."""
        await self._remote.start()

    async def spawn(
        self,
        *args: str,
        stdin: Stdin = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | str | None = None,
        tty: bool | Window = False,
        linger: bool = False,
        worker: bool = False,
        ring: int | str = RING_SIZE,
        lossless: bool = False,
        detach: bool = False,
    ) -> AsyncJob:
        """Start a program in the background and give its job; with ``detach`` the host that owns the box holds it."""
        if not detach:
            return await super().spawn(
                *args, stdin=stdin, env=env, cwd=cwd, timeout=timeout, tty=tty, linger=linger, ring=ring,
                lossless=lossless, worker=worker,
            )  # fmt: skip
        self._need("run a program in", State.RUNNING)
        if worker:
            raise Unsupported("worker: a detached program is one of its own")
        source = checked_stdin(stdin)
        if not isinstance(source, bytes | Open | None):
            raise SpecError("stdin: a detached program outlives this process; give bytes, text, cloche.OPEN or None")
        data = source if isinstance(source, bytes) else b""
        if len(data) > DATA_MAX:
            raise SpecError(f"stdin: {len(data)} bytes are too many for a detached program; at most {DATA_MAX}")
        process = make_process(self.spec, self._instance.workspace, args, env=env, cwd=cwd, tty=tty, linger=linger)
        body = {
            "args": list(args), "stdin": isinstance(source, bytes), "open": isinstance(source, Open),
            "env": dict(env or {}), "cwd": cwd, "timeout": timeout, "tty": to_plain(process.window), "linger": linger,
            "ring": units.size(ring, "ring"), "lossless": lossless,
        }  # fmt: skip
        answer = await self._connection.ask("spawn", body, data=data)
        return self._take_job(answer.body.get("job"))

    def jobs(self) -> list[AsyncJob]:
        """Give the jobs started here and those that the owner of the sandbox holds."""
        return [*self._held.values(), *self._programs.jobs()]

    def attach(self, job_id: str) -> AsyncJob:
        """Give the job of that id, here or with the owner of the sandbox. Raises ``NotFound``."""
        return self._held.get(job_id) or self._programs.attach(job_id)

    async def pause(self) -> None:
        """Stop every process of the guest until ``resume``. Clocks of timeouts go on."""
        await self._remote.pause()

    async def resume(self) -> None:
        """Continue a paused sandbox."""
        await self._remote.resume()

    async def checkpoint(self, *, label: str = "") -> BoxSnapshot:  # noqa: ARG002 - as its own host's does
        """Raise ``Unsupported``: only the host that owns a sandbox can save it."""
        raise Unsupported(f"sandbox {self.id} belongs to another host, and only that one can save it")

    async def update(
        self,
        *,
        limits: Limits | Mapping[str, object] | None = None,
        monitor: Monitor | Depth | None = None,
        rules: RulesLike | None = None,
    ) -> None:
        """Have its owner change the limits given, what is watched, or the rules, all or none."""
        one, asked = asked_change(limits, monitor, rules)
        if isinstance(asked, Rules):
            asked.as_plain()  # refuses what its owner can't be given
        answer = await self._connection.ask("update", {one: to_plain(asked)})
        self.spec = self._programs.spec = from_plain(Spec, answer.body.get("spec"), "spec")
        self.enforcement = enforcement_from(answer.body.get("enforcement"))

    async def kill(self) -> None:
        """End every process of the sandbox; it can then only be deleted. Harmless when repeated."""
        if self.state is not State.STOPPED:
            await self._remote.kill()

    async def delete(self) -> None:
        """Have its owner kill it and give back everything it holds. Harmless when repeated."""
        with anyio.CancelScope(shield=True):
            if not self.deleted:
                self._deleting = True
                await self._remote.delete()
                self.deleted = True
            await self._part()

    def info(self) -> Mapping[str, str]:
        """Give facts for people, as they were when this host attached; the state as it is now."""
        return {**self._remote.info(), "owner": self.owner, "state": self.state.value}

    def events(self, *acts: Act | str, sources: Iterable[str] = (), room: int | str = ROOM) -> AsyncEvents:
        """Begin to take the events of the sandbox from the host that owns it.

        As in a sandbox of one's own; be sure that it has begun by ``async with``, or by the first act on what this
        gives. What this process does with ``box.files`` is not among them: its owner does not see that.
        """
        stream = Stream(units.size(room, "room", least=ROOM_LEAST))
        asked = {
            "acts": sorted(act_set(acts, "events")), "sources": list(units.sequence(sources, "sources")),
            "room": units.size(room, "room"),
        }  # fmt: skip
        feed = HeldFeed(self._connection, self._followed, stream, asked, tasks=self._tasks)
        self._feeds = {feed, *(old for old in self._feeds if not old.ended.is_set())}
        return AsyncEvents(stream, feed, Origin({self.spec.number: self.id}))

    async def event_counts(self) -> Mapping[Act, int]:
        """Ask its owner how often each act was seen so far."""
        answer = await self._connection.ask("event_counts")
        counts: Mapping[str, int] = from_plain(Mapping[str, int], answer.body.get("counts"), "counts")
        return {from_plain(Act, name, "counts"): count for name, count in counts.items()}

    async def incidents(self) -> Sequence[Incident]:
        """Ask its owner what rules found, oldest first; of very many the newest."""
        answer = await self._connection.ask("incidents")
        told = from_plain(tuple[Any, ...], answer.body.get("incidents"), "incidents")
        return [Incident.from_json(from_plain(Mapping[str, Any], one, "incident")) for one in told]

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _part(self) -> None:
        """Detach when the last events have come: their sandbox is deleted, so it is not long."""
        with anyio.move_on_after(PARTING):
            for feed in self._feeds:
                await feed.ended.wait()
        await self.detach()

    def _told(self, message: Message) -> None:
        """Take what the owner tells by itself. What makes no sense ends the connection."""
        message.close()
        body = message.body
        match body.get("event"):
            case "state":
                self._take_state(body)
            case "exit":
                self._remote.ended(body)
            case "job":
                self._take_job(body.get("job"))
            case "output" | "end" as what:
                number = from_plain(int, body.get("follow"), "follow")
                if (follower := self._followed.get(number)) is not None:
                    follower.told(number, body, message.data, last=what == "end")
            case other:
                raise RegistryError(f"the owner of the sandbox told of {units.shown(other)}, which makes no sense")

    def _take_state(self, body: Mapping[str, Any]) -> None:
        state = from_plain(State, body.get("state"), "state")
        reason = from_plain(str, body.get("reason"), "reason")
        kind = from_plain(str, body.get("kind", ""), "kind")
        self.state, self.reason = state, reason
        if state is State.STOPPED:
            if reason in ("killed", "deleted") or reason.startswith(("limit:", "rule:")):
                self._programs.end("killed" if reason == "deleted" else reason, f"its sandbox was stopped: {reason}")
            self._remote.down(reason)
            self._remote.keep_trees(from_plain(tuple[str, ...], body.get("trees", []), "trees"))
            self._stopped.set()
        if kind == NoticeType.STARTED:
            self._tasks.start_soon(self._remote.fetch_trees)
        if kind == NoticeType.DELETED and not self.deleted:
            self.deleted = True
            if not self._deleting:
                self._tasks.start_soon(self._part)
        if kind in set(NoticeType):
            self._host.emit(NoticeType(kind), self, **({"reason": reason} if reason else {}))

    def _take_job(self, view: object) -> HeldJob:
        fields = from_plain(Mapping[str, Any], view, "job")
        job_id = from_plain(str, fields.get("id"), "job id")
        job = self._held.get(job_id)
        if job is None:
            job = self._held[job_id] = HeldJob(self._connection, self._followed, fields)
        job.update(fields)
        return job

    def _lost(self, why: str) -> None:
        if self.state is not State.STOPPED and not self.deleted:
            self.state, self.reason = State.STOPPED, why
        self._stopped.set()
        self._remote.lost(why)
        for one in (*self._held.values(), *self._feeds):
            one.lost(why)
