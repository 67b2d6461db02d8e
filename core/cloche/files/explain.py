"""What the kernel's refusals of file operations mean, in words and as errors of cloche."""

from __future__ import annotations

import errno
import os
from typing import Final

from cloche import units
from cloche.errors import AccessDenied, FileError, NotFound, SandboxError, SpecError, StateError

_CONTENT: Final = {"list", "walk"}
_MEANING: Final[dict[int, tuple[type[SandboxError | SpecError], str]]] = {
    errno.ENOENT: (NotFound, "there is nothing of that name"),
    errno.ENOTDIR: (NotFound, "a name on the way is no folder"),
    errno.EACCES: (AccessDenied, "the file system does not allow it to the sandbox's user"),
    errno.EPERM: (AccessDenied, "the file system does not allow it to the sandbox's user"),
    errno.EROFS: (AccessDenied, "it is read-only here"),
    errno.ELOOP: (FileError, "a symbolic link is in the way; links are not followed, name what it points to"),
    errno.EEXIST: (FileError, "something of that name is there already"),
    errno.ENOTEMPTY: (FileError, "the folder is not empty; use recursive=True, and stop programs that fill it again"),
    errno.EISDIR: (FileError, "it is a folder"),
    errno.ENXIO: (FileError, "it is a pipe, a socket or a device, and only regular files are opened"),
    errno.ENOSPC: (FileError, "no space, or no room for another file, is left; remove something or raise the limit"),
    errno.EDQUOT: (FileError, "the quota is used up; remove something"),
    errno.EFBIG: (FileError, "the file would become larger than this file system or this process may make one"),
    errno.EBUSY: (FileError, "it is a mount point of the sandbox, or in use"),
    errno.EAGAIN: (FileError, "a program holds a lease on it; try again"),
    errno.ETXTBSY: (FileError, "it is being executed"),
    errno.EXDEV: (FileError, "source and target lie on different file systems; copy it and remove the source"),
    errno.EINVAL: (FileError, "that can't be done there; a folder can't be moved into itself"),
    errno.ESTALE: (FileError, "somebody moved folders meanwhile; try again"),
    errno.EOPNOTSUPP: (FileError, "it lies where there are no real files, as in /proc; let a program in the box do it"),
    errno.EOVERFLOW: (FileError, "its owner is nobody that this file system knows"),
    errno.EMFILE: (FileError, "this process has too many files open"),
    errno.ENAMETOOLONG: (SpecError, "a name in it is longer than the file system takes"),
    errno.EBADF: (StateError, "the sandbox's files are gone"),
}  # fmt: skip


def explain(error: OSError, act: str, path: str, target: str | None = None) -> SandboxError | SpecError:
    """Give the error of cloche for what the kernel said to ``act`` on ``path`` (and ``target``)."""
    number = error.errno or 0
    kind, words = _MEANING.get(number, (FileError, os.strerror(number) if number else str(error)))
    if number == errno.ENOTDIR and act in _CONTENT:
        kind, words = FileError, "it, or a name on the way, is no folder"
    to = f" to {units.shown(target)}" if target is not None else ""
    return kind(f"{act} {units.shown(path)}{to}: {words}")
