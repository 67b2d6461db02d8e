"""JSON texts in C: checked, made canonical, kept with an index, compared.

A canonical text has no white space between tokens and the shortest escapes; numbers stay as they were written. The
verdict over a text is orjson's, except that an object with the same key twice is refused.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final, Self

from cloche_native import _lib

__all__ = [
    "DEPTH", "DEPTH_MAX", "KINDS", "Json", "JsonTextError", "Text", "are_equal", "check_text", "fixed", "holds_null",
]  # fmt: skip

_ffi, _c = _lib.ffi, _lib.lib

Text = bytes | bytearray | memoryview
"""A JSON text."""
DEPTH: Final = int(_c.CLO_JSON_DEPTH)
"""How many levels a text may have unless another number is given."""
DEPTH_MAX: Final = int(_c.CLO_JSON_DEPTH_MAX)

KINDS: Final = (
    "fine", "memory", "truncated", "syntax", "trailing", "utf8", "control", "escape", "surrogate", "number", "range",
    "deep", "duplicate",
)  # fmt: skip
"""What can be wrong with a text, in the order of ``enum clo_json_kind``."""

_SAYS: Final = {
    "truncated": "it ends inside a value",
    "syntax": "a byte that JSON has no place for there",
    "trailing": "something follows the value",
    "utf8": "bytes that are no UTF-8",
    "control": "a control character in a string that is not escaped",
    "escape": "an escape that JSON does not have",
    "surrogate": "half of a surrogate pair",
    "number": "a number that JSON does not have",
    "range": "a number beyond the range of a double",
    "deep": "more levels than allowed",
    "duplicate": "a key that the object has already",
}


class JsonTextError(ValueError):
    """A text is no JSON that can be used. ``kind``: one of ``KINDS``; ``position``: the byte, from 0."""

    def __init__(self, kind: str, position: int) -> None:
        """Say what is wrong and where."""
        super().__init__(f"no usable JSON at byte {position}: {_SAYS[kind]}")
        self.kind = kind
        self.position = position

    def __reduce__(self) -> tuple[type[Self], tuple[str, int]]:
        """Make it again from the same two."""
        return type(self), (self.kind, self.position)


class Json:
    """A text, checked and kept with its index: at most twice the memory of its bytes, and some 200 more.

    Not for two threads at once; different ones run at the same time, for the lock of the interpreter is not held.
    Raises JsonTextError, MemoryError, ValueError for a depth that is none.
    """

    def __init__(self, text: Text, *, depth: int = DEPTH) -> None:
        """Check and keep a text."""
        out, error = _ffi.new("struct clo_json **"), _ffi.new("struct clo_json_error *")
        data = fixed(text)
        status = _c.clo_json_new(data, len(data), check_depth(depth), out, error)
        raise_error(status, error)
        self._handle: Any = _ffi.gc(out[0], _c.clo_json_free)
        self._closed = False

    @property
    def handle(self) -> Any:  # noqa: ANN401 - cffi has no types
        """The native object, for others of this package. Raises ValueError once it is closed."""
        if self._closed:
            raise ValueError("this document is closed")
        return self._handle

    @property
    def text(self) -> bytes:
        """The canonical text."""
        return bytes(_ffi.buffer(_c.clo_json_text(self.handle), _c.clo_json_size(self.handle)))

    @property
    def size(self) -> int:
        """Bytes of the canonical text."""
        return int(_c.clo_json_size(self.handle))

    @property
    def memory(self) -> int:
        """Bytes that it takes: the text, its index and a little."""
        return int(_c.clo_json_memory(self.handle))

    def hash(self) -> int:
        """Give 64 bits that are the same for equal values, on every machine; no help against those who want others."""
        return int(_c.clo_json_hash(self.handle))

    def equals(self, other: Json) -> bool:
        """Say whether it has the same value: numbers by their worth, members in any order. Raises MemoryError."""
        equal = _c.clo_json_equal(self.handle, other.handle)
        if equal < 0:
            raise MemoryError("no memory to compare two documents")
        return bool(equal)

    def close(self) -> None:
        """Give its memory back. May be called again."""
        if not self._closed:
            self._closed = True
            _ffi.release(self._handle)

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


def are_equal(one: Text, other: Text, *, depth: int = DEPTH) -> bool:
    """Say whether two texts have the same value. Raises what Json raises."""
    with Json(one, depth=depth) as first, Json(other, depth=depth) as second:
        return first.equals(second)


def check_text(text: Text, *, depth: int = DEPTH, cpu: int | None = None) -> int:
    """Check a text in one of the ways there are of scanning it, and give a hash of its index; for tests.

    ``cpu``: 0 byte by byte, 1 as every machine of this kind can, 2 with AVX2; a better one than the machine has is its
    best, which is the default. Raises JsonTextError, MemoryError, ValueError.
    """
    error, index = _ffi.new("struct clo_json_error *"), _ffi.new("uint64_t *")
    way = _c.clo_json_best() if cpu is None else cpu
    if way not in (_c.CLO_JSON_PLAIN, _c.CLO_JSON_VECTOR, _c.CLO_JSON_AVX2):
        raise ValueError(f"there is no way of scanning {way!r}: 0, 1 or 2")
    data = fixed(text)
    status = _c.clo_json_check(data, len(data), check_depth(depth), way, index, error)
    raise_error(status, error)
    return int(index[0])


def fixed(text: Text) -> bytes:
    """Give a text that nobody changes while it is read without the interpreter's lock."""
    return text if isinstance(text, bytes) else bytes(text)


def holds_null(text: bytes) -> bool:
    """Say what ``b"null" in text`` says, five times as quickly."""
    return bool(_c.clo_json_holds_null(text, len(text)))


def check_depth(depth: int) -> int:
    """Give the number of levels back. Raises ValueError if there can't be as many."""
    if not 0 <= depth <= DEPTH_MAX:
        raise ValueError(f"a text can be allowed 0 to {DEPTH_MAX:,} levels, not {depth:,}")
    return depth


def raise_error(status: int, error: Any) -> None:  # noqa: ANN401 - cffi has no types
    """Raise what a call says that gives an ``enum clo_json_kind``: JsonTextError, MemoryError."""
    if status == _c.CLO_JSON_MEMORY:
        raise MemoryError("no memory for a JSON text")
    if status:
        raise JsonTextError(KINDS[status], int(error.position))
