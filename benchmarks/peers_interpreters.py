"""Others that run code without a process: in this one by a package, or in one of their own that is asked by lines."""

import importlib
import importlib.util
import json
import subprocess
from contextlib import ExitStack
from typing import Any, ClassVar

from benchmarks.interpreting import (
    ADD,
    CALLED,
    CALLING,
    COMPUTED,
    COMPUTING,
    FILLED,
    FILLING,
    LAST,
    STREAMED,
    STREAMING,
    YIELDED,
    Interpreter,
    repeated,
    right,
)
from benchmarks.peers import CACHE, Contender

MEMORY = 256 << 20
WALL = 5


class Asked(Interpreter):
    """One in a process of its own, which reads lines of JSON and answers each with ``{"done": value}``."""

    needs: ClassVar[tuple[str, ...]]
    """What must be there, below the folder of the peers."""
    command: ClassVar[tuple[str, ...]]
    """What serves, the first word below that folder."""

    def __init__(self) -> None:
        super().__init__()
        self.process: subprocess.Popen[bytes] | None = None

    def find(self) -> str | None:
        lacking = [str(CACHE / path) for path in self.needs if not (CACHE / path).exists()]
        return f"{', '.join(lacking)} missing (benchmarks/setup_peers.sh)" if lacking else None

    def fresh(self, count: int) -> None:
        self.ask("fresh", count, *ADD)

    def warm(self, count: int) -> None:
        self.ask("warm", count, *ADD)

    def call(self) -> None:
        self.ask("warm", 1, CALLING, CALLED)

    def density(self, count: int) -> float:
        got = self.ask("density", count, *ADD)
        assert isinstance(got, float | int)
        return got

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
        super().close()

    def ask(self, *request: object) -> object:
        """Give what it answers. Raises ``WrongAnswerError`` for anything but ``done``."""
        if self.process is None:
            program, *args = self.command
            line = [str(CACHE / program), *args, str(CACHE)]
            self.process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        got = json.loads(self.process.stdout.readline() or b'"it ended"')
        right(self.name, list(got) if isinstance(got, dict) else got, ["done"])
        return got["done"]


class IsolatedVm(Asked):
    name = "isolated-vm"
    what = "npm's isolated-vm 7 in Node 24: isolate, context and eval, all synchronous, a time-out, 64 MB"
    needs = ("isolated-vm/bin/node", "isolated-vm/node_modules/isolated-vm")
    command = ("isolated-vm/bin/node", "--no-node-snapshot", "benchmarks/isolated.js")

    def compute(self) -> None:
        self.ask("warm", 1, COMPUTING, COMPUTED)

    def stream(self) -> None:
        """Take `YIELDED` items of a generator. A timed call."""
        self.ask("stream", YIELDED, STREAMING, STREAMED)

    def spin(self, count: int, wall: float) -> list[float]:
        """Run ``count`` endless loops at once; give by how many ns each was ended later than after ``wall`` s."""
        got = self.ask("spin", count, wall)
        assert isinstance(got, list)
        return got


class Eryx(Asked):
    name = "pyeryx"
    what = "PyPI's pyeryx 0.11: CPython 3.14 in WebAssembly; a sandbox with a time-out for each run, or a session"
    needs = ("eryx/bin/python",)
    command = ("eryx/bin/python", "benchmarks/eryx_served.py")

    def call(self) -> None:
        self.ask("call", 1, "", CALLED)


class QuickJs(Interpreter):
    name = "quickjs"
    what = "PyPI's quickjs 1.19: the C library in this process, not isolated from it; bounds on time and memory"

    def find(self) -> str | None:
        if importlib.util.find_spec("quickjs") is None:
            return "not installed (pip: quickjs)"
        self.package: Any = importlib.import_module("quickjs")
        self.kept = self._made()
        return None

    def fresh(self, count: int) -> None:
        repeated(count, lambda: self._made().eval(ADD[0]), self.name, ADD[1])

    def warm(self, count: int) -> None:
        repeated(count, lambda: self.kept.eval(ADD[0]), self.name, ADD[1])

    def call(self) -> None:
        made = self.package.Context()  # a bound on time and functions of the host exclude each other there
        made.add_callable("twice", lambda n: 2 * n)
        right(self.name, made.eval(CALLING), CALLED)

    def compute(self) -> None:
        right(self.name, self.kept.eval(COMPUTING), COMPUTED)

    def stream(self) -> None:
        """Take `YIELDED` items of a generator. A timed call."""
        following = self.kept.eval(
            f"(() => {{ const items = (function* () {{ {STREAMING} }})(); return () => items.next().value; }})()"
        )
        right(self.name, sum(following() for _ in range(YIELDED)), STREAMED)

    def keep(self, held: ExitStack) -> None:
        made = self._made()
        right(self.name, made.eval(ADD[0]), ADD[1])
        held.callback(lambda: made)

    def _made(self) -> Any:  # noqa: ANN401  # a package without types
        made = self.package.Context()
        made.set_memory_limit(MEMORY)
        made.set_time_limit(WALL)
        return made


class QuickJsRs(Interpreter):
    name = "quickjs-rs"
    what = "PyPI's quickjs-rs 0.2 as it comes: the guest that cloche js runs too, by its own Python; a time-out, 256 MB"

    def find(self) -> str | None:
        if importlib.util.find_spec("quickjs_rs") is None:
            return "not installed (pip: quickjs-rs)"
        self.package: Any = importlib.import_module("quickjs_rs")
        self.kept = self._made(self.held)
        self.kept.register("twice", lambda n: 2 * n)
        return None

    def fresh(self, count: int) -> None:
        for _ in range(count):
            with ExitStack() as held:
                right(self.name, self._made(held).eval(ADD[0]), ADD[1])

    def warm(self, count: int) -> None:
        repeated(count, lambda: self.kept.eval(ADD[0]), self.name, ADD[1])

    def call(self) -> None:
        right(self.name, self.kept.eval(CALLING), CALLED)

    def compute(self) -> None:
        right(self.name, self.kept.eval(COMPUTING), COMPUTED)

    def stream(self) -> None:
        """Take `YIELDED` items of a generator. A timed call."""
        self.kept.eval(f"globalThis.items = (function* () {{ {STREAMING} }})(); 0")
        right(self.name, sum(self.kept.eval("items.next().value") for _ in range(YIELDED)), STREAMED)

    def keep(self, held: ExitStack) -> None:
        right(self.name, self._made(held).eval(ADD[0]), ADD[1])

    def saved(self, count: int) -> None:
        """Save a small session to bytes and restore it, ``count`` times; close what was restored."""
        for _ in range(count):
            with ExitStack() as held:
                self._restored(self.kept, held)

    def fill(self) -> None:
        """Have a session with a heap of some 14 MB."""
        self.filled = self._made(self.held)
        right(self.name, self.filled.eval(FILLING), FILLED)

    def saved_large(self) -> None:
        """Save that one and restore it."""
        with ExitStack() as held:
            right(self.name, self._restored(self.filled, held).eval(LAST[0]), LAST[1])

    def _made(self, held: ExitStack) -> Any:  # noqa: ANN401  # what the package gives is Any
        runtime = held.enter_context(self.package.Runtime(memory_limit=MEMORY))
        return held.enter_context(runtime.new_context(timeout=WALL))

    def _restored(self, session: Any, held: ExitStack) -> Any:  # noqa: ANN401
        data = session.create_snapshot().to_bytes()
        runtime = held.enter_context(self.package.Runtime(memory_limit=MEMORY))
        made = held.enter_context(runtime.new_context(timeout=WALL))
        runtime.restore_snapshot(self.package.Snapshot.from_bytes(data), made)
        return made


PEERS_INTERPRETERS: dict[str, type[Contender]] = {kind.name: kind for kind in (IsolatedVm, Eryx, QuickJs, QuickJsRs)}
