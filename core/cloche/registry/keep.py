"""Finds this user's keeper, starts it where there is none, and has it create a sandbox."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import anyio

import cloche
import cloche_native as native
from cloche.config import Config
from cloche.errors import NotFound, RegistryError, SpecError, StateError
from cloche.policy import Policy
from cloche.pool.settings import PoolMode
from cloche.registry import reach
from cloche.registry.folder import Folder, meant, state_path
from cloche.registry.plain import error_from, from_json, to_plain

if TYPE_CHECKING:
    from cloche.host import AsyncHost
    from cloche.registry.connection import Connection
    from cloche.sandbox import AsyncSandbox

TRIES: Final = 5
PATIENCE: Final = 60.0
READY_FD: Final = 3
WORD_MAX: Final = 1 << 16
ID_MAX: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What ``keep`` was asked, as it goes to the keeper, which checks it all again."""

    policy: Policy
    name: str | None = None
    runtime: str | None = None
    rootfs: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    hostname: str = "cloche"
    user: int = 1000
    lifetime: float | None = None
    idle_timeout: float | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    strict: bool = True
    start: bool = True
    pool: PoolMode | None = None


def keeper_key(config: Config) -> str:
    """Give what a keeper goes by: its configuration and installation. So a change of either makes a new one."""
    told = [to_plain(config), cloche.__version__, cloche.__file__, sys.executable]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


async def keep(host: AsyncHost, request: Request, *, tied: bool) -> AsyncSandbox:
    """Have the keeper create what was asked, and attach to it. ``tied``: it is deleted when this host detaches."""
    if host.tasks is None:
        raise StateError("the host is not open; use it as a context manager")
    if not host.installed_only:
        raise SpecError("keep: this host was given plugin objects or entry_points=False, which no keeper can be given")
    trouble: Exception | None = None
    for _ in range(TRIES):
        made = await _reach(host)
        try:
            answer = await made.ask("create", {"request": to_plain(request), "tied": tied})
        except RegistryError as error:
            if not made.why:
                raise
            trouble = error  # it was just ending: the next one
            continue
        except BaseException:
            made.close()
            raise
        if isinstance(elsewhere := answer.body.get("elsewhere"), str):
            made.close()
            return await host.attach(elsewhere)
        return await reach.adopt(host, made, answer.body, made.host_id)
    raise RegistryError(f"keep: the keeper ends as soon as it is asked: {trouble}; see its log in {state_path()}")


async def _reach(host: AsyncHost) -> Connection:
    """Give a connection to the keeper, which is started if there is none; of many who start it, one does."""
    key = keeper_key(host.config)
    with (
        host.registry.run_folder(make=True) as run,
        meant("the keeper can't be reached"),
        run.sub("keepers", make=True) as keepers,
    ):
        if (made := await _living(host, keepers, key)) is not None:
            return made
        async with locked(keepers, f"lock-{key}"):
            if (made := await _living(host, keepers, key)) is not None:
                return made
            return await reach.connection(host, await _start(host.config, key))


async def _living(host: AsyncHost, keepers: Folder, key: str) -> Connection | None:
    try:
        host_id = keepers.read(f"host-{key}", ID_MAX).decode()
        return await reach.connection(host, host_id)
    except (FileNotFoundError, NotFound, ValueError):
        return None


@contextlib.asynccontextmanager
async def locked(folder: Folder, name: str) -> AsyncIterator[None]:
    """Hold a lock file's lock, waiting for it."""
    fd = None
    try:
        with anyio.fail_after(PATIENCE):
            while (fd := folder.lock(name, make=True)) is None:  # noqa: ASYNC110 - another process holds it
                await anyio.sleep(0.02)
    except TimeoutError:
        raise RegistryError(f"another process has been starting the keeper for {PATIENCE:g} s") from None
    try:
        yield
    finally:
        os.close(fd)


async def _start(config: Config, key: str) -> str:
    """Start a keeper and give its host's id, once it can be asked."""
    if not sys.executable:
        raise RegistryError("this process knows no Python interpreter to start the keeper with (sys.executable)")
    with contextlib.ExitStack() as stack:
        told = os.memfd_create("cloche-keeper")
        stack.callback(os.close, told)
        settings = json.dumps({"key": key, "config": to_plain(config)}).encode()
        while settings:
            settings = settings[os.write(told, settings) :]  # into memory
        os.lseek(told, 0, os.SEEK_SET)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        stack.callback(os.close, null)
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        stack.callback(os.close, ours)
        try:
            pid, handle = native.spawn(
                (sys.executable, "-P", "-m", "cloche.registry.keeper"), env=dict(os.environ), cwd="/",
                fds={0: told, 1: null, 2: null, READY_FD: theirs}, parent_death_signal=None,
            )  # fmt: skip
        except OSError as error:
            raise RegistryError(f"the keeper could not be started: {error}") from None
        finally:
            os.close(theirs)
        stack.callback(os.close, handle)
        word = await _word(ours)
        await anyio.wait_readable(handle)  # it goes to the background at once
        with contextlib.suppress(ChildProcessError):  # a program that waits for every child was faster
            os.waitpid(pid, 0)  # noqa: ASYNC222 - its handle has said that it ended
    return _understood(word)


async def _word(fd: int) -> bytes:
    os.set_blocking(fd, False)
    word = b""
    with anyio.move_on_after(PATIENCE):
        while len(word) <= WORD_MAX:
            await anyio.wait_readable(fd)
            if not (part := os.read(fd, WORD_MAX)):
                break
            word += part
    return word


def _understood(word: bytes) -> str:
    try:
        said: dict[str, Any] = from_json(word, "its word")
    except ValueError:
        raise RegistryError(f"the keeper could not be started; see its log in {state_path()}") from None
    if "error" in said:
        raise error_from(said["error"])
    return str(said.get("host"))
