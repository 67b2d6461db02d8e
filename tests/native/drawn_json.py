"""JSON values and patches drawn at random, for the tests of what changes documents."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import jsonpatch

Json = Any

KEYS = ("a", "b", "c", "", "a/b", "m~n", "ä", "\U0001f600", '"', "\\", "\n", "0", "1", "-", "a long name " * 6)
SCALARS = (None, 0, 1, -5, 17, 2**53 + 1, "", "x", "ä\U0001f600", 'quote " and \\ and \x01', "a longer text " * 7)


def draw_value(rng: random.Random, depth: int = 4) -> Json:
    """Give a value; some of its containers are large enough to have an entry in an index, or to be cut in pieces."""
    kind = rng.random()
    if depth == 0 or kind < 0.3:
        return rng.choice(SCALARS)
    if kind < 0.65:
        return {key: draw_value(rng, depth - 1) for key in rng.sample(KEYS, rng.choice((0, 1, 2, 3, 8)))}
    if kind < 0.68:
        return [rng.choice(SCALARS) for _ in range(rng.randrange(120, 600))]
    if kind < 0.7:
        return {f"{rng.choice(KEYS)}{i}": rng.choice(SCALARS) for i in range(rng.randrange(20, 60))}
    return [draw_value(rng, depth - 1) for _ in range(rng.choice((0, 1, 2, 3, 8)))]


def token(name: str) -> str:
    """Give a name as a pointer has it."""
    return name.replace("~", "~0").replace("/", "~1")


def children(value: Json) -> list[tuple[str, Json]]:
    """Give the tokens and values below a value."""
    if isinstance(value, dict):
        return [(token(key), child) for key, child in value.items()]
    if isinstance(value, list):
        return [(str(i), child) for i, child in enumerate(value)]
    return []


def places(value: Json, pointer: str = "") -> Iterator[tuple[str, Json]]:
    """Give each pointer into a value, with what is there."""
    yield pointer, value
    for name, child in children(value):
        yield from places(child, f"{pointer}/{name}")


def draw_pointer(rng: random.Random, document: Json) -> str:
    """Give a pointer that mostly names a place, or one where something can be put."""
    pointer, value = "", document
    while rng.random() < 0.8 and (below := children(value)):
        name, value = rng.choice(below)
        pointer += f"/{name}"
    if rng.random() < 0.3:
        new = ["-", "0", str(len(value))] if isinstance(value, list) else [token(rng.choice(KEYS))]
        pointer += f"/{rng.choice(new)}"
    return pointer


def draw_operation(rng: random.Random, document: Json) -> dict[str, Json]:
    """Give one operation that mostly can be done."""
    name = rng.choice(("add", "add", "remove", "replace", "move", "copy", "test"))
    operation: dict[str, Json] = {"op": name, "path": draw_pointer(rng, document)}
    if name in {"add", "replace"}:
        operation["value"] = draw_value(rng, 2)
    elif name == "test":
        operation["path"], operation["value"] = rng.choice(list(places(document)))
        operation["value"] = copy.deepcopy(operation["value"])
    elif name in {"move", "copy"}:
        operation["from"] = draw_pointer(rng, document)
    return operation


def text_of(value: object) -> bytes:
    """Give a value as compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def ordered(text: bytes) -> str:
    """Give a text that is the same for two values of the same types, members in any order."""
    return json.dumps(json.loads(text), sort_keys=True)


def oracle(document: object, patch: list[Any]) -> tuple[Any] | None:
    """Give what jsonpatch makes of a document, and None, in a tuple, where it refuses."""
    try:
        return (jsonpatch.apply_patch(copy.deepcopy(document), copy.deepcopy(patch)),)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError):
        return None
