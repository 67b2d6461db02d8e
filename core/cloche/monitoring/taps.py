"""Sources that plugins bring: attached to sandboxes, and nothing of theirs believed unchecked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from cloche import units
from cloche.errors import PluginError, SpecError, StartError
from cloche.events.acts import Act, act_set
from cloche.events.source import EventSource
from cloche_native import events as records

if TYPE_CHECKING:
    from cloche.plugins import Plugins
    from cloche.runtime import Instance
    from cloche.spec import Spec

Guard = Callable[[], AbstractContextManager[None]]


class Tapped(EventSource):
    """A source of a plugin, named after its tap. What it raises makes its plugin fail, and ends the source alone."""

    def __init__(self, inner: object, name: str, guard: Guard) -> None:
        """Take what a tap gave. Raises ``PluginError`` if that is no source."""
        if not isinstance(inner, EventSource):
            raise PluginError(f"the tap {name} gave {units.shown(inner)}, which is no cloche.EventSource")
        self.name = name
        self.acts = act_set(getattr(inner, "acts", None), f"the tap {name}: acts")
        self._inner = inner
        self._guard = guard
        self._trouble = ""
        self._counts: Mapping[Act, int] = {}
        self._lost = 0
        self._closed = False

    def fileno(self) -> int:
        """Give its descriptor."""
        with self._guard():
            return units.count(self._inner.fileno(), f"the tap {self.name}: fileno", least=0, most=1 << 30)
        raise PluginError(f"the tap {self.name} gave no descriptor")

    def drain(self) -> bytes:
        """Give what it gives, if that is whole records. Raises ``PluginError`` if not."""
        if self._closed:
            return b""
        with self._guard():
            raw: object = self._inner.drain()
            if not isinstance(raw, bytes):
                raise PluginError(f"the tap {self.name} drained {units.shown(raw)}, and bytes are needed")
            records.check(raw)
            return raw
        raise PluginError(f"the tap {self.name} could not be drained; `cloche plugins` says why")

    def want(self, acts: Collection[Act]) -> None:
        """Pass it on."""
        asked = self.wanted(acts)
        with self._guard():
            self._inner.want(asked)

    def counters(self) -> Mapping[Act, int]:
        """Give its counters; the last ones it gave if it can't any more."""
        with self._guard():
            self._counts = {
                Act(act): units.count(n, act, least=0, most=1 << 64) for act, n in self._inner.counters().items()
            }
        return self._counts

    def lost(self) -> int:
        """Give what it has lost."""
        with self._guard():
            self._lost = units.count(self._inner.lost(), f"the tap {self.name}: lost", least=self._lost, most=1 << 64)
        return self._lost

    def close(self) -> None:
        """Close it."""
        if not self._closed:
            self._closed = True
            with self._guard():
                self._inner.close()


def check(plugins: Plugins, spec: Spec) -> None:
    """Raise ``SpecError`` if the monitor names a tap that no plugin brings."""
    if unknown := spec.monitor.sources - plugins.taps.keys():
        known = ", ".join(sorted(plugins.taps)) or "none: no plugin brings one"
        raise SpecError(f"monitor.sources: {', '.join(sorted(unknown))} is unknown; there are {known}")


def attach(plugins: Plugins, spec: Spec, instance: Instance) -> list[EventSource]:
    """Give a source of each tap that can tell of a box that was just started.

    Raises ``StartError`` if one that the monitor names is not among them: nothing may run unseen by it.
    """
    found = plugins.attached(spec, instance) if spec.monitor else []
    if missing := spec.monitor.sources - {source.name for source in found}:
        for source in found:
            source.close()
        failed = [f"{record.name}: {record.error}" for record in plugins.records if record.status == "failed"]
        why = f" (failed plugins: {'; '.join(failed)})" if failed else ""
        raise StartError(
            f"monitor.sources asks for {', '.join(sorted(missing))}, which can't tell of this sandbox{why}; "
            "choose another runtime, or leave it out"
        )
    return found
