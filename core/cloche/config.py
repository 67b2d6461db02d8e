"""What whoever runs the host decided in ``cloche.toml``: one ``[host]`` table and one table per plugin.

::

    [host]
    default_isolation = "enhanced"
    runtime = "microvm"               # instead of the level's own preference
    uid_base = 200000                 # a host run as root gives each sandbox a user of its own:
    uid_count = 65536                 #   uid_base to uid_base + uid_count - 1
    blocked_plugins = ["other"]       # these are not even imported

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
import stat
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from cloche import units
from cloche.errors import SpecError

FILE_MAX: Final = 1 << 16
LINE_MAX: Final = 1 << 10
"""Bytes of the file, characters of one line. ``tomllib`` (Python 3.11) takes memory in the square of the parts of a
dotted key: 200 kB of ``a.a.a`` got a process killed for memory; within these bounds the worst found was 86 MB."""
SYSTEM_FILE: Final = Path("/etc/cloche/cloche.toml")
UID_LEAST: Final = 1 << 16
"""Below lie the users of the system and those who log in (UID_MAX in login.defs(5)), and ``nobody`` (65534)."""
UID_MOST: Final = (1 << 31) - 1
"""Tools that hold a uid in a signed int stop here, and -1 means "no change" to setresuid(2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of one host, checked. ``source`` says where they came from, ``None`` if nowhere."""

    default_isolation: str = "enhanced"
    runtime: str | None = None
    uid_base: int = 200_000
    uid_count: int = 65_536
    blocked_plugins: frozenset[str] = frozenset()
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
            return _from_file(Path(units.text(str(source), "config")), implicit=False)
        if source is not None:
            raise SpecError(f"config: a path or a mapping is needed, not {type(source).__name__}")
        if named := environ.get("CLOCHE_CONFIG"):
            return _from_file(Path(named), implicit=False)
        for place in _places(environ):
            if _exists(place):
                return _from_file(place, implicit=True)
        return cls()

    def table(self, plugin: str) -> Mapping[str, Any]:
        """Give a copy of the plugin's own table, empty if it has none."""
        return MappingProxyType(deepcopy(dict(self.plugins.get(plugin, {}))))


def _places(environ: Mapping[str, str]) -> list[Path]:
    """Give where a file is looked for. A relative ``$XDG_CONFIG_HOME`` counts as unset (XDG base directories 0.8)."""
    base = Path(environ.get("XDG_CONFIG_HOME", ""))
    if not base.is_absolute():
        base = Path(environ.get("HOME", ""), ".config")
    users = [base / "cloche" / "cloche.toml"] if base.is_absolute() else []
    return [*users, SYSTEM_FILE]


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        # It may be there and block a plugin: going on as if it were not would weaken what its owner decided.
        raise SpecError(f"{path}: can't tell whether this configuration exists: {error}") from None
    return True


def _from_file(path: Path, *, implicit: bool) -> Config:
    import tomllib  # noqa: PLC0415 - 2 ms that a host without a file need not pay

    text = _read(path, implicit=implicit)
    long = next((n for n, line in enumerate(text.split("\n"), 1) if len(line) > LINE_MAX), None)
    if long is not None:
        raise SpecError(f"{path}: line {long} is longer than {LINE_MAX} characters; break it up")
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise SpecError(f"{path}: not usable: it is nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError, and what int() says of a number with thousands of digits
        raise SpecError(f"{path}: not valid TOML: {error}") from None
    return _from_table(table, str(path), str(path))


def _read(path: Path, *, implicit: bool) -> str:
    """Give the file's text; refuses what is no regular file without waiting on it (a FIFO blocks a plain open)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: can't read this configuration: {error}") from None
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise SpecError(f"{path}: can't read this configuration: it is not a regular file")
        if implicit and (info.st_uid not in (0, os.geteuid()) or info.st_mode & stat.S_IWOTH):
            raise SpecError(
                f"{path}: this configuration is not trusted: it must belong to you or root and not be writable by "
                f"everyone; fix that, or name the file in CLOCHE_CONFIG"
            )
        with open(fd, "rb", closefd=False) as file:
            raw = file.read(FILE_MAX + 1)
    except OSError as error:
        raise SpecError(f"{path}: can't read this configuration: {error}") from None
    finally:
        os.close(fd)
    if len(raw) > FILE_MAX:
        raise SpecError(f"{path}: longer than {FILE_MAX} bytes; a configuration is short")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: not UTF-8: byte {error.start} is {raw[error.start]:#04x}") from None


def _from_table(table: Mapping[str, Any], where: str, source: str | None) -> Config:
    for key in table:
        if key not in ("host", "plugins"):
            raise SpecError(f"{where}: unknown table {key!r}; known are [host] and [plugins.<name>]")
    host = _table(table.get("host", {}), f"{where}: host")
    known: dict[str, Callable[[Any, str], object]] = {
        "default_isolation": units.identifier,
        "runtime": units.identifier,
        "uid_base": _uid_base,
        "uid_count": _uid_count,
        "blocked_plugins": _names,
    }
    for key in host:
        if key not in known:
            raise SpecError(f"{where}: unknown key host.{key}; known are {', '.join(known)}")
    values: dict[str, Any] = {key: known[key](value, f"{where}: host.{key}") for key, value in host.items()}
    plugins = {
        units.identifier(name, f"{where}: plugins"): deepcopy(_table(own, f"{where}: plugins.{name}"))
        for name, own in _table(table.get("plugins", {}), f"{where}: plugins").items()
    }
    config = Config(**values, plugins=MappingProxyType(plugins), source=source)
    if config.uid_base + config.uid_count - 1 > UID_MOST:
        raise SpecError(f"{where}: host.uid_base and host.uid_count reach over uid {UID_MOST}")
    return config


def _table(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise SpecError(f"{what}: a table is needed, not {value!r:.80}")
    return dict(value)


def _uid_base(value: int, what: str) -> int:
    return units.count(value, what, least=UID_LEAST, most=UID_MOST)


def _uid_count(value: int, what: str) -> int:
    return units.count(value, what, most=UID_MOST)


def _names(value: object, what: str) -> frozenset[str]:
    if not isinstance(value, list | tuple | set | frozenset):
        raise SpecError(f"{what}: a list of plugin names is needed, not {value!r:.80}")
    return frozenset(units.identifier(name, what) for name in value)
