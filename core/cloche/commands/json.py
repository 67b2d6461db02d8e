"""``cloche json``: what changed between JSON documents, patches applied, places looked up."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import click

from cloche.commands.tables import format_option, plain_text
from cloche.errors import ClocheError, JsonError

if TYPE_CHECKING:
    from cloche.patch import Document

DIFFERENT: Final = 1
FAILED: Final = 2


class FailedError(click.ClickException):
    """What failed, on one line of standard error; the exit code is that of diff(1) for trouble."""

    exit_code = FAILED

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it, escaped: names and keys may be anybody's."""
        click.echo(plain_text(f"cloche: {self.message}"), file=file, err=True)


class JsonGroup(click.Group):
    """Commands of which the exit code 1 is an answer."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        """Run the command; what fails ends with ``FAILED``."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except (ClocheError, OSError) as error:
            raise FailedError(str(error)) from None


@click.group("json", cls=JsonGroup)
def command() -> None:
    """Show what changed between JSON documents, and apply patches to them.

    A file named - is standard input. Numbers stay as they were written. Exit code 2: it failed.
    """


@command.command("diff")
@click.argument("old")
@click.argument("new")
@click.option("--splice", is_flag=True, help="Patch long texts by `splice`, an operation that only cloche knows.")
@click.option("--merge", is_flag=True, help="As a merge patch (RFC 7396).")
@format_option
def diff(old: str, new: str, *, splice: bool, merge: bool, as_json: bool) -> int:
    """Show what makes NEW of OLD; with -o json as a JSON patch (RFC 6902).

    A line for each step: + added, - removed, ~ replaced, > moved, & copied. Places are those after the steps before.
    Exit code 0: they are the same, 1: they differ.
    """
    apart(old, new)
    from cloche import patch  # noqa: PLC0415 - `cloche json --help` needs none of it
    from cloche.commands.json_shown import steps  # noqa: PLC0415 - the same

    with opened(old) as document, opened(new) as other:
        first, second = document.text, other.text
        made = patch.diff(first, second, splice=splice)
        if merge:
            show(patch.merge_diff(first, second), as_json=as_json)
        elif as_json:
            show(made, as_json=True)
        else:
            for line in steps(document, made):
                click.echo(line)
    return 0 if made == b"[]" else DIFFERENT


@command.command("apply")
@click.argument("document")
@click.argument("patch")
@format_option
def apply(document: str, patch: str, *, as_json: bool) -> None:
    """Show what the JSON patch (RFC 6902) in the file PATCH makes of DOCUMENT.

    All of it is done or, where an operation can't be, nothing: the message says which and why.
    """
    apart(document, patch)
    with opened(document) as target, opened(patch) as operations:
        target.apply(operations.text)
        show(target.text, as_json=as_json)


@command.command("merge")
@click.argument("document")
@click.argument("patch")
@format_option
def merge(document: str, patch: str, *, as_json: bool) -> None:
    """Show what the merge patch (RFC 7396) in the file PATCH makes of DOCUMENT."""
    apart(document, patch)
    with opened(document) as target, opened(patch) as merged:
        target.merge(merged.text)
        show(target.text, as_json=as_json)


@command.command("get")
@click.argument("document")
@click.argument("pointer", default="")
@format_option
def get(document: str, pointer: str, *, as_json: bool) -> None:
    """Show what is at POINTER (RFC 6901, such as /files/0/name) of DOCUMENT, all of it unless said."""
    with opened(document) as target:
        show(target.get_text(pointer), as_json=as_json)


def apart(one: str, other: str) -> None:
    """Refuse to read standard input twice."""
    if one == other == "-":
        raise click.UsageError("only one of the two files can be standard input")


def opened(name: str) -> Document:
    """Read a document. Raises ``JsonError`` naming file and line, and ``OSError``."""
    from cloche.patch import Document  # noqa: PLC0415 - as above

    data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    try:
        return Document(data)
    except JsonError as error:
        at = error.position or 0
        line, column = data.count(b"\n", 0, at) + 1, at - data.rfind(b"\n", 0, at)
        raise JsonError(f"{name}, line {line}, byte {column}: {error}", position=at) from None


def show(text: bytes, *, as_json: bool) -> None:
    """Print canonical JSON: as it is for programs, indented for people, for a terminal always printable."""
    from cloche.commands.json_shown import escaped, indented  # noqa: PLC0415 - as above

    if not as_json:
        for line in indented(text.decode()):
            click.echo(line)
    elif sys.stdout.isatty():
        click.echo(escaped(text.decode()))
    else:
        click.echo(text)
