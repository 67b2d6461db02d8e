"""What people type as options, turned into values. A malformed option is click's to report (exit code 2)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from cloche.policy import Mount, Workspace
from cloche.spec import check_env

if TYPE_CHECKING:
    from collections.abc import Mapping


def mounts(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> list[Mount]:
    """Give mounts from ``SRC:DST[:ro|rw]``, read-only unless said."""
    return [_mount(value) for value in values]


def _mount(value: str) -> Mount:
    source, _, rest = value.partition(":")
    target, colon, mode = rest.partition(":")
    if not source or not target or (colon and mode not in ("ro", "rw")):
        raise click.BadParameter(f"{value!r} is not SRC:DST, SRC:DST:ro or SRC:DST:rw, e.g. ./data:/data:rw")
    return Mount(source, target, read_only=mode != "rw")


def workspace(_context: click.Context, _option: click.Parameter, value: str | None) -> Workspace | None:
    """Give the work folder from ``tmpfs`` or ``DIR[:bind|:overlay]``; a folder is written directly unless said."""
    if value is None:
        return None
    if value == "tmpfs":
        return Workspace()
    folder, colon, kind = value.rpartition(":")
    if not colon:
        folder, kind = value, "bind"
    if not folder or kind not in ("bind", "overlay"):
        raise click.BadParameter(f"{value!r} is not tmpfs, DIR, DIR:bind or DIR:overlay")
    return Workspace("overlay" if kind == "overlay" else "bind", folder)


def variables(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Give variables from ``NAME=VALUE``, or ``NAME`` for the value it has here; the last of a name counts."""
    return dict(_variable(value) for value in values)


def _variable(value: str) -> tuple[str, str]:
    name, equals, text = value.partition("=")
    if not name:
        raise click.BadParameter(f"{value!r} has no name; write NAME=VALUE, or NAME for the value it has here")
    if not equals and name not in os.environ:
        raise click.BadParameter(f"{name} is not set here; write {name}=VALUE, or leave it out")
    text = text if equals else os.environ[name]
    check_env(name, text)
    return name, text


def limits(options: Mapping[str, Any]) -> dict[str, object]:
    """Give the limits among ``options`` that were asked for, by their names in ``Limits``."""
    names = ("memory", "cpu", "pids", "open_files", "file_size", "disk", "output", "wall")
    return {name: options[name] for name in names if options[name] is not None}


def environment(given: Mapping[str, str], *, terminal: bool) -> dict[str, str]:
    """Give the guest's variables; with a terminal it is told which kind ours is, unless the caller says another."""
    kind = os.environ.get("TERM")
    return {"TERM": kind, **given} if terminal and kind else dict(given)
