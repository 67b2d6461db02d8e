"""Runtime ``wasm``: WebAssembly programs and interpreters in a language machine, in this process, without a kernel."""

from __future__ import annotations

from cloche import Runtime, hookimpl
from cloche_wasm.runtime import WasmRuntime


@hookimpl
def cloche_runtimes() -> list[Runtime]:
    """Provide the runtime."""
    return [WasmRuntime()]
