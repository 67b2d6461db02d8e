"""Saving and restoring, pretended: what a fake box is made to remember goes with its image."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cloche.errors import SnapshotError, StartError
from cloche.testing.fake import FakeInstance, FakeRuntime

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloche.runtime import Instance
    from cloche.spec import Spec


class SavedInstance(FakeInstance):
    """One box of a ``SavingRuntime``."""

    def __init__(self, runtime: SavingRuntime, spec: Spec, image: str | None = None) -> None:
        super().__init__(runtime, spec)
        self.memory: dict[str, str] = {}
        """What it remembers."""
        self._saving = runtime
        self._image = image

    async def start(self) -> None:
        """Bring it up, with the memory of the box that was saved."""
        if self._image is not None:
            try:
                with open(f"{self._image}/memory", "rb") as file:  # noqa: ASYNC230 - a few bytes
                    self.memory = json.load(file)
            except (OSError, ValueError) as error:
                raise StartError(f"the image can't be read: {error}") from error
        await super().start()

    async def checkpoint(self, folder: str) -> None:
        """Write the memory, and end; or refuse, or break, as the runtime was made to."""
        if self._saving.refuses_to_save is not None:
            raise SnapshotError(self._saving.refuses_to_save)
        if self._saving.breaks_when_saving is not None:
            await self.crash(self._saving.breaks_when_saving)
            raise OSError(self._saving.breaks_when_saving)
        with open(f"{folder}/memory", "w", encoding="utf-8") as file:  # noqa: ASYNC230 - a few bytes
            json.dump(self.memory, file)
        await self.kill()


class SavingRuntime(FakeRuntime):
    """A ``FakeRuntime`` that can save and restore. ``needs`` is what it says that its images need."""

    def __init__(self, *, needs: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.needs = dict(needs if needs is not None else {"version": "1", "platform": "memory"})
        self.refuses_to_save: str | None = None
        self.breaks_when_saving: str | None = None

    async def create(self, spec: Spec) -> Instance:
        """Make a box that remembers."""
        return self._made(SavedInstance(self, spec))

    def image_needs(self, spec: Spec) -> Mapping[str, str]:  # noqa: ARG002 - the same for all
        """Give ``needs``."""
        return self.needs

    async def restore(self, spec: Spec, folder: str) -> Instance:
        """Make a box that will remember what is in the image."""
        return self._made(SavedInstance(self, spec, folder))

    def _made(self, made: SavedInstance) -> SavedInstance:
        self.instances.append(made)
        return made
