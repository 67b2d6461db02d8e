"""What of an event, of its process and of its sandbox a rule can look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from cloche.events.acts import Act, EventFlag
from cloche.events.meaning import MEANINGS

Kind = Literal["path", "text", "number", "flag", "process"]


@dataclass(frozen=True, slots=True)
class Field:
    """One thing to look at.

    ``path``: one of ``texts`` as a path, in its normal form; ``text``: one of them as it is; ``number``: an argument,
    whose place is the act's (``place``); ``flag``: true or false; ``process``: what is known of the process, which only
    Python sees, after the act. ``acts``: the only acts whose text it is; ``items``: the text is a list, with
    a NUL after each, of which one is compared.
    """

    name: str
    kind: Kind
    summary: str
    texts: tuple[str, ...] = ()
    flag: EventFlag | None = None
    acts: frozenset[Act] | None = None
    items: bool = False

    def place(self, act: Act) -> int | None:
        """Give which argument of an act it is; ``None`` where the act has none of that name."""
        if self.name in _PLAIN_ARGS:
            return _PLAIN_ARGS.index(self.name)
        args = MEANINGS[act].args
        return args.index(self.name) if self.kind == "number" and self.name in args else None

    def read(self, act: Act) -> tuple[str, ...]:
        """Give which texts of an act it is; none where the act's texts are something else."""
        if self.acts is not None and act not in self.acts:
            return ()
        if self.kind != "path":
            return self.texts
        return tuple(text for text in self.texts if act in _SECOND_PATHS or not text.startswith("target"))


_SOCKETS: Final = frozenset({Act.CONNECT, Act.BIND, Act.ACCEPT, Act.SEND})
_SECOND_PATHS: Final = frozenset({Act.RENAME, Act.LINK, Act.SYMLINK, Act.MOUNT}) | _SOCKETS
_STARTS: Final = frozenset({Act.EXEC, Act.BEGUN})
_PLAIN_ARGS: Final = ("arg0", "arg1", "arg2", "arg3")
_TAKEN: Final = frozenset({"address", "exec"})  # other fields; of ``protect``, ``begun`` and ``ended`` it is ``arg0``
_ARG_NAMES: Final = tuple(dict.fromkeys(name for one in MEANINGS.values() for name in one.args if name not in _TAKEN))
_NUMBERS: Final = {
    "result": "what the guest was told, where that is known",
    "pid": "the process, as the host sees it",
    "tid": "the thread, as the host sees it",
    "exec": "which program of the caller's it belongs to",
}
_FLAGS: Final = {
    "denied": EventFlag.DENIED, "static": EventFlag.STATIC, "climbs": EventFlag.CLIMBS, "missing": EventFlag.MISSING,
    "unreadable": EventFlag.UNREADABLE, "cut": EventFlag.CUT, "pinned": EventFlag.PINNED,
}  # fmt: skip
_ALL: Final = (
    Field("file", "path", "the path that was asked for, or where it led", ("path", "resolved")),
    Field("path", "path", "the path that was asked for", ("path",)),
    Field("resolved", "path", "where that path led, links followed", ("resolved",)),
    Field("to", "path", "the second path, as it was asked for or where it led", ("target", "target-resolved")),
    Field("target", "path", "the second path as it was asked for; what a symbolic link says", ("target",)),
    Field("target_resolved", "path", "where the second path led", ("target-resolved",)),
    Field("name", "path", "the last component of the path, or of where it led", ("path", "resolved")),
    Field("argv", "text", "one of the arguments of a program", ("target",), acts=_STARTS, items=True),
    Field("cmdline", "text", "all of them with spaces between", ("target",), acts=_STARTS),
    Field(
        "env", "text", "one NAME=value of what steers loaders and shells", ("target-resolved",),
        acts=frozenset({Act.EXEC}), items=True,
    ),
    Field(
        "address", "text", "the address of a connection; of a file in memory its name", ("target",),
        acts=_SOCKETS | {Act.MEMFD},
    ),
    Field("attribute", "text", "the name of an attribute of a file", ("target",), acts=frozenset({Act.XATTR})),
    *(Field(name, "number", f"argument {name!r} of the acts that have one") for name in (*_ARG_NAMES, *_PLAIN_ARGS)),
    *(Field(name, "number", summary) for name, summary in _NUMBERS.items()),
    *(Field(name, "flag", f"whether the event is {name}", flag=flag) for name, flag in _FLAGS.items()),
    Field("source", "text", "who saw it: guest, files, life, other"),
    Field("call", "text", "the name of the system call"),
    Field("process.name", "process", "the last component of the program that the process runs"),
    Field("process.exe", "process", "its path"),
    Field("process.cmdline", "process", "its arguments with spaces between them"),
    Field("parent.name", "process", "the program of its parent"),
    Field("parent.cmdline", "process", "the arguments of its parent"),
    Field("ancestors", "process", "the name of one of the programs above it", items=True),
)  # fmt: skip
FIELDS: Final = {field.name: field for field in _ALL}
"""All fields by name: the vocabulary of conditions, in Python as in files."""
