"""Cloche's interpreters: through the public functions, and the bridge below them alone."""

import shutil
import threading
import time
from contextlib import ExitStack
from operator import attrgetter

import cloche
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
from benchmarks.peers import Contender
from cloche_native import wasm


class RunJs(Interpreter):
    name = "cloche js"
    what = "cloche.run_js, and a session: values, console, limits, an interpreter that is gone afterwards or stays"
    language = "javascript"
    add = ADD[0]
    calling = CALLING
    streaming = STREAMING
    spinning = "for (;;);"

    def __init__(self) -> None:
        super().__init__()
        host = self.held.enter_context(cloche.Host())
        js = self.held.enter_context(host.interpreter(self.language, functions={"twice": lambda n: 2 * n}))
        self.session = self.held.enter_context(js.session())
        self.js = js

    def fresh(self, count: int) -> None:
        repeated(count, lambda: cloche.run_js(self.add).value, self.name, ADD[1])

    def warm(self, count: int) -> None:
        repeated(count, lambda: self.session.run(self.add).value, self.name, ADD[1])

    def call(self) -> None:
        right(self.name, self.session.run(self.calling).value, CALLED)

    def compute(self) -> None:
        """Run code that only computes. A timed call, as those below."""
        right(self.name, self.session.run(COMPUTING).value, COMPUTED)

    def stream(self) -> None:
        """Take `YIELDED` items of a stream."""
        right(self.name, sum(self.session.stream(self.streaming)), STREAMED)

    def saved(self, count: int) -> None:
        """Save a small session and restore it, ``count`` times; close what was restored."""
        for _ in range(count):
            self.js.restore(self.session.snapshot()).close()

    def fill(self) -> None:
        """Have a session with a heap of some 14 MB."""
        self.filled = self.held.enter_context(self.js.session())
        right(self.name, self.filled.run(FILLING).value, FILLED)

    def saved_large(self) -> None:
        """Save that one and restore it."""
        with self.js.restore(self.filled.snapshot()) as restored:
            right(self.name, restored.run(LAST[0]).value, LAST[1])

    def keep(self, held: ExitStack) -> None:
        right(self.name, held.enter_context(self.js.session()).run(self.add).value, ADD[1])

    def spin(self, count: int, wall: float) -> list[float]:
        """Run ``count`` endless loops at once; give by how many ns each was ended later than after ``wall`` s."""
        late: list[float] = []
        begin = threading.Barrier(count)

        def spun(session: cloche.Session) -> None:
            begin.wait()
            before = time.perf_counter_ns()
            reason = session.run(self.spinning, timeout=wall).reason
            took = time.perf_counter_ns() - before
            if reason == "timeout":
                late.append(took - wall * 1e9)

        with ExitStack() as held:
            sessions = [held.enter_context(self.js.session()) for _ in range(count)]
            threads = [threading.Thread(target=spun, args=(session,)) for session in sessions]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        right(self.name, len(late), count)
        return late


class Deaf(RunJs):
    name = "cloche js deaf"
    what = "cloche js, where the code is one call that hears nothing: it is ended hard, and rolled back"
    spinning = "Array.prototype.indexOf.call({length: 2 ** 53 - 1}, 1)"


class Unused(RunJs):
    name = "cloche js unused"
    what = "sessions of cloche js that nothing was run in yet, as those that wait in a pool"

    def keep(self, held: ExitStack) -> None:
        held.enter_context(self.js.session())


class RunPython(RunJs):
    name = "cloche python"
    what = "cloche.run_python, and a session: CPython in WebAssembly"
    language = "python"
    calling = "sum(twice(i) for i in range(100))"
    streaming = f"for i in range({YIELDED}): yield i"

    def fresh(self, count: int) -> None:
        repeated(count, lambda: cloche.run_python(self.add).value, self.name, ADD[1])


class Bridge(Interpreter):
    name = "cloche bridge"
    what = "the same guest by the native module alone: made, one run to an encoded value, ended; no limits by policy"

    def __init__(self) -> None:
        super().__init__()
        self.js = RunJs()
        self.held.callback(self.js.close)
        self.mold: wasm.Mold = attrgetter("_prepared.language._brief")(self.js.js)  # what nobody should use
        self.living = self.held.enter_context(self.mold.open())

    def fresh(self, count: int) -> None:
        repeated(count, lambda: self.mold.once(b"1+2", wall=5.0).end, self.name, "done")

    def warm(self, count: int) -> None:
        repeated(count, lambda: self.living.run(b"1+2", wall=5.0).end, self.name, "done")

    def call(self) -> None:
        """Nothing is called."""


class Node(Interpreter):
    name = "cloche node"
    what = "node as a program in a sandbox of its own, by host.run: started, run and gone"

    def __init__(self) -> None:
        super().__init__()
        self.host = self.held.enter_context(cloche.Host())

    def fresh(self, count: int) -> None:
        repeated(count, lambda: self._said(ADD[0]), self.name, str(ADD[1]))

    def warm(self, count: int) -> None:
        """Nothing stays."""

    def call(self) -> None:
        """Nothing is called."""

    def compute(self) -> None:
        """Run code that only computes. A timed call."""
        right(self.name, self._said(COMPUTING), str(COMPUTED))

    def find(self) -> str | None:
        return None if shutil.which("node") else "node is not installed (apt: nodejs)"

    def _said(self, code: str) -> str:
        return self.host.run("node", "-p", code).text.strip()


OURS_INTERPRETERS: dict[str, type[Contender]] = {
    kind.name: kind for kind in (RunJs, Deaf, Unused, RunPython, Bridge, Node)
}
