"""Archives into and out of a file system: tar and zip, streamed, every member checked before it is made."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final, get_args

from cloche.errors import LimitExceeded, SpecError
from cloche.files.archive_place import ArchiveSummary, Stage
from cloche.files.archive_rules import Links, Names, Rules
from cloche.files.archive_stream import PIECE, ArchiveLimits, Meter, Readable, read_some, unpacked
from cloche.files.archive_tar import Member, tar_members
from cloche.files.archive_zip import zip_members
from cloche.files.vfs import Vfs, check_path
from cloche.units import shown, size

Source = str | os.PathLike[str] | BinaryIO
"""A path on the host, or what can be read from: a zip is read where it stands if it can be sought in, else copied."""
_HEAD: Final = 6
_ZIP: Final = (b"PK\3\4", b"PK\5\6")


def import_archive(
    vfs: Vfs,
    source: Source,
    path: str = "/workspace",
    *,
    limits: ArchiveLimits = ArchiveLimits(),  # noqa: B008 - frozen
    links: Links = "inside",
    names: Names = "plain",
    replace: bool = False,
    check: Callable[[str], object] | None = None,
) -> ArchiveSummary:
    """Unpack a tar (plain, gzip, bzip2 or xz) or a zip into the folder ``path``, which is made if it is not there.

    All or nothing: the members are made in a folder aside, ``.cloche-import-…`` in ``path``, and moved when the last
    byte was checked (``path`` itself stays). Folders that are there are merged with; a file or link that is there is
    an error, or with ``replace`` gives way. Only a host that is killed meanwhile leaves the folder aside.

    Refused (``ArchiveError``): absolute names, ``..``, NUL, names given twice, what lies under a link or a file of
    the archive, links that lead outside or might (``links="any"`` takes any text, ``"refuse"`` none), hard links to
    anything but an earlier file (they become copies), devices, pipes, sparse files, encryption, and with
    ``names="plain"`` also backslashes, drive letters and what is not UTF-8. Set-id and sticky bits, owners and times
    are not taken over.

    ``check`` is called with each name before it is made, relative to ``path``, and raises if it may not be.

    Raises ``ArchiveError``, ``LimitExceeded``, and what the file system raises (``FileError``, ``AccessDenied``).
    """
    check_path(path)
    for value, choices in ((links, get_args(Links)), (names, get_args(Names))):
        if value not in choices:
            raise SpecError(f"{shown(value)} is unknown; there are {', '.join(map(repr, choices))}")
    with _opened(source) as file, _members(file, limits) as members:
        vfs.mkdir(path, parents=True)
        stage = Stage(vfs, path, limits, Rules(path, limits, links, names), check)
        try:
            for member in members:
                stage.take(member)
            return stage.place(replace=replace)
        except BaseException as error:
            stage.discard(error)
            raise


@contextmanager
def _opened(source: Source) -> Iterator[BinaryIO]:
    if isinstance(source, str | os.PathLike):
        with open(source, "rb") as file:
            yield file
    else:
        yield source


@contextmanager
def _members(source: BinaryIO, limits: ArchiveLimits) -> Iterator[Iterator[Member]]:
    """Give the members of an archive, whose kind its first bytes tell."""
    head = read_some(source, _HEAD)
    while len(head) < _HEAD and (more := read_some(source, _HEAD - len(head))):
        head += more
    if not head.startswith(_ZIP):
        yield tar_members(unpacked(head, source, Meter(limits)))
    elif source.seekable():
        yield zip_members(source, source.tell() - len(head), limits)
    else:
        with tempfile.TemporaryFile() as copy:
            _copy(head, source, copy, size(limits.size, "size"))
            yield zip_members(copy, 0, limits)


def _copy(head: bytes, source: Readable, copy: BinaryIO, most: int) -> None:
    """Keep a zip that comes as a stream: its directory is at the end."""
    piece = head
    while piece:
        most -= len(piece)
        if most < 0:
            raise LimitExceeded("zip: longer than limits.size allows for what is in it")
        copy.write(piece)
        piece = read_some(source, PIECE)
