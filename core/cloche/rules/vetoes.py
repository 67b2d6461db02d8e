"""What a runtime can refuse of what rules judge, and what becomes of inline rules where it can't."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from cloche.errors import SpecError
from cloche.events.acts import Act
from cloche.rules.claimed import HOSTS
from cloche.rules.rule import Rule
from cloche.rules.surroundings import Surroundings
from cloche_native.rule_values import Paths, RuleSpec

BY_HOST: Final = HOSTS | {Act.LIST, Act.READ, Act.WRITE}
"""Acts that only hosts do, who can refuse them whatever the runtime."""
CHANGES: Final = frozenset({
    Act.WRITE_OPEN, Act.CREATE, Act.MKDIR, Act.MKNOD, Act.UNLINK, Act.RENAME, Act.LINK, Act.SYMLINK, Act.CHMOD,
    Act.CHOWN, Act.UTIME, Act.TRUNCATE, Act.XATTR,
})  # fmt: skip
"""What can't be done to what the policy lets the guest only read."""
Instead = Literal["", "kept", "contained"]
"""What stands for a refusal: nothing, it can be had; the policy keeps the guest from it anyway; a pause after it."""
_MAGIC: Final = re.compile(r"[*?\[\]\\]")


@dataclass(frozen=True, slots=True)
class Vetoes:
    """What one runtime can refuse, and whether a rule that it can't refuse by pauses the sandbox instead."""

    runtime: str
    acts: frozenset[Act]
    contains: bool
    """So it is where the isolation level, and not the policy, says from which severity on acts are refused."""

    def instead(self, rule: Rule, specs: Iterable[RuleSpec], around: Surroundings) -> Instead:
        """Say what becomes of a rule that would refuse. Raises ``SpecError`` where nothing can."""
        lacking = rule.events - self.acts - BY_HOST
        if not lacking:
            return ""
        if all(_kept(spec, around) for spec in specs):
            return "kept"
        if self.contains:
            return "contained"
        raise SpecError(
            f"the runtime {self.runtime!r} sees {', '.join(sorted(lacking))} only as they are done, and can't refuse "
            "them; keep the guest from these files by a mount or by paths (forbidden, read_only), have the sandbox "
            "stopped instead (auto_block='never' with auto_suspend or auto_terminate), set mode='observe', or choose "
            "another runtime"
        )


def _kept(spec: RuleSpec, around: Surroundings) -> bool:
    """Say whether all that a native rule is about lies where the policy lets nobody do it."""
    folders = list(_folders(around.forbidden))
    if spec.acts <= {act.value for act in CHANGES}:
        folders += _folders(around.read_only)
    looked = [[paths] for paths in spec.paths] + [list(one.tests) for one in spec.either]
    return any(all(isinstance(test, Paths) and _within(test, folders) for test in tests) for tests in looked)


def _within(paths: Paths, folders: Iterable[str]) -> bool:
    begins = [_fixed(os.fsdecode(pattern)) for pattern in paths.patterns]
    return paths.how == "in" and all(
        any(begin == folder or begin.startswith(f"{folder}/") for folder in folders) for begin in begins
    )


def _folders(patterns: Iterable[str]) -> Iterator[str]:
    """Give those of a policy's patterns that are plain paths; they are about what lies below, too."""
    for pattern in patterns:
        folder = pattern.removesuffix("/**")
        if folder.startswith("/") and not _MAGIC.search(folder):
            yield folder


def _fixed(pattern: str) -> str:
    """Give the folder, or file, below which all that a pattern matches lies."""
    found: list[str] = []
    for name in pattern.split("/"):
        if _MAGIC.search(name):
            break
        found.append(name)
    return "/".join(found)
