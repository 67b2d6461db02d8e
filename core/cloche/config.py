"""What whoever runs the host decided in ``cloche.toml``: ``[host]``, ``[audit]``, ``[pool]``, and one table per plugin.

::

    [host]
    default_isolation = "enhanced"
    runtime = "microvm"               # instead of the level's own preference
    registry = false                  # other processes of this user neither see nor reach its sandboxes
    keeper_idle = "5s"                # how long the process that holds `cloche create`'s stays after the last of them
    uid_base = 200000                 # a host run as root gives each sandbox a user of its own:
    uid_count = 65536                 #   uid_base to uid_base + uid_count - 1
    blocked_plugins = ["other"]       # these are not even imported

    [audit]
    folder = "/var/lib/me/audit"      # incidents are noted there, in a log that shows what was changed in it
    size = "16M"                      # of one of its files
    keep = 64                         # files; the oldest is removed
    sync = true                       # each line is on the disk before the next is written

    [snapshots]
    folder = "/var/lib/me/snapshots"  # of saved sandboxes, instead of $XDG_DATA_HOME/cloche/snapshots
    size = "4G"                       # of all of them together

    [pool]                            # boxes started before anybody asks; without it there are none unless asked for
    mode = "prefer"                   # or "require", "off": what create and run do where they are not told
    min = 1                           # boxes of one kind that wait, as long as it is asked for
    max = 4
    total = 16                        # of all kinds
    idle = "10m"                      # after so long a box that was not needed goes
    age = "1h"                        # one that waited so long is replaced
    templates = [{ profile = "untrusted-python", min = 2 }]

    [rules]
    files = ["/srv/our-rules.yaml"]   # beside those in rules/*.yaml of the two folders named below

    [plugins.microvm]                 # handed to the plugin of that name in cloche_configure
    image = "/srv/guest.img"

Looked for in this order; the first that exists is taken alone, nothing is merged: what the caller gives,
``$CLOCHE_CONFIG``, ``$XDG_CONFIG_HOME/cloche/cloche.toml`` (``~/.config`` when unset), ``/etc/cloche/cloche.toml``.
``./cloche.toml`` is never read by itself: the present folder may hold the very code that is to be sealed, and that
code must not choose how. For the same reason a file found in the last two places must belong to root or to the user
running the host and be writable by no one else; one that the caller named is the caller's choice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from cloche import settings, units
from cloche.errors import SpecError
from cloche.incidents.audit_settings import AuditSettings
from cloche.pool.settings import PoolSettings

FILE_NAME: Final = "cloche.toml"
KIND: Final = "configuration"
UID_LEAST: Final = 1 << 16
"""Below lie the users of the system and those who log in (UID_MAX in login.defs(5)), and ``nobody`` (65534)."""
UID_MOST: Final = (1 << 31) - 1
"""Tools that hold a uid in a signed int stop here, and -1 means "no change" to setresuid(2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of one host, checked. ``source`` says where they came from, ``None`` if nowhere."""

    default_isolation: str = "enhanced"
    runtime: str | None = None
    registry: bool = True
    keeper_idle: float = 5.0
    uid_base: int = 200_000
    uid_count: int = 65_536
    blocked_plugins: frozenset[str] = frozenset()
    audit: AuditSettings | None = None
    pool: PoolSettings | None = None
    rule_files: tuple[str, ...] = ()
    snapshot_folder: str | None = None
    snapshot_size: int = 4 << 30
    plugins: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    source: str | None = None

    @classmethod
    def load(
        cls, source: str | Path | Mapping[str, Any] | None = None, *, environ: Mapping[str, str] = os.environ
    ) -> Config:
        """Give the settings in ``source``: a file, a mapping shaped like one, or ``None`` to look for a file.

        Raises ``SpecError``, naming the file and the key, for a file that is named but missing, unreadable, over
        64 KiB, not UTF-8 or not TOML, for an unknown key, a wrong type and a value out of range.
        """
        if isinstance(source, Mapping):
            return _from_table(source, "config", None)
        if isinstance(source, str | Path):
            return _from_file(Path(units.text(str(source), "config")), found=False)
        if source is not None:
            raise SpecError(f"config: a path or a mapping is needed, not {type(source).__name__}")
        if named := environ.get("CLOCHE_CONFIG"):
            return _from_file(Path(named), found=False)
        for folder in settings.folders(environ):
            if settings.exists(folder / FILE_NAME, KIND):
                return _from_file(folder / FILE_NAME, found=True)
        return cls()

    def table(self, plugin: str) -> Mapping[str, Any]:
        """Give a copy of the plugin's own table, empty if it has none."""
        return MappingProxyType(deepcopy(dict(self.plugins.get(plugin, {}))))


def _from_file(path: Path, *, found: bool) -> Config:
    return _from_table(settings.parse(settings.read(path, KIND, found=found), str(path)), str(path), str(path))


def _from_table(table: Mapping[str, Any], where: str, source: str | None) -> Config:
    for key in table:
        if key not in ("host", "rules", "audit", "pool", "snapshots", "plugins"):
            known_tables = "[host], [rules], [audit], [pool], [snapshots] and [plugins.<name>]"
            raise SpecError(f"{where}: unknown table {key!r}; known are {known_tables}")
    host = settings.table(table.get("host", {}), f"{where}: host")
    known: dict[str, Callable[[Any, str], object]] = {
        "default_isolation": units.identifier,
        "runtime": units.identifier,
        "registry": _flag,
        "keeper_idle": partial(units.duration, infinite=False),
        "uid_base": _uid_base,
        "uid_count": _uid_count,
        "blocked_plugins": _names,
    }
    for key in host:
        if key not in known:
            raise SpecError(f"{where}: unknown key host.{key}; known are {', '.join(known)}")
    values: dict[str, Any] = {key: known[key](value, f"{where}: host.{key}") for key, value in host.items()}
    plugins = {
        units.identifier(name, f"{where}: plugins"): deepcopy(settings.table(own, f"{where}: plugins.{name}"))
        for name, own in settings.table(table.get("plugins", {}), f"{where}: plugins").items()
    }
    values["rule_files"] = _rule_files(settings.table(table.get("rules", {}), f"{where}: rules"), f"{where}: rules")
    values |= _snapshots(settings.table(table.get("snapshots", {}), f"{where}: snapshots"), f"{where}: snapshots")
    audit = AuditSettings.of(settings.table(table["audit"], f"{where}: audit"), where) if "audit" in table else None
    pool = (
        PoolSettings.of(settings.table(table["pool"], f"{where}: pool"), f"{where}: pool") if "pool" in table else None
    )
    config = Config(**values, audit=audit, pool=pool, plugins=MappingProxyType(plugins), source=source)
    if config.uid_base + config.uid_count - 1 > UID_MOST:
        raise SpecError(f"{where}: host.uid_base and host.uid_count reach over uid {UID_MOST}")
    return config


def _rule_files(table: Mapping[str, Any], what: str) -> tuple[str, ...]:
    for key in table:
        if key != "files":
            raise SpecError(f"{what}: unknown key {key!r}; known is files")
    files = units.sequence(table.get("files", ()), f"{what}.files")
    for file in files:
        if not units.text(file, f"{what}.files").startswith("/"):
            raise SpecError(f"{what}.files: {units.shown(file)} must be an absolute path")
    return files


def _snapshots(table: Mapping[str, Any], what: str) -> dict[str, Any]:
    known: dict[str, Callable[[Any, str], object]] = {"folder": units.host_path, "size": units.size}
    for key in table:
        if key not in known:
            raise SpecError(f"{what}: unknown key {key!r}; known are {', '.join(known)}")
    return {f"snapshot_{key}": known[key](value, f"{what}.{key}") for key, value in table.items()}


def _flag(value: object, what: str) -> bool:
    if not isinstance(value, bool):
        raise SpecError(f"{what}: true or false is needed, not {units.shown(value)}")
    return value


def _uid_base(value: int, what: str) -> int:
    return units.count(value, what, least=UID_LEAST, most=UID_MOST)


def _uid_count(value: int, what: str) -> int:
    return units.count(value, what, most=UID_MOST)


def _names(value: object, what: str) -> frozenset[str]:
    if not isinstance(value, list | tuple | set | frozenset):
        raise SpecError(f"{what}: a list of plugin names is needed, not {value!r:.80}")
    return frozenset(units.identifier(name, what) for name in value)
