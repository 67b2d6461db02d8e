"""Tries ways round rules and classic escapes in boxes, and says how each ended."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cloche
from tests.behaviour import evasion
from tests.behaviour.classic import Escape
from tests.behaviour.evasion import End, Evasion
from tests.behaviour.ground import LIMITS, WATCH, told_only, user

SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """How one try ended."""

    done: bool
    """Whether the guest says that it had its effect."""
    killed: bool
    rules: frozenset[str]
    """Rules that matched."""
    refused: frozenset[str]
    """What was refused and told: rules and mechanisms."""
    detail: str

    def words(self) -> str:
        """Give who told of it."""
        return ", ".join(sorted(self.rules | self.refused)) or ("killed" if self.killed else "-")


def evade(host: cloche.Host, one: Evasion, programs: Path, runtime: str) -> Tried:
    """Try one way round the tests' own rules; what the static filter refuses is named by the built-in ones too."""
    shown = cloche.Mount(str(programs), str(programs))
    rules = told_only(runtime, *(("*", *evasion.RULES) if one.end == "refused" else evasion.RULES))
    with host.create(
        runtime=runtime, isolation="enhanced", limits=LIMITS, mounts=[shown], monitor=WATCH, rules=rules
    ) as box:
        evasion.setup(box)
        return tried(box, one.argv(str(programs)))


def escape(host: cloche.Host, one: Escape, programs: Path, runtime: str) -> Tried:
    """Try one classic escape, with all rules on."""
    shown = cloche.Mount(str(programs), str(programs))
    with host.create(
        runtime=runtime, isolation="enhanced", limits=LIMITS, mounts=[shown], monitor=WATCH,
        rules=told_only(runtime), user=user(runtime),
    ) as box:  # fmt: skip
        return tried(box, one.argv(str(programs)))


def ended(one: Evasion, seen: Tried) -> End:
    """Say how a way round ended."""
    if seen.killed:
        return "killed"
    if one.rule in seen.rules:
        return "found"
    if seen.done:
        return "not found"
    return "refused" if seen.refused else "no effect"


def tried(box: cloche.Sandbox, argv: tuple[str, ...]) -> Tried:
    """Run something in a box and say how it ended."""
    before = len(box.incidents())
    result = box.exec(*argv, timeout=SECONDS)
    found = box.incidents()[before:]
    lines = [line for line in result.text.splitlines() if line.startswith('{"act"')]
    done = bool(json.loads(lines[-1])["done"]) if lines else result.ok
    return Tried(
        done=done, killed=result.signal is not None, rules=frozenset(one.rule for one in found),
        refused=frozenset(one.rule for one in result.violations if one.blocked),
        detail=f"{result.explain()} {result.text[-300:]}",
    )  # fmt: skip
