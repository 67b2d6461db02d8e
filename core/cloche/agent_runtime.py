"""A base class for runtimes that are driven through the agent: probe, own users, limits and report are done here.

A subclass says whether its launcher is here (``missing``), how to launch (``launch``) and, if it differs from what
the probe found, what to report (``adjust``). Everything reported was seen by a self-test that ran in a real box of
this runtime on this machine; the answer is cached until the kernel, the boot, the launcher or cloche changes.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from abc import abstractmethod
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import anyio

import cloche_native as native
from cloche import machine
from cloche.agent import AgentInstance
from cloche.config import Config
from cloche.enforcement import Enforced, Enforcement, Guarantee, Kept, Partial, kept
from cloche.errors import ClocheError, RuntimeUnavailable, StartError
from cloche.launch import Launch
from cloche.policy import IsolationLevel, Limits, Network, Workspace
from cloche.runtime import Exit, Instance, Runtime
from cloche.spec import Spec
from cloche.uids import Seat, UidPool, missing_users
from cloche_native import agent as wire
from cloche_native import cgroup, findings
from cloche_native.bounds import OUTLIVING_CALLS, Bounds, tasks_of_caller

PROBE_TIMEOUT = 15.0
REPORTS_KEPT = 256
OWN_PROCESSES = 64  # room in a control group for the launcher, the agent and its helpers, one an exec
Facts = Mapping[str, Any]

_PROBE_LEVEL = IsolationLevel(
    name="probe",
    summary="used once per machine to find out what works",
    guarantees=frozenset(),
    limits=Limits(memory="1G", cpu=1, pids=24, open_files=64, file_size="1M", output="1M", wall=PROBE_TIMEOUT),
    syscalls="enhanced",
)


class AgentRuntime(Runtime):
    """Subclass it for a launcher that can start one static program in its box with one inherited descriptor."""

    has_own_view = True
    """Whether the box has namespaces of its own: it finds no socket of the host, and what it makes ends with it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._facts: Facts | None = None
        self._reason: str | None = None
        self._groups: cgroup.Hierarchy | None = None
        self._users: UidPool | None = None
        self._uids = (200_000, 65_536)
        self._janitor: machine.Janitor | None = None
        self._spare_groups: cgroup.Pool | None = None
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

    def configure(self, config: Config) -> None:
        """Take the users that the host may give to boxes."""
        self._uids = (config.uid_base, config.uid_count)

    def unavailable(self) -> str | None:
        """Look for the launcher, then bring up a real box and look around in it, once per machine."""
        with self._lock:
            if self._facts is None and self._reason is None:
                self._reason = self.missing() or self._look()
            return self._reason

    def enforcement(self, spec: Spec) -> Enforcement:
        """Give what the probe found, and how each limit of ``spec`` is kept."""
        key = (spec.level, spec.network, spec.limits, spec.workspace, spec.mounts, spec.forbidden, spec.rootfs)
        report = self._reports.get(key)
        if report is None:
            if len(self._reports) >= REPORTS_KEPT:
                self._reports.clear()
            report = self._reports[key] = self._report(spec)
        return report

    def _report(self, spec: Spec) -> Enforcement:
        if self._facts is None:
            raise RuntimeUnavailable(self.name, self._reason or "it was not probed")
        asked = _bounds(spec.limits)
        grouped = f"cgroup v{self._groups.version}" if self._groups is not None else None
        plain = findings.judge(self._facts, network=spec.network.mode, level=spec.level.syscalls)
        plain |= asked.verdicts(grouped=grouped, own_user=findings.own_user(self._facts))
        features = {name: kept(verdict) for name, verdict in plain.items()}
        features[Guarantee.DISK] = Enforced("every writable folder is a sized tmpfs with an inode cap")
        features["output"] = Enforced("the host counts what it reads")
        features["wall"] = Enforced("the host's clock; the whole tree is killed")
        features[Guarantee.PAUSE] = Partial("the agent stops every process", "a parent can see that its child stopped")
        self.adjust(spec, features)
        return Enforcement(features)

    async def create(self, spec: Spec) -> Instance:
        """Take what a box needs from this machine and give an instance that returns it when deleted."""
        return self._make(spec, grouped=True)

    def close(self) -> None:
        """Remove the spare control groups, and end the helper that cleans up after a crash."""
        if self._spare_groups is not None:
            self._spare_groups.close()
            self._spare_groups = None
        if self._users is not None:
            self._users.close()
        if self._janitor is not None:
            self._janitor.close()
            self._janitor = None

    # -- for subclasses ---------------------------------------------------------------------------------------------

    def temp_folder(self, spec: Spec, seat: Seat | None) -> Path:
        """Give a new private folder for one box, owned by its user; the launch's cleanup must ``drop_folder`` it."""
        return self._helper().folder(spec.id, seat.uid if seat is not None else None)

    def drop_folder(self, folder: Path) -> None:
        """Remove a folder made by ``temp_folder``, whatever the guest left in it."""
        if self._janitor is not None:
            self._janitor.drop(folder)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _make(self, spec: Spec, *, grouped: bool) -> AgentInstance:
        asked = _bounds(spec.limits)
        groups = self._groups if grouped else None
        seat = self._seat()
        group = None
        try:
            if groups is not None:
                pids = asked.pids + OWN_PROCESSES if asked.pids is not None else None
                group = self._pool(groups).take(memory=asked.memory, cpu=asked.cpu, pids=pids)
            cpus = asked.affinity(grouped=groups is not None)
            setup = wire.Setup(
                hostname=spec.hostname,
                flags=wire.SetupFlag.DROP,
                seccomp=self._filter(spec, locked=bool(cpus)),
                rlimits=asked.rlimits(grouped=groups is not None),
                affinity=cpus,
                pids=self._task_limit(asked, grouped=groups is not None),
            )  # fmt: skip
            launch = self.launch(spec, setup, seat)
        except BaseException:
            if group is not None and self._spare_groups is not None:
                self._spare_groups.give(group)
            if seat is not None:
                seat.release()
            raise
        give_back = self._spare_groups.give if self._spare_groups is not None else None
        return AgentInstance(launch, group, seat, give_back=give_back)

    def _pool(self, groups: cgroup.Hierarchy) -> cgroup.Pool:
        if self._spare_groups is None:
            prefix = self._helper().watch_groups(dict.fromkeys(groups.parents.values()))
            self._spare_groups = cgroup.Pool(groups, prefix)
        return self._spare_groups

    def _helper(self) -> machine.Janitor:
        """Give the process that cleans up if this one is killed; it is told what to look for before that exists."""
        self._janitor = self._janitor or machine.Janitor()
        return self._janitor

    def _task_limit(self, asked: Bounds, *, grouped: bool) -> int | None:
        if asked.pids is None or self._facts is None or findings.own_user(self._facts):
            return asked.pids
        return None if grouped else asked.pids + tasks_of_caller()

    def _filter(self, spec: Spec, *, locked: bool) -> bytes:
        deny = ("sched_setaffinity",) if locked else ()
        if self.has_own_view:
            return _program(spec.level.syscalls, self._sockets(spec), deny, None)
        return _program(spec.level.syscalls, self._sockets(spec), (*deny, *OUTLIVING_CALLS), os.getpid())

    def _sockets(self, spec: Spec) -> native.Sockets:
        # Unix sockets of the host are files: without a view of one's own, they could be found and connected to.
        if spec.network.mode == "none":
            return "unix" if self.has_own_view else "none"
        if self.has_own_view:
            return "all"
        return "inet" if spec.network.mode == "host" else "none"  # no loopback of its own: none, rather than the host's

    def _seat(self) -> Seat | None:
        if os.geteuid() != 0:
            return None
        if self._users is None:
            self._users = UidPool(machine.state_folder() / "uids", *self._uids)
        return self._users.take()

    def _look(self) -> str | None:
        if os.geteuid() == 0 and (problem := missing_users(*self._uids)):
            return problem
        self._groups = cgroup.detect()
        cache = machine.ProbeCache(self.name, [*self.cache_key(), *findings.host_key(), *_code_key(type(self))])
        facts: Facts | None = cache.read()
        if facts is None:
            try:
                facts = anyio.run(self._probe)
            except ClocheError as error:
                return str(error)
            cache.write(facts)
        self._facts = facts
        return None

    async def _probe(self) -> Facts:
        spec = Spec(
            id=f"probe-{os.getpid()}", name=None, level=_PROBE_LEVEL, guarantees=frozenset(), network=Network(),
            limits=_PROBE_LEVEL.limits, workspace=Workspace(), env={},
        )  # fmt: skip
        box = self._make(spec, grouped=False)
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


@lru_cache(64)
def _program(profile: str, sockets: native.Sockets, deny: tuple[str, ...], protect: int | None) -> bytes:
    return native.seccomp_program(profile, sockets=sockets, deny=deny, protect_pid=protect)


def _code_key(runtime: type) -> list[str]:
    files = [sys.modules[kind.__module__].__file__ for kind in runtime.__mro__ if issubclass(kind, AgentRuntime)]
    return [f"{file} {os.stat(file).st_mtime_ns}" for file in files if file]


def _bounds(limits: Limits) -> Bounds:
    return Bounds(
        memory=limits.memory, cpu=limits.cpu, pids=limits.pids, open_files=limits.open_files,
        file_size=limits.file_size,
    )  # fmt: skip


def _read_all(fd: int) -> bytes:
    return b"".join(iter(lambda: os.read(fd, 1 << 16), b""))
