"""The blob of rules that the C side loads, from values; cdef_rules.h says how it is laid out and what it means."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cloche_native.events import ACTS, named
from cloche_native.paths import SETS_MAX, check_pattern
from cloche_native.rule_values import (
    BadRule,
    Bytes,
    Either,
    Novelty,
    Paths,
    RuleSequence,
    RuleSpec,
    Step,
    Test,
    Text,
    Window,
)

FIELDS: Final = named("clo_field", "CLO_FIELD_", but=("CLO_FIELDS",))
TEXTS: Final = named("clo_text", "CLO_TEXT_", but=("CLO_TEXTS",))
KEYS: Final = named("clo_key", "CLO_KEY_", but=("CLO_KEYS",))
OPS: Final[Mapping[str, int]] = {"==": 0, "!=": 1, "any": 2, "<": 3, ">=": 4}
_HOWS: Final[Mapping[str, int]] = {
    "in": 0, "none": 1, "outside": 2, "equal": 3, "prefix": 4, "suffix": 5, "contains": 6,
}  # fmt: skip
_MORE: Final = {"window": 1, "sequence": 2, "novelty": 3}
RULES_MAX: Final = 1024
DISTINCT_MAX: Final = 64
_OR_NEXT: Final = 0x100
_MAGIC, _VERSION = 0x526F6C43, 1
_NS: Final = 1_000_000_000
_NS_MAX: Final = 1 << 56
_NS_MIN: Final = 8
_U32: Final = 1 << 32
_STEPS_MAX, _GRAM_MIN, _GRAM_MAX, _RECENT = 3, 3, 6, 64
_ERRNO_MAX, _RESPOND_MAX = 4095, 255


@dataclass(slots=True)
class _Blob:
    """The arrays as they fill; ``rule`` is the name for errors."""

    arrays: dict[str, bytearray] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    sets: dict[tuple[bytes, ...], int] = field(default_factory=dict)
    pooled: dict[bytes, int] = field(default_factory=dict)
    windows: dict[str, tuple[Window, int]] = field(default_factory=dict)
    rule: str = ""

    def need(self, held: object, reason: str) -> None:
        if not held:
            raise BadRule(self.rule, reason)

    def add(self, array: str, layout: str, *values: int) -> int:
        """Append one item: its number."""
        number = self.counts.get(array, 0)
        self.arrays.setdefault(array, bytearray()).extend(struct.pack("=" + layout, *values))
        self.counts[array] = number + 1
        return number

    def raw(self, value: Bytes) -> tuple[int, int]:
        """Put bytes among the bytes, once: where, and how many."""
        data = os.fsencode(value)
        pool = self.arrays.setdefault("bytes", bytearray())
        if data not in self.pooled:
            self.pooled[data] = len(pool)
            pool.extend(data)
        return self.pooled[data], len(data)

    def words(self, what: str, names: Iterable[str], known: Mapping[str, int]) -> list[int]:
        given = [names] if isinstance(names, str) else list(names)
        for name in given:
            self.need(name in known, f"{what} {name!r} is unknown; there are {', '.join(known)}")
        return [known[name] for name in given]

    def whole(self, what: str, value: int, least: int, most: int) -> int:
        good = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        self.need(good, f"{what} is a whole number from {least} to {most}, not {value!r}")
        return value

    def nanoseconds(self, what: str, seconds: float) -> int:
        good = isinstance(seconds, int | float) and _NS_MIN / _NS <= seconds <= _NS_MAX / _NS
        self.need(good, f"{what} is a time from {_NS_MIN} ns to two years in seconds, not {seconds!r}")
        return round(seconds * _NS)

    def key(self, what: str, names: Sequence[str]) -> int:
        return sum(set(self.words(what, names, KEYS)))


def encode(rules: Sequence[RuleSpec]) -> tuple[bytes, tuple[tuple[bytes, ...], ...]]:
    """Give the blob of rules, and the patterns of each set by its number. Raises BadRule."""
    blob = _Blob()
    if len(rules) > RULES_MAX:
        raise BadRule(rules[RULES_MAX].name, f"a program has at most {RULES_MAX} rules, not {len(rules)}")
    for rule in rules:
        blob.rule = rule.name
        _condition(blob, rule.step)
    for rule in rules:
        blob.rule = rule.name
        more, item = _more(blob, rule)
        answer = blob.whole("answer (an errno)", rule.answer, 0, _ERRNO_MAX)
        blob.add("rules", "4I", answer, blob.whole("respond", rule.respond, 0, _RESPOND_MAX), more, item)
    order = (
        "rules", "conditions", "tests", "texts", "windows", "sequences", "novelties", "patterns", "grams", "numbers",
    )  # fmt: skip
    pool = blob.arrays.get("bytes", bytearray())
    counts = [blob.counts.get(name, 0) for name in order]
    head = struct.pack("=14I", _MAGIC, _VERSION, *counts, len(pool), len(blob.sets))
    return head + b"".join(bytes(blob.arrays.get(name, b"")) for name in order) + pool, tuple(blob.sets)


def _condition(blob: _Blob, step: Step) -> int:
    acts = sum(1 << act for act in set(blob.words("act", step.acts, ACTS)))
    blob.need(acts, f"it looks at no act; there are {', '.join(ACTS)}")
    tests, texts = blob.counts.get("tests", 0), blob.counts.get("texts", 0)
    for test in step.tests:
        _test(blob, test)
    for paths in step.paths:
        _paths(blob, paths)
    for text in step.texts:
        _text(blob, text)
    for either in step.either:
        _either(blob, either)
    tested, read = blob.counts.get("tests", 0) - tests, blob.counts.get("texts", 0) - texts
    return blob.add("conditions", "Q4I", acts, tests, tested, texts, read)


def _either(blob: _Blob, either: Either) -> None:
    numbers = sum(isinstance(test, Test) for test in either.tests)
    blob.need(either.tests and numbers in (0, len(either.tests)), "what is joined by or is all numbers or all texts")
    for place, test in enumerate(either.tests, 1):
        more = place < len(either.tests)
        if isinstance(test, Test):
            _test(blob, test, or_next=more)
        elif isinstance(test, Paths):
            _paths(blob, test, or_next=more)
        else:
            _text(blob, test, or_next=more)


def _test(blob: _Blob, test: Test, *, or_next: bool = False) -> None:
    number, op = blob.words("field", [test.field], FIELDS)[0], blob.words("comparison", [test.op], OPS)[0]
    mask = blob.whole("mask", test.mask, -(1 << 63), (1 << 64) - 1) % (1 << 64)
    value = blob.whole("value", test.value, -(1 << 63), (1 << 64) - 1)
    blob.add("tests", "2IQq", number, op | _OR_NEXT * or_next, mask, value - (1 << 64) if value >= 1 << 63 else value)


def _paths(blob: _Blob, paths: Paths, *, or_next: bool = False) -> None:
    blob.need(not isinstance(paths.patterns, str | bytes), "patterns are a tuple of them, not one")
    patterns = tuple(os.fsencode(pattern) for pattern in paths.patterns)
    blob.need(patterns, "a set of paths has no pattern")
    texts = sum(1 << text for text in set(blob.words("text", paths.texts, TEXTS)))
    blob.need(texts, f"no text is looked at; there are {', '.join(TEXTS)}")
    if patterns not in blob.sets:
        blob.need(len(blob.sets) < SETS_MAX, f"a program has at most {SETS_MAX} sets of paths")
        number = blob.sets[patterns] = len(blob.sets)
        for pattern in patterns:
            try:
                check_pattern(pattern)
            except ValueError as error:
                raise BadRule(blob.rule, str(error)) from None
            blob.add("patterns", "4I", number, *blob.raw(pattern), 0)
    first = blob.add("numbers", "I", blob.sets[patterns])
    how = blob.words("how", [paths.how], dict(list(_HOWS.items())[:3]))[0]
    blob.add("texts", "6I", how, texts, 0, first, 1, or_next)


def _text(blob: _Blob, text: Text, *, or_next: bool = False) -> None:
    which = blob.words("text", [text.text], TEXTS)[0]
    how = blob.words("how", [text.how], dict(list(_HOWS.items())[3:]))[0]
    blob.need(not text.spaced or which == TEXTS["target"], f"spaced is of the text target, not {text.text!r}")
    options = bool(text.negate) | bool(text.fold) << 1 | bool(text.spaced) << 2
    blob.add("texts", "6I", how, 1 << which, options, *blob.raw(text.value), or_next)


def _more(blob: _Blob, rule: RuleSpec) -> tuple[int, int]:
    asked: dict[str, Any] = {"window": rule.window, "sequence": rule.sequence, "novelty": rule.novelty}
    given = [name for name, value in asked.items() if value is not None]
    blob.need(len(given) <= 1, f"it has {' and '.join(given)}; a rule can have one of them")
    if rule.window is not None:
        return _MORE["window"], _window(blob, rule.window)
    if rule.sequence is not None:
        return _MORE["sequence"], _sequence(blob, rule.sequence)
    if rule.novelty is not None:
        return _MORE["novelty"], _novelty(blob, rule.novelty)
    return 0, 0


def _window(blob: _Blob, window: Window) -> int:
    known, number = blob.windows.get(window.shared, (window, -1))
    blob.need(known == window, f"the window {window.shared!r} is shared with a rule that has another one")
    if number >= 0:
        return number
    distinct = blob.key("distinct field", window.distinct)
    limit = blob.whole("limit", window.limit, 0, DISTINCT_MAX - 1 if distinct else _U32 - 1)
    per = blob.nanoseconds("per", window.per)
    number = blob.add("windows", "Q4I", per, limit, blob.key("key", window.key), distinct, 0)
    if window.shared:
        blob.windows[window.shared] = (window, number)
    return number


def _sequence(blob: _Blob, sequence: RuleSequence) -> int:
    blob.whole("how many earlier steps there are", len(sequence.steps), 1, _STEPS_MAX)
    within = blob.nanoseconds("within", sequence.within)
    first = blob.counts["conditions"]
    for step in reversed(sequence.steps):  # the latest first
        _condition(blob, step)
    return blob.add("sequences", "Q4I", within, blob.key("key", sequence.key), first, len(sequence.steps), 0)


def _novelty(blob: _Blob, novelty: Novelty) -> int:
    length = blob.whole("length", novelty.length, _GRAM_MIN, _GRAM_MAX)
    first = blob.counts.get("grams", 0)
    for gram in sorted(novelty.grams):
        blob.need(len(gram) == length, f"the row {gram!r} has {len(gram)} acts, not {length}")
        row = 0
        for act in blob.words("act", gram, ACTS):
            row = row << 6 | act
        blob.add("grams", "Q", row)
    least = blob.whole("least", novelty.least, 1, _RECENT)
    forget, key = blob.nanoseconds("forget", novelty.forget), blob.key("key", novelty.key)
    return blob.add("novelties", "Q6I", forget, length, least, key, first, len(novelty.grams), 0)
