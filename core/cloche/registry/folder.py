"""The run folder, in which the hosts of one user find each other, and safe access to what is in it.

``$XDG_RUNTIME_DIR/cloche`` where that folder is the user's own, else ``/run/cloche`` for root and ``cloche/run`` below
``$XDG_STATE_HOME`` (``~/.local/state``) for others. A relative path in a variable counts as unset (XDG base directories
0.8). All that is in it belongs to the user and is closed to everyone else, or it is not used.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator, Mapping
from typing import Final, Self

from cloche.errors import RegistryError

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
NAMES_MAX: Final = 1 << 16  # entries of one folder that are looked at; a registry holds a few


def run_path(environ: Mapping[str, str] = os.environ) -> str:
    """Give the path of the run folder, there or not."""
    base = environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(base) and _is_own(base):
        return os.path.join(base, "cloche")
    if os.geteuid() == 0:
        return "/run/cloche"
    return os.path.join(state_path(environ), "run")


def exists() -> bool:
    """Say whether there is anything at the run folder's path."""
    return os.path.lexists(run_path())


def state_path(environ: Mapping[str, str] = os.environ) -> str:
    """Give the path of the folder for what outlasts a boot (the keeper's log), there or not."""
    base = environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(base, "cloche")


def _is_own(path: str) -> bool:
    try:
        info = os.lstat(path)
    except (OSError, ValueError):
        return False
    return stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid() and not info.st_mode & 0o022


class Folder:
    """An open folder of the user's own. Everything is done by name below its descriptor; links are never followed."""

    def __init__(self, fd: int, path: str) -> None:
        self.fd = fd
        self.path = path

    @classmethod
    def open(cls, path: str, *, make: bool) -> Folder:
        """Give the folder at ``path``. Raises ``RegistryError`` if it can't be had or is not the user's alone."""
        try:
            if make:
                os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
                with contextlib.suppress(FileExistsError):
                    os.mkdir(path, 0o700)
            fd = os.open(path, _FOLDER)
        except (OSError, ValueError) as error:
            raise RegistryError(f"the folder {path!r} can't be used: {error}") from None
        return cls._checked(fd, path)

    @classmethod
    def _checked(cls, fd: int, path: str) -> Folder:
        info = os.fstat(fd)
        if info.st_uid != os.geteuid() or info.st_mode & 0o077:
            os.close(fd)
            raise RegistryError(
                f"the folder {path!r} must belong to user {os.geteuid()} and be closed to all others (mode 0700); it "
                f"belongs to user {info.st_uid}, mode {stat.S_IMODE(info.st_mode):04o}. Put it right, or remove it"
            )
        return cls(fd, path)

    def sub(self, name: str, *, make: bool = False) -> Folder:
        """Give a folder in it. Raises ``OSError``, and ``RegistryError`` if it is not the user's alone."""
        if make:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=self.fd)
        path = os.path.join(self.path, name)
        return self._checked(os.open(name, _FOLDER, dir_fd=self.fd), path)

    def names(self) -> list[str]:
        """Give the names in it, sorted."""
        with os.scandir(self.fd) as entries:
            return sorted(entry.name for entry, _ in zip(entries, range(NAMES_MAX), strict=False))

    def read(self, name: str, most: int) -> bytes:
        """Give a file's bytes. Raises ``OSError``, or ``ValueError`` for what is no plain file of ours of that size."""
        fd = os.open(name, os.O_RDONLY | _FILE, dir_fd=self.fd)
        try:
            info = os.fstat(fd)
            if not stat.S_ISREG(info.st_mode):
                raise ValueError("it is not a regular file")
            if info.st_uid != os.geteuid():
                raise ValueError(f"it belongs to user {info.st_uid}")
            with open(fd, "rb", closefd=False) as file:
                raw = file.read(most + 1)
        finally:
            os.close(fd)
        if len(raw) > most:
            raise ValueError(f"it is longer than {most} bytes")
        return raw

    def write(self, name: str, data: bytes) -> None:
        """Put a file there, whole or not at all. Raises ``OSError``; the file is then as it was."""
        part = f".{name}"
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _FILE, 0o600, dir_fd=self.fd)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.rename(part, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except OSError:
            self.remove(part)
            raise
        finally:
            os.close(fd)

    def remove(self, name: str) -> bool:
        """Remove a file; says whether it was there."""
        try:
            os.unlink(name, dir_fd=self.fd)
        except FileNotFoundError:
            return False
        return True

    def lock(self, name: str, *, make: bool, shared: bool = False) -> int | None:
        """Give a descriptor that holds the lock on a file, or ``None`` if another holds it. Never waits.

        The kernel drops the lock with the descriptor, so also with the process. Raises ``OSError``, and
        ``FileNotFoundError`` where there is no such file and none is to be made.
        """
        fd = os.open(name, os.O_RDWR | (os.O_CREAT if make else 0) | _FILE, 0o600, dir_fd=self.fd)
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise
        if self.holds(name, fd):
            return fd
        os.close(fd)  # it was removed, perhaps made anew, between the two calls
        return None

    def holds(self, name: str, fd: int) -> bool:
        """Say whether ``name`` is the very file that ``fd`` has open."""
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.stat(name, dir_fd=self.fd, follow_symlinks=False), os.fstat(fd))
        return False

    def close(self) -> None:
        """Close it. Harmless when repeated."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def meant(what: str) -> Iterator[None]:
    """Turn an ``OSError`` inside into a ``RegistryError`` that says what was being done."""
    try:
        yield
    except OSError as error:
        raise RegistryError(f"{what}: {error.strerror or error}") from error
