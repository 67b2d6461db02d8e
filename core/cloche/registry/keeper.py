"""The keeper: a background process of one user that owns the sandboxes made by ``host.keep``.

Started as ``python -m cloche.registry.keeper`` with its configuration on standard input and a pipe, descriptor 3, for
its first word. It has a session of its own, prints to a log in the state folder, ends when it has had no sandbox for
some seconds, and closes its host in order on SIGTERM. Killed, it takes its sandboxes with it, as any host.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import anyio

from cloche.errors import ClocheError, RegistryError, StateError
from cloche.registry.folder import Folder, state_path
from cloche.registry.keep import READY_FD, Request
from cloche.registry.plain import error_to_plain, from_json, from_plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.config import Config
    from cloche.host import AsyncHost
    from cloche.notices import Notice
    from cloche.sandbox import AsyncSandbox

LOG_MAX: Final = 1 << 20
"""Bytes of the log, of which the one before is kept."""


class Log:
    """Standard output and error of a process without a terminal: one file, and the one before."""

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder, self._name = folder, name
        self._open()

    def _open(self) -> None:
        fd = os.open(self._name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600,
                     dir_fd=self._folder.fd)  # fmt: skip
        for target in (1, 2):
            os.dup2(fd, target)
        os.close(fd)

    def line(self, text: str) -> None:
        """Write a line with the time. A full disk loses it, and nothing else."""
        with contextlib.suppress(OSError):
            if os.fstat(1).st_size > LOG_MAX:
                os.rename(self._name, f"{self._name}.1", src_dir_fd=self._folder.fd, dst_dir_fd=self._folder.fd)
                self._open()
            os.write(1, f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {text}\n".encode("utf-8", "backslashreplace"))


class Keeper:
    """Serves one host until it has been without sandboxes for ``idle`` seconds."""

    def __init__(self, host: AsyncHost, key: str, *, say: Callable[[str], None], idle: float) -> None:
        self._host = host
        self._key = key
        self._say = say
        self._idle = idle
        self._making = 0
        self._ending = False
        self._used = time.monotonic()
        host.registry.create = self.create

    async def create(self, request: object) -> AsyncSandbox | str:
        """Create what ``keep`` was asked elsewhere; the id of the sandbox of another host that has its name, if any."""
        from cloche.registry.attached import AttachedSandbox  # noqa: PLC0415 - the keeper is up before

        if self._ending:
            raise StateError("this keeper is ending")
        asked: Request = from_plain(Request, request, "request")
        self._making += 1
        try:
            box = await self._host.create(
                policy=asked.policy, name=asked.name, runtime=asked.runtime, rootfs=asked.rootfs, env=asked.env,
                hostname=asked.hostname, user=asked.user, lifetime=asked.lifetime, idle_timeout=asked.idle_timeout,
                metadata=asked.metadata, strict=asked.strict, start=asked.start, pool=asked.pool,
            )  # fmt: skip
        finally:
            self._making -= 1
            self._used = time.monotonic()
        if isinstance(box, AttachedSandbox):
            await box.detach()
            return box.id
        return box

    async def serve(self, ready: Callable[[str], None]) -> None:
        """Take a place, say its id to ``ready``, and serve until nobody needs it. Raises ``RegistryError``."""
        registry = self._host.registry
        if self._host.tasks is None:
            raise StateError("the host is not open")
        await registry.join(self._host.tasks)
        if not registry.host_id or registry.door is None:
            raise RegistryError(f"a keeper needs the registry: {registry.note}")
        self._host.on(callback=self._note)
        with registry.run_folder(make=True) as run, run.sub("keepers", make=True) as keepers:
            keepers.write(f"host-{self._key}", registry.host_id.encode())
            try:
                ready(registry.host_id)
                while not self._left(keepers):  # noqa: ASYNC110 - time passing is what it waits for
                    await anyio.sleep(self._idle / 5)
            finally:
                self._ending = True
                with contextlib.suppress(
                    OSError, ValueError
                ):  # gone: another has taken over, or the folder was removed
                    if keepers.read(f"host-{self._key}", 64).decode() == registry.host_id:
                        keepers.remove(f"host-{self._key}")

    def _note(self, notice: Notice) -> None:
        self._used = time.monotonic()
        self._say(" ".join([notice.type, notice.sandbox, notice.name or "-", *notice.details.values()]))

    def _left(self, keepers: Folder) -> bool:
        """Say whether nobody has needed it for long enough, and then let nobody find it any more."""
        door = self._host.registry.door
        if self._making or self._host.sandboxes() or (door is not None and door.needed()):
            self._used = time.monotonic()
        pool = self._host.pool  # what waits in it is worth waiting for, but not for ever
        patience = max(self._idle, pool.settings.idle) if pool.holds() else self._idle
        if time.monotonic() - self._used < patience:
            return False
        lock = keepers.lock(f"lock-{self._key}", make=True)
        if lock is None:
            return False  # somebody is about to ask for it, or to start another
        try:
            keepers.remove(f"host-{self._key}")
            self._ending = True
        finally:
            os.close(lock)
        return True


async def _main(settings: dict[str, Any], log: Log, say: Callable[[dict[str, Any]], None]) -> None:
    from cloche.config import Config  # noqa: PLC0415 - its parent waits for the first word, and needs none of this
    from cloche.host import AsyncHost  # noqa: PLC0415 - the same

    try:
        config: Config = from_plain(Config, settings.get("config"), "config")
        key = from_plain(str, settings.get("key"), "key")
        async with AsyncHost(config=config) as host, anyio.create_task_group() as tasks:
            tasks.start_soon(_until_told, tasks.cancel_scope)
            await Keeper(host, key, say=log.line, idle=config.keeper_idle).serve(lambda host_id: say({"host": host_id}))
            tasks.cancel_scope.cancel()
    except* ClocheError as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        log.line(f"ended: {error}")
        say({"error": error_to_plain(error)})


async def _until_told(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as told:
        async for _ in told:
            scope.cancel()


def main() -> None:
    """Go to the background and keep sandboxes."""
    settings = from_json(sys.stdin.buffer.read(), "the configuration")
    if os.fork():  # who started it need not be there to wait for its end
        os._exit(0)
    os.umask(0o077)
    os.set_inheritable(READY_FD, False)  # noqa: FBT003 - it takes no keyword
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    first = [READY_FD]

    def say(word: dict[str, Any]) -> None:
        while first:
            with contextlib.suppress(BrokenPipeError):  # whoever asked is gone
                os.write(first[0], json.dumps(word).encode())
            os.close(first.pop())

    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.close(null)
    try:
        log = Log(Folder.open(state_path(), make=True), "keeper.log")
    except (ClocheError, OSError) as error:
        say({"error": error_to_plain(RegistryError(f"the keeper can't have its log: {error}"))})
        sys.exit(1)
    anyio.run(_main, settings, log, say)


if __name__ == "__main__":
    main()
