"""What people type as options, turned into values. A malformed option is click's to report (exit code 2)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

import click

from cloche.files.access import OPERATIONS, Operation, PathPermissions
from cloche.policy import Mount, Workspace
from cloche.rules.ruleset import WORDS
from cloche.rules.severity import THRESHOLDS
from cloche.spec import check_env

if TYPE_CHECKING:
    from collections.abc import Mapping


def mounts(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> list[Mount]:
    """Give mounts from ``SRC:DST[:ro|rw|OPERATIONS]``, read-only unless said."""
    return [_mount(value) for value in values]


def _mount(value: str) -> Mount:
    source, _, rest = value.partition(":")
    target, colon, mode = rest.partition(":")
    operations = mode.split(",")
    if not source or not target or (colon and mode not in ("ro", "rw") and not set(operations) <= set(OPERATIONS)):
        raise click.BadParameter(
            f"{value!r} is not SRC:DST, SRC:DST:ro, SRC:DST:rw or SRC:DST: and some of {','.join(OPERATIONS)}, "
            "e.g. ./data:/data:rw or ./in:/in:read,list"
        )
    if mode in ("", "ro", "rw"):
        return Mount(source, target, read_only=mode != "rw")
    return Mount(source, target, operations=cast("frozenset[Operation]", frozenset(operations)))


def paths(options: Mapping[str, Any]) -> PathPermissions | None:
    """Give the path permissions that were asked for, if any; what is forbidden is given by itself."""
    return PathPermissions(options["allow_path"], options["read_only_path"]) or None


def rules(options: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give the rules that were asked for, if any, as far as they were: the rest is the profile's."""
    asked = {name: options[name] for name in THRESHOLDS if options[name] is not None}
    text: str | None = options["rules"]
    if text in WORDS:
        asked |= {"use": () if text == "off" else ("*",), "without": (), "audit": text == "audit"}
    elif text is not None:
        asked |= {"use": tuple(filter(None, text.split(","))), "without": (), "audit": False}
        if not asked["use"]:
            raise click.BadParameter(f"{text!r} names no rule; write on, off, audit, or RULE,...", param_hint="--rules")
    return asked or None


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


def environment(given: Mapping[str, str], *, terminal: bool) -> dict[str, str]:
    """Give the guest's variables; with a terminal it is told which kind ours is, unless the caller says another."""
    kind = os.environ.get("TERM")
    return {"TERM": kind, **given} if terminal and kind else dict(given)
