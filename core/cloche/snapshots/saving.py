"""The part of a sandbox that saves it, and of a host that makes others from what was saved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self, Unpack, cast

import anyio
import anyio.to_thread

from cloche import units
from cloche.errors import ClocheError, SandboxError, SnapshotError, SpecError, Unsupported
from cloche.snapshots.snapshot import BoxSnapshot, Shape

if TYPE_CHECKING:
    from cloche.host import AsyncHost
    from cloche.monitor import Depth, Monitor
    from cloche.policy import Limits, Mount, Workspace
    from cloche.request import Asked
    from cloche.rules.ruleset import RulesLike
    from cloche.runtime import Instance, Runtime
    from cloche.sandbox import AsyncSandbox
    from cloche.snapshots.store import SnapshotStore
    from cloche.spec import Spec


class AsyncSnapshots:
    """What a host makes from saved sandboxes."""

    _store: SnapshotStore | None = None

    @property
    def snapshots(self) -> SnapshotStore:
        """Where the saved sandboxes of this user are."""
        from cloche.snapshots.store import SnapshotStore  # noqa: PLC0415 - few hosts save any

        if self._store is None:
            config = _host(self).config
            self._store = SnapshotStore(config.snapshot_folder, size=config.snapshot_size)
        return self._store

    async def restore(
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
    ) -> AsyncSandbox:
        """Give a new sandbox that goes on where a saved one was, as often as wanted; it has its own id.

        ``snapshot`` may be the beginning of an id, or a label. What is not given is as it was, but ``monitor`` and
        ``rules``, which are as for ``create``. ``workspace`` and ``mounts`` name other folders of the host for the same
        places in the box. Raises ``SnapshotError`` where it can't be restored here: another version or platform of its
        runtime, a folder that is gone or has another place; and what ``create`` raises.
        """
        host = _host(self)
        which = snapshot.id if isinstance(snapshot, BoxSnapshot) else units.text(snapshot, "snapshot", most=200)
        with ExitStack() as held:
            opened = self.snapshots.opened(which)
            found, folder = await anyio.to_thread.run_sync(opened.__enter__)
            held.push(opened)
            runtime = host.runtimes.get(found.runtime)
            if runtime is None:
                raise SnapshotError(f"{_told(found)}: its runtime {found.runtime!r} is not installed here")
            try:
                spec = host.asked(
                    policy=found.shape.policy(), name=name, limits=limits, workspace=workspace, mounts=mounts,
                    monitor=monitor, rules=rules, env={**found.shape.env, **(env or {})}, lifetime=lifetime,
                    idle_timeout=idle_timeout, metadata=metadata, strict=strict, rootfs=found.shape.rootfs,
                    hostname=found.shape.hostname, user=found.shape.user,
                )[1]  # fmt: skip
            except SpecError as error:
                raise SnapshotError(f"{_told(found)}: {error}") from error
            if other := found.shape.differences(spec):
                raise SnapshotError(f"{_told(found)}: {'; '.join(other)}")
            build = partial(_restored, found, folder)
            return await host.obtain(spec, found.runtime, start=True, fresh=True, build=build)

    async def template(
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
        """Give a saved sandbox that was prepared as told, made now if there is none or what it rests on has changed.

        First the program ``prepare`` is run to its end; then, where there are ``imports`` or a ``script``, a resident
        worker is started with them (``box.start_worker``). The rest is as for ``create``. It is found again by all of
        this, the runtime's version, and the times of the files behind mounts, the highest level of folders only;
        ``fresh`` makes it anew. An older one of this ``label`` is removed. Raises what ``create``, ``checkpoint`` and
        ``start_worker`` raise, ``StartError`` if ``prepare`` fails, ``SpecError`` if nothing is to be prepared.
        """
        from cloche.snapshots import template  # noqa: PLC0415 - few hosts make one

        recipe = template.Recipe.of(label, prepare, imports, script)
        spec = _host(self).asked(**asked)[1]
        return await template.template(_host(self), recipe, spec, runtime, fresh=fresh)


async def _restored(found: BoxSnapshot, folder: str, runtime: Runtime, spec: Spec) -> Instance:
    why = found.refusal(runtime.image_needs(spec))
    if why is not None:
        raise SnapshotError(f"{_told(found)}: {why}; make another")
    return await runtime.restore(spec, folder)


class Saving:
    """One sandbox on its way into the store."""

    def __init__(self, host: AsyncHost, box: AsyncSandbox, label: str, template: str = "") -> None:
        self._store = host.snapshots
        self._box = box
        self._needs = host.runtimes[box.runtime].image_needs(box.spec) if box.runtime in host.runtimes else None
        self._label = label
        self._template = template

    async def __aenter__(self) -> Self:
        if self._needs is None:
            raise Unsupported(f"a sandbox of {self._box.runtime!r} can't be saved")
        await anyio.to_thread.run_sync(self._store.check_room)
        self._writing = self._store.writing()
        self._part = await anyio.to_thread.run_sync(self._writing.__enter__)
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._writing.__exit__, None, None, None)

    async def write(self, instance: Instance) -> None:
        """Have the runtime write the image, which ends the box. Raises ``SnapshotError`` if the box goes on."""
        try:
            await instance.checkpoint(self._part.image)
        except ClocheError:
            raise
        except Exception as error:
            raise SandboxError(f"runtime {self._box.runtime!r} failed: {type(error).__name__}: {error}") from error

    async def commit(self) -> BoxSnapshot:
        """Keep what was written. Raises ``SnapshotError``, and ``LimitExceeded`` where there is no room for it."""
        commit = partial(
            self._part.commit, runtime=self._box.runtime, needs=self._needs or {}, shape=Shape.of(self._box.spec),
            label=self._label, template=self._template,
        )  # fmt: skip
        return await anyio.to_thread.run_sync(commit)


def _told(found: BoxSnapshot) -> str:
    return f"snapshot {found.id[:12]} can't be restored here"


def _host(part: AsyncSnapshots) -> AsyncHost:
    return cast("AsyncHost", part)  # the one class that this is a part of
