"""A runtime that says more than it does: its boxes can't be changed while they live, or break when one tries."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from cloche import Enforcement, Instance, Limits, Monitor, Spec, Unenforced
from cloche.testing import FakeRuntime
from cloche.testing.fake import FakeInstance

if TYPE_CHECKING:
    from collections.abc import Mapping


class Fixed(FakeRuntime):
    """Keeps neither 13 processes nor a strict monitor. ``fails`` is what its boxes raise; else they are unchanged."""

    name: ClassVar[str] = "fixed"
    strength: ClassVar[int] = 90
    fails: ClassVar[Exception | None] = None

    async def create(self, spec: Spec) -> Instance:
        made = FixedInstance(self, spec)
        self.instances.append(made)
        return made

    def enforcement(self, spec: Spec) -> Enforcement:
        kept = dict(super().enforcement(spec))
        if spec.limits.pids == 13:
            kept["pids"] = Unenforced("thirteen is unlucky", "take twelve")
        if spec.monitor.depth == "strict":
            kept["events"] = Unenforced("it is not strict", "use full")
        return Enforcement(kept)


class FixedInstance(FakeInstance):
    """A box of it."""

    async def update(self, limits: Limits) -> Mapping[str, str]:
        if Fixed.fails is not None:
            raise Fixed.fails
        return await Instance.update(self, limits)

    async def watch(self, monitor: Monitor) -> Mapping[str, str]:
        if Fixed.fails is not None:
            raise Fixed.fails
        return await Instance.watch(self, monitor)
