"""The blocking face of what a host makes from saved sandboxes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from cloche.blocking_sandbox import Sandbox
from cloche.bridge import Bridge
from cloche.host import AsyncHost
from cloche.monitor import Depth, Monitor
from cloche.policy import Limits, Mount, Workspace
from cloche.request import Asked
from cloche.rules.ruleset import RulesLike

if TYPE_CHECKING:
    from cloche.snapshots.snapshot import BoxSnapshot
    from cloche.snapshots.store import SnapshotStore


class Snapshots:
    """What a host makes from saved sandboxes (blocking face of ``AsyncSnapshots``)."""

    _inner: AsyncHost
    _bridge: Bridge

    @property
    def snapshots(self) -> SnapshotStore:
        """Where the saved sandboxes of this user are."""
        return self._inner.snapshots

    def template(
        self,
        label: str,
        *,
        imports: Iterable[str] = (),
        script: str = "",
        prepare: Sequence[str] = (),
        runtime: str | None = None,
        fresh: bool = False,
        **asked: Unpack[Asked],
    ) -> BoxSnapshot:
        call = partial(
            self._inner.template, label, imports=imports, script=script, prepare=prepare, runtime=runtime, fresh=fresh,
            **asked,
        )  # fmt: skip
        return self._bridge.call(call)

    def restore(
        self,
        snapshot: BoxSnapshot | str,
        *,
        name: str | None = None,
        limits: Limits | Mapping[str, object] | None = None,
        workspace: Workspace | str | Path | None = None,
        mounts: Iterable[Mount] = (),
        monitor: Monitor | Depth | None = None,
        rules: RulesLike | None = None,
        env: Mapping[str, str] | None = None,
        lifetime: float | str | None = None,
        idle_timeout: float | str | None = None,
        metadata: Mapping[str, str] | None = None,
        strict: bool = True,
    ) -> Sandbox:
        call = partial(
            self._inner.restore, snapshot, name=name, limits=limits, workspace=workspace, mounts=mounts,
            monitor=monitor, rules=rules, env=env, lifetime=lifetime, idle_timeout=idle_timeout, metadata=metadata,
            strict=strict,
        )  # fmt: skip
        return Sandbox(self._bridge.call(call), self._bridge)
