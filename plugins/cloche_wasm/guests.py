"""The programs that other people's wheels bring as .wasm files, taken only as they were looked at: by their digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from cloche import RuntimeUnavailable
from cloche_wasm.binary import exports

_EXTRA: Final = 'pip install "cloche[wasm]"'


@dataclass(frozen=True, slots=True)
class Guest:
    """A program: ``file`` of the importable ``package``, which the distribution ``wheel`` in ``version`` brings."""

    name: str
    wheel: str
    version: str
    package: str
    file: str
    sha256: str
    exports: frozenset[str]
    """What is called of it. Others may be there."""


QUICKJS: Final = Guest(
    name="the JavaScript interpreter",
    wheel="quickjs-rs",
    version="0.2.6",
    package="quickjs_rs",
    file="_guest.wasm",
    sha256="647ab11ae29cc6d39a6d17d3aa1e7a6a0b5fb9c44b4864475a18bc644f926050",
    exports=frozenset({
        "memory", "__stack_pointer", "qjs_alloc", "qjs_free", "qjs_last_ptr", "qjs_last_len", "qjs_result_free",
        "eval_code", "eval_async", "eval_module", "eval_module_async", "execute_pending_jobs", "call_function",
        "new_function", "new_string", "new_bool", "new_undefined", "new_promise", "new_error", "resolve_deferred",
        "reject_deferred", "is_promise", "promise_state", "promise_result", "get_string", "get_prop", "set_prop",
        "global_object", "last_exception", "dup_handle", "free_value", "type_of", "run_gc", "set_max_stack_size",
    }),
)  # fmt: skip
TRANSFORM: Final = Guest(
    name="the TypeScript transformer",
    wheel="quickjs-rs",
    version="0.2.6",
    package="quickjs_rs",
    file="_transform.wasm",
    sha256="c4710d5258585122a70f0b3ee3bc19d085742e6f94f48aa0b8057630ebaca745",
    exports=frozenset({
        "memory", "qjst_alloc", "qjst_free", "qjst_transform", "qjst_result_ptr", "qjst_result_len",
        "qjst_error_ptr", "qjst_error_len", "qjst_result_free",
    }),
)  # fmt: skip


def path(guest: Guest) -> Path:
    """Give where its file is. Raises ``RuntimeUnavailable`` when its wheel is not installed; nothing is imported."""
    found = find_spec(guest.package)
    if found is None or found.origin is None:
        raise RuntimeUnavailable("wasm", f"{guest.name} is not installed: {_EXTRA}")
    return Path(found.origin).parent / guest.file


@cache
def read(guest: Guest) -> bytes:
    """Give its bytes. Raises ``RuntimeUnavailable`` when they are missing or not those that were looked at."""
    where = path(guest)
    try:
        wasm = where.read_bytes()
    except OSError as error:
        raise RuntimeUnavailable("wasm", f"{guest.name} can't be read: {error}; {_wanted(guest)}") from error
    if (digest := hashlib.sha256(wasm).hexdigest()) != guest.sha256:
        raise RuntimeUnavailable(
            "wasm",
            f"{where} is not the file that this cloche knows (sha256 {digest[:16]}... instead of"
            f" {guest.sha256[:16]}..., {guest.wheel} {_installed(guest)}); {_wanted(guest)}",
        )
    if missing := guest.exports - exports(wasm).keys():
        raise RuntimeUnavailable("wasm", f"{where} has no {', '.join(sorted(missing))}; {_wanted(guest)}")
    return wasm


def _wanted(guest: Guest) -> str:
    return f'install it anew: pip install --force-reinstall "{guest.wheel}=={guest.version}"'


def _installed(guest: Guest) -> str:
    try:
        return metadata.version(guest.wheel)
    except metadata.PackageNotFoundError:
        return "of no known version"
