"""Cloche's boxes of WebAssembly, by its public blocking face."""

import importlib
import importlib.util

import cloche
from benchmarks.interpreting import right
from benchmarks.peers import Contender
from benchmarks.peers_wasi import HELLO, SAID, Wasi


class ClocheWasm(Wasi):
    name = "cloche wasm"
    what = "runtime wasm at enhanced: a sandbox, the module written into it and run within its limits, deleted"

    def __init__(self) -> None:
        super().__init__()
        self.host = self.held.enter_context(cloche.Host())
        self.living: cloche.Sandbox | None = None

    def find(self) -> str | None:
        if importlib.util.find_spec("wasmtime") is None:
            return "not installed (the extra wasm)"
        self.module = bytes(importlib.import_module("wasmtime").wat2wasm(HELLO))
        return None

    def start(self) -> None:
        with self.host.create(isolation="enhanced", runtime="wasm") as box:
            box.files.write("hello.wasm", self.module)
            self._run(box)

    def exec(self) -> None:
        if self.living is None:
            self.living = self.held.enter_context(self.host.create(isolation="enhanced", runtime="wasm"))
            self.living.files.write("hello.wasm", self.module)
        self._run(self.living)

    def _run(self, box: cloche.Sandbox) -> None:
        done = box.exec("hello.wasm")
        right(self.name, (done.exit_code, done.stdout), (0, SAID))


OURS_WASI: dict[str, type[Contender]] = {ClocheWasm.name: ClocheWasm}
