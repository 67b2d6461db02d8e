"""A base class for runtimes that are driven through the agent: probe, own users, limits and report are done here.

A subclass says whether its launcher is here (``missing``), how to launch (``launch``) and, if it differs from what
the probe found, what to report (``adjust``). Everything reported was seen by a self-test that ran in a real box of
this runtime on this machine; the answer is cached until the kernel, the boot, the launcher or cloche changes.
"""

from __future__ import annotations

import json
import os
import threading
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import anyio

from cloche import agent_filter, agent_images
from cloche.agent import AgentInstance
from cloche.agent_events import judged, watching_check, watching_of
from cloche.agent_limits import OWN_PROCESSES, bounds
from cloche.agent_trees import AgentTrees
from cloche.enforcement import Enforced, Enforcement, Guarantee, Kept, Partial, kept
from cloche.errors import ClocheError, RuntimeUnavailable, StartError
from cloche.grouped_runtime import GroupedRuntime
from cloche.launch import Launch
from cloche.level import IsolationLevel
from cloche.policy import Limits, Network, Workspace
from cloche.runtime import Instance
from cloche.runtime_parts import Check, Exit
from cloche.spec import Spec
from cloche.uids import Seat
from cloche_native import agent as wire
from cloche_native import findings
from cloche_native.bounds import OWN_TASKS_WITHOUT_USER, Bounds, tasks_of_caller

PROBE_TIMEOUT = 15.0
REPORTS_KEPT = 256
Facts = Mapping[str, Any]

_PROBE_LEVEL = IsolationLevel(
    name="probe",
    summary="used once per machine to find out what works",
    guarantees=frozenset(),
    limits=Limits(memory="1G", cpu=1, pids=24, open_files=64, file_size="1M", output="1M", wall=PROBE_TIMEOUT),
    syscalls="enhanced",
)


class AgentRuntime(GroupedRuntime):
    """Subclass it for a launcher that can start one static program in its box with one inherited descriptor."""

    has_own_view = True
    """Whether the box has namespaces of its own: it finds no socket of the host, and what it makes ends with it."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._facts: Facts | None = None
        self._reason: str | None = None
        self._reports: dict[object, Enforcement] = {}

    @abstractmethod
    def missing(self) -> str | None:
        """Give why the launcher can't be used at all (not installed, too old) and what to do, or ``None``."""

    @abstractmethod
    def launch(self, spec: Spec, setup: wire.Setup, seat: Seat | None) -> Launch:
        """Give how to bring up a box for ``spec``.

        ``setup`` holds the inner half common to all runtimes (filter, limits, capabilities); return it in the launch
        with what this runtime adds. ``seat`` is the box's own host user where the host process is root: run the
        command as it. Raises ``SpecError`` for what can never work and ``StartError`` for what does not work here.
        """

    def adjust(self, spec: Spec, features: dict[str, Kept]) -> None:
        """Change what is reported for ``spec`` where it differs from what the probe found. Nothing by default."""

    def cache_key(self) -> list[str]:
        """Give what the probe's answer depends on, besides this machine and cloche: e.g. the launcher's version."""
        return []

    # -- Runtime ----------------------------------------------------------------------------------------------------

    def unavailable(self) -> str | None:
        """Look for the launcher, then bring up a real box and look around in it, once per machine."""
        with self._lock:
            if self._facts is None and self._reason is None:
                self._reason = self.missing() or self._look()
            return self._reason

    def enforcement(self, spec: Spec) -> Enforcement:
        """Give what the probe found, and how each limit of ``spec`` is kept."""
        if spec.restricts_paths():
            return self._report(spec)  # it may depend on which files are there now
        monitor = spec.monitor.depth, bool(spec.monitor.rules)
        key = (spec.level, spec.network, spec.limits, spec.workspace, spec.mounts, spec.rootfs, monitor)
        report = self._reports.get(key)
        if report is None:
            if len(self._reports) >= REPORTS_KEPT:
                self._reports.clear()
            report = self._reports[key] = self._report(spec)
        return report

    def _report(self, spec: Spec) -> Enforcement:
        if self._facts is None:
            raise RuntimeUnavailable(self.name, self._reason or "it was not probed")
        asked = bounds(spec.limits)
        plain = findings.judge(self._facts, network=spec.network.mode, level=spec.level.syscalls)
        plain |= asked.verdicts(grouped=self.grouping(), own_user=findings.own_user(self._facts))
        features = {name: kept(verdict) for name, verdict in plain.items()}
        features[Guarantee.DISK] = Enforced("every writable folder is a sized tmpfs with an inode cap")
        features["files"] = Enforced("a cap on inodes of every writable folder")
        features[Guarantee.PAUSE] = Partial("the agent stops every process", "a parent can see that its child stopped")
        if spec.monitor:
            depth, own_view = spec.monitor.depth, self.has_own_view
            features["events"] = kept(findings.events(self._facts, depth=depth, own_view=own_view))
        if spec.monitor.rules:
            features["rules"] = judged(features["events"], spec.monitor)
        self.adjust(spec, features)
        if spec.workspace.kind == "image":
            agent_images.judge(features, taken=self.takes_images)
        return Enforcement(features)

    def checks(self) -> Sequence[Check]:
        """Say also whether programs can be watched."""
        own = watching_check(self._facts, own_view=self.has_own_view)
        return [*super().checks(), *([own] if own is not None else [])]

    def make(self, spec: Spec) -> Instance:
        """Give an instance of what ``launch`` says."""
        return self._make(spec, grouped=True)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _make(self, spec: Spec, *, grouped: bool, flags: wire.SetupFlag = wire.SetupFlag.DROP) -> AgentInstance:
        asked = bounds(spec.limits)
        grouped = grouped and self.grouping() is not None
        seat = self.take_seat()
        group = None
        tasks = partial(self._task_limit, grouped=grouped)
        try:
            if grouped:
                pids = asked.pids + self._own_tasks() if asked.pids is not None else None
                group = self.take_group(memory=asked.memory, cpu=asked.cpu, pids=pids)
            cpus = asked.affinity(grouped=grouped)
            refused = agent_filter.refused(spec, own_view=self.has_own_view, locked=bool(cpus))
            watching = watching_of(self._facts, spec, refused, seat, own_view=self.has_own_view)
            filters = watching.filters() if watching is not None else (agent_filter.plain(refused), b"")
            setup = wire.Setup(
                hostname=spec.hostname, flags=flags, seccomp=filters[0], watch=filters[1],
                rlimits=asked.rlimits(grouped=grouped), affinity=cpus, pids=tasks(asked),
                memory=None if grouped else asked.memory,
            )  # fmt: skip
            launch = self.launch(spec, setup, seat)
            if watching is not None and launch.setup.landlock:
                watching.leave_opens()
            if (made := self.image(spec)) is not None:
                launch = replace(launch, cleanup=(*launch.cleanup, partial(os.close, made)))
        except BaseException:
            if group is not None and (give := self.give_group()) is not None:
                give(group)
            if seat is not None:
                seat.release()
            raise
        owner = seat.uid if seat is not None else None
        trees = AgentTrees(launch.workspace, spec, owner, own_view=self.has_own_view)
        return AgentInstance(
            launch, group, seat, give_back=self.give_group(), limits=spec.limits, tasks=tasks, trees=trees,
            watching=watching,
        )  # fmt: skip

    def _task_limit(self, asked: Bounds, *, grouped: bool) -> int | None:
        if asked.pids is None or self._facts is None or findings.own_user(self._facts):
            return asked.pids
        return None if grouped else asked.pids + tasks_of_caller()

    def _own_tasks(self) -> int:
        exact = self._facts is None or findings.own_user(self._facts)  # the guest is bounded by another limit as well
        return OWN_PROCESSES if exact else OWN_TASKS_WITHOUT_USER

    def _look(self) -> str | None:
        if problem := self.find_groups():
            return problem
        try:
            self._facts = self.remembered(self.cache_key(), lambda: anyio.run(self._probe))
        except ClocheError as error:
            return str(error)
        return None

    async def _probe(self) -> Facts:
        spec = Spec(
            id=f"probe-{os.getpid()}", name=None, level=_PROBE_LEVEL, guarantees=frozenset(), network=Network(),
            limits=_PROBE_LEVEL.limits, workspace=Workspace(), env={},
        )  # fmt: skip
        box = self._make(spec, grouped=False, flags=wire.SetupFlag.DROP | wire.SetupFlag.TRY_WATCH)
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        end, raw, trouble = Exit(), b"", None
        try:
            with anyio.fail_after(PROBE_TIMEOUT):
                await box.start()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(box.wait)
                    try:
                        end = await box.probe(theirs)
                    except ClocheError as error:  # raised from here it would come out as a group
                        trouble = error
                    os.close(theirs)
                    theirs = -1
                    raw = await anyio.to_thread.run_sync(_read_all, ours)
                    tasks.cancel_scope.cancel()
        except TimeoutError:
            raise StartError(f"the self-test did not end within {PROBE_TIMEOUT:g} s") from None
        finally:
            os.close(ours)
            if theirs >= 0:
                os.close(theirs)
            with anyio.CancelScope(shield=True):
                await box.delete()
        if trouble is not None:
            raise trouble
        try:
            facts: Facts = json.loads(raw)
        except ValueError:
            raise StartError(
                f"the self-test gave no report (exit {end.code}, signal {end.signal}): {raw[:200]!r}"
            ) from None
        return facts


def _read_all(fd: int) -> bytes:
    return b"".join(iter(lambda: os.read(fd, 1 << 16), b""))
