"""The values that go between a host and a runtime's boxes: descriptors in, ends and folders out, lines of checks."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING

from cloche.spec import Usage

if TYPE_CHECKING:
    from cloche.files.vfs import Vfs


@dataclass(frozen=True, slots=True)
class Stdio:
    """Descriptors of the host that become the program's 0, 1 and 2; ``None`` is an empty one.

    They are pipe ends made by the host, which closes its copies once ``Instance.exec`` returns. With a terminal all
    three are ``None``.
    """

    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a program ended, as the runtime saw it from outside the guest's reach.

    Exactly one of ``code`` and ``signal`` is set. ``out_of_memory``: the kernel killed it for memory.
    ``refused``: the box could not execute it (``code`` is 126 or 127, ``detail`` says why).
    """

    code: int | None = None
    signal: int | None = None
    out_of_memory: bool = False
    refused: bool = False
    detail: str = ""
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class Check:
    """One line of ``cloche doctor``.

    ``ok``: it works, it does not, or (``None``) it is good to know and nothing depends on it. ``found`` says what is
    so, ``fix`` what would make it work; both in words of a person who runs the machine.
    """

    name: str
    found: str
    _: KW_ONLY
    ok: bool | None
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Tree:
    """One folder of a box that the host may work in, open as ``fd`` (O_PATH will do); the instance closes it.

    ``path`` is where it is in the box. With ``uid`` and ``gid``, host ids of the box's user, files are used and made
    as that user: a must where the host is root. What is not ``writable`` is not written, whatever the kernel says.
    ``vfs`` is for what is no folder of the host, and then in place of ``fd``; the instance closes it too.
    """

    path: str
    fd: int = -1
    _: KW_ONLY
    vfs: Vfs | None = None
    uid: int | None = None
    gid: int | None = None
    writable: bool = True
