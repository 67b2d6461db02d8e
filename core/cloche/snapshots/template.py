"""Prepared boxes, saved once and restored when one is wanted: built when there is none, or what it rests on changed."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from cloche import __version__, units
from cloche.errors import NotFound, SnapshotError, SpecError, StartError
from cloche.registry.plain import to_plain
from cloche.snapshots import worker
from cloche.snapshots.snapshot import BoxSnapshot, Shape

if TYPE_CHECKING:
    from cloche.host import AsyncHost
    from cloche.sandbox import AsyncSandbox
    from cloche.snapshots.store import SnapshotStore
    from cloche.spec import Spec

ENTRIES_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a template is prepared: a program that is run to its end, then a worker. Checked when made."""

    name: str
    prepare: tuple[str, ...]
    imports: tuple[str, ...]
    script: str

    @classmethod
    def of(cls, name: str, prepare: Sequence[str], imports: Iterable[str], script: str) -> Recipe:
        """Give one. Raises ``SpecError``."""
        recipe = cls(
            units.identifier(name, "template"), units.sequence(prepare, "prepare"),
            units.sequence(imports, "imports"), script,
        )  # fmt: skip
        worker.wanted(recipe.imports, recipe.script)
        for arg in recipe.prepare:
            units.text(arg, "prepare", most=worker.SCRIPT_MAX)
        if not (recipe.prepare or recipe.imports or recipe.script):
            raise SpecError("template: say what is to be prepared: prepare=, imports= or script=")
        return recipe

    def key(self, spec: Spec, runtime: str, needs: dict[str, str]) -> str:
        """Give what changes whenever the template would come out otherwise, as far as the host can see."""
        sources = [mount.source for mount in spec.mounts]
        if spec.workspace.kind == "overlay" and spec.workspace.source is not None:
            sources.append(spec.workspace.source)
        told = {
            "cloche": __version__, "worker": worker.source(), "runtime": runtime, "needs": needs,
            "shape": to_plain(Shape.of(spec)), "recipe": [self.name, self.prepare, self.imports, self.script],
            "sources": [[source, _looks(source)] for source in sources],
        }  # fmt: skip
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    async def made(self, box: AsyncSandbox) -> None:
        """Prepare a new box. Raises ``StartError`` with the words of what failed."""
        if self.prepare:
            done = await box.exec(*self.prepare)
            if not done.ok:
                raise StartError(f"template {self.name!r} can't be prepared: {done.explain()}")
        if self.imports or self.script:
            await box.start_worker(imports=self.imports, script=self.script)


async def template(host: AsyncHost, recipe: Recipe, spec: Spec, runtime: str | None, *, fresh: bool) -> BoxSnapshot:
    """Give the template of that recipe, made if there is none for its key."""
    store = host.snapshots
    chosen, _ = await host.resolve(spec, runtime)
    key = await anyio.to_thread.run_sync(recipe.key, spec, chosen.name, dict(chosen.image_needs(spec)))
    if not fresh:
        found = await anyio.to_thread.run_sync(_usable, store, key)
        if found is not None:
            return found
    async with await host.obtain(spec, chosen.name, start=True, fresh=True) as box:
        await recipe.made(box)
        made = await box.save(label=recipe.name, template=key)
    await anyio.to_thread.run_sync(_drop_older, store, made)
    return made


def _usable(store: SnapshotStore, key: str) -> BoxSnapshot | None:
    found = store.of_template(key)
    if found is None:
        return None
    try:
        with store.opened(found.id):
            return found
    except (NotFound, SnapshotError):  # removed meanwhile, or damaged: another is made
        return None


def _drop_older(store: SnapshotStore, made: BoxSnapshot) -> None:
    """Remove templates of the same name; one that is being restored just now stays until the next time."""
    for old in store.all():
        if old.template and old.label == made.label and old.id != made.id:
            try:
                store.remove(old.id)
            except (NotFound, SnapshotError):
                continue


def _looks(source: str) -> list[object]:
    """Give when and how large a file, or the names in a folder, were made; deeper changes are not seen."""
    info = os.stat(source)
    seen: list[object] = [info.st_ino, info.st_size, info.st_mtime_ns]
    if os.path.isdir(source):
        with os.scandir(source) as entries:
            few = itertools.islice(entries, ENTRIES_MAX)
            seen += sorted([entry.name, entry.stat(follow_symlinks=False).st_mtime_ns] for entry in few)
    return seen
