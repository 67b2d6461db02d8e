"""Who makes JSON patches, and how each is asked: the same pairs of documents, and the same bytes wanted.

A document is loaded before anything is timed. One round goes from the old value to the new one and back, ``count``
times, each time to the bytes of a patch, for that is what is sent. A peer's operations are written by orjson, the
quickest way there is.
"""

import importlib
import importlib.util
import json
from abc import abstractmethod
from pathlib import Path
from typing import Any

from benchmarks.peers import CACHE, Answer, Contender, WrongAnswerError

NEWER = CACHE / "json-peers" / "bin" / "python"
"""A Python 3.12 or later for the peer that wants one; see setup_peers.sh."""


class JsonContender(Contender):
    """One that makes a patch of two versions of a document."""

    package = ""
    """What has to be installed for it."""

    def __init__(self) -> None:
        super().__init__()
        self.old: Any = None
        self.new: Any = None

    def start(self) -> None:
        self.both(1)

    def answer(self, *program: str) -> Answer:
        raise WrongAnswerError(f"{self.name} runs no programs: {program}")

    def find(self) -> str | None:
        missing = bool(self.package) and importlib.util.find_spec(self.package) is None
        return f"{self.package} is not installed (setup_peers.sh)" if missing else None

    def module(self) -> Any:  # noqa: ANN401 - not every Python has each of them
        """Give the package."""
        return importlib.import_module(self.package)

    def unavailable(self) -> str | None:
        return self.find()

    def load(self, old: str, new: str) -> None:
        """Read both versions from files."""
        import orjson  # noqa: PLC0415 - every contender's Python has it; what only asks who runs here need not

        self.old, self.new = (orjson.loads(Path(file).read_bytes()) for file in (old, new))

    def patches(self, forth: str, back: str) -> list[int]:
        """Write the patch to the new version and that back to files, and give their sizes."""
        made = [self.made(self.old, self.new), self.made(self.new, self.old)]
        for file, patch in zip((forth, back), made, strict=True):
            Path(file).write_bytes(patch)
        return [len(patch) for patch in made]

    @abstractmethod
    def made(self, old: Any, new: Any) -> bytes:  # noqa: ANN401 - any JSON value
        """Give the bytes of the patch from one value to another."""

    def both(self, count: int) -> None:
        """Make the patch to the new version and that back, ``count`` times. The timed call."""
        old, new, made = self.old, self.new, self.made
        for _ in range(count):
            made(old, new)
            made(new, old)


class JsonPatch(JsonContender):
    name = "jsonpatch"
    what = "make_patch of two values, its operations written by orjson"
    package = "jsonpatch"

    def made(self, old: Any, new: Any) -> bytes:  # noqa: ANN401 - as above
        import orjson  # noqa: PLC0415 - as above

        return orjson.dumps(self.module().make_patch(old, new).patch)

    def applied(self, operations: str, count: int) -> None:
        """Apply operations to the old version, ``count`` times; nothing is parsed or written."""
        patch = self.module().JsonPatch(json.loads(operations))
        for _ in range(count):
            patch.apply(self.old)


class FastJsonPatch(JsonPatch):
    name = "fastjsonpatch"
    what = "the same interface in Rust, on Python 3.12 or later"
    package = "fastjsonpatch"


class PatchDiff(JsonContender):
    name = "patchdiff"
    what = "diff of two values, which gives the way back besides; its operations written by orjson"
    package = "patchdiff"

    def made(self, old: Any, new: Any) -> bytes:  # noqa: ANN401 - as above
        import orjson  # noqa: PLC0415 - as above

        forth, _ = self.module().diff(old, new)
        return orjson.dumps(forth, default=str)


class Dumps(JsonContender):
    name = "orjson.dumps"
    what = "no patch: the whole value written, what has to be done to send all of it"
    package = "orjson"

    def made(self, old: Any, new: Any) -> bytes:  # noqa: ANN401 - as above
        del old
        import orjson  # noqa: PLC0415 - as above

        return orjson.dumps(new)


class Same(JsonContender):
    name = "memcmp"
    what = "no patch: the bytes of two texts compared by Python"

    def load(self, old: str, new: str) -> None:
        self.old, self.new = Path(old).read_bytes(), Path(new).read_bytes()

    def made(self, old: Any, new: Any) -> bytes:  # noqa: ANN401 - as above
        return b"" if old == new else b"other"


PEERS_JSON = {kind.name: kind for kind in (JsonPatch, FastJsonPatch, PatchDiff, Dumps, Same)}
