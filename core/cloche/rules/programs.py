"""Native programs of rules, each compiled once: a host's sandboxes mostly have the same."""

from __future__ import annotations

import threading
from typing import Final

from cloche_native import rules

KEPT: Final = 8

_turn = threading.Lock()
_made: list[tuple[tuple[rules.RuleSpec, ...], rules.Program]] = []


def program_of(specs: tuple[rules.RuleSpec, ...]) -> rules.Program:
    """Give the program of these rules. Raises what ``cloche_native.rules.compile`` does."""
    with _turn:
        # Compared, not hashed: the same specs are mostly the same objects, and to hash them takes as long as much else.
        for place, (known, program) in enumerate(_made):
            if known == specs:
                _made.insert(0, _made.pop(place))
                return program
    program = rules.compile(specs)
    with _turn:
        _made.insert(0, (specs, program))
        del _made[KEPT:]
    return program
