"""Looks over the places of all hosts: which sandboxes there are, whose host is dead, and sweeps after the dead."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cloche import units
from cloche.errors import ClocheError, RegistryError
from cloche.registry import record
from cloche.registry.folder import Folder
from cloche.registry.place import INFO_MAX
from cloche.registry.plain import from_json, from_plain
from cloche.registry.record import RECORD_MAX, SandboxRecord
from cloche_native import processes

Sweep = Callable[[tuple[str, ...]], list[str]]
"""``Runtime.sweep``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One place as it was found."""

    host: str
    pid: int = 0
    boot: str = ""
    kept: bool = False
    alive: bool = False
    trouble: str = ""
    records: tuple[SandboxRecord, ...] = ()


def look(run: Folder) -> list[Seen]:
    """Give every place, whatever state it is in. A place that vanishes meanwhile is left out."""
    found = []
    with contextlib.suppress(FileNotFoundError), run.sub("hosts") as hosts:
        for name in hosts.names():
            if not name.startswith("."):
                with contextlib.suppress(FileNotFoundError):
                    found.append(_look(hosts, name))
    return found


def _look(hosts: Folder, name: str) -> Seen:
    host = units.one_line(name, most=80)
    try:
        place = hosts.sub(name)
    except FileNotFoundError:
        raise
    except (OSError, ClocheError) as error:
        return Seen(host=host, trouble=units.one_line(str(error), most=300), alive=True)
    with place:
        try:
            alive = _is_alive(place)
            seen = _info(place, host)
        except FileNotFoundError:
            if hosts.names().count(name) == 0:
                raise
            return Seen(host=host, trouble="its lock or its host.json is missing", alive=True)
        except (OSError, ValueError, ClocheError) as error:
            return Seen(host=host, trouble=units.one_line(str(error), most=300), alive=True)
        return replace(seen, alive=alive, records=tuple(_records(place, replace(seen, alive=alive))))


def _is_alive(place: Folder) -> bool:
    fd = place.lock("lock", make=False, shared=True)  # many may look at once
    if fd is None:
        return "sweeping" not in place.names()
    os.close(fd)
    return False


def _info(place: Folder, host: str) -> Seen:
    body = from_json(place.read("host.json", INFO_MAX), "host.json")
    return Seen(
        host=host,
        pid=from_plain(int, body.get("pid"), "pid"),
        boot=from_plain(str, body.get("boot"), "boot"),
        kept=from_plain(bool, body.get("kept"), "kept"),
    )


def _records(place: Folder, seen: Seen) -> Iterator[SandboxRecord]:
    with contextlib.suppress(FileNotFoundError), place.sub("boxes") as boxes:
        for file in boxes.names():
            if file.startswith("."):
                continue
            try:
                one = record.read(boxes.read(file, RECORD_MAX), file=file, host=seen.host)
            except FileNotFoundError:
                continue  # deleted while we looked
            except (OSError, ValueError) as error:
                one = record.broken(file, seen.host, error)
            yield replace(one, pid=seen.pid, kept=seen.kept, orphaned=not seen.alive)


# -- the sweep ------------------------------------------------------------------------------------------------------


def sweep(run: Folder, runtimes: Mapping[str, Sweep]) -> tuple[list[str], list[str]]:
    """Remove what dead hosts left; give what was removed and what could not be, in words. Blocks: use a thread.

    ``runtimes`` are those of the host that sweeps, by name: only a runtime knows its own leavings. A place whose
    runtime is not among them stays until a host that has it sweeps.
    """
    removed: list[str] = []
    kept: list[str] = []
    with contextlib.suppress(FileNotFoundError), run.sub("hosts") as hosts:
        for name in hosts.names():
            try:
                _sweep(hosts, name, runtimes, removed)
            except FileNotFoundError:
                continue  # its own host, or another that sweeps, has removed it
            except (OSError, ValueError, ClocheError) as error:
                kept.append(f"what host {units.one_line(name, most=80)} left: {units.one_line(str(error), most=300)}")
    return removed, kept


def _sweep(hosts: Folder, name: str, runtimes: Mapping[str, Sweep], removed: list[str]) -> None:
    with hosts.sub(name) as place:
        try:
            lock = place.lock("lock", make=False)
        except FileNotFoundError:
            os.rmdir(name, dir_fd=hosts.fd)  # nothing was begun in it, or else this fails
            return
        if lock is None:
            return  # it lives, or another sweeps
        try:
            if name.startswith("."):
                _remove(hosts, name, place)
                return
            with contextlib.suppress(OSError):  # a full disk: then some see it as living until it is gone
                place.write("sweeping", b"")
            _give_back(place, units.one_line(name, most=80), runtimes, removed)
            _remove(hosts, name, place)
        finally:
            os.close(lock)


def _give_back(place: Folder, name: str, runtimes: Mapping[str, Sweep], removed: list[str]) -> None:
    seen = _info(place, name)
    records = list(_records(place, seen))
    if seen.boot == processes.boot():
        ids = [(pid, start, f"sandbox {one.id}") for one in records for pid, start in one.processes]
        ids += [(pid, start, "a box that waited in its pool") for pid, start in _waiting(place)]
        removed += [f"process {pid} of {what}" for pid, start, what in ids if processes.end(pid, start)]
    for runtime, lines in _leavings(place).items():
        if runtime not in runtimes:
            raise RegistryError(
                f"runtime {units.one_line(runtime, most=80)!r} made it, and this host has no such runtime"
            )
        removed += runtimes[runtime](lines)
    removed += [f"sandbox {one.id} of host {name} (process {seen.pid})" for one in records]


def _waiting(place: Folder) -> tuple[tuple[int, int], ...]:
    """Give the processes of boxes that waited in the pool of a host. Raises ``ValueError`` for a damaged file."""
    try:
        body: dict[str, Any] = from_json(place.read("pool.json", RECORD_MAX), "pool.json")
    except FileNotFoundError:
        return ()
    return record.pairs(body.get("processes"))


def _leavings(place: Folder) -> dict[str, tuple[str, ...]]:
    try:
        body: dict[str, Any] = from_json(place.read("leavings.json", RECORD_MAX), "leavings.json")
    except FileNotFoundError:
        return {}
    return {runtime: from_plain(tuple[str, ...], lines, "leavings.json") for runtime, lines in body.items()}


def _remove(hosts: Folder, name: str, place: Folder) -> None:
    """Remove a place, its lock last: as long as that is there, and held, nobody else touches it."""
    with contextlib.suppress(FileNotFoundError), place.sub("boxes") as boxes:
        for file in boxes.names():
            _unlink(boxes, file)
        os.rmdir("boxes", dir_fd=place.fd)
    for file in [*(f for f in place.names() if f != "lock"), "lock"]:
        _unlink(place, file)
    os.rmdir(name, dir_fd=hosts.fd)


def _unlink(folder: Folder, name: str) -> None:
    try:
        folder.remove(name)
    except IsADirectoryError:
        os.rmdir(name, dir_fd=folder.fd)  # nothing of ours is one; what is in it is not ours to remove
