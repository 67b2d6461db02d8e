"""What one native program holds at most, said of rules before they are made one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from cloche.errors import SpecError
from cloche_native.paths import PATTERNS_BYTES, PATTERNS_MAX, SETS_MAX
from cloche_native.rules import CONDITIONS_MAX, RULES_MAX, TESTS_MAX, Paths, RuleSpec, Step, Test, Text


def check_size(specs: Sequence[RuleSpec], rules: int) -> None:
    """Raise ``SpecError``, which says what is too much, where ``specs``, of so many rules, are more than fit."""
    steps = [step for spec in specs for step in (spec.step, *(spec.sequence.steps if spec.sequence else ()))]
    tests = [test for step in steps for test in _tests(step)]
    numbers = sum(isinstance(test, Test) for test in tests)
    sets = {test.patterns for test in tests if isinstance(test, Paths)}
    patterns = [os.fsencode(pattern) for one in sets for pattern in one]
    for count, what, most in (
        (len(specs), "native rules", RULES_MAX), (len(steps), "native rules with earlier steps", CONDITIONS_MAX),
        (numbers, "comparisons of numbers", TESTS_MAX), (len(tests) - numbers, "comparisons of texts", TESTS_MAX),
        (len(sets), "different sets of paths", SETS_MAX), (len(patterns), "patterns of paths", PATTERNS_MAX),
        (sum(map(len, patterns)), "bytes of patterns", PATTERNS_BYTES),
    ):  # fmt: skip
        if count > most:
            raise SpecError(
                f"rules: {rules} rules make {count} {what}, of which one sandbox has {most} at most; use fewer rules, "
                "or join several into one"
            )


def _tests(step: Step) -> Iterable[Test | Paths | Text]:
    joined = (test for either in step.either for test in either.tests)
    return (*step.tests, *step.paths, *step.texts, *joined)
