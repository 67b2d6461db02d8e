"""The acts of ``box.files``, as events: what the host does to the files of a sandbox, and what came of it."""

from __future__ import annotations

import errno
import inspect
import os
import posixpath
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, TypedDict, TypeVar

from cloche import units
from cloche.errors import AccessDenied, ClocheError, LimitExceeded, NotFound, SpecError, StateError
from cloche.events.acts import Act
from cloche.events.source import Matched
from cloche.files.api import Files
from cloche.monitoring.judging import JudgingSource
from cloche.monitoring.made import CLIMBS, as_bytes
from cloche_native import events as wire

if TYPE_CHECKING:
    from cloche.spec import Violation

T = TypeVar("T")

_BY_METHOD: Final = {
    "stat": Act.STAT, "list": Act.LIST, "walk": Act.LIST, "snapshot": Act.LIST, "watch": Act.LIST, "read": Act.READ,
    "export_archive": Act.READ, "download": Act.READ, "write": Act.WRITE, "append": Act.WRITE,
    "import_archive": Act.WRITE, "upload": Act.WRITE, "mkdir": Act.MKDIR, "remove": Act.UNLINK, "chmod": Act.CHMOD,
    "move": Act.RENAME, "symlink": Act.SYMLINK, "open": Act.OPEN,
}  # fmt: skip
"""What each method does. Those that are not here (``exists``, ``read_text``, ``diff``) do it by another one."""
_OPENED: Final = {
    "r": os.O_RDONLY, "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC, "a": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
    "x": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
}  # fmt: skip
_NUMBERS: Final = {
    NotFound: errno.ENOENT, AccessDenied: errno.EACCES, LimitExceeded: errno.EFBIG, SpecError: errno.EINVAL,
    StateError: errno.ESHUTDOWN,
}  # fmt: skip
"""What stands for an error of cloche that no call of the kernel was behind; EIO for all others."""
ACTS: Final = frozenset({*_BY_METHOD.values(), Act.CREATE})


_MEANT: Final = {Act.READ: Act.OPEN, Act.WRITE: Act.CREATE}
"""What a guest would have to do to the same end: rules that look at that find it here too."""
_OPENS: Final = {Act.OPEN: (os.O_RDONLY,), Act.CREATE: (os.O_WRONLY | os.O_CREAT | os.O_TRUNC,)}


class _Texts(TypedDict):
    path: bytes
    resolved: bytes
    target: bytes
    target_resolved: bytes


class FilesSource(JudgingSource):
    """Tells of every act of one ``Files``, by whatever face it was called. Unwanted, it is not in the way at all."""

    def __init__(self, files: Files, whole: Callable[[str], str], *, sandbox: int) -> None:
        """Take the files, and what gives the whole path for one as it was asked for."""
        super().__init__("files", "files", ACTS, sandbox=sandbox)
        self._files = files
        self._whole = whole
        self.explain: Callable[[Matched, Act, str], Violation] | None = None
        """What says of a match, an act and its path which rule refused it, and what to do instead."""
        self._switch()

    def judge(self, program: object) -> None:
        """Have every act pass these rules first, from now on: one that is answered raises ``AccessDenied``."""
        super().judge(program)
        self._switch()

    def want(self, acts: Collection[Act]) -> None:
        """Have acts of these kinds told from now on, and no others."""
        super().want(acts)
        self._switch()

    def close(self) -> None:
        """Tell nothing any more."""
        super().close()
        self._switch()

    def _switch(self) -> None:
        # Whoever holds the object must be heard, also who took it before; and a test in each act would slow each down.
        self._files.__dict__["told_by"] = self
        self._files.__class__ = ToldFiles if self.chosen or self.judges else Files

    def asked(self, act: Act, given: Mapping[str, Any]) -> Matched | None:
        """Judge an act before it is done: what matched, with the answer."""
        if not self.judges:
            return None
        texts, figures, flags = self._texts(act, given), _figures(act, given, _size(given, None)), _climbs(act, given)
        if texts["path"] and not texts["resolved"]:  # it is no path that is used; rules judge what was meant
            plain = posixpath.normpath(posixpath.join(self._whole("."), os.fsdecode(texts["path"])))
            texts["resolved"] = as_bytes(plain)[: wire.TEXT_MAX]
        matched = self.ask(act, **texts, args=figures, flags=flags)
        if matched is None and (meant := _MEANT.get(act)) is not None:
            matched = self.ask(meant, **texts, args=_OPENS[meant], flags=flags)
        return matched

    def refuse(self, act: Act, given: Mapping[str, Any], matched: Matched) -> None:
        """Raise ``AccessDenied`` for an act that a rule refuses, and tell of it."""
        first = _paths(act, given)[0]
        violation = None if self.explain is None else self.explain(matched, act, first)
        why = f"it was refused by the rule {matched.rules[0]}" if violation is None else str(violation)
        error = AccessDenied(f"{act.value} {units.shown(first)}: {why}")
        error.violation = violation
        self.tell(act, given, None, error, matched)
        raise error

    def tell(
        self, act: Act, given: Mapping[str, Any], done: object, error: Exception | None, matched: Matched | None = None
    ) -> None:
        """Tell of an act by its arguments, by what it gave or raised, and what it matched."""
        size = _size(given, done)
        result = size if act is Act.READ else 0
        if matched is not None and matched.answer:
            result = matched.answer
        number = self.make(
            act, **self._texts(act, given), args=_figures(act, given, size),
            result=result if error is None or (matched is not None and matched.answer) else -_number(error),
            denied=isinstance(error, AccessDenied), matched=matched is not None, flags=_climbs(act, given),
        )  # fmt: skip
        if matched is not None and number:
            self.match(matched, number)

    def _texts(self, act: Act, given: Mapping[str, Any]) -> _Texts:
        first, second = _paths(act, given)
        most = wire.TEXT_MAX + 1  # a byte more than a record takes, so that it is told as cut
        return {
            "path": _plain(first)[:most], "resolved": self._resolved(first)[:most], "target": _plain(second)[:most],
            "target_resolved": self._resolved(second)[:most] if act is Act.RENAME else b"",
        }  # fmt: skip

    def _resolved(self, path: str) -> bytes:
        try:
            return as_bytes(self._whole(path))
        except SpecError:  # it is no path, which the result says
            return b""


class ToldFiles(Files):
    """``Files`` whose acts are told. None is ever made: a ``Files`` becomes one as long as somebody wants its acts."""

    told_by: FilesSource


def _telling(name: str, method: Callable[..., T]) -> Callable[..., T]:
    signature = inspect.signature(method)

    @wraps(method)
    def told(self: ToldFiles, *args: Any, **given: Any) -> T:  # noqa: ANN401 - as the method that it stands for
        source, act = self.told_by, _BY_METHOD[name]
        bound = signature.bind(self, *args, **given)
        if act is Act.OPEN and bound.arguments.get("mode", "r") != "r":
            act = Act.CREATE
        matched = source.asked(act, bound.arguments)
        if matched is not None and matched.answer:
            source.refuse(act, bound.arguments, matched)
        if act not in source.chosen and matched is None:
            return method(self, *args, **given)
        try:
            done = method(self, *args, **given)
        except ClocheError as error:
            source.tell(act, bound.arguments, None, error, matched)
            raise
        source.tell(act, bound.arguments, done, None, matched)
        return done

    return told


for _name in _BY_METHOD:
    setattr(ToldFiles, _name, _telling(_name, getattr(Files, _name)))


def _paths(act: Act, given: Mapping[str, Any]) -> tuple[str, str]:
    """Give the path in the sandbox, and the second text of acts that have one; ``""`` for what is no text."""
    if act is Act.RENAME:
        pair = given.get("source"), given.get("target")
    else:
        pair = given.get("path", "."), given.get("target") if act is Act.SYMLINK else ""
    first, second = (text if isinstance(text, str) else "" for text in pair)
    return first, second


def _plain(path: str) -> bytes:
    return as_bytes(path.replace("\0", "\\0"))  # no record holds a NUL in a path


def _climbs(act: Act, given: Mapping[str, Any]) -> int:
    return CLIMBS if any(".." in text.split("/") for text in _paths(act, given)) else 0


def _figures(act: Act, given: Mapping[str, Any], size: int) -> tuple[int, ...]:
    """Give the arguments of the record: bytes of what is read or written, flags and permissions."""
    if act in (Act.READ, Act.WRITE):
        return (size,)
    mode = given.get("permissions")
    permissions = mode & 0o7777 if isinstance(mode, int) else 0
    if act in (Act.OPEN, Act.CREATE):
        return _OPENED.get(str(given.get("mode", "r")), 0), permissions
    return (permissions,)


def _size(given: Mapping[str, Any], done: object) -> int:
    if isinstance(done, bytes):
        return len(done)
    if isinstance(data := given.get("data"), bytes | str):
        return len(data if isinstance(data, bytes) else as_bytes(data))
    size = getattr(done, "size", 0)
    return size if isinstance(size, int) else 0


def _number(error: Exception) -> int:
    """Give the kernel's number for why an act failed."""
    cause = error.__cause__
    if isinstance(cause, OSError) and cause.errno:
        return cause.errno
    return next((number for kind, number in _NUMBERS.items() if isinstance(error, kind)), errno.EIO)
