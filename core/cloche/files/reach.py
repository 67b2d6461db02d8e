"""Which file system a path of a sandbox lies in, and whether the policy allows what is to be done there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from anyio.to_thread import run_sync

from cloche import units
from cloche.errors import AccessDenied, FileError, NotFound, StateError
from cloche.files.access import CHANGING, Access, Operation, inside
from cloche.files.folder import FolderVfs
from cloche.files.folder_watch import Allows
from cloche.files.shown import ShownVfs
from cloche.files.vfs import Entry, FileKind, check_path
from cloche.files.walk import Judge
from cloche.runtime_parts import Tree


@dataclass(frozen=True, slots=True)
class At:
    """A path of the sandbox, the file system it lies in, and the path in there."""

    path: str
    vfs: FolderVfs | ShownVfs
    inner: str


class Reach:
    """The host's way to the files of one sandbox, until it is closed. Any number of threads may use it."""

    def __init__(
        self, label: str, workspace: str, trees: Callable[[], Sequence[Tree]], access: Access | None = None
    ) -> None:
        """Take the folders as ``trees`` gives them at each act; without ``access`` only these have a say."""
        self._label = label
        self._workspace = workspace
        self._access = access
        self._trees = trees
        self._open: dict[Tree, FolderVfs | ShownVfs] = {}
        self._turn = threading.Lock()
        self._closed = False

    def find(self, operation: Operation, path: str, *, makes: bool = False, below: bool = False) -> At:
        """Give where ``path`` is if ``operation`` is allowed there, else raise ``AccessDenied``.

        One without a leading ``/`` starts in the work folder. ``makes``: what is not there will be made. ``below``: the
        act is one on all that the path holds.
        """
        whole = self.whole(path)
        trees = self._now()
        tree = max((t for t in trees if inside(whole, t.path)), key=lambda t: len(t.path), default=None)
        if tree is None:
            shown = ", ".join(sorted(t.path for t in trees)) or "nothing"
            raise AccessDenied(f"{operation} {units.shown(whole)}: the host can reach only {shown} in this sandbox now")
        if operation == "delete" and (held := [t.path for t in trees if t is not tree and inside(t.path, whole)]):
            raise FileError(f"delete {units.shown(whole)}: {min(held)}, a mount point of the sandbox, lies in it")
        at = At(whole, self._vfs(tree), whole if tree.path == "/" else whole[len(tree.path) :] or "/")
        if self._access is not None:
            (self._access.check_tree if below else self._access.check)(operation, whole)
            if makes and not _there(at):
                self._access.check("create", whole)
        if operation in CHANGING and not tree.writable:
            raise AccessDenied(f"{operation} {units.shown(whole)}: {tree.path} is mounted read-only")
        return at

    def whole(self, path: str) -> str:
        """Give the whole path for one that may start in the work folder. Raises ``SpecError`` for what is none."""
        if isinstance(path, str) and not path.startswith("/"):
            path = self._workspace if path in ("", ".") else f"{self._workspace.rstrip('/')}/{path}"
        return check_path(path)

    def check_way(self, at: At) -> None:
        """Raise ``AccessDenied`` if a folder on the way to a path is not there and may not be made."""
        if self._access is None:
            return
        parent = at.path
        while (parent := parent.rpartition("/")[0]) and not _there(found := self.find("stat", parent)):
            self._access.check("create", found.path)

    def check_move(self, source: At, target: At, *, replace: bool) -> None:
        """Raise ``AccessDenied`` unless both, with all that they hold, may change their names."""
        if self._access is None:
            return
        self._access.check_tree("delete", source.path)
        self._access.check_tree("create", target.path)
        if replace and _there(target):
            self._access.check("delete", target.path)

    def judge(self) -> Judge | None:
        """Give what a walk asks about each entry; ``None`` if there is nothing to ask."""
        access = self._access
        if access is None:
            return None

        def judge(entry: Entry) -> bool | None:
            if not access.verdict("stat", entry.path):
                return False
            return True if entry.stat.kind is not FileKind.FOLDER or access.verdict("list", entry.path) else None

        return judge

    def allows(self) -> Allows | None:
        """Give what a watch asks about each path; ``None`` if there is nothing to ask."""
        return None if self._access is None else self._access.verdict

    def check_open(self) -> None:
        """Raise ``StateError`` once it is closed."""
        if self._closed:
            raise StateError(f"the files of sandbox {self._label} are gone: it is deleted")

    def close(self) -> None:
        """Let no new act begin, and wait until those that run have ended. Harmless when repeated."""
        with self._turn:
            self._closed = True
        for vfs in self._open.values():
            vfs.close()

    async def aclose(self) -> None:
        """Do what ``close`` does; its waiting, if there is any, does not stop the event loop."""
        with self._turn:
            self._closed = True
        if any([not vfs.shut() for vfs in self._open.values()]):  # noqa: C419 - all are shut before any is awaited
            await run_sync(self.close)
        else:
            self.close()

    # -- inside -----------------------------------------------------------------------------------------------------

    def _vfs(self, tree: Tree) -> FolderVfs | ShownVfs:
        with self._turn:
            self.check_open()
            vfs = self._open.get(tree)
            if vfs is None:
                shown_as = "" if tree.path == "/" else tree.path
                vfs = self._open[tree] = (
                    FolderVfs(tree.fd, uid=tree.uid, gid=tree.gid, shown_as=shown_as)
                    if tree.vfs is None
                    else ShownVfs(tree.vfs, shown_as=shown_as)
                )
            return vfs

    def _now(self) -> Sequence[Tree]:
        with self._turn:
            self.check_open()
        return self._trees()


def _there(at: At) -> bool:
    try:
        at.vfs.stat(at.inner)
    except NotFound:
        return False
    return True
