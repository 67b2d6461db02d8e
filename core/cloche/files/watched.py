"""Where the folders of a watch are: the kernel tells of each by a number, and of where it is only when it moves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


class LostError(Exception):
    """The folders are not where they were thought to be."""


@dataclass(slots=True)
class Node:
    """One watched folder: the number of the one it is in, its name there, and those in it by name."""

    above: int | None
    name: str
    below: dict[str, int] = field(default_factory=dict)
    found: set[str] = field(default_factory=set)
    """Names that were told because they were found, of which the kernel may still tell that they were made."""


class Watched:
    """The tree of watched folders; ``base`` is the path of the outermost."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._nodes: dict[int, Node] = {}
        self.root = -1

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, number: int | None) -> Node | None:
        """Give a folder by its number, if it is watched."""
        return None if number is None else self._nodes.get(number)

    def path(self, number: int | None) -> str:
        """Give where a folder is; raises ``LostError`` if a folder above it is not watched any more."""
        names: list[str] = []
        for _ in range(len(self._nodes) + 1):
            if number == self.root:
                return "/".join([self._base, *reversed(names)])
            node = self.get(number)
            if node is None:
                break
            names.append(node.name)
            number = node.above
        raise LostError

    def place(self, number: int, above: int | None, name: str) -> bool:
        """Say where a folder is; gives whether it is new here. One that is here is moved, but never below itself."""
        if above is None:
            self.root = number
        known = self._nodes.get(number)
        if known is None:
            self._nodes[number] = Node(above, name)
        elif number != self.root:
            before = known.above, known.name
            self._unlink(number)
            known.above, known.name = above, name
            try:
                self.path(number)
            except LostError:  # mounted below itself
                above, name = known.above, known.name = before
        if (outer := self.get(above)) is not None and number != self.root:
            outer.below[name] = number
        return known is None

    def leave(self, number: int, name: str) -> int | None:
        """Take the name out of a folder: the number of the folder it stood for, which stays watched."""
        above = self._nodes.get(number)
        return None if above is None else above.below.pop(name, None)

    def drop(self, number: int) -> None:
        """Forget a folder that the kernel does not watch any more."""
        self._unlink(number)
        del self._nodes[number]

    def forget(self, number: int) -> Iterator[int]:
        """Forget a folder and all below it: their numbers."""
        gone = [number]
        while gone:
            number = gone.pop()
            node = self._nodes.pop(number, None)
            if node is not None:
                gone += node.below.values()
                yield number

    def forget_all(self) -> list[int]:
        """Forget all: their numbers."""
        numbers = list(self._nodes)
        self._nodes.clear()
        self.root = -1
        return numbers

    def _unlink(self, number: int) -> None:
        node = self._nodes[number]
        above = self.get(node.above)
        if above is not None and above.below.get(node.name) == number:
            del above.below[node.name]
