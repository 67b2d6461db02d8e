"""What a sandbox's own folders are, which rules are relative to: what ``${...}`` in them stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Self

from cloche import units
from cloche.errors import SpecError
from cloche.files.globs import MAGIC

if TYPE_CHECKING:
    from cloche.spec import Spec

PATTERNS: Final = frozenset({"read_only", "forbidden", "sensitive"})
"""What stands for patterns, as policies write them; they are about what lies below too. The others are paths."""
TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm", "/run/user")  # noqa: S108 - paths in the box, not on the host


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Paths as the guest sees them. A name that stands for several paths makes several values of the one it is in."""

    home: str = "/workspace"
    workspace: str = "/workspace"
    temporary: tuple[str, ...] = TEMPORARY
    writable: tuple[str, ...] = ("/workspace", *TEMPORARY)
    """Folders that it may change: its work folder, the temporary ones, mounts that can be written."""
    mounted: tuple[str, ...] = ()
    """Where folders of the host are shown."""
    read_only: tuple[str, ...] = ()
    """Patterns of what it may not change, mounts among them."""
    forbidden: tuple[str, ...] = ()
    """Patterns of what it may not see."""
    sensitive: tuple[str, ...] = ()
    """Patterns that the policy calls sensitive (``Rules.sensitive``)."""

    @classmethod
    def of(cls, spec: Spec, *, workspace: str, sensitive: tuple[str, ...] = ()) -> Self:
        """Give those of a sandbox; ``workspace`` is where its runtime shows the work folder."""
        writable = [mount.target for mount in spec.mounts if not mount.read_only]
        read_only = [escaped(mount.target) for mount in spec.mounts if mount.read_only]
        return cls(
            home=spec.env.get("HOME", workspace), workspace=workspace,
            writable=tuple(dict.fromkeys((workspace, *TEMPORARY, *writable))),
            mounted=tuple(mount.target for mount in spec.mounts),
            read_only=(*read_only, *spec.paths.read_only), forbidden=tuple(spec.paths.forbidden), sensitive=sensitive,
        )  # fmt: skip

    def over(self, values: Mapping[str, Any]) -> Surroundings:
        """Give these with some replaced by name. Raises ``SpecError`` for a name that is none."""
        known = {f.name: getattr(self, f.name) for f in fields(self)}
        for name, value in values.items():
            if name not in known:
                raise SpecError(f"profile: {units.shown(name)} is unknown; known are {', '.join(known)}")
            single = isinstance(known[name], str)
            known[name] = units.text(value, name) if single else tuple(units.text(v, name) for v in value)
        return Surroundings(**known)


def escaped(path: str) -> str:
    """Give the policy's pattern of a path."""
    return "".join(f"[{c}]" if c in MAGIC else c for c in path)
