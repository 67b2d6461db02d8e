"""A document that is kept, so that each next version is told by what changed in it."""

from __future__ import annotations

from threading import Lock
from types import TracebackType
from typing import Any, Self

from cloche.errors import StateError
from cloche.patch import values
from cloche.patch.pointer import Pointer
from cloche.patch.refusals import REFUSED, answered, nowhere, place, refusal
from cloche.patch.values import DEPTH
from cloche_native import json_apply, json_diff
from cloche_native.json import Json
from cloche_native.json_apply import PatchRefused


class Document:
    """A JSON document held natively: its text, and an index of it.

    ``document`` is JSON text in bytes, or a Python value. An update compares the new version with what is held and
    costs little more than to read it once. Of what is passed in nothing is kept: a value may be changed afterwards.
    Calls of several threads take turns; the interpreter lock is free meanwhile. Close it, or leave a ``with``, to give
    the memory back early; any use after that raises ``StateError``.

    Raises ``JsonError`` for what is not JSON as the whole package takes it, nested deeper than ``depth`` included.
    """

    def __init__(self, document: object, *, depth: int = DEPTH) -> None:
        self._depth = values.levels(depth)
        self._lock = Lock()
        text = values.as_text(document, depth=depth)
        self._json: Json | None = answered(Json, text, depth=depth)

    def update(self, new: object, *, splice: bool = False) -> bytes:
        """Take ``new`` in place of what is held, and give the JSON patch (RFC 6902) that leads there.

        It is ``[]`` where nothing changed. With ``splice`` a long text that changed a little is patched by the
        operation ``splice``, which only this package knows. Raises ``JsonError``, and then holds what it held.
        """
        made = None
        try:
            if values.is_text(new):
                text = bytes(new)
            else:
                text = values.quick(new, depth=self._depth)
                with self._lock:
                    made = json_diff.update_unless_null(self._held(), text, splice=splice)
                # A number that is not finite was written as null. It can be seen where null is new.
                if made is None and not values.finite(new):
                    values.exact(new, depth=self._depth)
            if made is None:
                with self._lock:
                    made = json_diff.update(self._held(), text, splice=splice)
        except REFUSED as error:
            raise refusal(error, "the new document") from None
        return made

    def apply(self, patch: object, *, most: int | None = None) -> None:
        """Apply a JSON patch, text or a sequence of operations: all of it, or on an error nothing.

        ``most`` bounds the bytes that the result, and all that is copied on the way, may have; otherwise it is 64 MiB,
        or 16 times the document and the patch if that is more. Raises ``PatchError``, ``JsonError`` of the patch.
        """
        text = values.operations(patch)
        with self._lock:
            answered(json_apply.apply_to, self._held(), text, most=values.bound(most))

    def merge(self, patch: object, *, most: int | None = None) -> None:
        """Apply a merge patch (RFC 7396), text or a value; bounded and raising as ``apply`` does."""
        text = values.as_text(patch, depth=self._depth)
        with self._lock:
            answered(json_apply.merge_into, self._held(), text, most=values.bound(most))

    def get(self, pointer: str | Pointer = "") -> Any:  # noqa: ANN401 - what JSON holds
        """Give what is at a place (RFC 6901) as a Python value.

        Raises ``PointerError`` if nothing is there, ``SpecError`` for what is no pointer.
        """
        return values.decode(self.get_text(pointer))

    def get_text(self, pointer: str | Pointer = "") -> bytes:
        """Give what is at a place as JSON text. Raises as ``get`` does."""
        at = place(pointer)
        try:
            with self._lock:
                return json_apply.get_from(self._held(), at)
        except PatchRefused:
            raise nowhere(pointer) from None

    def value(self) -> Any:  # noqa: ANN401 - as above
        """Give all of it as a Python value, made anew. Raises ``JsonError`` where Python can't hold it."""
        return values.decode(self.text)

    @property
    def text(self) -> bytes:
        """All of it as JSON text: without white space, escapes as short as they can be, numbers as they were given."""
        with self._lock:
            return self._held().text

    def hash(self) -> int:
        """Give 64 bits that are the same for documents that are equal, on every machine.

        Numbers count by their worth and keys in any order, as in ``are_equal``. It is no protection against anybody who
        seeks two documents of one hash.
        """
        with self._lock:
            return self._held().hash()

    @property
    def memory(self) -> int:
        """How many bytes it takes, text and index together."""
        with self._lock:
            return self._held().memory

    def close(self) -> None:
        """Give the memory back. Closing twice is closing once."""
        with self._lock:
            held, self._json = self._json, None
            if held is not None:
                held.close()

    def _held(self) -> Json:
        if self._json is None:
            raise StateError("this document was closed; make another, or use it before")
        return self._json

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._json is None:
            return "<Document closed>"
        return f"<Document of {self._json.size:,} bytes>"
