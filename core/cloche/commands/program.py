"""One program in a box, tied to this process, and what is said of its end: for every command that runs one."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from cloche.commands import attached, tables, words
from cloche.errors import SpecError
from cloche.pipes import OPEN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloche.blocking import Sandbox
    from cloche.output import Chunk
    from cloche.spec import Result

TIMED_OUT: Final = 124
KILLED: Final = 137  # 128 + SIGKILL
BROKEN_PIPE: Final = 141  # 128 + SIGPIPE, as of a program in a shell
_SLIGHT: Final = ("info", "low")
_MORE: Final = {
    "timeout": "--timeout", "limit:wall": "--wall", "limit:output": "--output", "out_of_memory": "--memory",
}  # fmt: skip
"""Which option allows more, by the reason of an end."""
_F = TypeVar("_F", bound="Callable[..., Any]")
_OPTIONS: Final = (
    click.option("-i", "--interactive", is_flag=True, help="Pass on what is typed. Piped input always is."),
    click.option("-t", "--tty", is_flag=True, help="Give the program this terminal."),
    click.option("-w", "--cwd", metavar="DIR", help="Folder in the sandbox to start in."),
    click.option("--timeout", metavar="TIME", help="End it after so long, e.g. 250ms, 10s, 5m; exit code 124."),
    click.option("-q", "--quiet", is_flag=True, help="Don't say which of its acts were refused, or found by rules."),
    click.option(
        "-o", "--output-format", type=click.Choice(("stream", "json")), default="stream", show_default=True,
        help="Pass the output on as it comes, or print one JSON object at the end.",
    ),
)  # fmt: skip


def options(function: _F) -> _F:
    """Add the options of a program that is run."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def check(chosen: Mapping[str, Any]) -> None:
    """Refuse a terminal where there is none, before anything is made."""
    if chosen["tty"] and not attached.stdin_is_terminal():
        raise SpecError("-t: standard input is not a terminal; leave out -t to pass it on as it is")


def run(
    box: Sandbox,
    args: tuple[str, ...],
    chosen: Mapping[str, Any],
    stop: attached.Signals,
    *,
    end: Callable[[], object] | None = None,
    env: Mapping[str, str] | None = None,
    printed: Callable[[Chunk], None] = lambda _: None,
) -> Result | None:
    """Run a program in ``box`` with our streams, and give how it ended; ``None`` if nobody reads what it prints.

    A signal that ends programs calls ``end``, which is the end of the program itself if not given; ``printed`` is
    called for all that it prints.
    """
    terminal: bool = chosen["tty"]
    feed = terminal or chosen["interactive"] or not attached.stdin_is_terminal()
    as_json = chosen["output_format"] == "json"
    taken: list[Chunk] = []
    with attached.raw_terminal() if terminal else contextlib.nullcontext():
        job = box.spawn(
            *args, stdin=OPEN if feed else None, cwd=chosen["cwd"], timeout=chosen["timeout"], env=env,
            tty=attached.window() if terminal else False, lossless=True,
        )  # fmt: skip
        try:

            def take(chunk: Chunk) -> None:
                printed(chunk)
                if as_json:
                    taken.append(chunk)
                else:
                    attached.write(chunk, stop)

            attached.follow(job, stop, take, feed=feed, end=end or job.kill)
        except BrokenPipeError:
            return None
    result = job.wait()
    out, err = (b"".join(c.data for c in taken if c.stream == stream) for stream in ("stdout", "stderr"))
    return replace(result, stdout=out, stderr=err)


def tell(result: Result | None, box: Sandbox, chosen: Mapping[str, Any], stop: attached.Signals) -> int:
    """Say how it ended, and give the exit code for that."""
    if result is None:
        return BROKEN_PIPE
    if chosen["output_format"] == "json":
        tables.show_json(_plain(result, box))
    elif not stop.caught:
        _explain(result, quiet=chosen["quiet"])
    if result.reason.startswith("rule:"):
        return result.exit_code or KILLED  # it may have ended well just before its sandbox was killed for what it did
    return TIMED_OUT if result.reason in ("timeout", "limit:wall") else result.exit_code


def _explain(result: Result, *, quiet: bool) -> None:
    """Say on standard error what of its acts was refused or found, and how it ended if not by its own doing."""
    told = [one for one in result.violations if one.blocked or one.severity not in _SLIGHT]
    lines = [str(violation) for violation in told]
    if slight := len(result.violations) - len(told):
        lines.append(f"found {slight} more of low severity: -o json tells {'it' if slight == 1 else 'them'}")
    for line in () if quiet else lines:
        click.echo(tables.plain_text(f"cloche: {line}"), err=True)
    if result.reason in ("exited", "signalled"):
        return
    cause = "" if result.reason == "refused" or result.reason in result.detail else f" ({result.reason})"
    more = f"; allow more with {_MORE[result.reason]}" if result.reason in _MORE else ""
    text = f"cloche: {result.args[0]}: {result.detail or 'it was ended'}{cause}{more}"
    click.echo(tables.plain_text(text), err=True)


def _plain(result: Result, box: Sandbox) -> dict[str, object]:
    return {
        "args": list(result.args),
        "exit_code": result.exit_code,
        "reason": result.reason,
        "signal": result.signal,
        "detail": result.detail,
        "stdout": tables.stream(result.stdout),
        "stderr": tables.stream(result.stderr),
        "duration": result.duration,
        "usage": asdict(result.usage),
        "violations": [asdict(violation) for violation in result.violations],
        "sandbox": box.id,
        "isolation": box.spec.level.name,
        "runtime": box.runtime,
        "enforcement": {name: box.enforcement.as_json()[name] for name in words.features(box.enforcement)},
    }
