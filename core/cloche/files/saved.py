"""A snapshot as text, so that it can be kept in a file and compared with later, by another process too.

JSON (RFC 8259) in ASCII: ``{"cloche": "snapshot", "version": 1, "path": ..., "content": ..., "entries": {...}}`` where
an entry is a name with the fields of its ``FileStat``. Bytes of names that are no UTF-8 are lone surrogates, escaped.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from types import MappingProxyType
from typing import Any, Final

from cloche import units
from cloche.errors import SpecError
from cloche.files.tree import Seen, Snapshot
from cloche.files.vfs import FileKind, FileStat

MOST: Final = 512 << 20
"""Bytes of a saved snapshot that are read: a million names of the usual length."""
_NUMBERS: Final = ("size", "mode", "modified_ns", "changed_ns", "inode", "links")
_NUMBER_MOST: Final = (1 << 64) - 1
_DIGEST: Final = 64
"""Hexadecimal digits of SHA-256."""


def dump(snapshot: Snapshot) -> bytes:
    """Give a snapshot as text."""
    entries = {name: _plain(seen) for name, seen in snapshot.entries.items()}
    whole = {
        "cloche": "snapshot", "version": 1, "path": snapshot.path, "content": snapshot.content, "entries": entries,
    }  # fmt: skip
    return json.dumps(whole, separators=(",", ":")).encode("ascii")


def load(data: bytes, what: str = "snapshot") -> Snapshot:
    """Give the snapshot in ``data``. Raises ``SpecError``, which calls it ``what``, for anything that is not one."""
    if len(data) > MOST:
        raise SpecError(f"{what}: {len(data)} bytes are too many for a snapshot; at most {MOST}")
    try:
        whole = json.loads(data)
    except (ValueError, RecursionError):
        raise SpecError(f"{what}: not a snapshot that cloche saved: it is no JSON") from None
    if not isinstance(whole, dict) or whole.get("cloche") != "snapshot" or whole.get("version") != 1:
        raise SpecError(f"{what}: not a snapshot that this version of cloche saved")
    entries = whole.get("entries")
    if not isinstance(entries, dict) or not isinstance(whole.get("content"), bool):
        raise SpecError(f"{what}: a snapshot with parts missing; save it anew")
    path = units.guest_path(whole.get("path"), f"{what}: path")  # type: ignore[arg-type] # it checks that it is text
    found = {_name(name, what): _seen(seen, f"{what}: {units.shown(name)}") for name, seen in entries.items()}
    return Snapshot(path, MappingProxyType(dict(sorted(found.items()))), whole["content"])


def _plain(seen: Seen) -> dict[str, Any]:
    plain = {key: value for key, value in asdict(seen.stat).items() if value is not None}
    if seen.digest is not None:
        plain["digest"] = seen.digest
    if not seen.settled:
        plain["settled"] = False
    return plain


def _name(name: str, what: str) -> str:
    units.guest_path(f"/{name}", f"{what}: name")
    return name


def _seen(plain: object, what: str) -> Seen:
    known = {*(f.name for f in fields(FileStat)), "digest", "settled"}
    if not isinstance(plain, dict) or not {"kind", *_NUMBERS} <= set(plain) <= known:
        raise SpecError(f"{what}: not what a snapshot tells of a name; save it anew")
    numbers = {key: plain[key] for key in _NUMBERS}
    target, digest, settled = plain.get("target"), plain.get("digest"), plain.get("settled", True)
    whole = all(type(value) is int and -_NUMBER_MOST <= value <= _NUMBER_MOST for value in numbers.values())
    if not whole or plain["kind"] not in list(FileKind) or not isinstance(settled, bool):
        raise SpecError(f"{what}: a value that no file has; save it anew")
    if digest is not None and not (isinstance(digest, str) and len(digest) == _DIGEST and digest.isalnum()):
        raise SpecError(f"{what}: the digest is none; save it anew")
    if target is not None:
        units.text(target, f"{what}: target")
    return Seen(FileStat(kind=FileKind(plain["kind"]), target=target, **numbers), digest, settled)
