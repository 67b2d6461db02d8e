"""What is asked of an interpreter and what a run gives: frozen values, checked when made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from cloche.errors import GuestFailed, SpecError

if TYPE_CHECKING:
    from cloche.enforcement import Guarantee
    from cloche.level import IsolationLevel
    from cloche.policy import Limits
    from cloche.spec import Violation

Reason = Literal[
    "completed", "error", "timeout", "killed", "limit:memory", "limit:stack", "limit:output", "limit:host_calls",
    "limit:size", "crashed",
]  # fmt: skip
"""How a run ended. ``error``: the code raised. ``timeout``: it was stopped at its wall time. ``limit:size``: source,
value or message larger than may cross the border. ``crashed``: the interpreter itself gave way."""
ConsoleMode = Literal["collect", "inherit", "off"]


@dataclass(frozen=True, slots=True)
class ConsoleLine:
    """One call of the guest's console: ``level`` is log, info, warn, error or debug; ``text`` is as the guest gave it.

    Escape it before a terminal sees it.
    """

    level: str
    text: str


@dataclass(frozen=True, slots=True)
class GuestError:
    """What the code raised: all three texts are the guest's own and may say anything."""

    name: str
    message: str
    stack: str = ""


@dataclass(frozen=True, slots=True)
class RunUsage:
    """What a run used: ``wall`` seconds, ``memory`` bytes held after it, calls of the host's functions."""

    wall: float = 0.0
    memory: int = 0
    host_calls: int = 0


@dataclass(frozen=True, slots=True)
class Ran:
    """What one run gave. A guest that fails is data; ``check()`` raises ``GuestFailed``."""

    reason: Reason
    value: Any = None
    """The last expression's, decoded: JSON's types, and as docs/interpreters.md says bigint, date, map, set, bytes."""
    error: GuestError | None = None
    console: tuple[ConsoleLine, ...] = ()
    usage: RunUsage = RunUsage()
    rolled_back: bool = False
    """Whether the session is as it was before this run, because the run had to be ended hard."""
    violations: tuple[Violation, ...] = ()
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether it ended by itself and raised nothing."""
        return self.reason == "completed"

    def explain(self) -> str:
        """Give one line that says how it ended."""
        said = f"{self.error.name}: {self.error.message}" if self.error is not None else self.detail
        return f"the code ended with {self.reason}" + (f": {said}" if said else "")

    def check(self) -> Ran:
        """Give itself, or raise ``GuestFailed`` unless it is ``ok``."""
        if not self.ok:
            raise GuestFailed(self)
        return self


@dataclass(frozen=True, slots=True)
class Modules:
    """Which modules the code may import: exact names and ``@scope/*``; each name's source comes from the embedder.

    ``sources`` gives a module's text by name; ``folder`` is a host folder that holds ``NAME.js`` and the like, never
    followed out of. A name that is allowed but has no source is an error of the guest;
    one that is not allowed is that, and a violation.
    """

    allow: frozenset[str] = frozenset()
    sources: Mapping[str, str] = field(default_factory=dict)
    folder: str | None = None
    preload: tuple[str, ...] = ()
    """Imported once when the interpreter is prepared, and there in each from its start."""

    def allows(self, name: str) -> bool:
        """Say whether ``name`` may be imported."""
        return name in self.allow or any(
            pattern.endswith("/*") and name.startswith(pattern[:-1]) and len(name) > len(pattern) - 1
            for pattern in self.allow
        )


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds of an interpreter besides those in ``Limits`` (memory, output, wall, disk, files)."""

    stack: int = 4 << 20
    """Bytes of stack."""
    host_calls: int = 10_000
    """Calls of functions of the host in one run."""
    source: int = 16 << 20
    """Bytes of source of one run."""
    value: int = 64 << 20
    """Bytes of one value, as JSON, that crosses the border in either direction."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SpecError(f"bounds: {name} is a positive number, not {value!r}")


class Speaking(TypedDict, total=False):
    """The keywords of ``host.interpreter`` that are of the language alone, for whoever hands them on."""

    bounds: Bounds | Mapping[str, object] | None
    modules: Modules | Mapping[str, object] | None
    functions: Mapping[str, Callable[..., object]] | None
    console: ConsoleMode
    harden: bool
    random: bool
    clock: Literal["host", "frozen"]


@dataclass(frozen=True, slots=True)
class InterpreterSpec:
    """All that an interpreter is prepared with; complete and checked. Two that are equal share a template."""

    language: str
    level: IsolationLevel
    limits: Limits
    """Complete. ``disk`` and ``files`` bound the file system in the interpreter."""
    bounds: Bounds = Bounds()
    modules: Modules = Modules()
    functions: Mapping[str, Callable[..., object]] = field(default_factory=dict)
    """By the name the guest calls; a coroutine function gives the guest a promise, or what its language has for it."""
    console: ConsoleMode = "collect"
    harden: bool = True
    """Whether the language's own objects are frozen."""
    random: bool = True
    """Whether each interpreter gets random numbers of its own; else they start alike in all of them."""
    clock: Literal["host", "frozen"] = "host"
    strict: bool = True
    guarantees: frozenset[Guarantee] = frozenset()
    """Those of the level, and those asked for besides."""

    def needed(self) -> frozenset[str]:
        """Give what a report must have as kept: guarantees, limits and bounds, by name.

        Of the limits those on processes and on a share of processors are not among them, unless they are guarantees.
        """
        limits = {name for name in ("disk", "files") if getattr(self.limits, name) is not None}
        bounds = ("memory", "output", "wall", *Bounds.__slots__)
        return frozenset({guarantee.value for guarantee in self.guarantees} | limits | {*bounds})
