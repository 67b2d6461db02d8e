"""Finds sandboxes of other hosts by name or id, and attaches to them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from cloche.errors import ClocheError, NotFound, RegistryError, SpecError, StateError
from cloche.registry import survey
from cloche.registry.attached import AttachedSandbox
from cloche.registry.connection import Connection
from cloche.registry.door import connect
from cloche.registry.folder import Folder
from cloche.registry.names import HOLDER_MAX, parse_holder
from cloche.registry.record import SandboxRecord

if TYPE_CHECKING:
    from cloche.background import Background
    from cloche.host import AsyncHost


def _tasks(host: AsyncHost) -> Background:
    if host.tasks is None:
        raise StateError("the host is not open; use it as a context manager")
    return host.tasks


async def connection(host: AsyncHost, host_id: str) -> Connection:
    """Give a connection to the host of that id. Raises ``NotFound`` if it is dead, ``RegistryError`` if it is stuck."""
    tasks = _tasks(host)
    with host.registry.run_folder(make=False) as run:
        try:
            with run.sub("hosts") as hosts, hosts.sub(host_id) as place:
                connected = await connect(place.fd)
        except TimeoutError:
            raise RegistryError(f"host {host_id} does not answer: too many ask it at once") from None
        except OSError as error:
            raise NotFound(f"host {host_id} is not there any more: {error.strerror}") from None
    made = Connection(connected)
    await made.hello()
    tasks.start_soon(made.serve)
    return made


async def attach(host: AsyncHost, host_id: str, sandbox_id: str) -> AttachedSandbox:
    """Attach to a sandbox of another host. Raises ``NotFound`` and ``RegistryError``."""
    made = await connection(host, host_id)
    try:
        answer = await made.ask("attach", {"sandbox": sandbox_id})
        return await adopt(host, made, answer.body, host_id)
    except BaseException:
        made.close()
        raise


async def adopt(host: AsyncHost, made: Connection, body: Mapping[str, Any], host_id: str) -> AttachedSandbox:
    """Give the sandbox that a connection is about now."""
    box = AttachedSandbox(host, made, body, tasks=_tasks(host), owner=host_id)
    host.registry.attached.add(box)
    await box.learn()
    return box


def resolve(run: Folder, which: str) -> tuple[str, str]:
    """Give the ids of host and sandbox for a name, an id or its beginning. Raises ``NotFound``, ``SpecError``."""
    with contextlib.suppress(OSError, ValueError), run.sub("names") as names:
        holder = parse_holder(names.read(which, HOLDER_MAX))
        if holder is not None and holder in _ids(run, holder[1]):
            return holder
    found = _ids(run, which)
    for host_id, sandbox_id in found:
        if sandbox_id == which:
            return host_id, sandbox_id
    if len(found) == 1:
        return found[0]
    if found:
        raise SpecError(f"{which!r} is the beginning of several ids: {', '.join(sorted(i for _, i in found)[:8])}")
    for seen in survey.look(run):
        for record in seen.records:
            if record.name == which and seen.alive:
                return seen.host, record.id
    raise NotFound(f"there is no sandbox named {which!r}, nor one whose id begins so; host.list() shows what there is")


def _ids(run: Folder, beginning: str) -> list[tuple[str, str]]:
    """Give host and id of every record whose id begins so, by their files' names alone."""
    found: list[tuple[str, str]] = []
    with contextlib.suppress(FileNotFoundError), run.sub("hosts") as hosts:
        for host_id in hosts.names():
            if host_id.startswith("."):
                continue
            with contextlib.suppress(OSError, ClocheError), hosts.sub(host_id) as place, place.sub("boxes") as boxes:
                found += [
                    (host_id, file.removesuffix(".json"))
                    for file in boxes.names()
                    if file.startswith(beginning) and file.endswith(".json")
                ]
    return found


def find(host: AsyncHost, which: str) -> tuple[str, str]:
    """Give the ids of host and sandbox for what ``resolve`` takes; a sandbox that no other can see is found as well."""
    own = [(host.registry.host_id, box.id) for box in host.sandboxes() if box.id.startswith(which)]
    try:
        with host.registry.run_folder(make=False) as run:
            return resolve(run, which)
    except (NotFound, RegistryError):
        if len(own) != 1:
            raise
        return own[0]


async def records(host: AsyncHost) -> list[SandboxRecord]:
    """Give a record of every sandbox of this user, the oldest first, and those of places that can't be read."""
    with host.registry.run_folder(make=False) as run:
        places = await anyio.to_thread.run_sync(survey.look, run)
    found: list[SandboxRecord] = []
    for seen in places:
        own = seen.host == host.registry.host_id
        found += [replace(record, own=own) for record in seen.records]
        if seen.trouble:
            found.append(SandboxRecord(id=f"host {seen.host}", host=seen.host, trouble=seen.trouble))
    return sorted(found, key=lambda record: record.created)
