"""Rules judged in C: described by values, compiled into a program, asked about batches of records.

A ``Program`` is never changed and may be used by threads at once. What it remembers of a sandbox, above all counts
over time, is a ``State``, which is used by one thread at a time and locks itself.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from cloche_native import _lib
from cloche_native.events import ACT_NAMES, named
from cloche_native.rule_blob import RULES_MAX, encode
from cloche_native.rule_values import BadRule, Either, Novelty, Paths, RuleSequence, RuleSpec, Step, Test, Text, Window

__all__ = [
    "CONDITIONS_MAX", "MORE", "NO_RULE", "RULES_MAX", "STOPS", "TESTS_MAX", "BadProgram", "BadRule", "Either",
    "Evidence",
    "Hit", "Novelty", "Paths", "Program", "RuleSequence", "RuleSpec", "State", "Step", "Test", "Text", "Window",
    "compile", "walk",
]  # fmt: skip

_ffi, _c = _lib.ffi, _lib.lib

NO_RULE: Final[int] = _c.CLO_NO_RULE
CONDITIONS_MAX: Final[int] = _c.CLO_CONDITIONS_MAX
TESTS_MAX: Final[int] = _c.CLO_BLOB_TESTS_MAX
STOPS: Final = 128
"""From which ``respond`` on a guest is to be stopped by who sees the act and can't refuse it."""
_WHICH: Final = named("clo_program_which", "CLO_ACTS_")
_TABLES: Final = named("clo_table", "CLO_TABLE_", but=("CLO_TABLES",))
MORE: Final = {number: name for name, number in named("clo_more", "CLO_MORE_").items()}
_ROOM: Final = 512  # hits of one call; the C side is called again for more


class BadProgram(ValueError):
    """A blob that is no program; ``offset`` is of the first thing in it that is wrong."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(f"not a program of rules: {reason} at byte {offset}")
        self.offset = offset


class Evidence(NamedTuple):
    """Why a rule matched. ``lost``: a table was full, so it is not known, which counts as a match.

    ``counted`` is of a window, or of the novel rows among the last 64; ``times`` (ns) are of the steps of a sequence;
    ``set`` is the first set of paths that a text was in, None if none was asked for, and ``text`` is which text.
    """

    more: str
    counted: int
    lost: bool
    times: tuple[int, ...]
    set: int | None
    text: int


class Hit(NamedTuple):
    """An event that matched: where its record begins, every rule by number, and the one that decided.

    ``answer`` is 0 or a negative errno; ``respond`` the gravest of all that matched.
    """

    offset: int
    rules: tuple[int, ...]
    rule: int
    answer: int
    respond: int
    evidence: Evidence


class Program:
    """Compiled rules. ``blob`` makes the same again; ``names`` are the rules', ``sets`` the patterns of each set.

    ``pointer`` is the C side's ``struct clo_program``, good as long as this object is there.
    """

    __slots__ = ("blob", "names", "pointer", "sets")

    def __init__(self, blob: bytes, names: Sequence[str] = (), sets: Sequence[tuple[bytes, ...]] = ()) -> None:
        """Load a blob, which may be anybody's. Raises BadProgram, or MemoryError."""
        out, at = _ffi.new("struct clo_program **"), _ffi.new("uint32_t *")
        status = _c.clo_program_load(_ffi.from_buffer(blob), len(blob), out, at)
        if status == -errno.ENOMEM:
            raise MemoryError("no memory for a program of rules")
        if status < 0:
            raise BadProgram(at[0], os.strerror(-status))
        self.pointer: Any = _ffi.gc(out[0], _c.clo_program_drop)
        self.blob = bytes(blob)
        self.names = tuple(names)
        self.sets = tuple(sets)

    def acts(self, which: str = "looked") -> frozenset[str]:
        """Give acts by name: those ``looked`` at, ``answered``, with ``paths`` looked at, with ``resolved`` ones."""
        if which not in _WHICH:
            raise ValueError(f"there are no acts {which!r}, only {', '.join(_WHICH)}")
        bits = _c.clo_program_acts(self.pointer, _WHICH[which])
        return frozenset(name for number, name in ACT_NAMES.items() if bits >> number & 1)

    def state(
        self, *, windows: int = 0, distinct: int = 0, sequences: int = 0, novelties: int = 0, seed: int = 0
    ) -> State:
        """Give a new memory of one sandbox; sizes of its tables in entries, 0 as usual; ``seed`` 0: a random one."""
        sizes = _ffi.new("struct clo_state_sizes *")
        sizes.windows, sizes.distinct, sizes.sequences, sizes.novelties = windows, distinct, sequences, novelties
        sizes.seed = seed
        return State(self, sizes)


class State:
    """What a program remembers of one sandbox."""

    __slots__ = ("_hits", "_lock", "_pointer", "_words", "_words_each", "program")

    def __init__(self, program: Program, sizes: Any) -> None:  # noqa: ANN401 - cffi has no types
        pointer = _c.clo_state_new(program.pointer, sizes)
        if not pointer:
            raise MemoryError("no memory for the state of a program of rules")
        self._pointer = _ffi.gc(pointer, _c.clo_state_free)
        self._words_each: int = _c.clo_program_words(program.pointer)
        self._hits = _ffi.new("struct clo_hit[]", _ROOM)
        self._words = _ffi.new("uint64_t[]", max(1, _ROOM * self._words_each))
        self._lock = threading.Lock()
        self.program = program

    def judge(self, batch: bytes) -> list[Hit]:
        """Judge records one after another: those that matched. Without the GIL.

        The batch may be anything: where no record is, ValueError tells the offset, and what came before was judged.
        """
        with self._lock:
            return list(self._judge(batch))

    def _judge(self, batch: bytes) -> Iterator[Hit]:
        used, following = _ffi.new("size_t *"), _ffi.new("size_t *")
        data = _ffi.from_buffer(batch)
        if int(_ffi.cast("uintptr_t", data)) % 8:
            data = _ffi.from_buffer(bytes(batch))
        at, status = 0, -errno.ENOSPC
        while status == -errno.ENOSPC:
            status = _c.clo_judge_batch(
                self.program.pointer, self._pointer, data + at, len(data) - at, self._hits, self._words, _ROOM, used,
                following,
            )  # fmt: skip
            for hit in self._hits[0 : used[0]]:
                yield self._hit(at, hit)
            at += following[0]
        if status < 0:
            raise ValueError(f"there is no record at byte {at} of the batch ({os.strerror(-status)})")

    def _hit(self, start: int, hit: Any) -> Hit:  # noqa: ANN401 - cffi has no types
        bits = 0
        for number in range(self._words_each):
            bits |= self._words[hit.word + number] << 64 * number
        why = hit.evidence
        found = None if why.set == NO_RULE else why.set
        times = tuple(why.time[0 : why.steps])
        evidence = Evidence(MORE[why.more], why.count, bool(why.lost), times, found, why.text)
        return Hit(start + hit.offset, tuple(_ones(bits)), hit.rule, hit.answer, hit.respond, evidence)

    def matches(self) -> list[int]:
        """Give how many events each rule matched, by its number."""
        with self._lock:
            count = len(self.program.names)
            return [_c.clo_state_matches(self._pointer, rule) for rule in range(count)]

    def lost(self) -> Mapping[str, int]:
        """Give how often a key found no room in each table; each time counted as a match."""
        with self._lock:
            return {name: _c.clo_state_lost(self._pointer, number) for name, number in _TABLES.items()}


def compile(rules: Sequence[RuleSpec]) -> Program:  # noqa: A001 - what it does
    """Compile rules, which are numbered in this order. Raises BadRule for one that can't be meant."""
    blob, sets = encode(rules)
    return Program(blob, [rule.name for rule in rules], sets)


def walk(batch: bytes) -> int:
    """Go over the heads of a batch that was checked and add up their acts: the least that judging can cost."""
    total: int = _c.clo_event_walk(_ffi.from_buffer(batch), len(batch))
    return total


def _ones(bits: int) -> Iterator[int]:
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low
