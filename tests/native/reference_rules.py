"""What the C judge must equal, stated again in plain Python: every rule looks at each event and remembers all."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cloche_native import events
from cloche_native import rules as native
from tests.native.reference_paths import matches, normalise

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche_native.events import Record

BUCKETS, BUCKETS_PER_WINDOW, DISTINCT_MAX, RECENT = 8, 7, 64, 64
SYMLINK, EXEC = events.ACTS["symlink"], events.ACTS["exec"]


@dataclass
class Hit:
    """As ``rules.Hit``, with the evidence of the rule that decided as plain values."""

    offset: int
    rules: tuple[int, ...]
    rule: int
    answer: int
    respond: int
    count: int
    times: tuple[int, ...]


@dataclass
class Memory:
    """What one rule remembers, by key."""

    epochs: dict[Any, list[int]] = field(default_factory=lambda: defaultdict(list))
    values: dict[Any, dict[Any, int]] = field(default_factory=lambda: defaultdict(dict))
    steps: dict[Any, list[tuple[int, tuple[bool, ...]]]] = field(default_factory=lambda: defaultdict(list))
    acts: dict[Any, list[int]] = field(default_factory=lambda: defaultdict(list))
    seen: dict[Any, int] = field(default_factory=dict)


class Reference:
    """Rules, and what they remember of one sandbox."""

    def __init__(self, rules: list[native.RuleSpec], match: Callable[[bytes, bytes], bool] = matches) -> None:
        self.rules = rules
        self.memories = [Memory() for _ in rules]
        self.shared: dict[str, Memory] = defaultdict(Memory)
        self.counted: dict[str, int] = {}
        self.matches = [0] * len(rules)
        self.now = 0
        self.match = match

    def judge(self, batch: bytes) -> list[Hit]:
        found: list[Hit] = []
        for offset in events.offsets(batch):
            hit = self._event(offset, events.unpack(batch, offset))
            if hit is not None:
                found.append(hit)
        return found

    def _event(self, offset: int, event: Record) -> Hit | None:
        self.now = max(self.now, min(event.time_ns, 1 << 62))
        matched: dict[int, tuple[int, tuple[int, ...]]] = {}
        self.counted = {}
        for number, rule in enumerate(self.rules):
            why = self._rule(rule, self.memories[number], event)
            if why is not None:
                matched[number] = why
                self.matches[number] += 1
        if not matched:
            return None
        answering = [number for number in matched if self.rules[number].answer]
        respond = max(self.rules[number].respond for number in matched)
        gravest = [number for number in matched if self.rules[number].respond == respond]
        decided = (answering or gravest)[0]
        answer = -self.rules[answering[0]].answer if answering else 0
        return Hit(offset, tuple(matched), decided, answer, respond, *matched[decided])

    def _rule(self, rule: native.RuleSpec, memory: Memory, event: Record) -> tuple[int, tuple[int, ...]] | None:
        if rule.sequence is not None:
            return self._sequence(rule, rule.sequence, memory, event)
        if not self.met(rule.step, event):
            return None
        if rule.window is not None:
            name = rule.window.shared
            count = self.counted.get(name) or self._window(rule.window, self.shared[name] if name else memory, event)
            self.counted |= {name: count} if name else {}
            return (count, ()) if count > rule.window.limit else None
        if rule.novelty is not None:
            count = self._novelty(rule.novelty, memory, event)
            return (count, ()) if count >= rule.novelty.least else None
        return 0, ()

    def met(self, step: native.Step, event: Record) -> bool:
        return (
            events.ACT_NAMES[event.act] in step.acts
            and all(number_passes(test, event) for test in step.tests)
            and all(self._paths_pass(paths, event) for paths in step.paths)
            and all(text_passes(text, event) for text in step.texts)
            and all(any(self._one(test, event) for test in either.tests) for either in step.either)
        )

    def _one(self, test: native.Test | native.Paths | native.Text, event: Record) -> bool:
        if isinstance(test, native.Test):
            return number_passes(test, event)
        return self._paths_pass(test, event) if isinstance(test, native.Paths) else text_passes(test, event)

    def _paths_pass(self, paths: native.Paths, event: Record) -> bool:
        there = [path for path in (normal(event, text) for text in paths.texts) if path]
        inside = [any(self.match(os.fsencode(one), path) for one in paths.patterns) for path in there]
        return {"in": any(inside), "none": not any(inside), "outside": not all(inside)}[paths.how]

    def _window(self, window: native.Window, memory: Memory, event: Record) -> int:
        width = -(-round(window.per * 1e9) // BUCKETS_PER_WINDOW)
        epoch, key = self.now // width, key_of(window.key, event)
        if window.distinct:
            memory.values[key][key_of(window.distinct, event)] = epoch
            live = sum(1 for last in memory.values[key].values() if epoch - last < BUCKETS)
            return min(live, DISTINCT_MAX)
        memory.epochs[key].append(epoch)
        return sum(1 for one in memory.epochs[key] if epoch - one < BUCKETS)

    def _sequence(
        self, rule: native.RuleSpec, sequence: native.RuleSequence, memory: Memory, event: Record
    ) -> tuple[int, tuple[int, ...]] | None:
        history = memory.steps[key_of(sequence.key, event)]
        begun = latest_start(history, len(sequence.steps) - 1, len(history)) if self.met(rule.step, event) else None
        history.append((self.now, tuple(self.met(step, event) for step in sequence.steps)))
        if begun is None or self.now - begun > round(sequence.within * 1e9):
            return None
        return 0, (begun, self.now)

    def _novelty(self, novelty: native.Novelty, memory: Memory, event: Record) -> int:
        key = key_of(novelty.key, event)
        if key in memory.seen and self.now - memory.seen[key] >= round(novelty.forget * 1e9):
            memory.acts[key] = []
        memory.seen[key] = self.now
        acts = memory.acts[key]
        acts.append(event.act)
        rows = [tuple(acts[end - novelty.length : end]) for end in range(novelty.length, len(acts) + 1)]
        # Only the last 64 events count, and those before the first row ended none.
        last = rows[-RECENT:]
        return sum(1 for row in last if tuple(events.ACT_NAMES[act] for act in row) not in novelty.grams)


def latest_start(history: list[tuple[int, tuple[bool, ...]]], step: int, before: int) -> int | None:
    """Give the latest time at which the steps up to this one can have begun, by events in order before a place."""
    starts: list[int] = []
    for place in range(before):
        time, met = history[place]
        if met[step]:
            start = time if step == 0 else latest_start(history, step - 1, place)
            starts += [] if start is None else [start]
    return max(starts, default=None)


def signed(value: int) -> int:
    value %= 1 << 64
    return value - (1 << 64) if value >= 1 << 63 else value


def number_passes(test: native.Test, event: Record) -> bool:
    number = event.args[int(test.field[3:])] if test.field.startswith("arg") else getattr(event, test.field)
    value = number & test.mask
    match test.op:
        case "==":
            return signed(value) == signed(test.value)
        case "!=":
            return signed(value) != signed(test.value)
        case "any":
            return signed(value) != 0
        case "<":
            return signed(value) < signed(test.value)
        case _:
            return signed(value) >= signed(test.value)


def text_of(event: Record, which: str) -> bytes:
    text: bytes = getattr(event, which.replace("-", "_"))
    return text


def normal(event: Record, which: str) -> bytes:
    """Give a text in its normal form; empty if the event has none."""
    text = text_of(event, which)
    if not text or (which == "target-resolved" and event.act == EXEC):
        return b""
    base = b""
    if which == "target" and event.act == SYMLINK and event.path:
        base = normal(event, "path").rpartition(b"/")[0]
    return normalise(base, text)[0]


def text_passes(asked: native.Text, event: Record) -> bool:
    text, value = text_of(event, asked.text), os.fsencode(asked.value)
    there = text or not asked.spaced
    text = text.removesuffix(b"\0").replace(b"\0", b" ") if asked.spaced else text
    text, value = (text.lower(), value.lower()) if asked.fold else (text, value)
    held = (
        there
        and {
            "equal": text == value,
            "prefix": text.startswith(value),
            "suffix": text.endswith(value),
            "contains": value in text,
        }[asked.how]
    )
    return bool(held) != asked.negate


def key_of(names: tuple[str, ...], event: Record) -> tuple[object, ...]:
    return tuple(value_of(name, event) for name in sorted(set(names)))


def value_of(name: str, event: Record) -> object:
    path = normal(event, "path" if event.path else "resolved")
    if name == "dir":
        return path[: path.rfind(b"/") + 1]  # of "/" itself that; of none nothing
    if name == "path":
        return path
    if name.startswith("arg"):
        return event.args[int(name[3:])]
    return getattr(event, name)
