"""One sandbox as its user holds it (asynchronous face; ``cloche.Sandbox`` is the blocking one)."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import anyio

from cloche import units
from cloche.background import Background, Watchers
from cloche.enforcement import Enforcement
from cloche.errors import SandboxError, SpecError, StateError, Unsupported
from cloche.files.access import Access
from cloche.files.api import Files
from cloche.files.asynchronous import AsyncFiles
from cloche.files.reach import Reach
from cloche.job import AsyncJob, OnOutput
from cloche.monitor import Depth, Monitor
from cloche.monitoring.judged import AsyncJudged
from cloche.monitoring.taps import attach
from cloche.notices import NoticeType
from cloche.output import Ring
from cloche.pipes import Open, Stdin
from cloche.policy import Limits
from cloche.programs import Programs, blame
from cloche.registry.lent import Lendable
from cloche.request import deadline, make_process
from cloche.rules.ruleset import RulesLike
from cloche.runtime import Instance
from cloche.runtime_parts import Tree
from cloche.spec import ProcessSpec, Result, Spec, State, Window

if TYPE_CHECKING:
    from cloche.host import AsyncHost
    from cloche.incidents.prepare import Judging
    from cloche.pool.warm import Warm
    from cloche.snapshots.snapshot import BoxSnapshot

RING_SIZE = 1 << 20


class AsyncSandbox(AsyncJudged, Lendable):
    """A living box. Made by ``host.create``; leaving its ``with`` block deletes it."""

    def __init__(
        self,
        host: AsyncHost,
        spec: Spec,
        instance: Instance,
        *,
        runtime: str,
        enforcement: Enforcement,
        tasks: Background,
        report: Callable[[Spec], Enforcement],
        judging: Judging | None = None,
        warm: Warm | None = None,
    ) -> None:
        self.id = spec.id
        self.name = spec.name
        self.spec = spec
        self.runtime = runtime
        self.enforcement = enforcement
        self.state = State.CREATED
        self.reason = ""
        self._host = host
        self._instance = instance
        self._report = report
        access = Access.of(spec, workspace=instance.workspace) if spec.restricts_paths() else None
        self._reach = Reach(spec.id, instance.workspace, self._trees, access)
        self.files = AsyncFiles(Files(self._reach))
        """Its files, worked on from the host."""
        self._open_hub(tasks)
        self._programs = Programs(
            spec, instance, runtime=runtime, tasks=tasks, life=self._life,
            changed=lambda job: host.registry.job_changed(self, job),
        )  # fmt: skip
        self._open_judge(tasks, judging)
        self._watchers = Watchers(tasks)
        self._warm = warm
        self.deleted = False
        self._stopped = anyio.Event()
        self._turn = anyio.Lock(fast_acquire=True)  # start, kill, delete: a runtime sees one at a time
        self._changing = anyio.Lock(fast_acquire=True)
        self._pausing = anyio.Lock(fast_acquire=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.delete()

    def __repr__(self) -> str:
        return f"<sandbox {self.id} {self.runtime} {self.state}>"

    async def start(self) -> None:
        """Bring a created sandbox up. Raises ``StartError``; the sandbox is then deleted."""
        async with self._turn:
            self._need("start", State.CREATED)
            try:
                if self._warm is None:  # one out of a pool is up
                    with blame(self.runtime):
                        await self._instance.start()
                await self._place_rules()
                self._taps = attach(self._host.plugins, self._full(self.spec), self._instance)
            except BaseException as error:
                with anyio.CancelScope(shield=True):
                    self._emit(NoticeType.FAILED, error=str(error) or type(error).__name__)
                    await self._give_back()
                raise
            self.state = State.RUNNING
            self._listen()
            self._programs.touch()
        self._watchers.start(self._watch)
        for what, bound in (("lifetime", self.spec.lifetime), ("idle_timeout", self.spec.idle_timeout)):
            if bound is not None:
                self._watchers.start(self._expire, what, bound)
        self._host.started(self)

    async def exec(
        self,
        *args: str,
        stdin: Stdin = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | str | None = None,
        tty: bool | Window = False,
        linger: bool = False,
        worker: bool = False,
        on_output: OnOutput | None = None,
    ) -> Result:
        """Run a program to its end and give how it ended; a guest that fails is data, not an error.

        ``args`` go to the program as they are, never through a shell; a name without ``/`` is looked up in the box's
        PATH. ``env`` adds to the sandbox's. ``timeout`` in seconds ends the program with all its descendants; so does
        its end, unless ``linger``. With ``tty`` it gets a terminal, whose output is all ``stdout``. With ``worker`` the
        resident worker takes ``args`` (see ``start_worker``) as Python does, all its modules loaded. ``on_output``
        sees each chunk live, on the event loop, and the result then holds none of it. Raises ``SpecError``,
        ``StateError``, ``StartError``.
        """
        self._need("run a program in", State.RUNNING)
        limit = deadline(timeout, self.spec.limits.wall)
        if isinstance(stdin, Open):
            raise SpecError("exec: stdin=OPEN needs a job to write to; use spawn")
        if on_output is not None and not callable(on_output):
            raise SpecError(f"on_output: a function is needed, not {units.shown(on_output)}")
        process = self._asked(args, env=env, cwd=cwd, tty=tty, linger=linger, worker=worker)
        return await self._programs.execute(process, stdin, on_output, limit)

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
        detach: bool = False,  # noqa: ARG002 - the host that owns the box holds its jobs anyway
    ) -> AsyncJob:
        """Start a program in the background and give its job.

        The last ``ring`` bytes of its output are kept for replay, the older ones are lost. With ``lossless`` nothing
        is: the program waits until ``job.output()`` is read, and ``Limits.output`` bounds what it prints, as in
        ``exec``. With ``stdin=cloche.OPEN`` write to it by ``job.write``. In a sandbox attached to, ``detach`` has the
        host that owns it hold the job, so that it outlives this process. The rest is as in ``exec``.
        """
        self._need("run a program in", State.RUNNING)
        limit = deadline(timeout, self.spec.limits.wall)
        process = self._asked(args, env=env, cwd=cwd, tty=tty, linger=linger, worker=worker)
        sink = Ring(units.size(ring, "ring"), lossless=lossless)
        return await self._programs.begin(process, stdin, sink, limit)

    def jobs(self) -> list[AsyncJob]:
        """Give the jobs started with ``spawn``: the running ones and the last ended ones."""
        return self._programs.jobs()

    def attach(self, job_id: str) -> AsyncJob:
        """Give the job of that id, e.g. to follow ``job.output(since=...)`` again. Raises ``NotFound``."""
        return self._programs.attach(job_id)

    async def start_worker(self, *, imports: Iterable[str] = (), script: str = "", python: str = "python3") -> None:
        """Start a Python that imports, runs ``script`` as the module ``prepared``, and forks for ``exec(worker=True)``.

        A sandbox has one at most; ``checkpoint`` saves it. It draws anew, for each program, what ``random``,
        ``numpy.random`` and ``uuid`` draw from. Raises ``StartError`` if it can't prepare itself, and ``Unsupported``.
        """
        from cloche.snapshots.worker import start  # noqa: PLC0415 - few sandboxes have one

        self._need("start a worker in", State.RUNNING)
        await start(self, self._instance, imports, script, python)

    async def pause(self) -> None:
        """Stop every process of the guest until ``resume``. Clocks of timeouts go on."""
        await self._pause("")

    async def resume(self) -> None:
        """Continue a paused sandbox."""
        async with self._pausing:
            self._need("resume", State.PAUSED)
            self._resumes()
            await self._instance.resume()
            self._need("resume", State.PAUSED)
            self.state, self.reason = State.RUNNING, ""
            self._programs.touch()
            self._emit(NoticeType.RESUMED)

    async def listen(self, port: int) -> socket.socket:
        """Give a TCP socket that listens where the programs of a sandbox with network ``isolated`` reach its host.

        Its ``getsockname()`` is the address to tell them; port 0 is any that is free. The caller accepts, and closes
        it; a sandbox that is gone reaches it no more. Raises ``StateError``, ``SpecError``, ``SandboxError`` for a port
        that is taken, and ``Unsupported`` for other networks and for sandboxes of another host.
        """
        self._need("listen for", State.RUNNING, State.PAUSED)
        units.count(port, "port", least=0, most=65535)
        with blame(self.runtime, SandboxError):
            return await self._instance.listen(port)

    async def checkpoint(self, *, label: str = "") -> BoxSnapshot:
        """Save the whole sandbox, memory and files, in ``host.snapshots``, and end it; it can then only be deleted.

        ``host.restore`` makes sandboxes that go on where this one was. ``label`` is for people, and names it too. No
        program may be running; what a program left behind on purpose is saved. Raises ``StateError``, ``Unsupported``
        and ``LimitExceeded`` (no room), and ``SnapshotError`` for what can't be saved as it is: the sandbox goes on.
        """
        return await self.save(units.text(label, "label", most=200))

    async def kill(self) -> None:
        """End every process of the sandbox; it can then only be deleted. Harmless when repeated."""
        await self._stop("killed")

    async def delete(self) -> None:
        """Kill it and give back everything it holds. Harmless when repeated; never interrupted half-way.

        If the runtime can't, its error is raised and the sandbox stays on the host's list, so that one can try again.
        """
        with anyio.CancelScope(shield=True):
            async with self._turn:
                await self._give_back()

    async def detach(self) -> None:
        """Let go of a sandbox of another host, as leaving its block does; one's own raises ``StateError``."""
        raise StateError(f"sandbox {self.id} belongs to this host, and ends with it; host.keep makes one that does not")

    async def wait(self) -> str:
        """Wait until the sandbox is stopped, however that comes, and give why."""
        await self._stopped.wait()
        return self.reason

    async def update(
        self,
        *,
        limits: Limits | Mapping[str, object] | None = None,
        monitor: Monitor | Depth | None = None,
        rules: RulesLike | None = None,
    ) -> None:
        """Change the limits given, what is watched, or the rules, all or none; ``spec`` and ``enforcement`` then tell.

        What running programs can't be given is partial there; ``output`` and ``wall`` hold for later ones only. A box
        that had a monitor from its start takes another; docs/events.md tells what of it holds at once. Raises
        ``SpecError``, ``Unenforceable``, ``Unsupported`` for what can't be changed, ``LimitExceeded`` for what is used.
        """
        await self._change(limits, monitor, rules)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _asked(self, args: tuple[str, ...], *, worker: bool, **how: Any) -> ProcessSpec:  # noqa: ANN401 - make_process's
        if worker and not self._instance.takes_workers:
            raise Unsupported(f"worker: sandboxes of {self.runtime!r} have no resident workers; leave it out")
        return make_process(self.spec, self._instance.workspace, args, worker=worker, **how)

    def _need(self, verb: str, *states: State) -> None:
        if self.state not in states:
            why = f" ({self.reason})" if self.reason else ""
            wanted = " or ".join(states)
            raise StateError(f"can't {verb} sandbox {self.id}: it is {self.state}{why}, and must be {wanted}")

    async def _pause(self, reason: str) -> None:
        async with self._pausing:
            self._need("pause", State.RUNNING)
            await self._instance.pause()
            self._need("pause", State.RUNNING)  # it may have been stopped meanwhile
            self.state, self.reason = State.PAUSED, reason
            self._emit(NoticeType.PAUSED, **({"reason": reason} if reason else {}))

    def _emit(self, kind: NoticeType, **details: str) -> None:
        self._host.emit(kind, self, **details)

    def _trees(self) -> Sequence[Tree]:
        if self.state is State.CREATED:
            self._need("use the files of", State.RUNNING, State.PAUSED, State.STOPPED)
        return self._instance.trees()
