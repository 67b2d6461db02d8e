"""What is to be seen of a guest: the value ``Monitor``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, get_args

from cloche import units
from cloche.errors import SpecError
from cloche.events.acts import Act, act_set
from cloche_native.rule_values import RuleSpec

Depth = Literal["off", "writes", "full", "strict"]
Overload = Literal["count", "wait"]
DEPTHS: Final[tuple[Depth, ...]] = get_args(Depth)
OVERLOADS: Final[tuple[Overload, ...]] = get_args(Overload)
RING_LEAST: Final = 64 << 10
RING_MOST: Final = 256 << 20
SOURCES_MAX: Final = 64

LOOKS: Final = frozenset({Act.STAT, Act.ACCESS, Act.READLINK, Act.CHDIR})
"""Programs do these by the thousand: told only where they are asked for by name."""
READS: Final = frozenset({Act.OPEN, Act.LIST, Act.READ})
_USUAL: Final[Mapping[Depth, frozenset[Act]]] = {
    "off": frozenset(),
    "writes": frozenset(Act) - LOOKS - READS,
    "full": frozenset(Act) - LOOKS,
    "strict": frozenset(Act) - LOOKS,
}
_MOST: Final[Mapping[Depth, frozenset[Act]]] = {
    **_USUAL,
    "full": frozenset(Act),
    "strict": frozenset(Act),
}


@dataclass(frozen=True, slots=True)
class Monitor:
    """What is to be seen of a guest, and what happens when there is more than can be told.

    ``depth``: ``off``; ``writes``, all but reading and looking, which costs next to nothing; ``full``, reading too;
    ``strict``, and where a rule judges a path the host opens the file, or changes the name, in the guest's stead, so
    that what was judged is what is acted on.
    """

    depth: Depth = "full"
    acts: frozenset[Act] | None = None
    """Only these; ``None``: all that the depth tells, but for looking at files (stat, access, readlink, chdir)."""
    resolve: bool = True
    """Tell also where each path led, links followed."""
    overload: Overload | None = None
    """When records come faster than they are drained: ``count`` those that are lost, or let the guest ``wait``.

    ``None`` takes the isolation level's.
    """
    ring: int = 1 << 20
    """Bytes of records that are kept until they are drained."""
    sources: frozenset[str] = frozenset()
    """Plugins' taps without which the sandbox must not start, by name."""
    rules: tuple[RuleSpec, ...] = ()
    """What each act is judged by before it happens (``cloche_native.rules``)."""

    def __post_init__(self) -> None:
        put = object.__setattr__
        _choice(self.depth, DEPTHS, "depth")
        if self.acts is not None:
            put(self, "acts", act_set(self.acts, "monitor.acts"))
            if more := self.told - _MOST[self.depth]:
                raise SpecError(
                    f"monitor.acts: {', '.join(sorted(more))} can't be told at depth {self.depth!r}; "
                    f"use {'writes or ' if self.depth == 'off' else ''}full"
                )
        if not isinstance(self.resolve, bool):
            raise SpecError(f"monitor.resolve is True or False, not {units.shown(self.resolve)}")
        if self.overload is not None:
            _choice(self.overload, OVERLOADS, "overload")
        put(self, "ring", units.size(self.ring, "monitor.ring", least=RING_LEAST))
        if self.ring > RING_MOST:
            raise SpecError(f"monitor.ring: {self.ring} bytes are too many; at most {RING_MOST}")
        names = units.sequence(self.sources, "monitor.sources")
        put(self, "sources", frozenset(units.identifier(name, "monitor.sources") for name in names))
        if len(self.sources) > SOURCES_MAX:
            raise SpecError(f"monitor.sources: {len(self.sources)} are too many; at most {SOURCES_MAX}")
        if self.sources and self.depth == "off":
            raise SpecError("monitor.sources: with depth 'off' nothing is watched; give another depth")
        put(self, "rules", units.sequence(self.rules, "monitor.rules"))
        if self.rules:
            self._check_rules()

    def __bool__(self) -> bool:
        """Whether anything is to be seen at all."""
        return self.depth != "off"

    @classmethod
    def of(cls, value: Monitor | Mapping[str, object] | str) -> Monitor:
        """Give a monitor from one, from the name of a depth, or from a mapping of its fields. Raises ``SpecError``."""
        if isinstance(value, Monitor):
            return value
        if isinstance(value, str):
            return cls(value)  # type: ignore[arg-type]  # checked when made
        if not isinstance(value, Mapping):
            raise SpecError(
                f"monitor: a cloche.Monitor or one of {', '.join(DEPTHS)} is needed, not {units.shown(value)}"
            )
        known = [f.name for f in fields(cls)]
        for key in value:
            if key not in known:
                raise SpecError(f"monitor: {units.shown(key)} is unknown; known are {', '.join(known)}")
        return cls(**value)  # type: ignore[arg-type]  # checked when made

    @property
    def told(self) -> frozenset[Act]:
        """The acts that are told, as far as a source can tell them."""
        return _USUAL[self.depth] if self.acts is None else self.acts

    @property
    def seen(self) -> frozenset[Act]:
        """The acts that must be looked at: those that are told, and those that rules are about."""
        if not self.rules:
            return self.told
        from cloche.rules.programs import program_of  # noqa: PLC0415 - few monitors have any

        return self.told.union(Act(act) for act in program_of(self.rules).acts())

    def at(self, overload: Overload) -> Monitor:
        """Give this monitor with ``overload`` where it says nothing of that itself."""
        return self if self.overload is not None or not self else replace(self, overload=overload)

    def joined(self, other: Monitor) -> Monitor:
        """Give the monitor that sees all that either does, and loses no more than either."""
        depth = DEPTHS[max(DEPTHS.index(self.depth), DEPTHS.index(other.depth))]
        acts = self.told | other.told
        overloads = {monitor.overload for monitor in (self, other)}
        return replace(
            self, depth=depth, acts=None if acts == _USUAL[depth] else acts, resolve=self.resolve or other.resolve,
            overload="wait" if "wait" in overloads else self.overload or other.overload,
            ring=max(self.ring, other.ring), sources=self.sources | other.sources,
            rules=tuple(dict.fromkeys((*self.rules, *other.rules))),
        )  # fmt: skip

    def _check_rules(self) -> None:
        from cloche.rules.programs import program_of  # noqa: PLC0415 - few monitors have any

        for rule in self.rules:
            if not isinstance(rule, RuleSpec):
                raise SpecError(f"monitor.rules: a cloche_native.rules.RuleSpec is needed, not {units.shown(rule)}")
        try:
            program_of(self.rules)
        except (ValueError, TypeError, AttributeError) as error:  # its values are checked when they are packed
            raise SpecError(f"monitor.rules: {error}") from None
        if unseen := self.seen - _MOST[self.depth]:
            raise SpecError(
                f"monitor.rules: they look at {', '.join(sorted(unseen))}, which can't be seen at depth {self.depth!r}"
            )

    def as_plain(self) -> dict[str, Any]:
        """Give what differs from the default as plain data, of which ``of`` makes an equal one."""
        plain: dict[str, Any] = {"depth": self.depth}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "depth" and value != field.default:
                plain[field.name] = sorted(value) if isinstance(value, frozenset) else value
        return plain


def _choice(value: object, known: tuple[str, ...], what: str) -> None:
    if value not in known:
        raise SpecError(f"monitor.{what}: {units.shown(value)} is unknown; use one of {', '.join(known)}")


OFF: Final = Monitor("off")
"""Nothing is watched: the default."""
