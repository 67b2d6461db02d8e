"""``cloche cp``: files and folders into a sandbox and out of it."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import click

from cloche.commands import boxes
from cloche.commands.tables import plain_text
from cloche.errors import ClocheError, FileError, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.blocking import Sandbox
    from cloche.files.api import Files
    from cloche.files.archive_place import ArchiveSummary
    from cloche.files.archive_rules import Links
    from cloche.files.vfs import FileStat


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a copy: a path of this machine, or in the sandbox ``box``."""

    box: str | None
    path: str


@click.command("cp")
@click.argument("source", metavar="SRC", shell_complete=boxes.names)
@click.argument("target", metavar="DST", shell_complete=boxes.names)
@click.option(
    "--links", type=click.Choice(("inside", "any", "refuse")), default="inside", show_default=True,
    help="In folders: symbolic links to take along. A guest can make links to anywhere.",
)  # fmt: skip
@click.option("--replace", is_flag=True, help="Into a sandbox: files that are there give way.")
def command(source: str, target: str, *, links: str, replace: bool) -> None:
    """Copy SRC to DST. One of them is BOX:PATH; a path without a slash first begins in the work folder.

    \b
    cloche cp main.py web:                 into the work folder
    cloche cp web:/workspace/out ./out     a folder, out of the sandbox
    cloche cp - web:src < src.tar.gz       unpack a tar or zip
    cloche cp web:src - > src.tar          pack a folder

    A folder that is there is copied into, under the name of SRC. A folder arrives whole or not at all. The sandbox's
    paths and mounts hold here as they do for its programs; owners and times are not kept.
    """  # noqa: D301 - \b keeps click from filling the lines
    here, there = _side(source), _side(target)
    if (here.box is None) == (there.box is None):
        raise click.UsageError("one of SRC and DST is a path in a sandbox, BOX:PATH, and the other is not")
    kind = cast("Links", links)
    if there.box is not None:
        with boxes.attached(there.box) as box:
            _into(box, here.path, there.path or ".", kind, replace=replace)
    elif here.box is not None:
        if replace:
            raise click.UsageError("--replace is for copies into a sandbox; remove what is here first")
        with boxes.attached(here.box) as box:
            _out(box, here.path or ".", there.path, kind)


def _side(given: str) -> Side:
    """Give what ``BOX:PATH`` or ``PATH`` means: with a slash before the colon it is a path of this machine."""
    name, colon, path = given.partition(":")
    if not colon or not name or "/" in name:
        return Side(None, given)
    return Side(name, path)


# -- into the box -------------------------------------------------------------------------------------------------


def _into(box: Sandbox, source: str, target: str, links: Links, *, replace: bool) -> None:
    files = box.files
    if source == "-":
        _tell(files.import_archive(sys.stdin.buffer, target, links=links, replace=replace))
        return
    found = os.stat(source)
    if stat.S_ISDIR(found.st_mode):
        place = _inside(files, target, os.path.basename(os.path.abspath(source)))
        _tell(_folder_in(files, source, place, links, replace=replace))
        return
    if not stat.S_ISREG(found.st_mode):
        raise FileError(f"{source}: only regular files and folders are copied")
    place = _inside(files, target, os.path.basename(source))
    if not replace and files.exists(place):
        raise FileError(f"{place} is there already in the sandbox; give --replace, or another name")
    files.upload(source, place)


def _folder_in(files: Files, source: str, place: str, links: Links, *, replace: bool) -> ArchiveSummary:
    from cloche.files.archive_export import export_archive  # noqa: PLC0415 - 20 ms that most copies need not pay
    from cloche.files.folder import FolderVfs  # noqa: PLC0415 - the same

    vfs = FolderVfs(os.open(source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), owned=True)
    try:
        return _through_a_pipe(
            lambda to: export_archive(vfs, "/", to),
            lambda file: files.import_archive(file, place, links=links, replace=replace),
        )
    finally:
        vfs.close()


def _inside(files: Files, target: str, name: str) -> str:
    """Give where a copy goes: into a folder that is there under its name, else to ``target`` itself."""
    from cloche.files.vfs import FileKind  # noqa: PLC0415 - `cloche cp --help` needs none of it

    if not files.exists(target):
        if target.endswith("/"):
            raise FileError(f"{target} is no folder in the sandbox; make it first, or leave out the last slash")
        return target
    if files.stat(target).kind is not FileKind.FOLDER:
        return target
    return name if target == "." else f"{target.rstrip('/')}/{name}"


# -- out of the box -----------------------------------------------------------------------------------------------


def _out(box: Sandbox, source: str, target: str, links: Links) -> None:
    from cloche.files.vfs import FileKind  # noqa: PLC0415 - `cloche cp --help` needs none of it

    files = box.files
    found = files.stat(source)
    name = os.path.basename(source.rstrip("/")) if source not in (".", "/") else "workspace"
    if found.kind is FileKind.FOLDER:
        if target == "-":
            _tell(files.export_archive(source, sys.stdout.buffer))
            return
        _tell(_folder_out(files, source, _free(target, name), links))
    elif found.kind is not FileKind.FILE:
        raise FileError(f"{source} is a {found.kind}; only regular files and folders are copied")
    elif target == "-":
        _pack(files, source, name, found)
    else:
        files.download(source, _free(target, name), most=found.size + 1)  # it may grow, but not fill our disk


def _free(target: str, name: str) -> str:
    """Give the path for a copy here, which must not be there yet: what is, may be somebody's."""
    place = os.path.join(target, name) if os.path.isdir(target) else target
    if os.path.lexists(place):
        raise FileError(f"{place} is there already; remove it, or give another name")
    return place


def _folder_out(files: Files, source: str, place: str, links: Links) -> ArchiveSummary:
    from cloche.files.archive import import_archive  # noqa: PLC0415 - see _folder_in
    from cloche.files.folder import FolderVfs  # noqa: PLC0415 - the same

    os.mkdir(place, 0o755)
    try:
        vfs = FolderVfs(os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), owned=True)
        try:
            return _through_a_pipe(
                lambda to: files.export_archive(source, to),
                lambda file: import_archive(vfs, file, "/", links=links),
            )
        finally:
            vfs.close()
    except BaseException:
        shutil.rmtree(place)
        raise


def _pack(files: Files, source: str, name: str, found: FileStat) -> None:
    import tarfile  # noqa: PLC0415 - only this way out needs it

    with files.open(source) as file, tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as to:
        member = tarfile.TarInfo(name)
        member.size, member.mode, member.mtime = found.size, found.mode & 0o777, found.modified_ns / 1e9
        to.addfile(member, file)


# -- both ---------------------------------------------------------------------------------------------------------


def _through_a_pipe(write: Callable[[BinaryIO], ArchiveSummary], read: Callable[[BinaryIO], object]) -> ArchiveSummary:
    """Have one thread pack what this one unpacks, so that nothing is held twice. Raises what went wrong first."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    packed: list[Any] = []

    def pack() -> None:
        try:
            with open(theirs, "wb") as to:
                packed.append(write(to))
        except BaseException as error:  # noqa: BLE001 - raised below, in the thread that asked
            packed.append(error)

    thread = threading.Thread(target=pack, name="pack")
    thread.start()
    trouble: BaseException | None = None
    try:
        with open(ours, "rb") as file:
            read(file)
    except (ClocheError, OSError) as error:
        trouble = error
    finally:
        thread.join()
    (summary,) = packed
    if isinstance(summary, BaseException) and not isinstance(summary, BrokenPipeError):
        raise summary
    if trouble is not None:
        raise trouble
    if not isinstance(summary, BaseException):
        told: ArchiveSummary = summary
        return told
    raise SpecError("the copy ended before all of it was written")


def _tell(summary: ArchiveSummary) -> None:
    for name in summary.skipped:
        click.echo(plain_text(f"cloche: {name!r} was left out: only files, folders and links are copied"), err=True)
