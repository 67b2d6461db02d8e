"""What cloche keeps on this machine between and beside sandboxes: folders, the probe's answers, a clean-up helper."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import cloche_native as native
from cloche_native import files


def state_folder() -> Path:
    """Give the folder for things that outlast a host: ``/var/lib/cloche`` for root, else below XDG_CACHE_HOME."""
    if os.geteuid() == 0:
        folder = Path("/var/lib/cloche")
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cloche"
    folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    return folder


def reachable(path: Path, uid: int | None) -> Path:
    """Give ``path``, or a copy that another user can reach if ``path`` lies where only its owner can go.

    ``uid`` ``None`` is the caller itself. The copy lies in ``state_folder()`` under the file's own digest, together
    with the libraries that a wheel bundles: in ``<package>.libs`` beside the package, where auditwheel puts them.
    """
    return path if uid is None else _reachable(path, path.stat().st_mtime_ns)


@lru_cache(64)
def _reachable(path: Path, _changed: int) -> Path:
    if all(part.stat().st_mode & stat.S_IXOTH for part in (path, *path.parents)):
        return path
    deep = len(path.parents) > 2  # noqa: PLR2004 - <top>/<package>/<folder>/<file>
    top = path.parents[2] if deep else path.parent
    folders = sorted(top.glob(f"*{path.parents[1].name}*.libs")) if deep else []
    files = [path, *(file for folder in folders for file in sorted(folder.iterdir()))]
    digest = hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()[:16]
    home = state_folder() / "bin" / digest
    for file in reversed(files):  # the program last: once it is there, all is
        _copy(file, home / file.relative_to(top))
    return home / path.relative_to(top)


def _copy(source: Path, target: Path) -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    with _whole(target) as part:
        shutil.copyfile(source, part.name)
        Path(part.name).chmod(0o755)


@contextlib.contextmanager
def _whole(target: Path) -> Iterator[IO[bytes]]:
    """Give a file that takes the place of ``target`` once it is written, and leaves nothing if that fails."""
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as part:
        try:
            yield part
            part.flush()
            Path(part.name).replace(target)
        except BaseException:
            Path(part.name).unlink()
            raise


def remove(top: Path) -> None:
    """Remove a folder that a guest filled: links are not followed, closed folders opened, any depth is fine.

    ``shutil.rmtree`` gives up at 1000 levels on Python 3.11, and at a folder without permissions unless one is root.
    """
    parent = os.open(top.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while not files.Folder(parent).remove(os.fsencode(top.name), recursive=True):
            pass  # so many names at a time
    finally:
        os.close(parent)


class ProbeCache:
    """The last answer of a runtime's self-test, good as long as ``key`` stays the same."""

    def __init__(self, runtime: str, key: Sequence[str]) -> None:
        self._path = state_folder() / f"probe-{runtime}.json"
        self._key = list(key)

    def read(self) -> dict[str, Any] | None:
        """Give the cached facts, or ``None`` if there are none for this key or they can't be read."""
        try:
            if self._path.stat().st_uid != os.geteuid():
                return None
            held = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return None
        if not isinstance(held, dict) or held.get("key") != self._key or not isinstance(held.get("facts"), dict):
            return None
        facts: dict[str, Any] = held["facts"]
        return facts

    def write(self, facts: object) -> None:
        """Keep ``facts``, whole or not at all. A folder that can't be written only costs the next host a probe."""
        with contextlib.suppress(OSError), _whole(self._path) as part:
            part.write(json.dumps({"key": self._key, "facts": facts}).encode())


class Janitor:
    """A tiny process that outlives a killed host just long enough to remove what the host had made."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._pid, self._pidfd = native.spawn(
                (native.init_path(), "--janitor", "3"), env={}, fds={0: null, 1: null, 2: null, 3: theirs.fileno()},
                parent_death_signal=None,
            )  # fmt: skip
        finally:
            theirs.close()
            os.close(null)
        self._socket = ours

    def tell(self, line: str) -> None:
        """Give it one of its commands (native/init/janitor.c): ``+d FOLDER``, ``+g BEGINNING``."""
        self._socket.sendall(f"{line}\n".encode())

    def close(self) -> None:
        """End the helper and wait for it; it removes whatever is still on its list."""
        self._socket.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        os.close(self._pidfd)
