"""What the programs of a box do, as events, judged before it is done: each call of WASI is cloche's own.

A path is judged as it was resolved, and used as it was judged: meanwhile no other program of the box changes a name.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypedDict

from cloche import Act, EventFlag, JudgingSource, Monitor
from cloche_wasm.wasi.descriptors import WRITING, Flag, Right
from cloche_wasm.wasi.errors import Errno, Refused, host_number, of_host_number

if TYPE_CHECKING:
    from cloche import Matched
    from cloche_native.rules import RuleSpec
    from cloche_wasm.wasi.waiting import Waiting
    from cloche_wasm.wasi.world import World

PATIENCE: Final = 5.0
"""Seconds that a program waits for its events to be drained, where none may be lost."""
_PIECE: Final = 0.01
_FILES: Final = frozenset({
    Act.OPEN, Act.WRITE_OPEN, Act.CREATE, Act.MKDIR, Act.UNLINK, Act.RENAME, Act.SYMLINK, Act.UTIME, Act.TRUNCATE,
    Act.STAT, Act.READLINK, Act.LIST,
})  # fmt: skip
_ABSENT: Final = frozenset({Act.LINK, Act.ACCEPT, Act.SEND, Act.SIGNAL})
"""What no program can do here: each try is told."""
ACTS: Final = _FILES | _ABSENT | {Act.EXEC}
_REFUSED: Final = EventFlag.STATIC | EventFlag.DENIED
Deed = tuple[Act, tuple[int, ...]]
_REMOVES_FOLDER: Final = 0x200  # AT_REMOVEDIR of <fcntl.h>
_CREATE, _FOLDER, _NEW, _EMPTY = 1, 2, 4, 8  # oflags


class _Texts(TypedDict):
    path: bytes
    resolved: bytes
    target: bytes
    target_resolved: bytes


class WasiSource(JudgingSource):
    """The source ``guest`` of one box. With ``waits`` a program waits while there is no room for what it does."""

    def __init__(self, monitor: Monitor, *, sandbox: int) -> None:
        super().__init__("guest", "guest", monitor.told & ACTS, sandbox=sandbox, room=monitor.ring)
        self.waits = monitor.overload == "wait"
        self.turn = threading.RLock()
        """Held from the look at a path until the act on it is done."""
        self._overrun = False
        self._asked, self._kept = self.acts, frozenset[Act]()
        self._rules: tuple[RuleSpec, ...] = ()
        self._put(monitor.rules)

    def want(self, acts: Collection[Act]) -> None:
        """Make records of these acts, and of those that the host itself wants."""
        self._asked = self.wanted(acts)
        self.chosen = self._asked | self._kept

    def keep(self, acts: frozenset[Act]) -> None:
        """Make records of these acts too."""
        self._kept = acts & ACTS
        self.chosen = self._asked | self._kept

    def drain(self) -> bytes:
        """Give the records that there are now, and note whether a program has waited for that in vain."""
        self.overloaded, self._overrun = self._overrun, False
        return super().drain()

    def overran(self) -> None:
        """Note that a program has waited too long."""
        self._overrun = True
        self.ring()

    def change(self, monitor: Monitor) -> None:
        """Tell of what this monitor tells at most, and judge by its rules."""
        self._put(monitor.rules)
        self.acts = monitor.told & ACTS
        self.want(self._asked & self.acts)

    def _put(self, rules: tuple[RuleSpec, ...]) -> None:
        if rules != self._rules:
            self._rules = rules
            self.judge(self.program((*rules, _outside()) if rules else ()))


def _outside() -> RuleSpec:
    """Give what finds paths that lead out of what a program was given, for the judge to explain; it answers nothing."""
    from cloche_native.rules import RuleSpec, Test  # noqa: PLC0415 - few boxes have any

    acts = frozenset(act.value for act in _FILES)
    tests = (Test("flags", "any", mask=EventFlag.STATIC.value),)
    return RuleSpec(name="policy:outside", acts=acts, tests=tests, respond=1)


class Teller:
    """Tells of one program: each call between ``begin`` and ``end``, in its own thread."""

    def __init__(self, source: WasiSource, waiting: Waiting, number: int) -> None:
        self._source, self._waiting, self._number = source, waiting, number
        self._act = Act.OPEN
        self._args: tuple[int, ...] = ()
        self.says = ""
        """What a link that is made says."""
        self._claimed: list[str] = []
        self._resolved: list[str] = []
        self._flags = 0
        self._matched: Matched | None = None
        self._judged = False

    def call(self, deed: Deed, perform: Callable[[], Errno]) -> int:
        """Have a call of WASI done, or refused, and tell of it; gives its error number."""
        with self._source.turn:
            self._act, self._args = deed
            self._claimed, self._resolved, self._flags, self.says = [], [], 0, ""
            self._matched, self._judged = None, False
            number = self._ended(perform())
        self._make_room()
        return number

    def resolve(self, world: World, base: str, text: str, *, follow: bool) -> str:
        """Give the path that ``text`` means, as ``World.resolve``, and note both."""
        self.name(text if text.startswith("/") else f"{base.rstrip('/')}/{text}")
        path = world.resolve(base, text, follow=follow)
        self._resolved.append(path)
        return path

    def name(self, text: str, *, resolved: bool = False) -> None:
        """Note a text of the call, and that it leads where it says."""
        self._claimed.append(text)
        if resolved:
            self._resolved.append(text)
        if ".." in text.split("/"):
            self._flags |= EventFlag.CLIMBS

    def judge(self, world: World) -> None:
        """Refuse the call if a rule does. Called when all paths are known, before anything is done."""
        if world.at(self._resolved[0]).found() is None:
            self._flags |= EventFlag.MISSING
        self._ask(0)
        if self._matched is not None and self._matched.answer:
            raise Refused(of_host_number(-self._matched.answer))

    def began(self, args: Sequence[str], path: str) -> int:
        """Tell that the program at ``path`` is about to begin; gives 0, or the errno that a rule answers."""
        with self._source.turn:
            self._act, self._args, self._flags, self.says = Act.EXEC, (), 0, "\0".join([*args, ""])
            self._claimed, self._resolved = [path], [path]
            self._ask(0)
            answer = self._matched.answer if self._matched is not None else 0
            self._tell(answer, 0)
        self._make_room()
        return -answer

    # -- inside -----------------------------------------------------------------------------------------------------

    def _ended(self, number: Errno) -> Errno:
        if not self._claimed and self._act not in _ABSENT:
            return number  # not even a path could be read
        static = number is Errno.NOTCAPABLE or self._act in _ABSENT
        if not self._judged:
            self._ask(int(_REFUSED) if static else 0)
            if self._matched is not None and self._matched.answer and not static:
                number = of_host_number(-self._matched.answer)
        answer = self._matched.answer if self._matched is not None else 0
        self._tell(answer or -host_number(number), int(_REFUSED) if static else 0)
        return number

    def _ask(self, flags: int) -> None:
        self._judged = True
        texts = self._texts()
        if not texts["resolved"]:  # it leads nowhere; rules judge what was meant
            texts["resolved"] = os.path.normpath(texts["path"] or b"/")
        self._matched = self._source.ask(
            self._act, **texts, args=self._args, exec=self._number, pid=self._number, flags=self._flags | flags
        )

    def _tell(self, result: int, flags: int) -> None:
        matched = self._matched
        denied = bool(flags) or (matched is not None and matched.answer != 0)
        number = self._source.make(
            self._act, **self._texts(), args=self._args, exec=self._number, pid=self._number, result=result,
            denied=denied, matched=matched is not None, flags=self._flags | flags,
        )  # fmt: skip
        if matched is not None and number:
            self._source.match(matched, number)

    def _texts(self) -> _Texts:
        claimed, resolved = ([os.fsencode(text) for text in texts] for texts in (self._claimed, self._resolved))
        path, target, *_ = [*claimed, os.fsencode(self.says), b""]
        there, other, *_ = [*resolved, b"", b""]
        return {"path": path, "target": target, "resolved": there, "target_resolved": other}

    def _make_room(self) -> None:
        """Wait until what comes next finds room, if nothing may be lost."""
        source = self._source
        if not source.waits or not source.full():
            return
        end = time.monotonic() + PATIENCE
        while source.full() and time.monotonic() < end:
            self._waiting.until({}, _PIECE)
        if source.full():
            source.overran()


def deed(name: str, numbers: Sequence[int]) -> Deed | None:
    """Give which act a call of WASI is, and the arguments of its record; ``None`` for one that is not told."""
    made = _DEEDS.get(name)
    return None if made is None else made(numbers)


def _open(numbers: Sequence[int]) -> Deed:
    how, rights, flags = numbers[4], numbers[5], numbers[7]
    writes, reads = bool(rights & WRITING), bool(rights & Right.READ)
    mode = os.O_RDWR if writes and reads else os.O_WRONLY if writes else os.O_RDONLY
    for wanted, flag in ((_CREATE, os.O_CREAT), (_FOLDER, os.O_DIRECTORY), (_NEW, os.O_EXCL), (_EMPTY, os.O_TRUNC)):
        mode |= flag if how & wanted else 0
    mode |= os.O_APPEND if flags & Flag.APPEND else 0
    act = Act.CREATE if how & _CREATE else Act.WRITE_OPEN if writes or how & _EMPTY else Act.OPEN
    return act, (mode,)


def _always(act: Act, *args: int) -> Callable[[Sequence[int]], Deed | None]:
    return lambda _: (act, args)


_DEEDS: Final[Mapping[str, Callable[[Sequence[int]], Deed | None]]] = {
    "path_open": _open,
    "path_filestat_get": _always(Act.STAT),
    "path_filestat_set_times": _always(Act.UTIME),
    "path_create_directory": _always(Act.MKDIR),
    "path_remove_directory": _always(Act.UNLINK, _REMOVES_FOLDER),
    "path_unlink_file": _always(Act.UNLINK),
    "path_rename": _always(Act.RENAME),
    "path_symlink": _always(Act.SYMLINK),
    "path_readlink": _always(Act.READLINK),
    "fd_readdir": lambda numbers: None if numbers[3] else (Act.LIST, ()),
    "fd_filestat_set_size": lambda numbers: (Act.TRUNCATE, (numbers[1],)),
    "fd_allocate": lambda numbers: (Act.TRUNCATE, (numbers[1] + numbers[2],)),
    "path_link": _always(Act.LINK),
    "sock_accept": _always(Act.ACCEPT),
    "sock_send": _always(Act.SEND),
    "proc_raise": _always(Act.SIGNAL),
}
"""By the name of the call; each takes its numbers."""
