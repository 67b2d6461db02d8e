"""What a sandbox really keeps, feature by feature, and by which mechanism."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from cloche import units
from cloche.errors import SpecError


class Guarantee(StrEnum):
    """One thing a runtime can promise. The value is the feature's name in an ``Enforcement`` report."""

    PROCESS = "process"
    """The guest's processes can't see, signal or trace others, and all of them end with the sandbox."""
    FILESYSTEM = "filesystem"
    """The guest reads and writes only what the policy lists."""
    NETWORK = "network"
    """The guest reaches only what the policy's network mode allows."""
    SYSCALLS = "syscalls"
    """Dangerous kernel entry points are refused by a static filter that the guest can't lift."""
    CAPABILITIES = "capabilities"
    """The guest holds no privilege and can't gain one."""
    IDENTITY = "identity"
    """The guest runs as a host user of its own, which owns nothing else."""
    KERNEL = "kernel"
    """The guest talks to a kernel of its own, not to the host's."""
    MEMORY = "memory"
    """The memory of the whole process tree is bounded."""
    PIDS = "pids"
    """The number of processes is bounded."""
    CPU = "cpu"
    """The share of processor time is bounded."""
    DISK = "disk"
    """What the guest can write is bounded."""
    PAUSE = "pause"
    """The whole process tree can be stopped and continued."""


def guarantees(value: object, what: str) -> frozenset[Guarantee]:
    """Give a set of guarantees from some or their names. Raises ``SpecError``."""
    try:
        return frozenset(Guarantee(g) for g in units.sequence(value, what))
    except ValueError as error:
        raise SpecError(f"{what}: {error}; known guarantees are {', '.join(Guarantee)}") from None


@dataclass(frozen=True, slots=True)
class Enforced:
    """The feature is kept, by ``mechanism``."""

    mechanism: str

    def __str__(self) -> str:
        return self.mechanism


@dataclass(frozen=True, slots=True)
class Partial:
    """The feature is kept by ``mechanism`` with a ``caveat`` that the caller ought to know."""

    mechanism: str
    caveat: str

    def __str__(self) -> str:
        return f"{self.mechanism} ({self.caveat})"


@dataclass(frozen=True, slots=True)
class Unenforced:
    """The feature is not kept: ``reason`` says why, ``fix`` what would change that."""

    reason: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.reason}; {self.fix}" if self.fix else self.reason


Kept = Enforced | Partial | Unenforced


class Enforcement(Mapping[str, Kept]):
    """Read-only mapping of feature name to ``Enforced``, ``Partial`` or ``Unenforced``.

    Names are the values of ``Guarantee`` plus the limits' field names (``"open_files"``, ``"output"`` …).
    """

    __slots__ = ("_features",)

    def __init__(self, features: Mapping[str, Kept]) -> None:
        self._features = dict(features)

    def __getitem__(self, name: str) -> Kept:
        return self._features[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._features)

    def __len__(self) -> int:
        return len(self._features)

    def __repr__(self) -> str:
        return f"Enforcement({self._features!r})"

    def refusals(self, needed: Iterable[str]) -> dict[str, str]:
        """Give, for each feature of ``needed`` that is not kept, the reason. A feature not reported is not kept."""
        out: dict[str, str] = {}
        for name in sorted(needed):
            kept = self._features.get(name, Unenforced("this runtime does not report it"))
            if isinstance(kept, Unenforced):
                out[name] = str(kept)
        return out

    def with_caveats(self, caveats: Mapping[str, str]) -> Enforcement:
        """Give this report with a caveat more on each feature of ``caveats`` that is kept."""
        out = dict(self._features)
        for name, caveat in caveats.items():
            match out.get(name):
                case Enforced(mechanism):
                    out[name] = Partial(mechanism, caveat)
                case Partial(mechanism, first):
                    out[name] = Partial(mechanism, f"{first}; {caveat}")
        return Enforcement(out)

    def as_json(self) -> dict[str, dict[str, str]]:
        """Give the report as plain data: feature -> {status, mechanism|reason, caveat|fix}."""
        out: dict[str, dict[str, str]] = {}
        for name, kept in self._features.items():
            match kept:
                case Enforced(mechanism):
                    out[name] = {"status": "enforced", "mechanism": mechanism}
                case Partial(mechanism, caveat):
                    out[name] = {"status": "partial", "mechanism": mechanism, "caveat": caveat}
                case Unenforced(reason, fix):
                    out[name] = {"status": "unenforced", "reason": reason, "fix": fix}
        return out


def kept(verdict: tuple[str, ...]) -> Kept:
    """Give the value for ``(status, text)`` or ``(status, text, caveat or fix)``, as ``cloche_native`` answers."""
    match verdict:
        case ("enforced", mechanism):
            return Enforced(mechanism)
        case ("partial", mechanism, caveat):
            return Partial(mechanism, caveat)
        case ("unenforced", reason, fix):
            return Unenforced(reason, fix)
        case _:
            raise ValueError(f"not a verdict: {verdict!r}")
