"""What the parts of a record mean, act by act."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cloche.events.acts import Act


@dataclass(frozen=True, slots=True)
class Meaning:
    """One act: a sentence on it, what its two texts are (``""``: none), and the names of its arguments.

    ``beside``: what ``target_resolved`` is where it is no path.
    """

    summary: str
    path: str = ""
    target: str = ""
    args: tuple[str, ...] = ()
    beside: str = ""


_HOW = ("flags", "mode", "resolve")
MEANINGS: Final = {
    Act.OPEN: Meaning("opened a file only to read it, or a folder", "file", args=_HOW),
    Act.WRITE_OPEN: Meaning("opened a file to write it", "file", args=_HOW),
    Act.CREATE: Meaning("opened a file and made it if it was not there", "file", args=_HOW),
    Act.MKDIR: Meaning("made a folder", "folder", args=("mode",)),
    Act.MKNOD: Meaning("made a device, pipe, socket or empty file", "file", args=("mode", "device")),
    Act.UNLINK: Meaning("removed a file or an empty folder", "file", args=("flags",)),
    Act.RENAME: Meaning("gave something another name", "old name", "new name", ("flags",)),
    Act.LINK: Meaning("gave a file one more name", "file", "new name", ("flags",)),
    Act.SYMLINK: Meaning("made a symbolic link", "new link", "what it says"),
    Act.CHMOD: Meaning("changed permissions", "file", args=("mode",)),
    Act.CHOWN: Meaning("changed the owner", "file", args=("user", "group")),
    Act.UTIME: Meaning("changed the times of a file", "file"),
    Act.TRUNCATE: Meaning("changed the size of a file", "file", args=("size",)),
    Act.XATTR: Meaning("set or removed an attribute of a file", "file", "its name", ("flags",)),
    Act.STAT: Meaning("asked what a file is", "file"),
    Act.ACCESS: Meaning("asked whether it may use a file", "file", args=("mode",)),
    Act.READLINK: Meaning("asked where a link points", "link"),
    Act.CHDIR: Meaning("changed its working folder", "folder"),
    Act.LIST: Meaning("listed a folder", "folder"),
    Act.READ: Meaning("read a file", "file", args=("bytes",)),
    Act.WRITE: Meaning("wrote a file", "file", args=("bytes",)),
    Act.EXEC: Meaning("became another program", "program", "its arguments", ("flags",), "what steers it"),
    Act.FORK: Meaning("started a process", args=("flags",)),
    Act.EXIT: Meaning("ended", args=("code",)),
    Act.SIGNAL: Meaning("sent a signal", args=("process", "signal")),
    Act.PTRACE: Meaning("looked into another process, or changed it", args=("request", "process")),
    Act.SETID: Meaning("changed its user, group or rights", args=("first", "second", "third")),
    Act.LIMIT: Meaning("changed limits or priorities of processes", args=("first", "second", "third")),
    Act.MEMFD: Meaning("made a file that exists only in memory", target="its name", args=("flags",)),
    Act.PROTECT: Meaning("made memory writable and executable at once", args=("address", "size", "protection")),
    Act.MOUNT: Meaning("mounted something, or changed a mount", "source", "target", ("flags",)),
    Act.CHROOT: Meaning("changed its root folder", "folder"),
    Act.NAMESPACE: Meaning("left its namespaces for others", args=("flags",)),
    Act.MODULE: Meaning("loaded code into the kernel"),
    Act.KERNEL: Meaning("used a part of the kernel that few programs need", args=("first", "second", "third")),
    Act.SYSTEM: Meaning("changed clock, name or swap of the machine, or rebooted", args=("first", "second", "third")),
    Act.SOCKET: Meaning("made a socket", args=("family", "type", "protocol")),
    Act.CONNECT: Meaning("connected to an address", target="address", args=("family", "port")),
    Act.BIND: Meaning("took an address for itself", target="address", args=("family", "port")),
    Act.LISTEN: Meaning("waits for connections"),
    Act.ACCEPT: Meaning("took a connection", target="address", args=("family", "port")),
    Act.SEND: Meaning("sent to an address without connecting", target="address", args=("family", "port")),
    Act.CREATED: Meaning("the sandbox was created"),
    Act.STARTED: Meaning("the sandbox is up"),
    Act.PAUSED: Meaning("the sandbox was paused", target="why"),
    Act.RESUMED: Meaning("the sandbox goes on", target="why"),
    Act.STOPPED: Meaning("the sandbox was stopped", target="why"),
    Act.DELETED: Meaning("the sandbox was deleted"),
    Act.BEGUN: Meaning("a program was started in it by the caller", target="its arguments", args=("exec",)),
    Act.ENDED: Meaning("that program ended", target="why", args=("exec",)),
    Act.LOST: Meaning("records are missing here", target="which", args=("count",)),
}  # fmt: skip
"""Of every act. Addresses are written out; arguments of a program stand with a NUL after each."""
