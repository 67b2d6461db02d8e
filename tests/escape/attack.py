"""What an attack is, and the words in which its end is told."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pytest

from cloche import Unenforced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloche import Result, Sandbox

Control = Literal["open", "marked", "own"]

EXPECTED_LEVELS = ("enhanced",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One act against one guarantee. It runs on every runtime whose report says that the guarantee is kept.

    ``id`` names it in the table, ``tries`` says what it does in a few words, ``breaks`` is the feature of the report
    that it tries to break. ``program`` is the attack program with its arguments, where a declarative test runs it.
    ``control`` says how such a test shows that the program works: ``open`` runs it in a box without a filter, where it
    must have its effect; ``marked`` has it put a filter on itself that answers its call with a mark, which it must then
    meet (for what only the real root could do); ``own`` runs ``harmless`` beside it, in the same box.
    """

    id: str
    tries: str
    breaks: str
    program: tuple[str, ...] = ()
    control: Control = "open"
    harmless: tuple[str, ...] = ()
    terminal: bool = False


@dataclass(frozen=True, slots=True)
class Sight:
    """What an attack program told: whether it had its effect, the errno it met, and what else it saw."""

    done: bool
    error: str
    saw: str
    signal: int | None = None

    @classmethod
    def of(cls, result: Result) -> Sight:
        """Read the program's line; a program that was killed before it could tell had no effect."""
        lines = [line for line in result.text.splitlines() if line.startswith('{"act"')]
        if not lines:
            assert result.signal is not None, f"the attack told nothing: {result.explain()} {result.text}"
            return cls(done=False, error="", saw="", signal=result.signal)
        told: dict[str, Any] = json.loads(lines[-1])
        return cls(done=told["done"], error=told["error"], saw=told["saw"])

    def words(self) -> str:
        """Say in a few words how it was stopped."""
        if self.signal is not None:
            return {31: "killed by the filter (SIGSYS)", 11: "SIGSEGV", 9: "killed"}.get(self.signal, str(self.signal))
        meaning = {
            "EPERM": "EPERM: refused",
            "ENOSYS": "ENOSYS: the call is absent",
            "EACCES": "EACCES: no access",
            "ENOENT": "ENOENT: not there",
            "EROFS": "EROFS: read-only",
            "ENOSPC": "ENOSPC: no room",
            "EAGAIN": "EAGAIN: limit",
            "EMFILE": "EMFILE: limit",
            "ENOMEM": "ENOMEM: limit",
        }
        return meaning.get(self.error, self.error) or self.saw or "no effect"


def own_kernel(box: Sandbox) -> bool:
    """Say whether a kernel of its own answers the guest: to the host all its programs are then one process."""
    return not isinstance(box.enforcement["kernel"], Unenforced)


def attack(
    id: str,  # noqa: A002 - the word of the table
    tries: str,
    breaks: str,
    *,
    levels: Sequence[str] = EXPECTED_LEVELS,
    modules: bool = False,
) -> pytest.MarkDecorator:
    """Mark a test as one attack, run at ``levels`` on each runtime that keeps ``breaks`` there.

    It is a program of Linux, or with ``modules`` one of WASI, and is run where such programs are.
    """
    return pytest.mark.attacks([Attack(id=id, tries=tries, breaks=breaks)], levels=levels, modules=modules)


def attacks(
    table: Sequence[Attack], *, levels: Sequence[str] = EXPECTED_LEVELS, modules: bool = False
) -> pytest.MarkDecorator:
    """Mark a test that is run once for each attack of ``table``."""
    return pytest.mark.attacks(list(table), levels=levels, modules=modules)
