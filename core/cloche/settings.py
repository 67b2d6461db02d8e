"""Files that decide about isolation, read with care: bounded, never waiting, and only from who may decide."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cloche.errors import SpecError

FILE_MAX: Final = 1 << 16
LINE_MAX: Final = 1 << 10
"""Bytes of the file, characters of one line. ``tomllib`` (Python 3.11) takes memory in the square of the parts of a
dotted key: 200 kB of ``a.a.a`` got a process killed for memory; within these bounds the worst found was 86 MB."""
SYSTEM_FOLDER: Final = Path("/etc/cloche")


def folders(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Give the folders that hold settings: the user's own, where there is one, then the system's.

    A relative ``$XDG_CONFIG_HOME`` counts as unset (XDG base directories 0.8).
    """
    base = Path(environ.get("XDG_CONFIG_HOME", ""))
    if not base.is_absolute():
        base = Path(environ.get("HOME", ""), ".config")
    return [*([base / "cloche"] if base.is_absolute() else []), SYSTEM_FOLDER]


def exists(path: Path, what: str) -> bool:
    """Whether something has this name. Raises ``SpecError`` where that can't be told.

    It may be there and forbid something: going on as if it were not would weaken what its owner decided.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: can't tell whether this {what} exists: {error}") from None
    return True


def read(path: Path, what: str, *, found: bool, most: int = FILE_MAX) -> str:
    """Give the text of ``path``, a ``what`` such as "configuration".

    ``found``: nobody named this file, it lay in a usual place; then it must belong to root or to this user and not be
    writable by everyone. Raises ``SpecError`` for a file that is missing, no regular file (without waiting on it: a
    FIFO blocks a plain open), not trusted, over ``most`` bytes or not UTF-8.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: can't read this {what}: {error}") from None
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise SpecError(f"{path}: can't read this {what}: it is not a regular file")
        if found and (info.st_uid not in (0, os.geteuid()) or info.st_mode & stat.S_IWOTH):
            raise SpecError(
                f"{path}: this {what} is not trusted: it must belong to you or root and not be writable by "
                f"everyone; fix that, or name the file yourself"
            )
        with open(fd, "rb", closefd=False) as file:
            raw = file.read(most + 1)
    except OSError as error:
        raise SpecError(f"{path}: can't read this {what}: {error}") from None
    finally:
        os.close(fd)
    if len(raw) > most:
        raise SpecError(f"{path}: longer than {most} bytes; a {what} is short")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: not UTF-8: byte {error.start} is {raw[error.start]:#04x}") from None


def parse(text: str, where: str) -> dict[str, Any]:
    """Give the tables of a TOML text. Raises ``SpecError`` naming ``where`` and, for what is not TOML, the line."""
    import tomllib  # noqa: PLC0415 - 2 ms that a host without a file need not pay

    if len(text) > FILE_MAX:
        raise SpecError(f"{where}: longer than {FILE_MAX} characters")
    long = next((n for n, line in enumerate(text.split("\n"), 1) if len(line) > LINE_MAX), None)
    if long is not None:
        raise SpecError(f"{where}: line {long} is longer than {LINE_MAX} characters; break it up")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise SpecError(f"{where}: not usable: it is nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError, and what int() says of a number with thousands of digits
        raise SpecError(f"{where}: not valid TOML: {error}") from None


def table(value: object, what: str) -> dict[str, Any]:
    """Give ``value`` as a dict if it is a table, else raise ``SpecError``."""
    if not isinstance(value, Mapping):
        raise SpecError(f"{what}: a table is needed, not {value!r:.80}")
    return dict(value)
