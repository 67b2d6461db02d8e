"""The caller's own files, brought into a box: bound directly, or first mapped to the box's user when we are root."""

from __future__ import annotations

import os

import cloche_native as native
from cloche.machine import state_folder
from cloche.policy import Mount
from cloche.uids import Seat


class Staging:
    """Collects the caller's files of one box, and gives for each the path that the box's user can reach.

    A launch takes them as ``stages=staging.stages()`` and ``stage_folder=staging.folder``: the launcher then starts in
    a mount namespace of its own where they are found, the files' owner shown as the box's user and nothing changed on
    disk (mount_setattr(2), Linux 5.12). Without a seat the caller's own path serves, and nothing is staged.
    """

    def __init__(self, seat: Seat | None) -> None:
        self._seat = seat
        self._stages: list[native.Stage] = []
        self.folder = str(state_folder() / "stage") if seat is not None else None

    def source(self, mount: Mount) -> str:
        """Give the path to bind for ``mount``: its own, or where it will be staged."""
        return mount.source if self._seat is None else self._stage(mount, self._seat)

    def stages(self) -> tuple[native.Stage, ...]:
        """Give what must be staged before the launcher runs."""
        if self._stages and self.folder is not None:
            os.makedirs(self.folder, mode=0o755, exist_ok=True)
        return tuple(self._stages)

    def _stage(self, mount: Mount, seat: Seat) -> str:
        owner = os.stat(mount.source)
        name = str(len(self._stages))
        self._stages.append(
            native.Stage(
                source=mount.source, target=name, read_only=mount.read_only,
                from_uid=owner.st_uid, to_uid=seat.uid, from_gid=owner.st_gid, to_gid=seat.uid,
            )
        )  # fmt: skip
        return f"{self.folder}/{name}"
