"""The blocking face of file systems without any process, with or without a host of one's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cloche.blocking_sandbox import Sandbox
from cloche.bridge import Bridge
from cloche.files.access import PathPermissions
from cloche.files.api import Files
from cloche.host import AsyncHost
from cloche.incidents.incident import Incident
from cloche.incidents.store import Incidents
from cloche.rules.ruleset import RulesLike
from cloche.secured import OnIncident
from cloche.spec import Violation

if TYPE_CHECKING:
    from types import TracebackType

    from cloche.blocking import Host
    from cloche.config import Config


class Secured:
    """What a host makes besides sandboxes, and what rules found (blocking face of ``AsyncSecured``)."""

    _inner: AsyncHost
    _bridge: Bridge

    @property
    def incidents(self) -> Incidents:
        """What rules found in this host's sandboxes, kept when these are gone, the newest ``4096``."""
        return self._inner.incidents

    def create_secure_file_system(
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
    ) -> Sandbox:
        call = partial(
            self._inner.create_secure_file_system, name, isolation=isolation, rules=rules, folder=folder,
            forbidden=forbidden, paths=paths, metadata=metadata, on_incident=on_incident,
        )  # fmt: skip
        return Sandbox(self._bridge.call(call), self._bridge)


class SecureFileSystem:
    """A file system whose every act passes rules, with a host of its own. Close it, or leave its ``with`` block."""

    def __init__(self, host: Host, box: Sandbox) -> None:
        self.box = box
        """The sandbox without processes that it is: ``pause``, ``resume``, ``update(rules=)``, ``events``."""
        self._host = host

    @property
    def files(self) -> Files:
        """Its files. An act that a rule refuses raises ``AccessDenied`` with the ``violation``."""
        return self.box.files

    @property
    def violations(self) -> tuple[Violation, ...]:
        """What rules refused or found: each kind of thing once, and counted."""
        return self.box.violations

    @property
    def incidents(self) -> Sequence[Incident]:
        """What rules found, oldest first; still there when it is closed."""
        return list(self._host.incidents)

    def resume(self) -> None:
        """Go on after a rule has suspended it."""
        self.box.resume()

    def close(self) -> None:
        """Give back what it holds; a folder that was made for it is removed. Harmless when repeated."""
        self._host.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def create_secure_file_system(
    name: str | None = None,
    *,
    isolation: str | None = None,
    rules: RulesLike = "on",
    folder: str | Path | None = None,
    on_incident: OnIncident | None = None,
    config: Config | str | Path | Mapping[str, object] | None = None,
    plugins: Sequence[object] = (),
) -> SecureFileSystem:
    """Give a file system without any process, whose every act passes rules before it is done; close it.

    As ``host.create_secure_file_system``, with a host of its own, which ``config`` and ``plugins`` are for.
    ``on_incident`` is called in that host's thread. Raises ``SpecError``, ``StartError``.
    """
    from cloche.blocking import Host  # noqa: PLC0415 - it needs this module

    host = Host(config=config, plugins=plugins, registry=False)
    host.__enter__()
    try:
        box = host.create_secure_file_system(
            name, isolation=isolation, rules=rules, folder=folder, on_incident=on_incident
        )
    except BaseException:
        host.__exit__(None, None, None)
        raise
    return SecureFileSystem(host, box)
