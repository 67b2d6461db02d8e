"""The template: CPython with our program for it, built by componentize-py, linked into one module, booted, compiled.

It takes a minute, once. ``python -m cloche_wasm.python.build FOLDER`` leaves it in FOLDER: building runs compilers with
many threads, which a process that may fork later does better without.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from mmap import mmap
from pathlib import Path
from typing import Final

import wasmtime

from cloche import RuntimeUnavailable, StartError
from cloche_native import wasm
from cloche_wasm import bridge, cache
from cloche_wasm.bake import bake
from cloche_wasm.component import read
from cloche_wasm.engine import STACK, Engine, building_engine, engine
from cloche_wasm.link import link
from cloche_wasm.python.boot import POINTER, booted
from cloche_wasm.python.calls import FUNCTIONS
from cloche_wasm.text import one_line

TOOL: Final = "componentize-py 0.25"
SECONDS: Final = 600.0
_FORMAT: Final = 3
"""Changed with whatever changes what is built: link.py, bake.py, what is done below."""
_HERE: Final = Path(__file__).parent
_OURS: Final = ("values.py", "programs.py", "interpreter.py")
_OF_THE_BUILD: Final = ("glue.wat", "boot.py")
_GLUE: Final = "glue.wat"
_FIX: Final = 'pip install "cloche[wasm-python]"'
_EXPORTS: Final = ("room", "answer", "after#answer", "stop", "malloc", "free")
_BOOTED: Final = 128 << 20
"""Bytes of memory that it may have while it boots."""
_PARTS: Final = ("module", "image", "state")
_WORLD: Final = """\
package cloche:guest;
interface host { call: func(name: string, text: string) -> string; }
world python { import host; export answer: func(text: string) -> string; }
"""
_STANDARD: Final = (
    "abc", "argparse", "array", "ast", "base64", "binascii", "bisect", "calendar", "cmath", "collections",
    "collections.abc", "colorsys", "configparser", "contextlib", "contextvars", "copy", "csv", "dataclasses",
    "datetime", "decimal", "difflib", "email", "email.message", "email.parser", "enum", "errno", "fnmatch",
    "fractions", "functools", "gc", "getpass", "glob", "graphlib", "gzip", "hashlib", "heapq", "hmac", "html",
    "html.parser", "inspect", "io", "ipaddress", "itertools", "json", "keyword", "linecache", "locale",
    "logging", "math", "mimetypes", "numbers", "operator", "os", "os.path", "pathlib", "pickle", "posixpath",
    "pprint", "queue", "quopri", "random", "re", "reprlib", "secrets", "shlex", "statistics", "string",
    "stringprep", "struct", "sys", "tempfile", "textwrap", "threading", "time", "timeit", "token", "tokenize",
    "tomllib", "traceback", "types", "typing", "unicodedata", "unittest", "urllib.parse", "uuid", "warnings",
    "weakref", "xml.etree.ElementTree", "zipfile", "zlib", "zoneinfo",
)  # fmt: skip
"""Of the standard library, what code may import: there is no file in the guest to take more from."""
_APP: Final = """\
import importlib
for name in {standard!r}:
    try:
        importlib.import_module(name)
    except ImportError:
        continue
import wit_world
from wit_world.imports import host
from cloche_wasm.python.interpreter import Interpreter
interpreter = Interpreter(host.call)
class WitWorld(wit_world.WitWorld):
    def answer(self, text):
        return interpreter.answer(text)
"""


@dataclass(frozen=True, slots=True)
class Template:
    """What instances of Python are made of. Used by many threads at once."""

    module: wasmtime.Module
    image: mmap
    """The memory that an instance begins with."""
    stack_pointer: int
    digest: str
    """Of the module's bytes: 64 hex digits."""


def template(used: Engine, kept: cache.Cache) -> Template:
    """Give the template, built if it was not before.

    Raises ``RuntimeUnavailable`` when it is not built and its tool is not installed, ``StartError`` when that fails.
    """
    key = {"kind": "python", "format": _FORMAT, "sources": _digest(), "tool": TOOL, "engine": used.identity}
    return kept.use(key, _built, lambda entry: _load(used, entry))


def _load(used: Engine, entry: cache.Entry) -> Template:
    state = json.loads(entry.read("state"))
    return Template(cache.load(used, entry, "module"), entry.map("image"), state["stack_pointer"], state["digest"])


def _built() -> dict[str, bytes]:
    if find_spec("componentize_py") is None:
        raise RuntimeUnavailable("wasm", f"Python for it is built by {TOOL}, which is not installed: {_FIX}")
    with tempfile.TemporaryDirectory(prefix="cloche-") as folder:
        argv = [sys.executable, "-m", __name__, folder]
        try:
            done = subprocess.run(argv, capture_output=True, check=False, timeout=SECONDS, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            raise StartError(f"Python could not be built: it took more than {SECONDS:g} s") from None
        if done.returncode != 0:
            said = one_line(done.stderr.decode(errors="replace").strip()[-400:])
            raise StartError(f"Python could not be built: {TOOL} ended with {done.returncode}: {said}")
        return {name: (Path(folder) / name).read_bytes() for name in _PARTS}


def build(folder: Path) -> None:
    """Build it in ``folder``. Raises ``CalledProcessError``, ``SpecError``."""
    glue = bytes(wasmtime.wat2wasm((_HERE / _GLUE).read_text("utf-8")))
    linked = link(read(_component(folder)), glue, _EXPORTS)
    compiling = building_engine().wasm
    image, pointer = _booted(bytes(wasmtime.Module(compiling, linked).serialize()))
    baked = bake(linked, image, {POINTER: pointer})
    state = {"stack_pointer": pointer, "digest": hashlib.sha256(baked).hexdigest()}
    (folder / "module").write_bytes(wasmtime.Module(compiling, baked).serialize())
    (folder / "image").write_bytes(image)
    (folder / "state").write_text(json.dumps(state))


def _component(folder: Path) -> bytes:
    (folder / "guest.wit").write_text(_WORLD)
    (folder / "app.py").write_text(_APP.format(standard=_STANDARD))
    package = folder / "cloche_wasm" / "python"
    package.mkdir(parents=True)
    for name in _OURS:
        shutil.copyfile(_HERE / name, package / name)
    (package / "__init__.py").touch()
    (package.parent / "__init__.py").touch()
    argv = (sys.executable, "-c", "import componentize_py; componentize_py.script()")
    environment = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    subprocess.run(
        [*argv, "-q", "-d", "guest.wit", "-w", "python", "componentize", "-p", ".", "app", "-o", "guest.wasm"],
        cwd=folder, env=environment, check=True,
    )  # fmt: skip
    return (folder / "guest.wasm").read_bytes()


def _booted(compiled: bytes) -> tuple[bytes, int]:
    used = engine(STACK)
    pre, functions = linked_to_host(used, wasmtime.Module.deserialize(used.wasm, compiled))
    return booted(wasm.Mold(bridge.bridged(used), pre, functions=functions, memory=_BOOTED, clock="frozen"))


def linked_to_host(used: Engine, module: wasmtime.Module) -> tuple[wasmtime.InstancePre, Sequence[wasm.Function]]:
    """Give a module with what it imports, and the functions among that."""
    linker = wasmtime.Linker(used.wasm)
    functions = wasm.answer(bridge.library(), linker, module.imports, FUNCTIONS)
    return linker.instantiate_pre(module), functions


def _digest() -> str:
    parts = [(_HERE / name).read_bytes() for name in (*_OURS, *_OF_THE_BUILD)]
    said = [_WORLD, _APP, repr(_STANDARD)]
    return hashlib.sha256(b"\0".join([*(text.encode() for text in said), *parts])).hexdigest()


if __name__ == "__main__":
    build(Path(sys.argv[1]))
