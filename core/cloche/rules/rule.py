"""A behaviour rule: which acts, in which manner, mean what, and what follows."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from cloche import units
from cloche.errors import SpecError
from cloche.events.acts import Act, act_set
from cloche.rules.condition import ALWAYS, Condition
from cloche.rules.severity import Severity

if TYPE_CHECKING:
    from cloche.incidents.match import Context

Mode = Literal["observe", "inline"]
Key = Literal["sandbox", "pid", "exec", "dir", "path", "arg0", "arg1", "target", "act"]
KEYS: Final[tuple[Key, ...]] = get_args(Key)
TEXT_MAX: Final = 400
EXAMPLES_MAX: Final = 64
_ATTACK: Final = re.compile(r"TA?\d{4}(\.\d{3})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Count:
    """More than ``limit`` events of one ``key`` within ``per`` seconds, or with more than so many ``distinct`` values.

    The native windows' limits hold (docs/rules.md): a limit on distinct values is at most 63.
    """

    limit: int
    per: float
    key: tuple[Key, ...] = ("sandbox",)
    distinct: tuple[Key, ...] = ()

    def __post_init__(self) -> None:
        units.count(self.limit, "count.limit", least=0, most=62 if self.distinct else (1 << 31) - 1)
        object.__setattr__(self, "per", units.duration(self.per, "count.per"))
        for name in ("key", "distinct"):
            object.__setattr__(self, name, _keys(getattr(self, name), f"count.{name}"))


@dataclass(frozen=True, slots=True)
class Earlier:
    """One earlier step of a sequence: an event of these acts for which ``where`` held."""

    events: frozenset[Act]
    where: Condition = ALWAYS

    def __post_init__(self) -> None:
        object.__setattr__(self, "events", _events(self.events, "after.events"))
        units.instance(self.where, Condition, "after.where")


@dataclass(frozen=True, slots=True)
class After:
    """One to three earlier steps of the same ``key``, in order, the first at most ``within`` seconds before."""

    steps: tuple[Earlier, ...]
    within: float
    key: tuple[Key, ...] = ("pid",)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "steps", units.sequence(self.steps, "after.steps"))
        if not 1 <= len(self.steps) <= 3:  # noqa: PLR2004 - as the text says
            raise SpecError(f"after.steps: one to three steps are needed, not {len(self.steps)}")
        for step in self.steps:
            units.instance(step, Earlier, "after.steps")
        put(self, "within", units.duration(self.within, "after.within"))
        put(self, "key", _keys(self.key, "after.key"))


@dataclass(frozen=True, slots=True)
class Example:
    """Events in order, as plain data (``Event.as_json``), and whether the rule must match the last of them.

    Only ``act`` must be there. ``args`` are by name; ``at`` is the time in seconds from the first event. ``profile``
    overrides what ``${...}`` stands for (``cloche.rules.surroundings``).
    """

    events: tuple[Mapping[str, Any], ...]
    match: bool = True
    profile: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One behaviour, and how grave it is: a value for the ``cloche_rules`` hook, or for ``create(rules=)``.

    An event matches that is of one of ``events`` and for which ``where`` holds; with ``count`` it must be too many of
    them, with ``after`` come after others. ``evaluate``, if given, is then asked in Python, after the act, and must
    agree; it has a time budget, and one that raises or takes too long counts as agreeing and is told of.
    """

    id: str
    summary: str
    """One line: what it is that it finds."""
    severity: Severity
    events: frozenset[Act]
    where: Condition = ALWAYS
    count: Count | None = None
    after: After | None = None
    mode: Mode = "observe"
    """``inline``: it may refuse the act. Where that would rest on what the guest claims, compiling it is an error."""
    best_effort: bool = False
    """Refuse by what the guest claims too, which two threads can get round; the report of the sandbox says so."""
    answer: int = errno.EPERM
    """The errno that a refused act is given."""
    response: str | None = None
    """What is done at least, by name, whatever the thresholds say: ``suspend``, ``terminate``, a plugin's."""
    message: str = ""
    """What the incident says; ``{file}``, ``{to}``, ``{cmdline}`` and other fields are filled in, escaped."""
    hint: str = ""
    """What whoever ran the program can do instead."""
    attack: tuple[str, ...] = ()
    """Techniques of MITRE ATT&CK, such as ``T1548.001``."""
    tags: frozenset[str] = frozenset()
    """``Rules.use`` and ``without`` choose by them: ``tag:network``."""
    examples: tuple[Example, ...] = ()
    evaluate: Callable[[Context], bool] | None = field(default=None, compare=False)
    digest: bool = False
    """Whether ``evaluate`` is to be given ``Context.digest``; it may then be asked some milliseconds later."""
    version: int = 1
    enabled: bool = True
    """Whether it is used where all are asked for; else it must be named."""

    def __post_init__(self) -> None:
        put = object.__setattr__
        what = f"rule {units.identifier(self.id, 'rule id')!r}"
        for name, must in (("summary", True), ("message", False), ("hint", False)):
            _line(getattr(self, name), f"{what}: {name}", must=must)
        put(self, "severity", Severity.of(self.severity, f"{what}: severity"))
        put(self, "events", _events(self.events, f"{what}: events"))
        for name, kinds in _KINDS.items():
            if not isinstance(getattr(self, name), kinds):
                raise SpecError(f"{what}: {name}: {units.shown(getattr(self, name))} is of the wrong kind")
        for name, kind in _ITEMS.items():
            items = units.sequence(getattr(self, name), f"{what}: {name}")
            for item in items:
                units.instance(item, kind, f"{what}: {name}")
            put(self, name, frozenset(items) if name == "tags" else items)
        units.count(self.answer, f"{what}: answer (an errno)", least=1, most=4095)
        units.count(self.version, f"{what}: version", most=1 << 31)
        self._check(what)

    def _check(self, what: str) -> None:
        """Refuse what can't be meant together."""
        if self.mode not in get_args(Mode):
            raise SpecError(f"{what}: mode: {units.shown(self.mode)} is unknown; use observe or inline")
        if self.count is not None and self.after is not None:
            raise SpecError(f"{what}: count and after can't both be asked; make two rules")
        if self.evaluate is not None and not callable(self.evaluate):
            raise SpecError(f"{what}: evaluate: a function is needed, not {units.shown(self.evaluate)}")
        if self.evaluate is not None and self.mode == "inline":
            raise SpecError(f"{what}: evaluate is asked after the act, so the rule can't be inline; use mode='observe'")
        if self.digest and self.evaluate is None:
            raise SpecError(f"{what}: digest is given to evaluate, and there is none; leave it out")
        if len(self.examples) > EXAMPLES_MAX:
            raise SpecError(f"{what}: {len(self.examples)} examples; at most {EXAMPLES_MAX}")
        for name in (*self.tags, *([] if self.response is None else [self.response])):
            units.identifier(name, f"{what}: tags and response")
        for number in self.attack:
            if _ATTACK.fullmatch(number) is None:
                raise SpecError(f"{what}: attack: {units.shown(number)} is no number of ATT&CK, such as T1548.001")


_KINDS: Final = {
    "where": Condition, "count": Count | None, "after": After | None, "response": str | None, "best_effort": bool,
    "enabled": bool, "digest": bool,
}  # fmt: skip
_ITEMS: Final = {"attack": str, "tags": str, "examples": Example}


def _events(value: object, what: str) -> frozenset[Act]:
    acts = act_set(value, what)
    if not acts:
        raise SpecError(f"{what}: it looks at no act; `cloche events acts` names them")
    return acts


def _keys(value: object, what: str) -> tuple[Key, ...]:
    for name in units.sequence(value, what):
        if name not in KEYS:
            raise SpecError(f"{what}: {units.shown(name)} is unknown; use some of {', '.join(KEYS)}")
    return units.sequence(value, what)


def _line(value: object, what: str, *, must: bool) -> None:
    text = units.text(value, what, most=TEXT_MAX)  # type: ignore[arg-type]  # checked there
    if not text.isprintable() or (must and not text.strip()):
        raise SpecError(f"{what}: one line of text is needed, not {units.shown(value)}")
