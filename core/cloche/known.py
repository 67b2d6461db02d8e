"""What a host knows by its plugins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloche.level import IsolationLevel
    from cloche.plugins import Plugins
    from cloche.profiles import Profiles
    from cloche.runtime import Runtime


class Known:
    """The part of a host that says what may be named when a sandbox is made."""

    plugins: Plugins

    @property
    def runtimes(self) -> Mapping[str, Runtime]:
        """The runtimes of all loaded plugins by name, whether they work here or not."""
        return self.plugins.runtimes

    @property
    def levels(self) -> Mapping[str, IsolationLevel]:
        """The isolation levels of all loaded plugins by name."""
        return self.plugins.levels

    @property
    def profiles(self) -> Profiles:
        """The profiles by name: those of plugins, then of files in the usual folders. Read when asked for."""
        from cloche.profiles import Profiles  # noqa: PLC0415 - a host that uses no profile need not pay

        return Profiles(self.plugins)
