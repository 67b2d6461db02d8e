"""Cloche's patches of JSON documents: from values, from text, and applied."""

from pathlib import Path
from typing import Any

from benchmarks.json_contenders import JsonContender
from cloche import patch


class Retained(JsonContender):
    name = "cloche value"
    what = "Document.update with a value: written by orjson, compared with what is retained"

    def __init__(self) -> None:
        super().__init__()
        self.document = patch.Document(None)

    def load(self, old: str, new: str) -> None:
        super().load(old, new)
        self.document = patch.Document(Path(old).read_bytes())

    def made(self, old: Any, new: Any) -> bytes:  # noqa: ANN401 - any JSON value
        del old  # it is what is retained
        return self.document.update(new)


class Text(Retained):
    name = "cloche text"
    what = "Document.update with text: the difference alone"

    def load(self, old: str, new: str) -> None:
        super().load(old, new)
        self.old, self.new = Path(old).read_bytes(), Path(new).read_bytes()

    def in_place(self, operations: str, undoing: str, count: int) -> None:
        """Apply operations to the retained document and then those that undo them, ``count`` times each."""
        forth, back = operations.encode(), undoing.encode()
        for _ in range(count):
            self.document.apply(forth)
            self.document.apply(back)

    def applied(self, operations: str, count: int) -> None:
        """Apply operations to the text of the old version, ``count`` times, to a new text."""
        given = operations.encode()
        for _ in range(count):
            patch.apply(self.old, given)

    def memory(self) -> list[int]:
        """Give the bytes that the document takes, and those of its text."""
        return [self.document.memory, len(self.document.text)]


class Stateless(JsonContender):
    name = "cloche diff"
    what = "diff of two texts, nothing retained: both are parsed"

    def load(self, old: str, new: str) -> None:
        self.old, self.new = Path(old).read_bytes(), Path(new).read_bytes()

    def made(self, old: Any, new: Any) -> bytes:  # noqa: ANN401 - as above
        return patch.diff(old, new)


class Parse(Stateless):
    name = "cloche parse"
    what = "no patch: Document of a text, parsed and indexed"

    def made(self, old: Any, new: Any) -> bytes:  # noqa: ANN401 - as above
        del old
        patch.Document(new).close()
        return b""


OURS_JSON = {kind.name: kind for kind in (Retained, Text, Stateless, Parse)}
