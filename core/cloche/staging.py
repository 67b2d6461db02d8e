"""The caller's own files, brought into a box: bound directly, or first mapped to the box's user when we are root."""

from __future__ import annotations

import os

import cloche_native as native
from cloche.errors import StartError
from cloche.machine import state_folder
from cloche.policy import Mount
from cloche.uids import Seat


class Staging:
    """Collects the caller's files of one box, and gives for each the path that the box's user can reach.

    A launch takes them as ``stages=staging.stages()`` and ``stage_folder=staging.folder``: the launcher then starts in
    a mount namespace of its own where they are found, the files' owner shown as the box's user and nothing changed on
    disk (mount_setattr(2), Linux 5.12). Without a seat the caller's own path serves, and nothing is staged.

    The box's user is the seat's, unless ``user`` is the one that a launcher run by root gives its files to. What that
    launcher itself makes, before it gives it away, is then the seat's on disk.
    """

    def __init__(self, seat: Seat | None, image: int | None = None, user: int | None = None) -> None:
        self._seat = seat
        self._user = user
        self._image = image
        self._stages: list[native.Stage] = []
        self.folder = str(state_folder() / "stage") if seat is not None else None

    def source(self, mount: Mount) -> str:
        """Give the path to bind for ``mount``: its own, or where it will be staged."""
        return mount.source if self._seat is None else self._stage(mount, self._seat)

    def memory(self, options: str) -> str:
        """Give the path of a folder in memory of the box's own; ``options`` as of tmpfs(5). Needs a seat."""
        stage = native.Stage(
            source=None, target=self._name(), read_only=False, from_uid=0, to_uid=0, from_gid=0, to_gid=0,
            memory=options,
        )  # fmt: skip
        return self._put(stage)

    def overlay(self, mount: Mount, options: str) -> str:
        """Give the path of ``mount`` with what is written kept in such a folder, never on disk. Needs a seat."""
        if self._seat is None:
            raise StartError("only root can lay memory over a folder")
        return self._stage(mount, self._seat, options)

    def image(self) -> str:
        """Give the path at which the box's own image, made by ``AgentRuntime.create``, will be staged."""
        if self._seat is None:  # only root makes images: this is a plan that is only looked at
            return "/"
        if self._image is None:
            raise StartError("no image was made for this box")
        return self._add("/", self._seat, read_only=False, owner=(0, 0), tree=self._image)

    def stages(self) -> tuple[native.Stage, ...]:
        """Give what must be staged before the launcher runs."""
        if self._stages and self.folder is not None:
            os.makedirs(self.folder, mode=0o755, exist_ok=True)
        return tuple(self._stages)

    def _stage(self, mount: Mount, seat: Seat, memory: str | None = None) -> str:
        owner = os.stat(mount.source)
        ids = owner.st_uid, owner.st_gid
        return self._add(mount.source, seat, read_only=mount.read_only, owner=ids, memory=memory)

    def _add(
        self, source: str, seat: Seat, *, read_only: bool, owner: tuple[int, int], tree: int | None = None,
        memory: str | None = None,
    ) -> str:  # fmt: skip
        user = seat.uid if self._user is None else self._user
        return self._put(
            native.Stage(
                source=source, target=self._name(), read_only=read_only, from_uid=owner[0], to_uid=user,
                from_gid=owner[1], to_gid=user, tree=tree, root=seat.uid if self._user else 0, memory=memory,
            )
        )  # fmt: skip

    def _name(self) -> str:
        return str(len(self._stages))

    def _put(self, stage: native.Stage) -> str:
        self._stages.append(stage)
        return f"{self.folder}/{stage.target}"
