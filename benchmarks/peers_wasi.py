"""Programs of WASI: the one that is run, and wasmtime's own Python package as who runs it."""

import importlib
import importlib.util
import tempfile
from abc import abstractmethod
from pathlib import Path
from typing import Any

from benchmarks.interpreting import right
from benchmarks.peers import Answer, Contender, WrongAnswerError

SAID = b"hello\n"
HELLO = r"""(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\08\00\00\00\06\00\00\00hello\n")
  (func (export "_start")
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
    (call $exit (i32.const 0))))"""


class Wasi(Contender):
    """One that runs a module which says hello."""

    def answer(self, *program: str) -> Answer:
        raise WrongAnswerError(f"{self.name} runs no programs of Linux: {program}")

    def unavailable(self) -> str | None:
        if (missing := self.find()) is not None:
            return missing
        try:
            self.start()
            self.exec()
        except (OSError, WrongAnswerError) as error:
            return f"did not run: {error}"
        return None

    @abstractmethod
    def exec(self) -> None:
        """Run the module where everything that can stay has stayed. A timed call."""


class WasmtimePy(Wasi):
    name = "wasmtime"
    what = (
        "PyPI's wasmtime: the module compiled before, a store for each run, one folder, output by a callback; no bounds"
    )

    def find(self) -> str | None:
        if importlib.util.find_spec("wasmtime") is None:
            return "not installed (pip: wasmtime)"
        self.machine: Any = importlib.import_module("wasmtime")
        self.engine = self.machine.Engine()
        self.module = self.machine.Module(self.engine, HELLO)
        self.linker = self.machine.Linker(self.engine)
        self.linker.define_wasi()
        return None

    def start(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self._run(Path(folder))

    def exec(self) -> None:
        self._run(None)

    def _run(self, folder: Path | None) -> None:
        said: list[bytes] = []
        wasi = self.machine.WasiConfig()
        wasi.stdout_custom = said.append
        if folder is not None:
            wasi.preopen_dir(str(folder), "/")
        with self.machine.Store(self.engine) as store:
            store.set_wasi(wasi)
            start = self.linker.instantiate(store, self.module).exports(store)["_start"]
            try:
                start(store)
            except self.machine.ExitTrap as ended:
                right(self.name, ended.code, 0)
        right(self.name, b"".join(said), SAID)


PEERS_WASI: dict[str, type[Contender]] = {kind.name: kind for kind in (WasmtimePy,)}
