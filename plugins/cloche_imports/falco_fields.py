"""Falco's fields as cloche's, for one system call and the act that it is."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Final

import cloche
from cloche import Act, Condition, Term
from cloche_imports.falco_calls import (
    BPF_COMMANDS,
    CLONE_FLAGS,
    FAMILIES,
    MODES,
    O_FLAGS,
    OTHER_NAMES,
    REQUESTS,
    SOCKETS,
)
from cloche_imports.logic import FALSE, TRUE, UNKNOWN, Part, compared, numbered
from cloche_imports.operators import networks, numbers, texts

_FILE: Final = frozenset({
    "fd.name", "fs.path.name", "fs.path.source", "evt.arg.path", "evt.arg.pathname", "evt.arg.filename",
    "evt.arg.name", "evt.arg.oldpath", "evt.arg.linkpath", "fd.filename",
})  # fmt: skip
_TO: Final = frozenset({"fs.path.target", "evt.arg.newpath", "evt.arg.target"})
_PROGRAM: Final = {
    "proc.name": ("name", "process.name"), "proc.exe": ("file", "process.exe"), "proc.exepath": ("file", "process.exe"),
    "proc.cmdline": ("cmdline", "process.cmdline"), "proc.exeline": ("cmdline", "process.cmdline"),
    "proc.cmdnargs": ("cmdline", "process.cmdline"),
}  # fmt: skip
"""Of a program that is started Falco's fields say the new one, cloche's ``process`` what started it."""
_PARENT: Final = {"proc.pname": "parent.name", "proc.pcmdline": "parent.cmdline"}
_ANCESTORS: Final = re.compile(r"proc\.aname(\[\d+\])?")
_ANCESTOR_PATHS: Final = re.compile(r"proc\.(pexe|pexepath|aexe|aexepath)(\[\d+\])?")
_ABSENT: Final = ("container.image", "k8s.", "ka.", "container.mount", "container.privileged", "container.name")
_FLAG_WORDS: Final = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class Situation:
    """One system call as one of the acts that it can be."""

    call: str
    act: Act


def part_of(term: Term, values: list[str], at: Situation) -> Part:
    """Give what a comparison comes to there; ``values`` are those of the term, lists filled in."""
    if term.op == "!=":
        found = _asked(term.field, "=", values, at)
        if found.condition is None or isinstance(found.condition, bool):
            return UNKNOWN if found.condition is None else Part(condition=not found.condition)
        return Part(~found.condition, size=found.size)
    return _asked(term.field, term.op, values, at)


def _asked(field: str, op: str, values: list[str], at: Situation) -> Part:
    if op in ("bcontains", "bstartswith"):
        try:
            values = [os.fsdecode(bytes.fromhex(value)) for value in values]
        except ValueError:
            return UNKNOWN
    if field in ("evt.type", "syscall.type"):
        return _truth(at.call in {OTHER_NAMES.get(value, value) for value in values})
    if field.startswith(_ABSENT):
        return FALSE
    for made in (_constant, _file, _program, _socket, _argument):
        found = made(field, op, values, at)
        if found is not None:
            return found
    return UNKNOWN


def _truth(value: bool) -> Part:  # noqa: FBT001 - what it is about
    return TRUE if value else FALSE


def _flag(name: str) -> Condition:
    return cloche.F.flag(name)


_FAILED: Final = _flag("denied") | _flag("missing")


def _constant(field: str, op: str, values: list[str], at: Situation) -> Part | None:
    """Say what is so of every act here, and what flags tell."""
    value = values[0] if values else ""
    if field == "container.id":  # a sandbox is a container
        return _truth(value != "host")
    if field == "evt.dir":
        return _truth(value == "<")
    if field == "evt.num":
        return _truth(op in (">=", ">"))
    if field in ("fd.num", "evt.rawres", "evt.res", "evt.arg.res", "evt.arg.fd"):
        return _outcome(op, values)
    truth = _FLAG_WORDS.get(value)
    if truth is None:
        return None
    if field == "evt.failed":
        return Part(_FAILED if truth else ~_FAILED)
    if field in ("evt.is_open_write", "evt.is_open_read", "evt.is_open_exec", "evt.is_open_create"):
        return _opened(field.rpartition("_")[2], truth, at)
    if field == "proc.is_exe_from_memfd" and at.act is Act.EXEC:
        found = cloche.F.resolved.startswith("/memfd:")
        return Part(found if truth else ~found, tells=truth)
    return None


def _outcome(op: str, values: list[str]) -> Part:
    value = values[0] if values else ""
    if value in ("EACCESS", "EACCES", "EPERM"):
        return Part(_flag("denied"))
    if value == "ENOENT":
        return Part(_flag("missing"))
    if value == "E" or (value.startswith("-") and op in ("=", "==")) or (op == "<" and value == "0"):
        return Part(_FAILED)
    if value.startswith("E") and value != "EINPROGRESS":
        return UNKNOWN
    return FALSE if value == "EINPROGRESS" else Part(~_FAILED)


def _opened(how: str, truth: bool, at: Situation) -> Part:  # noqa: FBT001 - what it is about
    if at.act not in (Act.OPEN, Act.WRITE_OPEN, Act.CREATE):
        return _truth(not truth)
    if how == "exec":
        found = cloche.F.mode.has(0o111)
        return Part(found if truth else ~found) if at.act is Act.CREATE else _truth(not truth)
    if how == "create":
        return _truth((at.act is Act.CREATE) == truth)
    if how == "write":
        return _truth((at.act is not Act.OPEN) == truth)
    if at.act is Act.OPEN or at.call == "creat":
        return _truth((at.act is Act.OPEN) == truth)
    both = cloche.F.flags.has(O_FLAGS["O_RDWR"])
    return Part(both if truth else ~both)


def _file(field: str, op: str, values: list[str], at: Situation) -> Part | None:
    if field in ("fd.typechar", "fd.type"):
        return _kind(values, at)
    if at.act in SOCKETS and field == "fd.name":
        return texts("address", op, values)
    if field in ("fd.nameraw", "fs.path.nameraw"):
        # The path as it was asked for: cloche's has no ".." left, but says whether there was one.
        climbing = any(".." in value for value in values)
        return Part(_flag("climbs"), tells=True) if climbing else texts("path", op, values)
    if field == "fd.filename":
        return texts("name", op, values)
    if field == "fd.directory":
        return _folder(op, values)
    if field in _FILE and at.act not in SOCKETS:
        return texts("file", op, values)
    return texts("to", op, values) if field in _TO else None


def _kind(values: list[str], at: Situation) -> Part:
    """Ask what kind of file or socket it is."""
    if at.act in SOCKETS or at.act is Act.LISTEN:
        kinds = {"ipv4": 2, "4": 2, "ipv6": 10, "6": 10, "unix": 1, "u": 1}
        families = sorted({kinds[value] for value in values if value in kinds})
        if at.act is Act.LISTEN:
            return TRUE if families else FALSE  # a listening socket says no family
        return numbered("family", "one_of", families, tells=False)
    files = bool({"f", "file"} & set(values))
    folders = bool({"d", "directory"} & set(values))
    if at.act is not Act.OPEN or files == folders:
        return _truth(files or (folders and at.act is not Act.WRITE_OPEN and at.act is not Act.CREATE))
    whole = cloche.F.flags.has(O_FLAGS["O_DIRECTORY"])
    return Part(~whole if files else whole)


def _folder(op: str, values: list[str]) -> Part:
    """Ask for the folder that a file lies in."""
    if op in ("startswith", "contains"):
        return texts("file", op, values)
    if op in ("=", "==", "in"):
        return compared(
            "file", "glob", [re.sub(r"([*?\[\]\\])", r"\\\1", value.rstrip("/")) + "/*" for value in values]
        )
    return UNKNOWN


def _program(field: str, op: str, values: list[str], at: Situation) -> Part | None:
    if field in _PROGRAM:
        new, old = _PROGRAM[field]
        return texts(new if at.act is Act.EXEC else old, op, values)
    if field in ("proc.args", "proc.pargs") or field.startswith("evt.arg.args"):
        whole = "parent.cmdline" if field == "proc.pargs" else ("cmdline" if at.act is Act.EXEC else "process.cmdline")
        return _arguments(whole, op, values)
    if field == "proc.env" and at.act is Act.EXEC:
        return texts("env", op, values)
    if field in _PARENT:
        return texts(_PARENT[field], op, values)
    if _ANCESTORS.fullmatch(field):
        return texts("parent.name" if field.endswith("[1]") else "ancestors", op, values)
    if _ANCESTOR_PATHS.fullmatch(field):
        name = "parent.name" if field.startswith("proc.p") else "ancestors"
        names = [value.rpartition("/")[2] for value in values]
        if op == "endswith" and all(value[:1] == "/" and value.count("/") == 1 for value in values):
            op = "in"
        plain = op in ("=", "==", "in") or (op == "endswith" and "/" not in "".join(values))
        return texts(name, op, names) if plain and all(names) else UNKNOWN
    return None


def _arguments(whole: str, op: str, values: list[str]) -> Part:
    """Ask for the arguments without the program's name, where cloche has the whole line."""
    if not all(values):
        return UNKNOWN
    if op in ("startswith", "=", "==", "in"):
        how = "contains" if op == "startswith" else "endswith"
        return compared(whole, how, [f" {value}" for value in values])
    return texts(whole, op, values)


def _socket(field: str, op: str, values: list[str], at: Situation) -> Part | None:
    if not field.startswith("fd."):
        return None
    if at.act not in SOCKETS:
        return None
    if field in ("fd.sip", "fd.rip", "fd.ip", "fd.cip", "fd.lip"):
        return texts("address", op, values)
    if field in ("fd.net", "fd.snet", "fd.rnet", "fd.cnet"):
        return networks("address", values)
    if field in ("fd.sport", "fd.rport", "fd.port", "fd.lport", "fd.sproto", "fd.rproto"):
        return numbers("port", op, values)
    if field == "fd.sockfamily":
        return numbered("family", "one_of", [2, 10] if "ip" in values else [1], tells=False)
    if field == "fd.l4proto" and at.act is Act.SEND:  # without connecting: datagrams
        return _truth("udp" in values)
    return None


def _argument(field: str, op: str, values: list[str], at: Situation) -> Part | None:
    """Ask for arguments whose words are numbers."""
    words = {
        "evt.arg.flags": CLONE_FLAGS if at.act is Act.NAMESPACE else O_FLAGS, "evt.arg.mode": MODES,
        "evt.arg.request": REQUESTS, "evt.arg.domain": FAMILIES, "evt.arg.cmd": BPF_COMMANDS,
    }.get(field)  # fmt: skip
    if field in ("evt.arg.uid", "evt.arg.gid") and at.act is Act.SETID:
        return numbers("first", op, values)
    if words is None:
        return None
    known = [words[value] for value in values if value in words] + [int(value) for value in values if value.isdigit()]
    if len(known) != len(values) or op not in ("=", "==", "in", "contains"):
        return UNKNOWN
    match field, at.act:
        case "evt.arg.flags", Act.OPEN | Act.WRITE_OPEN | Act.CREATE | Act.NAMESPACE:
            return numbered("flags", "has", known)
        case "evt.arg.mode", Act.CHMOD | Act.MKDIR | Act.MKNOD | Act.CREATE:
            return numbered("mode", "has", known)
        case "evt.arg.request", Act.PTRACE:
            return numbered("request", "one_of", known)
        case "evt.arg.domain", Act.SOCKET:
            return numbered("family", "one_of", known)
        case "evt.arg.cmd", Act.KERNEL:
            return numbered("first", "one_of", known)
    return FALSE
