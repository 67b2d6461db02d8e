"""What is kept ready, as whoever runs the host decides it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, Self, get_args

from cloche import units
from cloche.errors import SpecError

PoolMode = Literal["prefer", "require", "off"]
BOXES_MOST: Final = 4096
STARTS_MOST: Final = 64
TEMPLATES_MOST: Final = 64


def pool_mode(value: object, what: str = "pool") -> PoolMode:
    """Give ``value`` if it says how a pool is used, else raise ``SpecError``."""
    for mode in get_args(PoolMode):
        if value == mode:
            return mode  # type: ignore[no-any-return]  # get_args is not typed
    raise SpecError(f"{what}: {units.shown(value)} is unknown; use one of {', '.join(get_args(PoolMode))}")


_NEEDED: Final = "a table, cloche.PoolSettings or True or False"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolTemplate:
    """A kind of box that a host keeps ready from its start; the keys are those of ``create``. Raises ``SpecError``."""

    profile: str | None = None
    isolation: str | None = None
    runtime: str | None = None
    network: str | None = None
    min: int = 1
    """How many are ready at least."""

    def __post_init__(self) -> None:
        for name in ("profile", "isolation", "runtime", "network"):
            if (value := getattr(self, name)) is not None:
                units.text(value, f"pool.templates: {name}")
        units.count(self.min, "pool.templates: min", most=BOXES_MOST)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """The table ``[pool]`` of the configuration. Durations are seconds, or text such as ``"10m"`` in a table.

    Raises ``SpecError`` for what is out of range or contradicts itself.
    """

    mode: PoolMode = "prefer"
    """What ``create`` and ``run`` do where they are not told."""
    min: int = 1
    """Boxes of one template that wait at least, as long as it is asked for."""
    max: int = 4
    """Boxes of one template that wait at most; 0: none at all."""
    total: int = 16
    """Boxes of all templates that wait at most; 0: none at all."""
    idle: float = 600.0
    """After so long a box that was not needed goes, and a template nobody asked for is forgotten."""
    age: float = 3600.0
    """A box that has waited so long is replaced: what it was made from may have changed."""
    starts: int = 1
    """Boxes that are started at once."""
    wait: float = 30.0
    """How long ``"require"`` waits for a box."""
    templates: tuple[PoolTemplate, ...] = ()
    """What is kept ready from the start of the host; the others are learned by being asked for."""

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "mode", pool_mode(self.mode, "pool.mode"))
        for name, least, most in (
            ("min", 0, BOXES_MOST), ("max", 0, BOXES_MOST), ("total", 0, BOXES_MOST), ("starts", 1, STARTS_MOST),
        ):  # fmt: skip
            units.count(getattr(self, name), f"pool.{name}", least=least, most=most)
        for name in ("idle", "age", "wait"):
            put(self, name, units.duration(getattr(self, name), f"pool.{name}", infinite=name != "wait"))
        put(self, "templates", units.sequence(self.templates, "pool.templates"))
        for template in self.templates:
            units.instance(template, PoolTemplate, "pool.templates")
        if self.has_room and self.min > min(self.max, self.total):
            raise SpecError(f"pool.min ({self.min}) is more than pool.max ({self.max}) or pool.total ({self.total})")
        if len(self.templates) > TEMPLATES_MOST:
            raise SpecError(f"pool.templates: {len(self.templates)} are too many; at most {TEMPLATES_MOST}")
        if (asked := sum(template.min for template in self.templates)) > self.total:
            raise SpecError(f"pool.templates ask for {asked} boxes together, and pool.total allows {self.total}")
        if (most := max((template.min for template in self.templates), default=0)) > self.max:
            raise SpecError(f"pool.templates: min = {most} is more than pool.max ({self.max})")

    @property
    def has_room(self) -> bool:
        """Whether any box may wait at all."""
        return self.max > 0 and self.total > 0

    @classmethod
    def of(cls, value: object, where: str = "pool") -> Self:
        """Give settings from some, from a mapping shaped like ``[pool]``, or from ``True`` and ``False``."""
        if isinstance(value, cls):
            return value
        if isinstance(value, bool):
            return cls() if value else cls(mode="off", min=0, max=0, total=0)
        table = units.fields_of(cls, value, where, needed=_NEEDED)
        if "templates" in table:
            rows = units.sequence(table["templates"], f"{where}.templates")
            table["templates"] = tuple(
                row if isinstance(row, PoolTemplate) else _made(PoolTemplate, row, f"{where}.templates") for row in rows
            )
        return cls(**table)


OFF: Final = PoolSettings(mode="off")
"""Of a host that was told nothing: it keeps boxes ready for those who ask for that by ``pool=``."""


def _made(kind: type[PoolTemplate], value: object, where: str) -> PoolTemplate:
    return kind(**units.fields_of(kind, value, where, needed=_NEEDED))
