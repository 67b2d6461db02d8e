"""Work folders that are a file system of their own on the host's disk."""

from __future__ import annotations

import anyio.to_thread

from cloche.enforcement import Enforced, Guarantee, Kept, Unenforced
from cloche.errors import StartError
from cloche.machine import state_folder
from cloche.spec import Spec
from cloche_native import image

KEPT = Enforced("a file system of its own for the work folder, a sized one in memory for every other writable folder")
FIX = "use a tmpfs or overlay workspace"


def _problem(*, taken: bool) -> str:
    return image.problem() if taken else "this runtime makes no image"


def judge(features: dict[str, Kept], *, taken: bool) -> None:
    """Change a report for a box whose work folder is an image; ``taken``: the runtime can show one."""
    problem = _problem(taken=taken)
    if problem:
        features[Guarantee.DISK] = features[Guarantee.FILESYSTEM] = Unenforced(problem, FIX)
    elif not isinstance(features[Guarantee.DISK], Unenforced):  # by another folder that is written directly
        features[Guarantee.DISK] = KEPT


async def make(spec: Spec, *, taken: bool) -> int:
    """Give a new image for ``spec`` as the descriptor of a mount that is attached nowhere. Raises ``StartError``."""
    if problem := _problem(taken=taken):
        raise StartError(f"an image workspace was asked for: {problem}")
    size = spec.limits.disk or spec.limits.memory or 64 << 20
    try:
        return await anyio.to_thread.run_sync(image.make, str(state_folder()), size, spec.limits.files)
    except (OSError, ValueError) as error:
        raise StartError(f"an image workspace of {size} bytes can't be made: {error}") from error
