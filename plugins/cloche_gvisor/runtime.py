"""Runtime ``gvisor``: each box is a sandbox of runsc, with a kernel of its own that answers the guest's calls."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

import anyio
import anyio.to_thread

from cloche import (
    Act,
    AgentTrees,
    Check,
    ClocheError,
    Config,
    Enforcement,
    GroupedRuntime,
    Guarantee,
    Instance,
    IsolationLevel,
    Launch,
    Limits,
    Mount,
    Network,
    RuntimeUnavailable,
    Spec,
    SpecError,
    Staging,
    StartError,
    Unsupported,
    Workspace,
    bounds,
)
from cloche_gvisor import binary, bundle, images, needs, report
from cloche_gvisor.agent import SandboxAgent
from cloche_gvisor.contract import Target
from cloche_gvisor.instance import GvisorInstance
from cloche_gvisor.looking import look_around
from cloche_gvisor.own_network import OwnNetwork
from cloche_gvisor.preload import is_needed, what_is_mended
from cloche_gvisor.watching import Watching
from cloche_native import agent as wire

PLATFORMS: Final = ("systrap", "ptrace")
"""In this order, the first that runs a program here is taken. kvm is used only where it is asked for by name."""
PROBE_TIMEOUT: Final = 10.0
TASKS_OF_ITS_OWN, TASKS_EACH = 128, 24
"""Tasks that a sentry has on the host, by itself and for each guest process: 26 and, while many start, 9 were seen."""
_PROBE_LEVEL: Final = IsolationLevel(
    name="probe",
    summary="used once per machine to find out what works",
    guarantees=frozenset(),
    limits=Limits(memory="256M", cpu=1, pids=24, open_files=64, file_size="1M", output="1M", wall=PROBE_TIMEOUT),
    syscalls="enhanced",
)


_REPORT: Final = f"{report.__file__} {os.stat(report.__file__).st_mtime_ns}"


class GvisorRuntime(GroupedRuntime):
    """Starts sandboxes by ``runsc run``, and speaks to cloche-inner in them."""

    name: ClassVar[str] = "gvisor"
    summary: ClassVar[str] = "gVisor: a kernel of its own for each sandbox, by runsc"
    strength: ClassVar[int] = 40
    guarantees: ClassVar[frozenset[Guarantee]] = frozenset(Guarantee)
    vetoes: ClassVar[frozenset[Act]] = frozenset()
    takes_images = True

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._reason: str | None = None
        self._runsc: binary.Runsc | None = None
        self._facts: report.Facts | None = None
        self._platforms: tuple[str, ...] = PLATFORMS
        self._saved: dict[str, str] = {}
        """The images of boxes that are being restored, by their ids."""

    def configure(self, config: Config) -> None:
        """Take the platform that is asked for: ``platform`` in ``[plugins.gvisor]``, or ``$CLOCHE_GVISOR_PLATFORM``."""
        super().configure(config)
        asked = config.table("gvisor").get("platform") or os.environ.get("CLOCHE_GVISOR_PLATFORM")
        if asked is not None:
            if not isinstance(asked, str) or not asked.isalnum():
                raise SpecError(f"plugins.gvisor.platform: the name of a platform is needed, not {asked!r:.80}")
            self._platforms = (asked,)

    def unavailable(self) -> str | None:
        """Look for runsc, then make a real box on each platform until one runs a program, once per machine."""
        with self._lock:
            if self._facts is None and self._reason is None:
                self._reason = self._look()
            return self._reason

    def enforcement(self, spec: Spec) -> Enforcement:
        """Give what the probe found, and how each limit of ``spec`` is kept."""
        if self._facts is None or self._runsc is None:
            raise RuntimeUnavailable(self.name, self._reason or "it was not probed")
        return report.report(spec, self._facts, version=self._runsc.version, grouped=self.grouping())

    def make(self, spec: Spec) -> GvisorInstance:
        """Give an instance on the platform that was found to work."""
        if self._facts is None:
            raise RuntimeUnavailable(self.name, self._reason or "it was not probed")
        return self._make(spec, self._facts["platform"], self._saved.get(spec.id))

    def image_needs(self, spec: Spec) -> Mapping[str, str]:
        """Give what an image depends on: runsc, its platform, the processor, and what of this machine is mapped."""
        if self._facts is None or self._runsc is None:
            raise RuntimeUnavailable(self.name, self._reason or "it was not probed")
        if spec.network.mode not in ("none", "loopback"):
            raise Unsupported(f"a sandbox with network {spec.network.mode!r} can't be saved; none and loopback can")
        return {"runsc": self._runsc.version, "platform": self._facts["platform"], **needs.of_machine(spec)}

    async def restore(self, spec: Spec, folder: str) -> Instance:
        """Make a box whose sentry begins with an image."""
        self._saved[spec.id] = folder
        try:
            return await self.create(spec)
        finally:
            del self._saved[spec.id]

    def checks(self) -> Sequence[Check]:
        """Say which runsc is used, and each platform that was tried."""
        reason = self.unavailable()
        if self._runsc is None:
            return [Check("runsc", reason or "", ok=False, fix="cloche install gvisor")]
        rows = [Check("runsc", f"{self._runsc.path}, version {self._runsc.version}", ok=True)]
        if self._facts is not None:
            rows += [Check(f"platform {name}", why, ok=None) for name, why in self._facts["refused"].items()]
            rows.append(Check(f"platform {self._facts['platform']}", f"Linux {self._facts['release']} inside", ok=True))
            rows.append(Check("isolated network", self._facts["isolated"] or "one can be made", ok=None))
        rows.append(Check("control groups", self.grouping() or "none can be made", ok=self.grouping() is not None))
        rows.append(
            Check("mode", "rootful" if os.geteuid() == 0 else "rootless: the host reaches no file of a box", ok=None)
        )
        rows += what_is_mended(self._runsc)
        return [*rows, Check("can make a box", reason or "it works here", ok=reason is None)]

    # -- inside -----------------------------------------------------------------------------------------------------

    def _make(self, spec: Spec, platform: str, image: str | None = None) -> GvisorInstance:
        if spec.network.mode == "isolated" and self._facts is not None and self._facts["isolated"]:
            spec = replace(spec, network=Network("loopback"))  # the report says so: rather less than more
        saved = None if image is None else images.read_id(image)
        asked = bounds(spec.limits)
        group = None
        seat = self.take_seat()
        home = watching = None
        try:
            watching = Watching(spec) if spec.monitor else None
            if self.grouping() is not None:
                pids = _room(asked.pids) if asked.pids is not None else None
                group = self.take_group(memory=asked.memory, cpu=asked.cpu, pids=pids)
            home = self.temp_folder(spec, None)
            staging = Staging(seat, self.image(spec), spec.user)
            work = self._work(spec, staging)
            shown = bundle.plan(spec, staging, work, preload=is_needed(self._runsc))
            shown.write(home, spec)
            command = self._command(home, platform, spec)
            told = watching.flags() if watching is not None else ()
            verb = ("run",) if image is None else ("restore", f"--image-path={image}")
            setup = wire.Setup(
                ids=(spec.user, spec.user, spec.user, spec.user), seccomp=self.call_filter(spec),
                rlimits=asked.rlimits(grouped=group is not None), pids=asked.pids,
            )  # fmt: skip
            launch = Launch(
                argv=(*command, *told, *verb, "--detach", "--bundle", str(home), spec.id),
                setup=setup,
                workspace=spec.workspace.target,
                sized=(spec.workspace.target,) if seat is not None and spec.workspace.kind != "bind" else (),
                stages=staging.stages(),
                stage_folder=staging.folder,
                cleanup=(partial(self.drop_folder, home), *self._image_closed(spec)),
            )
        except BaseException as error:
            if watching is not None:
                watching.close()
            if home is not None:
                self.drop_folder(home)
            if group is not None and (give := self.give_group()) is not None:
                give(group)
            if seat is not None:
                seat.release()
            if isinstance(error, OSError):
                raise StartError(f"a sandbox can't be prepared: {error}") from error
            raise
        places = {bind.target: bind.source for bind in shown.binds if bind.target in _reached(spec)}
        own = OwnNetwork() if spec.network.mode == "isolated" else None
        agent = SandboxAgent(
            launch, group, state=home / "state", places=places, network=own,
            passed=watching.passed() if watching else None,
        )  # fmt: skip
        owner = spec.user if seat is not None else None
        target = Target(id=spec.id, root=str(home / "state"), command=command, saved=saved)
        return GvisorInstance(
            launch, group, seat, agent=agent, give_back=self.give_group(), limits=spec.limits, room=_room,
            trees=AgentTrees(spec.workspace.target, spec, owner, own_view=True),
            watching=watching, target=target,
        )  # fmt: skip

    def _image_closed(self, spec: Spec) -> tuple[Callable[[], object], ...]:
        made = self.image(spec)
        return (partial(os.close, made),) if made is not None else ()

    def _work(self, spec: Spec, staging: Staging) -> str | None:
        """Give where the launcher finds the work folder, ``None`` for one in the guest's own memory."""
        work = spec.workspace
        size, inodes = bundle.room(spec)
        options = f"size={size},nr_inodes={inodes},mode=0755,uid={spec.user},gid={spec.user}"
        match work.kind:
            case "image":
                return staging.image()
            case "tmpfs" if staging.folder is not None:
                return staging.memory(options)
            case "tmpfs":
                return None
            case "overlay":
                return staging.overlay(Mount(str(work.source), work.target), options)
            case _:
                return staging.source(Mount(str(work.source), work.target, read_only=False))

    def _command(self, home: Path, platform: str, spec: Spec) -> tuple[str, ...]:
        if self._runsc is None:
            raise RuntimeUnavailable(self.name, "it was not probed")
        network = {"host": "host", "isolated": "sandbox"}.get(spec.network.mode, "none")
        flags = [f"--root={home / 'state'}", f"--platform={platform}", f"--network={network}", "--ignore-cgroups"]
        return (str(self._runsc.path), *flags, *(["--rootless"] if os.geteuid() != 0 else []))

    def _look(self) -> str | None:
        self._runsc, problem = binary.find()
        if self._runsc is None:
            return problem
        if problem := self.find_groups() or "":
            return problem
        try:
            self._facts = self.remembered([self._runsc.key(), *self._platforms, _REPORT], self._try_platforms)
        except ClocheError as error:
            return str(error)
        return None

    def _try_platforms(self) -> dict[str, Any]:
        refused: dict[str, str] = {}
        has = binary.platforms(self._runsc.path) if self._runsc is not None else frozenset()
        for platform in self._platforms:
            if has and platform not in has:
                refused[platform] = f"not one of this runsc's, which are {', '.join(sorted(has))}"
                continue
            try:
                found = anyio.run(self._probe, platform, Network()) | {"refused": refused}
                return found | {"isolated": self._try_isolated(platform)}
            except ClocheError as error:
                refused[platform] = str(error)[:300]
        raise StartError("; ".join(f"platform {name}: {why}" for name, why in refused.items()))

    def _try_isolated(self, platform: str) -> str:
        """Give why no network with the host at its other end can be made, "" if one can."""
        if os.geteuid() != 0:
            return "without root no network namespace of the host's can be given to gVisor"
        try:
            found = anyio.run(self._probe, platform, Network("isolated"))
        except ClocheError as error:
            return str(error)[:300]
        return "" if found["interfaces"] == ["eth0", "lo"] else f"its interfaces are {', '.join(found['interfaces'])}"

    async def _probe(self, platform: str, network: Network) -> dict[str, Any]:
        spec = Spec(
            id=secrets.token_hex(6), name=None, level=_PROBE_LEVEL, guarantees=frozenset(), network=network,
            limits=_PROBE_LEVEL.limits, workspace=Workspace(), env={},
        )  # fmt: skip
        box = self._make(spec, platform)
        try:
            with anyio.fail_after(PROBE_TIMEOUT):
                await box.start()
                return report.facts(platform, await look_around(box))
        except TimeoutError:
            raise StartError(f"it ran no program within {PROBE_TIMEOUT:g} s") from None
        finally:
            with anyio.CancelScope(shield=True):
                await box.delete()


def _room(pids: int) -> int:
    """Give how many tasks of the host a guest with that many processes may take: a backstop, not the bound itself."""
    return TASKS_OF_ITS_OWN + TASKS_EACH * pids


def _reached(spec: Spec) -> set[str]:
    """Give the folders of the box that the host can work in."""
    return {spec.workspace.target, *(mount.target for mount in spec.mounts)}
