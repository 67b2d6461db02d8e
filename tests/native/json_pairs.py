"""Pairs of JSON values of which the second comes of the first, drawn from a seed; quick, for many are needed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import orjson

SCALARS: tuple[Any, ...] = (
    1, 12, 123, -5, 1.5, 1.0, -0.0, 2**53 + 1, True, False, None, "", "a", "ab", "a/b~c", 'é"\\', "\x01\n", "😀",
    "some words that stand one after the other " * 2, "word " * 60,
)  # fmt: skip
KEYS = ("a", "b", "ab", "abc", "x/y", "~", "~1", "é", 'q"', "\t", *(f"k{number}" for number in range(15)))


def seeded(seed: int) -> random.Random:
    """Give what draws the same values every time."""
    return random.Random(seed)  # noqa: S311 - data, not a secret


def value(draw: random.Random, depth: int) -> Any:  # noqa: ANN401 - JSON
    """Draw a value."""
    choice = draw.random()
    if depth == 0 or choice < 0.35:
        return draw.choice(SCALARS)
    if choice < 0.65:
        return [value(draw, depth - 1) for _ in range(draw.randrange(5))]
    return {draw.choice(KEYS): value(draw, depth - 1) for _ in range(draw.randrange(5))}


def changed(draw: random.Random, old: Any, rate: float) -> Any:  # noqa: ANN401 - JSON
    """Draw what a value has become: other values, elements that came, went or moved, members in another order."""
    if draw.random() < rate:
        return value(draw, 2)
    if isinstance(old, list):
        return _changed_array(draw, [changed(draw, element, rate) for element in old], rate)
    if isinstance(old, dict):
        members = [(key, changed(draw, member, rate)) for key, member in old.items() if draw.random() > rate]
        if draw.random() < rate:
            members.insert(draw.randrange(len(members) + 1), (draw.choice(KEYS), value(draw, 1)))
        if draw.random() < rate / 3:
            draw.shuffle(members)
        return dict(members)
    if isinstance(old, str) and len(old) > 50 and draw.random() < rate * 5:
        at = draw.randrange(len(old))
        return old[:at] + draw.choice(("", "new ", "é\n")) + old[at + draw.randrange(9) :]
    return old


def _changed_array(draw: random.Random, elements: list[Any], rate: float) -> list[Any]:
    if elements and draw.random() < rate * 2:
        elements.pop(draw.randrange(len(elements)))
    if draw.random() < rate * 2:
        elements.insert(draw.randrange(len(elements) + 1), value(draw, 1))
    if len(elements) > 1 and draw.random() < rate * 2:
        element = elements.pop(draw.randrange(len(elements)))
        elements.insert(draw.randrange(len(elements) + 1), element)
    if draw.random() < rate / 3:
        draw.shuffle(elements)
    return elements


def pairs(seed: int, count: int) -> Iterator[tuple[bytes, bytes]]:
    """Give pairs of canonical texts."""
    draw = seeded(seed)
    for _ in range(count):
        old = value(draw, draw.randrange(2, 5))
        text = orjson.dumps(old)
        yield text, orjson.dumps(changed(draw, orjson.loads(text), draw.choice((0.02, 0.05, 0.2))))


def spliced(document: Any, operation: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
    """Do to a document what a splice says; give it back, for it may be the string itself."""
    root = [document]
    holder: Any = root
    key: Any = 0
    for token in operation["path"].split("/")[1:]:
        holder = holder[key]
        key = int(token) if isinstance(holder, list) else token.replace("~1", "/").replace("~0", "~")
    string = holder[key]
    if "length" in operation and operation["length"] != len(string):
        raise ValueError("a splice for another string")
    end = operation["at"] + operation["remove"]
    if end > len(string):
        raise ValueError("a splice beyond the end")
    holder[key] = string[: operation["at"]] + operation["insert"] + string[end:]
    return root[0]
