"""What was compiled once and is loaded by every process of the user: whole, the user's own, and just as it was written.

A compiled module is machine code, so a file of the cache is believed only if it could not have been anybody else's
work: it lies in a folder of the user's that nobody else may write, it is the user's itself, and it has the digest that
was noted when it was made, or has not been written to since somebody saw that (``believed.py``). Whatever is not so is
made anew. An entry is a folder; it is put in its place at once, when all of it is written, under a lock of its key, so
that processes that start together make it once. Where no folder can be used, what was made lives in memory, in this
process alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import mmap
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

import wasmtime

from cloche import StartError, state_folder
from cloche_wasm import believed
from cloche_wasm.engine import Engine

MOST: Final = 512 << 20
"""Bytes that the cache may hold; beyond them what was used longest ago goes."""
_FORMAT: Final = 1
_META: Final = "meta.json"
_META_MOST: Final = 1 << 16
_LEFT: Final = 3600.0
"""Seconds after which a half-written entry is somebody's who is gone."""
_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH

T = TypeVar("T")
Parts = Mapping[str, bytes | bytearray]
"""Files by name; none is empty."""


class Stale(StartError):
    """Raised by who uses an entry: it does not fit, and is to be made anew."""


class _Bad(Exception):
    """An entry that is not there, not whole or not ours."""


@dataclass(slots=True)
class Entry:
    """The files of one entry, open: nobody can change under their reader what was checked."""

    _files: dict[str, int] = field(default_factory=dict)

    def path(self, name: str) -> str:
        """Give a path that opens this file and no other, as long as the entry is open."""
        return f"/proc/self/fd/{self._files[name]}"

    def map(self, name: str) -> mmap.mmap:
        """Give a file's bytes, mapped; they outlive the entry."""
        return mmap.mmap(self._files[name], 0, prot=mmap.PROT_READ)

    def read(self, name: str) -> bytes:
        """Give a file's bytes."""
        with self.map(name) as mapped:
            return mapped[:]

    def close(self) -> None:
        """Close the files. Harmless when repeated."""
        while self._files:
            os.close(self._files.popitem()[1])


class Cache:
    """A folder of entries. Used by many threads and processes at once; ``folder`` None keeps nothing."""

    def __init__(self, folder: Path | None, *, most: int = MOST) -> None:
        self._folder = folder
        self._most = most

    def use(self, key: Mapping[str, object], make: Callable[[], Parts], use: Callable[[Entry], T]) -> T:
        """Give what ``use`` gives for the entry of ``key``, which holds what ``make`` gave, now or in any process.

        ``key`` is JSON and names all that matters. ``use`` may raise ``Stale``, and is then given a new one, once.
        The entry is closed afterwards. Raises what ``make`` and ``use`` raise.
        """
        name = _digest(json.dumps({"format": _FORMAT, **key}, sort_keys=True).encode())[:40]
        with contextlib.suppress(_Bad, Stale, OSError):  # OSError: what can't be looked at is made anew as well
            return self._used(name, use)
        with self._locked(name):
            with contextlib.suppress(_Bad, Stale, OSError):  # another process made it while this one waited
                return self._used(name, use)
            made = make()
            self._write(name, key, made)
        with contextlib.suppress(_Bad, OSError):
            return self._used(name, use)
        entry = _in_memory(made)
        try:
            return use(entry)
        finally:
            entry.close()

    def module(self, engine: Engine, wasm: bytes, what: str) -> wasmtime.Module:
        """Give ``wasm`` compiled. Raises ``SpecError`` for what is no module, beginning with ``what``."""
        key = {"kind": "module", "wasm": _digest(wasm), "engine": engine.identity}
        return self.use(
            key, lambda: {"module": engine.compile(wasm, what).serialize()}, lambda entry: load(engine, entry, "module")
        )

    def _used(self, name: str, use: Callable[[Entry], T]) -> T:
        entry = self._open(name)
        try:
            return use(entry)
        finally:
            entry.close()

    def _open(self, name: str) -> Entry:
        if self._folder is None:
            raise _Bad
        entry = Entry()
        with _folder(self._folder) as top, _folder(name, inside=top) as folder:
            os.utime(folder)  # when it was used last
            try:
                known, parts = believed.noted(folder), _meta(folder)
                for part, (size, digest) in parts.items():
                    entry._files[part] = fd = _file(part, folder, size)  # noqa: SLF001 - its own module
                    if known.get(part) != [digest, *believed.stamp(fd)]:
                        known = {}
                        with entry.map(part) as mapped:
                            _check(_digest(mapped) == digest)
                if not known:
                    believed.note(folder, {part: (fd, parts[part][1]) for part, fd in entry._files.items()})  # noqa: SLF001
            except BaseException:
                entry.close()
                raise
        return entry

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        lock = None
        if self._folder is not None:
            with contextlib.suppress(_Bad, OSError):  # then nothing is kept, and each process makes its own
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                with _folder(self._folder) as top:  # before anybody else could hold the lock for ever
                    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                    lock = os.open(f"{name[:2]}.lock", flags, 0o600, dir_fd=top)
        try:
            if lock is not None:
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            if lock is not None:
                os.close(lock)

    def _write(self, name: str, key: Mapping[str, object], made: Parts) -> None:
        if self._folder is None:
            return
        meta = {"key": key, "files": {part: [len(data), _digest(data)] for part, data in made.items()}}
        with contextlib.suppress(_Bad, OSError):  # a full or closed folder costs the next process the same work again
            with _folder(self._folder):
                new = Path(tempfile.mkdtemp(prefix=".new-", dir=self._folder))
            try:
                for part, data in {**made, _META: json.dumps(meta).encode()}.items():
                    (new / part).write_bytes(data)
                    (new / part).chmod(0o600)
                self._replace(self._folder / name, new)
            finally:
                shutil.rmtree(new, ignore_errors=True)
            self._shrink(self._folder, name)

    @staticmethod
    def _replace(target: Path, new: Path) -> None:
        if target.is_symlink() or target.exists():
            old = new.with_name(f"{new.name}-old")
            target.rename(old)
            _remove(old)
        new.rename(target)

    def _shrink(self, folder: Path, newest: str) -> None:
        found: list[tuple[float, int, Path]] = []
        for path in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # somebody else is at it
                used = path.lstat().st_mtime
                if path.name.startswith(".new-"):
                    if used < time.time() - _LEFT:
                        _remove(path)
                elif path.is_dir() and path.name != newest:
                    found.append((used, sum(part.lstat().st_size for part in path.iterdir()), path))
        held = sum(part.lstat().st_size for part in (folder / newest).iterdir())
        for _, size, path in sorted(found, reverse=True):
            held += size
            if held > self._most:
                _remove(path)


@cache
def user_cache() -> Cache:
    """Give the cache of the user who runs this, below ``cloche.state_folder()``."""
    try:
        return Cache(state_folder() / "wasm")
    except OSError:  # a home that can't be written
        return Cache(None)


def load(engine: Engine, entry: Entry, name: str) -> wasmtime.Module:
    """Give a compiled module, mapped from its file. Raises ``Stale`` if it is of another machine or library."""
    try:
        return wasmtime.Module.deserialize_file(engine.wasm, entry.path(name))
    except wasmtime.WasmtimeError as error:
        raise Stale(str(error)) from error


@contextlib.contextmanager
def _folder(path: Path | str, *, inside: int | None = None) -> Iterator[int]:
    """Open a folder that is the user's and that nobody else may write. Raises ``_Bad`` and ``OSError``."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=inside)
    try:
        _check(_owned(os.fstat(fd)))
        yield fd
    finally:
        os.close(fd)


def _file(name: str, folder: int, size: int) -> int:
    """Open a file that is the user's, that nobody else may write and that has ``size`` bytes."""
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
    try:
        found = os.fstat(fd)
        _check(_owned(found) and stat.S_ISREG(found.st_mode) and found.st_size == size)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _check(good: bool) -> None:  # noqa: FBT001 - it is the only thing it is told
    if not good:
        raise _Bad


def _owned(found: os.stat_result) -> bool:
    return found.st_uid == os.geteuid() and not found.st_mode & _OTHERS


def _meta(folder: int) -> dict[str, tuple[int, str]]:
    try:
        found = os.stat(_META, dir_fd=folder, follow_symlinks=False)
        _check(found.st_size <= _META_MOST)
        with open(_file(_META, folder, found.st_size), "rb") as file:
            held = json.load(file)
        files = {str(name): (int(size), str(digest)) for name, (size, digest) in held["files"].items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _Bad from None
    _check(all(size > 0 and "/" not in name for name, (size, _) in files.items()))
    return files


def _in_memory(made: Parts) -> Entry:
    entry = Entry()
    try:
        for name, data in made.items():
            entry._files[name] = os.memfd_create(f"cloche-{name}", os.MFD_CLOEXEC)  # noqa: SLF001 - its own module
            with open(entry._files[name], "wb", closefd=False) as file:  # noqa: SLF001 - the same
                file.write(data)
    except BaseException:
        entry.close()
        raise
    return entry


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink()


def _digest(data: bytes | bytearray | mmap.mmap) -> str:
    return hashlib.sha256(data).hexdigest()
