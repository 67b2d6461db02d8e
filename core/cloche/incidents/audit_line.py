r"""One line of the audit log, and how it is tied to the one before it.

A line is a JSON object with the members ``seq``, ``time``, ``kind``, ``body``, ``prev`` and ``hash``, in canonical
form: members sorted by name at every depth, no space between tokens, only printable ASCII (all else as ``\uXXXX``, in
lower case), numbers as Python's ``json`` writes them, a line feed at the end. ``hash`` is the SHA-256, in hexadecimal,
of the same object in the same form without ``hash`` and without the line feed. ``prev`` is the ``hash`` of the line
before, ``GENESIS`` in the first one, so that each line vouches for all before it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

GENESIS: Final = "0" * 64
LINE_MAX: Final = 1 << 20
"""Bytes of one line; of a body that is longer only its short members are kept."""
SHORT: Final = 4096
DEEP: Final = 32


@dataclass(frozen=True, slots=True)
class Entry:
    """One record. Its texts may be a guest's: in the file they are escaped, here they are as they were."""

    seq: int
    """From 1, without a gap."""
    time: float
    """Seconds since the epoch, when it was written."""
    kind: str
    body: Mapping[str, Any]
    prev: str
    hash: str

    def as_json(self) -> dict[str, Any]:
        """Give all of it as plain data."""
        return {name: getattr(self, name) for name in self.__slots__}


def sealed(seq: int, time: float, kind: str, body: Mapping[str, Any], prev: str) -> tuple[bytes, str]:
    """Give a line with its line feed, and its hash."""
    members = {"seq": seq, "time": time, "kind": kind, "body": plain(body), "prev": prev}
    if len(_canonical(members)) > LINE_MAX - 128:  # room for the hash
        members["body"] = _shortened(members["body"])
    digest = hashlib.sha256(_canonical(members)).hexdigest()
    return _canonical({**members, "hash": digest}) + b"\n", digest


def unsealed(line: bytes) -> Entry:
    """Give what a line says. Raises ``ValueError`` for one that is not, byte by byte, as ``sealed`` makes them."""
    if not line.endswith(b"\n"):
        raise ValueError("it is cut off")
    try:
        members = json.loads(line)
        kinds = {"seq": int, "time": int | float, "kind": str, "body": dict, "prev": str, "hash": str}
        if not isinstance(members, dict) or set(members) != set(kinds):
            raise ValueError  # noqa: TRY301 - one way out for all that is no record
        if not all(isinstance(members[name], kind) for name, kind in kinds.items()):
            raise ValueError  # noqa: TRY301 - the same
        whole = _canonical(members)
        digest = members.pop("hash")
        body = _canonical(members)
    except (ValueError, RecursionError):
        raise ValueError("it is no record of a log") from None
    if line != whole + b"\n" or hashlib.sha256(body).hexdigest() != digest:
        raise ValueError("it is not as it was written")
    return Entry(**members, hash=digest)


def plain(value: object, depth: int = 0) -> Any:  # noqa: ANN401 - any plain data
    """Give ``value`` as data that JSON knows; bytes as ``{"base64": ...}``, what is nothing of the sort as its text."""
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, bytes | bytearray):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, str) or not isinstance(value, Iterable):
        return str(value)
    if depth >= DEEP:
        return f"{type(value).__name__} too deep to be kept"
    if isinstance(value, Mapping):
        return {str(key): plain(one, depth + 1) for key, one in value.items()}
    found = [plain(one, depth + 1) for one in value]
    return sorted(found, key=repr) if isinstance(value, set | frozenset) else found


def _canonical(members: Mapping[str, Any]) -> bytes:
    return json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def _shortened(body: Mapping[str, Any]) -> dict[str, Any]:
    """Give the members that are short, at most a hundred, and the names of those that were left out."""
    short = dict([(name, value) for name, value in body.items() if len(name) + len(repr(value)) <= SHORT][:100])
    left = sorted(name[:80] for name in body if name not in short)
    return {**short, "left_out": left[:100], "left_out_count": len(left)}
