"""Native rules that find the acts which the policy itself may refuse, so that not every act need be looked at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from cloche.errors import SpecError
from cloche.events.acts import Act, EventFlag
from cloche.files.access import CHANGING, OPERATIONS, SCRATCH, Operation
from cloche.rules.filling import literal, native_pattern
from cloche_native.rule_values import Paths, RuleSpec, Test

if TYPE_CHECKING:
    from cloche.spec import Spec

KINDS_MAX: Final = 64
"""Refusals that are told of one program by their targets; the others are counted together."""
PREFIX: Final = "policy:"
"""How their names begin. They answer nothing, and weigh less than any rule."""
CHANGES: Final = frozenset({
    Act.WRITE_OPEN, Act.CREATE, Act.MKDIR, Act.MKNOD, Act.UNLINK, Act.RENAME, Act.LINK, Act.SYMLINK, Act.CHMOD,
    Act.CHOWN, Act.UTIME, Act.TRUNCATE, Act.XATTR,
})  # fmt: skip
READING: Final = frozenset({Act.OPEN, Act.LIST, Act.EXEC})
CALLS: Final = frozenset({
    Act.SOCKET, Act.MOUNT, Act.CHROOT, Act.NAMESPACE, Act.MODULE, Act.KERNEL, Act.SYSTEM, Act.PTRACE,
})  # fmt: skip
_TEXTS: Final = ("resolved", "target-resolved")
_WEIGHT: Final = 1
EVERYTHING: Final[frozenset[Operation]] = frozenset(OPERATIONS)


def policy_rules(spec: Spec, *, workspace: str | None = None, reading: bool = False) -> tuple[RuleSpec, ...]:
    """Give rules for what ``explained`` may explain, and little more: it has the last word.

    With ``reading`` they look at opening files to read too, which a monitor of the depth ``writes`` can't.
    """
    own = workspace or spec.workspace.target
    acts = CHANGES | READING if reading else CHANGES
    places = {own: EVERYTHING, **{mount.target: mount.allows for mount in spec.mounts}}
    if own == spec.workspace.target:  # otherwise the box has the host's paths, and no scratch folders
        places |= dict.fromkeys(SCRATCH, EVERYTHING)
    writable = [path for path, allowed in places.items() if allowed & CHANGING]
    partly = [path for path, allowed in places.items() if allowed & CHANGING and not allowed >= CHANGING]
    unseen = [path for path, allowed in places.items() if "read" not in allowed or "list" not in allowed]
    rules = [
        _rule("static", CALLS | CHANGES, tests=(Test("flags", "any", mask=EventFlag.STATIC.value),)),
        _rule("write", CHANGES, Paths((*_plain(writable), "/dev/**", "/proc/[0-9]*/**"), "outside", _TEXTS)),
    ]
    if closed := (*_patterns(spec.paths.forbidden), *_plain(unseen)):
        rules.append(_rule("closed", acts, Paths(closed, "in", _TEXTS)))
    if kept := (*_patterns(spec.paths.read_only), *_plain(partly)):
        rules.append(_rule("kept", CHANGES, Paths(kept, "in", _TEXTS)))
    if spec.paths.allowed:
        judged = _plain([own, *(mount.target for mount in spec.mounts)])
        allowed_too = Paths(_patterns(spec.paths.allowed), "outside", _TEXTS)
        rules.append(_rule("allowed", acts, Paths(judged, "in", _TEXTS), allowed_too))
    if spec.network.mode == "loopback":
        rules.append(_rule("network", frozenset({Act.CONNECT, Act.SEND})))
    return tuple(rules)


def _rule(name: str, acts: frozenset[Act], *paths: Paths, tests: tuple[Test, ...] = ()) -> RuleSpec:
    acts_by_name = frozenset(act.value for act in acts)
    return RuleSpec(name=PREFIX + name, acts=acts_by_name, tests=tests, paths=paths, respond=_WEIGHT)


def _plain(paths: Iterable[str]) -> tuple[str, ...]:
    """Give the native patterns of folders with all below."""
    return tuple(f"{literal(path)}/**" for path in paths)


def _patterns(globs: Iterable[str]) -> tuple[str, ...]:
    """Give the native patterns of a policy's, with all below; everything for one that C can't be given."""
    found = []
    for glob in globs:
        try:
            pattern = native_pattern(glob, "paths").rstrip("/")
        except SpecError:  # a class of letters that are not ASCII
            pattern = ""
        found.append(pattern if pattern.endswith("/**") else f"{pattern}/**")
    return tuple(found)
