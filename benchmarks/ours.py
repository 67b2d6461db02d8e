"""Cloche as contenders: its public blocking face, asked the same as the peers in `benchmarks.peers`."""

import zlib
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import cloche
from benchmarks.peers import TRUE, Answer, Contender, WrongAnswerError
from cloche_bwrap.direct import NamespacesRuntime


class Cloche(Contender):
    name = "cloche"
    what = "namespaces, the default runtime, at enhanced, all of it enforced; create + exec + delete on a living Host"
    runtime: ClassVar[str] = "namespaces"
    monitor: ClassVar[cloche.Monitor | None] = None
    rules: ClassVar[str | None] = None

    def __init__(self) -> None:
        super().__init__()
        self.host = self.held.enter_context(cloche.Host())
        self.living: cloche.Sandbox | None = None
        self.flooding: cloche.Sandbox | None = None

    def start(self) -> None:
        with self.host.create(isolation="enhanced", runtime=self.runtime, monitor=self.monitor) as box:
            self._good(box.exec(TRUE))

    def answer(self, *program: str) -> Answer:
        with self._create_for(program[0]) as box:
            result = box.exec(*program)
        if result.reason != "exited":
            raise WrongAnswerError(f"{self.name}: {result.explain()}")
        return Answer(result.exit_code, result.stdout)

    def exec(self) -> None:
        """Run /bin/true in the one sandbox that stays alive. A timed call."""
        if self.living is None:
            self.living = self.held.enter_context(self.host.create(isolation="enhanced", runtime=self.runtime))
        self._good(self.living.exec(TRUE))

    def flood(self, *, guest: str, size: int, way: str, checked: bool = False) -> int:
        """Take what ``inside flood`` prints; give the number of bytes, or if ``checked`` the CRC-32.

        ``way``: ``spawn``, iterating over ``job.output()``; ``exec``, by ``on_output``. A timed call: the sandbox is
        made by the first one.
        """
        count = crc = 0

        def take(chunk: cloche.Chunk) -> None:
            nonlocal count, crc
            count += len(chunk.data)
            if checked:
                crc = zlib.crc32(chunk.data, crc)

        if self.flooding is None:
            self.flooding = self.held.enter_context(self._create_for(guest))
        if way == "exec":
            self._good(self.flooding.exec(guest, "flood", str(size), on_output=take))
        else:
            # A job's ring drops the oldest output while nobody follows it, so the guest begins when someone does.
            job = self.flooding.spawn(guest, "flood", str(size), "wait", stdin=cloche.OPEN)
            output = job.output()
            if next(output).data != b"ready\n":
                raise WrongAnswerError(f"{self.name}: the guest did not say it was ready")
            job.write(b"x")
            for chunk in output:
                take(chunk)
            self._good(job.wait())
        if count != size:
            raise WrongAnswerError(f"{self.name}: {count} of {size} bytes came by {way}")
        return crc if checked else count

    def _create_for(self, program: str) -> cloche.Sandbox:
        """Make a sandbox that sees ``program``'s folder at its own path, and lets much output and time pass."""
        folder = str(Path(program).parent)
        system = folder.startswith(("/bin", "/usr"))
        return self.host.create(
            isolation="enhanced",
            runtime=self.runtime,
            monitor=self.monitor,
            rules=self.rules,
            mounts=() if system else (cloche.Mount(folder, folder),),
            limits=cloche.Limits(output=64 << 30, wall=600),
        )

    def _good(self, result: cloche.Result) -> None:
        if not result.ok:
            raise WrongAnswerError(f"{self.name}: {result.explain()}")


class ClocheRun(Cloche):
    name = "cloche run"
    what = "the same by host.run(), one call"

    def start(self) -> None:
        self._good(self.host.run(TRUE, isolation="enhanced", runtime=self.runtime))


class ClocheBwrap(Cloche):
    name = "cloche bwrap"
    what = "the same box entered through bubblewrap"
    runtime = "bwrap"


class ClocheProcess(Cloche):
    name = "cloche process"
    what = "process runtime at enhanced, all of it enforced; create + exec + delete on a living Host"
    runtime = "process"


class Bounded(Cloche):
    name = "cloche bounded"
    what = "namespaces at enhanced with every limit there is set, lifetime and idle time too; create + exec + delete"

    def start(self) -> None:
        with self.host.create(
            isolation="enhanced", runtime=self.runtime, lifetime=600, idle_timeout=300,
            limits=cloche.Limits(
                memory="256M", cpu=1, pids=64, open_files=256, file_size="64M", disk="64M", files=4096, output="8M",
                wall=60,
            ),
        ) as box:  # fmt: skip
            self._good(box.exec(TRUE))


class WithoutLimits(NamespacesRuntime):
    """Makes its boxes without the limits that are asked for, and says that they were kept: for this comparison only."""

    name = "boundless"

    def unavailable(self) -> str | None:
        reason = super().unavailable()
        self._groups = None
        return reason

    async def create(self, spec: cloche.Spec) -> cloche.Instance:
        return await super().create(replace(spec, limits=cloche.Limits()))


class Boundless(Cloche):
    name = "cloche boundless"
    what = "the same box without a single limit; no control group, no resource limit, no watch over memory"
    runtime = "boundless"

    def __init__(self) -> None:
        super().__init__()
        self.host = self.held.enter_context(cloche.Host(plugins=[self]))

    @cloche.hookimpl
    def cloche_runtimes(self) -> list[cloche.Runtime]:
        return [WithoutLimits()]


CONTENDERS = (Cloche, ClocheRun, ClocheBwrap, ClocheProcess, Bounded, Boundless)
OURS: dict[str, type[Contender]] = {ours.name: ours for ours in CONTENDERS}
