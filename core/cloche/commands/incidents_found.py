"""Incidents as plain data, from living sandboxes and from the audit log, each once."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from cloche.commands import new_host
from cloche.config import Config
from cloche.errors import ClocheError
from cloche.incidents.audit import AuditLog
from cloche.rules.severity import Severity


class Looking:
    """Looks for incidents again and again, and gives those that are new, or are not as they were."""

    def __init__(self, which: str | None, least: Severity, begin: float, folder: str | None) -> None:
        """Begin; ``which`` names a sandbox, ``folder`` an audit log other than the configured one."""
        settings = Config.load().audit
        self._which = which
        self._least = least
        self._begin = begin
        self.log = folder or (settings.folder if settings is not None else None)
        self._named = folder is not None
        self._known: dict[str, str] = {}

    def look(self) -> list[Mapping[str, Any]]:
        """Give what is new since the last look, by time."""
        found: dict[str, Mapping[str, Any]] = {}
        for one in (*self._from_log(), *_living()):  # who lives knows best
            found[str(one.get("id"))] = one
        fresh = []
        for name, one in found.items():
            now = json.dumps(one, sort_keys=True)
            if self._wanted(one) and self._known.get(name) != now:
                self._known[name] = now
                fresh.append(one)
        return sorted(fresh, key=_time)

    def _wanted(self, one: Mapping[str, Any]) -> bool:
        names = (one.get("sandbox"), one.get("sandbox_name"))
        here = self._which is None or self._which in names or str(names[0]).startswith(self._which)
        return here and _time(one) >= self._begin and _severity(one) >= self._least

    def _from_log(self) -> Iterator[Mapping[str, Any]]:
        if self.log is None:
            return
        try:
            log = AuditLog(self.log, make=False)
        except ClocheError:
            if self._named:
                raise
            return  # configured, and nothing was written yet
        with log:
            for entry in log.entries():
                if entry.kind == "incident":
                    yield entry.body


def _living() -> Iterator[Mapping[str, Any]]:
    """Give those of the sandboxes of this user's hosts."""
    with new_host() as host:
        for record in host.list():
            if record.orphaned or record.trouble:
                continue
            with contextlib.suppress(ClocheError), host.attach(record.id) as box:  # it may be gone by now
                yield from (incident.as_json() for incident in box.incidents())


def _time(one: Mapping[str, Any]) -> float:
    value = one.get("time")
    return float(value) if isinstance(value, int | float) else 0.0


def _severity(one: Mapping[str, Any]) -> Severity:
    try:
        return Severity.of(str(one.get("severity")))
    except ClocheError:
        return Severity.INFO  # whoever wrote that was no host of ours
