"""The module of ``wasi_guest.wat``, in the words of the conformance tests."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import wasmtime

import cloche
from cloche.testing import GuestPrograms

PROGRAM = "/programs/guest"


@cache
def module() -> bytes:
    """Give the module."""
    return bytes(wasmtime.wat2wasm((Path(__file__).parent / "wasi_guest.wat").read_text()))


@cache
def tries() -> bytes:
    """Give the module of ``wasi_tries.wat``, which does one call and prints the error number that it was given."""
    return bytes(wasmtime.wat2wasm((Path(__file__).parent / "wasi_tries.wat").read_text()))


class WasiPrograms(GuestPrograms):
    """Each a letter; the module lies in a folder of the host that is mounted."""

    scripts = False

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="wasi-guest-")
        Path(self._folder.name, "guest").write_bytes(module())
        Path(self._folder.name, "plain").write_text("hello\n")

    def close(self) -> None:
        self._folder.cleanup()

    def options(self) -> dict[str, Any]:
        return {"mounts": [cloche.Mount(self._folder.name, "/programs")]}

    def says(self, out: str, err: str, code: int) -> tuple[str, ...]:
        return PROGRAM, "s", out, err, str(code)

    def arguments(self, *args: str) -> tuple[str, ...]:
        return PROGRAM, "a", *args

    def environment(self) -> tuple[str, ...]:
        return PROGRAM, "e"

    def where(self) -> tuple[str, ...]:
        return PROGRAM, "w"

    def elsewhere(self) -> str:
        return "/programs"

    def keeps(self, name: str, text: str) -> tuple[str, ...]:
        return PROGRAM, "k", name, text

    def shows(self, name: str) -> tuple[str, ...]:
        return PROGRAM, "g", name

    def counts(self) -> tuple[str, ...]:
        return PROGRAM, "c"

    def not_executable(self, box: cloche.Sandbox) -> str:  # noqa: ARG002 - it is there already
        return "/programs/plain"

    def sleeps(self, seconds: str) -> tuple[str, ...]:
        return PROGRAM, "z", str(int(float(seconds) * 1000))

    def breaks(self) -> tuple[str, ...]:
        return PROGRAM, "b"

    def talks(self) -> tuple[str, ...]:
        return PROGRAM, "t"

    def floods(self) -> tuple[str, ...]:
        return PROGRAM, "f"

    def spins(self) -> tuple[str, ...]:
        return PROGRAM, "p"
