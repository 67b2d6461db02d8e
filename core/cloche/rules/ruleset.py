"""Which rules judge a sandbox, and from when on what is done: the policy's value ``Rules``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from cloche import units
from cloche.errors import SpecError
from cloche.files.globs import check_glob
from cloche.rules.rule import Rule
from cloche.rules.severity import THRESHOLDS, Threshold, stricter, threshold

if TYPE_CHECKING:
    from cloche.level import IsolationLevel

USE_MAX: Final = 10_240
WORDS: Final = ("off", "on", "audit")
OWN: Final = "own:"
"""How a rule that no plugin brings is named to other processes: this and its id."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Which rules judge what a guest does, and what follows by itself. ``"on"``: all that plugins bring, as they say.

    A threshold that is ``None`` is the isolation level's; ``"never"`` does nothing by itself.
    """

    use: tuple[str | Rule, ...] = ("*",)
    """Rules by id, by a pattern over ids (``*``: all that are on by default), by ``tag:NAME``, or themselves."""
    without: tuple[str, ...] = ()
    """Those that are not used, named in the same ways."""
    auto_block: Threshold | None = None
    """An act that an inline rule of this severity matches is refused."""
    auto_suspend: Threshold | None = None
    """A match of this severity pauses the sandbox, until a person resumes it."""
    auto_terminate: Threshold | None = None
    """A match of this severity kills the sandbox; its evidence is kept."""
    audit: bool = False
    """Do nothing but tell: incidents say what would have been done."""
    sensitive: tuple[str, ...] = ()
    """Patterns of files that count as secrets here."""
    anomaly: bool = False
    """Have detectors of anomalies raise the severity of a strange program's incidents by one level; answers stay."""

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "use", units.sequence(self.use, "rules.use"))
        put(self, "without", units.sequence(self.without, "rules.without"))
        for what, names in (("use", self.use), ("without", self.without)):
            if len(names) > USE_MAX:
                raise SpecError(f"rules.{what}: {len(names)} are too many; at most {USE_MAX}")
            for name in names:
                if not (what == "use" and isinstance(name, Rule)):
                    units.text(name, f"rules.{what}", most=64)  # type: ignore[arg-type]  # checked there
        for name in THRESHOLDS:
            if getattr(self, name) is not None:
                put(self, name, threshold(getattr(self, name), f"rules.{name}"))
        if not isinstance(self.audit, bool):
            raise SpecError(f"rules.audit is True or False, not {units.shown(self.audit)}")
        if not isinstance(self.anomaly, bool):
            raise SpecError(f"rules.anomaly is True or False, not {units.shown(self.anomaly)}")
        patterns = units.sequence(self.sensitive, "rules.sensitive")
        put(self, "sensitive", tuple(check_glob(pattern, "rules.sensitive") for pattern in patterns))

    def __bool__(self) -> bool:
        """Whether any rule is asked for."""
        return bool(self.use)

    @classmethod
    def of(cls, value: RulesLike) -> Rules:
        """Give rules from some, from one of ``WORDS``, or from a mapping of fields. Raises ``SpecError``."""
        if isinstance(value, Rules):
            return value
        if isinstance(value, str) and value in WORDS:
            return cls(use=() if value == "off" else ("*",), audit=value == "audit")
        if not isinstance(value, Mapping):
            raise SpecError(f"rules: a cloche.Rules or one of {', '.join(WORDS)} is needed, not {units.shown(value)}")
        known = [f.name for f in fields(cls)]
        for key in value:
            if key not in known:
                raise SpecError(f"rules: {units.shown(key)} is unknown; known are {', '.join(known)}")
        return cls(**value)  # type: ignore[arg-type]  # checked when made

    def chosen(self, known: Mapping[str, Rule]) -> tuple[Rule, ...]:
        """Give the rules that are used, of those known by id and of its own, each once.

        Raises ``SpecError`` for a name that chooses nothing, and for two rules of one id.
        """
        found: dict[str, Rule] = {}
        for name in self.use:
            some = [name] if isinstance(name, Rule) else _named(name, known)
            for rule in some:
                if found.setdefault(rule.id, rule) != rule:
                    raise SpecError(f"rules.use: there are two rules {rule.id!r}; give one another id")
        for name in self.without:
            for rule in _named(name, {**known, **found}, on_only=False):
                found.pop(rule.id, None)
        return tuple(found.values())

    def at(self, level: IsolationLevel) -> Rules:
        """Give these rules with the level's thresholds where they name none; ``NONE`` where no rule is asked for."""
        if not self:
            return NONE
        return replace(self, **{name: getattr(level, name) for name in THRESHOLDS if getattr(self, name) is None})

    def changed(self, fields: Mapping[str, object]) -> Rules:
        """Give these rules with these fields in place of theirs. Raises ``SpecError``."""
        own = {name: getattr(self, name) for name in self.__slots__}
        return Rules.of({**own, **fields})

    def resolved(self, has: Rules) -> Rules:
        """Give these rules, where ``own:ID`` names a rule itself of those a sandbox has, with that one in its place.

        So who reads them from another process, which is told only its name, can give them back with a change.
        """
        own = {f"{OWN}{rule.id}": rule for rule in has.use if isinstance(rule, Rule)}
        return replace(self, use=tuple(own.get(one, one) if isinstance(one, str) else one for one in self.use))

    def joined(self, other: Rules) -> Rules:
        """Give the rules that find all that either do, and do no less about it."""
        less = [name for name in dict.fromkeys((*self.without, *other.without))
                if not self._may_use(name) and not other._may_use(name)]  # fmt: skip
        return Rules(
            use=tuple(_once((*self.use, *other.use))), without=tuple(less),
            audit=all(rules.audit for rules in (self, other) if rules) and (self.audit or other.audit),
            sensitive=tuple(dict.fromkeys((*self.sensitive, *other.sensitive))),
            anomaly=self.anomaly or other.anomaly,
            auto_block=_stricter(self.auto_block, other.auto_block),
            auto_suspend=_stricter(self.auto_suspend, other.auto_suspend),
            auto_terminate=_stricter(self.auto_terminate, other.auto_terminate),
        )  # fmt: skip

    def _may_use(self, name: str) -> bool:
        """Whether a rule that ``name`` names may be among those used; true where that can't be told from names."""
        if not self.use or name in self.without:
            return False
        used = [one.id if isinstance(one, Rule) else one for one in self.use]
        return not _is_id(name) or any(one.startswith("tag:") or fnmatchcase(name, one) for one in used)

    def as_plain(self) -> dict[str, Any]:
        """Give what differs from the default as plain data; raises ``SpecError`` where a rule itself is among it."""
        plain: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if value != f.default:
                plain[f.name] = [_plain(item) for item in value] if isinstance(value, tuple) else _plain(value)
        return plain


NONE: Final = Rules(use=())
"""No rule: the default."""
RulesLike = Rules | Mapping[str, object] | str
"""What ``Rules.of`` takes."""


def _named(name: str, known: Mapping[str, Rule], *, on_only: bool = True) -> list[Rule]:
    if name.startswith("tag:"):
        found = [rule for rule in known.values() if name[4:] in rule.tags and (rule.enabled or not on_only)]
    elif name in known:
        found = [known[name]]
    else:
        found = [rule for rule in known.values() if fnmatchcase(rule.id, name) and (rule.enabled or not on_only)]
    if not found and name != "*":
        raise SpecError(f"rules: {units.shown(name)} names no rule; `cloche rules list` shows them")
    return found


def _is_id(name: str) -> bool:
    return not name.startswith("tag:") and not any(sign in name for sign in "*?[")


def _once(some: Iterable[str | Rule]) -> Iterator[str | Rule]:
    """Give each of them once; rules can't be put into a set."""
    seen: list[str | Rule] = []
    for one in some:
        if one not in seen:
            seen.append(one)
            yield one


def _plain(value: object) -> object:
    if isinstance(value, Rule):
        raise SpecError(f"rules: rule {value.id!r} itself can't be written down; name one that a plugin brings")
    return value if isinstance(value, bool) else str(value)


def _stricter(*some: Threshold | None) -> Threshold | None:
    given: list[Threshold] = [one for one in some if one is not None]
    return stricter(*given) if given else None
