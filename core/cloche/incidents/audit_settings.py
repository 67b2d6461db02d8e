"""Where the audit log of a host lies, and how it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cloche import units
from cloche.errors import SpecError

if TYPE_CHECKING:
    from cloche.incidents.audit import AuditLog

FILE_LEAST: Final = 64 << 10
KEEP_MOST: Final = 1000


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """The table ``[audit]`` of the configuration; each as in ``AuditLog``. Raises ``SpecError``."""

    folder: str
    size: int = 16 << 20
    keep: int = 64
    sync: bool = True

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "folder", units.host_path(self.folder, "audit.folder"))
        put(self, "size", units.size(self.size, "audit.size", least=FILE_LEAST))
        units.count(self.keep, "audit.keep", least=2, most=KEEP_MOST)
        if not isinstance(self.sync, bool):
            raise SpecError(f"audit.sync is True or False, not {units.shown(self.sync)}")

    @classmethod
    def of(cls, value: AuditSettings | str | Path | Mapping[str, Any], where: str = "audit") -> AuditSettings:
        """Give settings from some, from a folder, or from a mapping of them."""
        if isinstance(value, AuditSettings):
            return value
        if isinstance(value, str | Path):
            return cls(str(value))
        if not isinstance(value, Mapping):
            raise SpecError(f"{where}: a folder or a table is needed, not {units.shown(value)}")
        known = [f.name for f in fields(cls)]
        for key in value:
            if key not in known:
                raise SpecError(f"{where}: unknown key audit.{key}; known are {', '.join(known)}")
        if "folder" not in value:
            raise SpecError(f"{where}: audit.folder is missing: the folder that holds the log, an absolute path")
        try:
            return cls(**value)
        except SpecError as error:
            raise SpecError(f"{where}: {error}") from None

    def opened(self) -> AuditLog:
        """Open the log, making the folder if it is missing. Raises ``AuditError``."""
        from cloche.incidents.audit import AuditLog  # noqa: PLC0415 - most hosts have none

        return AuditLog(self.folder, size=self.size, keep=self.keep, sync=self.sync)
