"""A base class for runtimes whose boxes get a control group and, where the host is root, a host user of their own."""

from __future__ import annotations

import os
import sys
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cloche import agent_filter, agent_images, machine
from cloche.config import Config
from cloche.errors import RuntimeUnavailable
from cloche.leavings import Helped
from cloche.runtime import Instance
from cloche.spec import Spec
from cloche.uids import Seat, UidPool, missing_users
from cloche_native import cgroup, findings


class GroupedRuntime(Helped):
    """Finds out where control groups can be made, keeps spare ones, hands out users, makes images of work folders."""

    takes_images = False
    """Whether ``make`` gives ``Staging`` the image of a box whose work folder is one."""

    def __init__(self) -> None:
        super().__init__()
        self._groups: cgroup.Hierarchy | None = None
        self._users: UidPool | None = None
        self._uids = (200_000, 65_536)
        self._spare_groups: cgroup.Pool | None = None
        self._images: dict[str, int] = {}

    @abstractmethod
    def make(self, spec: Spec) -> Instance:
        """Take what a box needs and give its instance, which returns that when deleted.

        The instance owns ``image(spec)`` from then on. Raises ``SpecError`` or ``StartError``; nothing is left then.
        """

    def configure(self, config: Config) -> None:
        """Take the users that the host may give to boxes."""
        self._uids = (config.uid_base, config.uid_count)

    async def create(self, spec: Spec) -> Instance:
        """Take what a box needs from this machine and give an instance that returns it when deleted."""
        if spec.workspace.kind != "image":
            return self.make(spec)
        made = await agent_images.make(spec, taken=self.takes_images)
        self._images[spec.id] = made
        try:
            return self.make(spec)
        except BaseException:
            os.close(made)
            raise
        finally:
            del self._images[spec.id]

    def image(self, spec: Spec) -> int | None:
        """Give the image made for ``spec``, while ``make`` is called for it."""
        return self._images.get(spec.id)

    def close(self) -> None:
        """Remove the spare control groups, and end the helper that cleans up after a crash."""
        if self._spare_groups is not None:
            self._spare_groups.close()
            self._spare_groups = None
        if self._users is not None:
            self._users.close()
        super().close()

    def group_parents(self) -> tuple[str, ...]:
        """Give the folders in which control groups of boxes are made."""
        return tuple(dict.fromkeys(self._groups.parents.values())) if self._groups is not None else ()

    def find_groups(self) -> str | None:
        """Look where control groups can be made; give why no box can have a user of its own, if that is so."""
        if os.geteuid() == 0 and (problem := missing_users(*self._uids)):
            return problem
        self._groups = cgroup.detect()
        return None

    def remembered(self, key: Sequence[str], find: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        """Give what ``find`` gives, plain data, once for this machine, this boot, this code and ``key``."""
        files = [
            sys.modules[kind.__module__].__file__ for kind in type(self).__mro__ if issubclass(kind, GroupedRuntime)
        ]
        code = [f"{file} {os.stat(file).st_mtime_ns}" for file in files if file]
        cache = machine.ProbeCache(self.name, [*key, *findings.host_key(), *code])
        facts: Mapping[str, Any] | None = cache.read()
        if facts is None:
            facts = find()
            cache.write(facts)
        return facts

    def call_filter(self, spec: Spec) -> bytes:
        """Give the filter of system calls for the programs of a box that has a view of its own and isn't watched."""
        return agent_filter.plain(agent_filter.refused(spec, own_view=True, locked=False))

    def grouping(self) -> str | None:
        """Give what kind of control groups boxes get, ``None`` if they get none."""
        return f"cgroup v{self._groups.version}" if self._groups is not None else None

    def take_group(self, *, memory: int | None, cpu: float | None, pids: int | None) -> cgroup.Group:
        """Give an empty group with these bounds; ``give_group`` takes it back. Raises OSError."""
        if self._groups is None:
            raise RuntimeUnavailable(self.name, "no control groups can be made here")
        if self._spare_groups is None:
            self._spare_groups = cgroup.Pool(self._groups, self.watch_groups())
        return self._spare_groups.take(memory=memory, cpu=cpu, pids=pids)

    def give_group(self) -> Callable[..., None] | None:
        """Give the function that takes groups back, ``None`` while none was taken."""
        return self._spare_groups.give if self._spare_groups is not None else None

    def take_seat(self) -> Seat | None:
        """Give a user for one box where the host is root; its ``release`` gives it back."""
        if os.geteuid() != 0:
            return None
        if self._users is None:
            self._users = UidPool(machine.state_folder() / "uids", *self._uids)
        return self._users.take()
