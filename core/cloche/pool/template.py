"""What boxes can stand for each other: the part of a request that is fixed when a box is made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from cloche.spec import Spec

Footing = Mapping[str, tuple[int, int]]
WRITTEN: Final = ("bind", "overlay")


def template_of(spec: Spec) -> Spec:
    """Give a request without what belongs to one checkout; what is left must be equal for a box to be taken.

    The id is the box's own, which its sandbox takes over. Name, metadata, environment and times, and the limits on
    output and on one call, are kept by the host alone; whatever a runtime might look at when it makes a box stays.
    """
    limits = replace(spec.limits, output=None, wall=None)
    return replace(spec, id="", name=None, metadata={}, env={}, lifetime=None, idle_timeout=None, limits=limits)


def why_not(spec: Spec) -> str:
    """Give why no box may wait for such a request, or ``""``."""
    if spec.workspace.kind in WRITTEN:
        return (
            f"its work folder ({spec.workspace.kind}) is a folder of the host: a box that waited would be shared with "
            "it before anybody asked; use a tmpfs or image workspace, and put files in by box.files"
        )
    if spec.restricts_paths():
        return (
            "it restricts paths by patterns: what these cover is looked up when a box is made, and files that came "
            "later would be open to it"
        )
    return ""


def footing(spec: Spec) -> Footing:
    """Give which files of the host the mounts of a request stand on now. Raises ``OSError`` if one is gone.

    A box keeps those that were there when it was made: where another has taken its path, the box is out of date.
    """
    paths = [mount.source for mount in spec.mounts] + ([spec.rootfs] if spec.rootfs is not None else [])
    found = {path: os.stat(path) for path in paths}
    return {path: (status.st_dev, status.st_ino) for path, status in found.items()}
