"""The folders of an agent's box that the host may work in."""

from __future__ import annotations

import errno
import os

from cloche.agent_door import Agent
from cloche.runtime_parts import Tree
from cloche.spec import Spec

_NO_FOLDER = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


class AgentTrees:
    """Opened once the box is ready and before any guest runs, so that no guest has a say in what they are."""

    def __init__(self, workspace: str, spec: Spec, owner: int | None, *, own_view: bool) -> None:
        """Take what the policy says; without a view of its own the box has the host's paths, and no root for us.

        ``owner`` is the host's uid and gid of what the guest's files show as, where they are not the caller's own.
        """
        self._own_view = own_view
        self._owner = owner
        self._folders = {"/tmp": True} if own_view else {}  # noqa: S108 - in the box
        self._folders |= {workspace: True, **{mount.target: not mount.read_only for mount in spec.mounts}}
        self._root: Tree | None = None
        self._trees: tuple[Tree, ...] = ()

    def open(self, agent: Agent) -> None:
        """Open the folders that the host can reach, in the box's own root folder if it has one. Raises ``OSError``."""
        if self._own_view and agent.root_fd is not None:
            self._root = Tree("/", agent.root_fd, uid=self._owner, gid=self._owner)
        trees = []
        for path, writable in self._folders.items():
            try:
                fd = agent.folder(path) if self._own_view else os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                if error.errno not in _NO_FOLDER:
                    raise
                continue  # a mounted file, or a box without that folder
            trees.append(Tree(path, fd, uid=self._owner, gid=self._owner, writable=writable))
            self._trees = tuple(trees)

    def given(self, *, down: bool) -> tuple[Tree, ...]:
        """Give what can be reached: the root folder only while the box is up, since its mounts go with the box."""
        return self._trees if down or self._root is None else (self._root, *self._trees)

    def close(self) -> None:
        """Close what ``open`` opened; the root folder's descriptor is the agent's. Harmless when repeated."""
        trees, self._trees, self._root = self._trees, (), None
        for tree in trees:
            os.close(tree.fd)
