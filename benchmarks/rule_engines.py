"""Rules as a host would have them, and two engines in plain Python that judge by them, for the one in C.

Both get records that are unpacked already, and know only what these rules need: acts, masked arguments, sets of paths
over path and resolved path, one window. Both remember which sets a path is in.
"""

import os
import re
from collections import defaultdict, deque
from functools import lru_cache
from typing import Any

from benchmarks.patterns import GROUPS, patterns
from cloche_native import rules
from cloche_native.events import ACT_NAMES, Record
from tests.native.reference_paths import normalise, to_regex

OPENS = frozenset({"open", "write-open", "create"})
WRITES = frozenset({"write-open", "create"})
CHANGES = WRITES | {"unlink", "rename", "link", "symlink", "mkdir", "chmod"}
LOOKS = OPENS | {"stat", "access", "readlink"}
KERNEL = frozenset({"module", "kernel", "ptrace", "namespace"})
USUAL_FOLDERS = b"usr lib lib64 etc proc dev bin sbin tmp sys var root home opt work"
USUAL = tuple(b"/" + name + b"/**" for name in USUAL_FOLDERS.split())
OFTEN = rules.Window(limit=20_000, per=1.0, key=("pid",))


def _rule(name: str, acts: frozenset[str], *groups: int, **more: Any) -> rules.RuleSpec:  # noqa: ANN401
    texts = tuple(text.encode() for group in groups for text in GROUPS[group].split())
    return rules.RuleSpec(name=name, acts=acts, paths=(rules.Paths(texts),) if texts else (), **more)


RULES = [
    _rule("sensitive file read", OPENS, 0), _rule("credentials read", OPENS, 1), _rule("shell start-up", WRITES, 2),
    _rule("program replaced", CHANGES, 3), _rule("etc written", CHANGES, 4), _rule("logs tampered", CHANGES, 5),
    _rule("run from memory", frozenset({"exec"}), 6), _rule("history cleared", CHANGES, 7),
    _rule("escape by a file", OPENS, 8), _rule("runtime socket", LOOKS | {"connect"}, 9),
    _rule("secrets of processes", OPENS, 10), _rule("persistence", CHANGES, 11), _rule("preload", CHANGES, 12),
    _rule("miner", frozenset({"exec"}), 13), _rule("network tool", frozenset({"exec"}), 14),
    _rule("run a descriptor", frozenset({"exec"}), 15), _rule("own program", LOOKS, 16), _rule("hooks", CHANGES, 17),
    _rule("set-id", frozenset({"chmod"}), tests=(rules.Test("arg0", "any", 0, 0o6000),), answer=1),
    _rule("mount", frozenset({"mount"}), answer=1), _rule("kernel", KERNEL, answer=1),
    rules.RuleSpec(name="unusual place", acts=CHANGES, paths=(rules.Paths(USUAL, "outside"),)),
    _rule("too many opens", OPENS, window=OFTEN),
]  # fmt: skip


def many(count: int) -> list[rules.RuleSpec]:
    """Give ``RULES`` and one rule for each set of the seeded patterns, so that there are ``count`` patterns or more."""
    sets: dict[int, list[bytes]] = defaultdict(list)
    for text, number in patterns(count):
        if number not in GROUPS:
            sets[number].append(text)
    return RULES + [
        rules.RuleSpec(name=f"set {number}", acts=LOOKS, paths=(rules.Paths(tuple(texts)),))
        for number, texts in sorted(sets.items())
    ]


class Naive:
    """Each event is shown to each rule, each path to each pattern."""

    def __init__(self, specs: list[rules.RuleSpec]) -> None:
        self.specs = specs
        self.compiled = [[[re.compile(to_regex(one), re.DOTALL) for one in _bytes(p)] for p in s.paths] for s in specs]
        self.windows: list[dict[int, deque[int]]] = [defaultdict(deque) for _ in specs]

    def judge(self, batch: list[Record]) -> list[tuple[int, ...]]:
        """Give the rules that each event matched, by number; of events that matched none nothing."""
        found = (tuple(n for n in range(len(self.specs)) if self._matches(n, event)) for event in batch)
        return [numbers for numbers in found if numbers]

    def _matches(self, number: int, event: Record) -> bool:
        spec = self.specs[number]
        if ACT_NAMES[event.act] not in spec.acts:
            return False
        if any(not event.args[0] & test.mask for test in spec.tests):
            return False
        for paths, regexes in zip(spec.paths, self.compiled[number], strict=True):
            there = [normalise(b"", text)[0] for text in (event.path, event.resolved) if text]
            inside = [any(regex.fullmatch(text) for regex in regexes) for text in there]
            if not (any(inside) if paths.how == "in" else not all(inside)):
                return False
        return spec.window is None or _over(spec.window, self.windows[number][event.pid], event.time_ns)


class Indexed:
    """Rules by act; all patterns in one automaton of RE2's; what a path is in is kept for the next time."""

    def __init__(self, specs: list[rules.RuleSpec]) -> None:
        import re2  # noqa: PLC0415 - only here is it needed

        self.specs = specs
        wanted = [spec.paths[0].how == "in" if spec.paths else False for spec in specs]
        self.by_act = {
            act: frozenset(n for n, spec in enumerate(specs) if name in spec.acts) for act, name in ACT_NAMES.items()
        }
        self.always = {act: {n for n in numbers if not wanted[n]} for act, numbers in self.by_act.items()}
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1
        options.dot_nl = True
        options.max_mem = 1 << 28
        self.set = re2.Set.MatchSet(options)
        self.owner: list[int] = []
        for number, spec in enumerate(specs):
            for paths in spec.paths:
                for one in _bytes(paths):
                    self.set.Add(to_regex(one).decode("latin-1"))
                    self.owner.append(number)
        self.set.Compile()
        self.inside = lru_cache(maxsize=1 << 16)(self._inside)
        self.windows: list[dict[int, deque[int]]] = [defaultdict(deque) for _ in specs]

    def _inside(self, text: bytes) -> frozenset[int]:
        """Give the rules that have a path in their set; none of these has more than one set."""
        return frozenset(self.owner[n] for n in self.set.Match(normalise(b"", text)[0].decode("latin-1")))

    def judge(self, batch: list[Record]) -> list[tuple[int, ...]]:
        """Give the rules that each event matched, by number; of events that matched none nothing."""
        found = []
        for event in batch:
            acting = self.by_act[event.act]
            if not acting:
                continue
            there = [self.inside(text) for text in (event.path, event.resolved) if text]
            candidates = self.always[event.act].union(*there) & acting
            numbers = tuple(n for n in sorted(candidates) if self._matches(n, event, there))
            if numbers:
                found.append(numbers)
        return found

    def _matches(self, number: int, event: Record, there: list[frozenset[int]]) -> bool:
        spec = self.specs[number]
        if any(not event.args[0] & test.mask for test in spec.tests):
            return False
        if spec.paths and spec.paths[0].how == "outside" and all(number in one for one in there):
            return False
        return spec.window is None or _over(spec.window, self.windows[number][event.pid], event.time_ns)


def _bytes(paths: rules.Paths) -> list[bytes]:
    return [os.fsencode(one) for one in paths.patterns]


def _over(window: rules.Window, times: deque[int], now: int) -> bool:
    width = -(-round(window.per * 1e9) // 7)
    times.append(now)
    while now // width - times[0] // width >= 8:
        times.popleft()
    return len(times) > window.limit
