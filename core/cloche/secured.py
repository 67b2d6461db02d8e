"""The part of a host that makes file systems without any process, whose every act passes rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from cloche import units
from cloche.errors import SpecError, StateError
from cloche.notices import Notice, NoticeType

if TYPE_CHECKING:
    from cloche.files.access import PathPermissions
    from cloche.host import AsyncHost
    from cloche.incidents.bench import Bench
    from cloche.incidents.incident import Incident
    from cloche.incidents.store import Incidents
    from cloche.rules.ruleset import RulesLike
    from cloche.sandbox import AsyncSandbox

OnIncident = Callable[["Incident"], object]


class AsyncSecured:
    """What a host makes besides sandboxes, and what rules found in all it made."""

    bench: Bench

    @property
    def incidents(self) -> Incidents:
        """What rules found in this host's sandboxes, kept when these are gone, the newest ``4096``."""
        return self.bench.incidents

    async def create_secure_file_system(
        self,
        name: str | None = None,
        *,
        isolation: str | None = None,
        rules: RulesLike = "on",
        folder: str | Path | None = None,
        forbidden: Iterable[str] = (),
        paths: PathPermissions | None = None,
        metadata: Mapping[str, str] | None = None,
        on_incident: OnIncident | None = None,
    ) -> AsyncSandbox:
        """Give a sandbox without any process: its ``files`` are those of a folder, and each act on them passes rules.

        Without ``folder`` one is made, and removed with it. An act that a rule refuses raises ``AccessDenied``, whose
        ``violation`` says which; a rule that suspends or terminates has every later act raise ``StateError``, until
        ``resume`` or for good. ``isolation`` gives the thresholds; ``on_incident`` is called on the event loop with
        each ``Incident``. Links are not followed, and nothing outside of the folder is reached, whatever rules say.
        Raises ``SpecError``, ``StartError``.
        """
        from cloche.files.secure import RUNTIME, FolderInstance, kept  # noqa: PLC0415 - few hosts make one
        from cloche.sandbox import AsyncSandbox  # noqa: PLC0415 - the same

        host = cast("AsyncHost", self)  # the one class that this is a part of
        if host.tasks is None:
            raise StateError("the host is not open; use it as a context manager")
        if on_incident is not None and not callable(on_incident):
            raise SpecError(f"on_incident: a function is needed, not {units.shown(on_incident)}")
        spec = host.asked(
            name=name, isolation=isolation, rules=rules, forbidden=forbidden, paths=paths, metadata=metadata
        )[1]
        judging = host.bench.judging(spec, workspace="/", whole=True)
        box = AsyncSandbox(
            host, spec, FolderInstance(folder), runtime=RUNTIME, enforcement=kept(spec), tasks=host.tasks, report=kept,
            judging=judging,
        )  # fmt: skip
        if on_incident is not None:
            _tell(host, box.id, on_incident)
        await host.take(box, start=True)
        return box


def _tell(host: AsyncHost, sandbox: str, on_incident: OnIncident) -> None:
    """Call ``on_incident`` for each incident of a sandbox, until that is deleted."""

    def told(notice: Notice) -> None:
        if notice.sandbox != sandbox:
            return
        if notice.incident is not None:
            on_incident(notice.incident)
        elif notice.type is NoticeType.DELETED:
            stop()

    stop = host.on("incident", "deleted", callback=told)
