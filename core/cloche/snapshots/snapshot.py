"""One saved box as its store knows it: which files hold it, and all that must be so again where it is restored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cloche import units
from cloche.enforcement import Guarantee
from cloche.errors import SnapshotError, SpecError
from cloche.files.access import UNRESTRICTED, PathPermissions
from cloche.policy import Limits, Mount, Network, Policy, Workspace
from cloche.registry.plain import from_json, from_plain, to_plain

if TYPE_CHECKING:
    from cloche.spec import Spec

FORMAT: Final = 1
FILES_MAX: Final = 64
DIGITS: Final = 64  # of SHA-256, as they are written


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One file of an image: bytes, and their SHA-256."""

    name: str
    size: int
    sha256: str

    def __post_init__(self) -> None:
        if units.identifier(self.name, "image file") != self.name or self.name.startswith("."):
            raise SpecError(f"image file: {units.shown(self.name)} is no plain name")
        units.count(self.size, f"image file {self.name}: size", least=0, most=1 << 50)
        if len(self.sha256) != DIGITS or set(self.sha256) - set("0123456789abcdef"):
            raise SpecError(f"image file {self.name}: {units.shown(self.sha256)} is no SHA-256")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What of a request is in the image, so that it must be the same where that is restored.

    Of a folder of the host only the place in the box counts: another may be there next time.
    """

    isolation: str
    guarantees: frozenset[Guarantee]
    network: Network
    limits: Limits
    workspace: Workspace
    mounts: tuple[Mount, ...] = ()
    paths: PathPermissions = UNRESTRICTED
    rootfs: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    hostname: str = "cloche"
    user: int = 1000

    @classmethod
    def of(cls, spec: Spec) -> Shape:
        """Give that of a request."""
        return cls(
            isolation=spec.level.name, guarantees=spec.guarantees, network=spec.network, limits=spec.limits,
            workspace=spec.workspace, mounts=spec.mounts, paths=spec.paths, rootfs=spec.rootfs, env=spec.env,
            hostname=spec.hostname, user=spec.user,
        )  # fmt: skip

    def policy(self) -> Policy:
        """Give the policy that a request for the same begins with."""
        return Policy(
            isolation=self.isolation, require=self.guarantees, network=self.network, limits=self.limits,
            workspace=self.workspace, mounts=self.mounts, paths=self.paths,
        )  # fmt: skip

    def differences(self, spec: Spec) -> list[str]:
        """Give, in words, what a request asks for that no image of this shape can have."""
        asked = Shape.of(spec)
        pairs = [
            ("work folder", _folder(self), _folder(asked)),
            ("mounts", _places(self), _places(asked)),
            *((name, getattr(self, name), getattr(asked, name)) for name in ("network", "rootfs", "hostname", "user")),
        ]
        return [
            f"{what}: it was saved with {units.shown(old)}, {units.shown(new)} is asked"
            for what, old, new in pairs
            if old != new
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxSnapshot:
    """One saved box. ``id`` is the SHA-256 of all that is said of it here, the digests of its files included.

    ``needs`` is what its runtime needs to be the same, by name: its version, the platform and so on. ``created`` is in
    seconds since the epoch. ``label`` is for people. ``template`` is the key of the template that it is, or ``""``.
    """

    id: str
    runtime: str
    needs: Mapping[str, str]
    shape: Shape
    files: tuple[ImageFile, ...]
    created: float
    label: str = ""
    template: str = ""

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(file.size for file in self.files)

    def as_json(self) -> dict[str, Any]:
        """Give it as plain data; of the environment only the names."""
        shape = to_plain(self.shape) | {"env": sorted(self.shape.env)}
        return {
            "id": self.id, "label": self.label, "runtime": self.runtime, "needs": dict(self.needs), "size": self.size,
            "created": self.created, "template": self.template, "shape": shape, "files": to_plain(self.files),
        }  # fmt: skip

    def refusal(self, needs: Mapping[str, str]) -> str | None:
        """Say why it can't be restored where its runtime finds ``needs``; ``None`` if it can."""
        for name in sorted({*self.needs, *needs}):
            old, new = self.needs.get(name), needs.get(name)
            if old != new:
                return f"it was saved with {name} {units.shown(old)}, and here it is {units.shown(new)}"
        return None


def _folder(shape: Shape) -> str:
    return f"{shape.workspace.kind} at {shape.workspace.target}"


def _places(shape: Shape) -> list[str]:
    return sorted(f"{mount.target} ({', '.join(sorted(mount.allows))})" for mount in shape.mounts)


def written(
    *,
    runtime: str,
    needs: Mapping[str, str],
    shape: Shape,
    files: tuple[ImageFile, ...],
    created: float,
    label: str,
    template: str,
) -> tuple[BoxSnapshot, bytes]:
    """Give a new snapshot, and the bytes that say what it is."""
    body = {
        "format": FORMAT, "runtime": runtime, "needs": dict(needs), "shape": to_plain(shape),
        "files": to_plain(files), "created": created, "label": label, "template": template,
    }  # fmt: skip
    raw = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    return read(raw, hashlib.sha256(raw).hexdigest()), raw


def read(raw: bytes, name: str) -> BoxSnapshot:
    """Give the snapshot that ``raw`` says and that is kept as ``name``. Raises ``SnapshotError`` if that is not so."""
    if hashlib.sha256(raw).hexdigest() != name:
        raise SnapshotError(f"snapshot {name[:12]}: what is said of it was altered; remove it and make another")
    try:
        body = from_json(raw, "it")
        if body.get("format") != FORMAT:
            raise SpecError(f"format {units.shown(body.get('format'))}: this version of cloche reads {FORMAT}")
        files = from_plain(tuple[ImageFile, ...], body.get("files"), "files")
        if not 0 < len(files) <= FILES_MAX or len({file.name for file in files}) != len(files):
            raise SpecError(f"files: 1 to {FILES_MAX} of different names are needed")
        return BoxSnapshot(
            id=name,
            runtime=units.identifier(from_plain(str, body.get("runtime"), "runtime"), "runtime"),
            needs=from_plain(Mapping[str, str], body.get("needs"), "needs"),
            shape=from_plain(Shape, body.get("shape"), "shape"),
            files=files,
            created=from_plain(float, body.get("created"), "created"),
            label=from_plain(str, body.get("label"), "label"),
            template=from_plain(str, body.get("template"), "template"),
        )
    except ValueError as error:
        raise SnapshotError(f"snapshot {name[:12]}: what is said of it makes no sense: {error}") from None
