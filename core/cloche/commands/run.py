"""``cloche run``: one program in a sandbox of its own, its streams and its end as if it ran right here."""

from __future__ import annotations

import base64
import contextlib
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final, get_args

import click

from cloche.commands import attached, given, new_host, tables, words
from cloche.enforcement import Guarantee
from cloche.errors import SpecError
from cloche.pipes import OPEN
from cloche.policy import NetworkMode

if TYPE_CHECKING:
    from cloche.blocking import Sandbox
    from cloche.output import Chunk
    from cloche.spec import Result

TIMED_OUT: Final = 124
BROKEN_PIPE: Final = 141  # 128 + SIGPIPE, as of a program in a shell
_MORE: Final = {
    "timeout": "--timeout", "limit:wall": "--wall", "limit:output": "--output", "out_of_memory": "--memory",
}  # fmt: skip
"""Which option allows more, by the reason of an end."""


@click.command("run", context_settings={"allow_interspersed_args": False})
@click.argument("args", nargs=-1, required=True, metavar="[--] PROGRAM [ARGS]...")
@click.option("--isolation", metavar="LEVEL", help="Isolation level; see `cloche levels`.")
@click.option("--runtime", metavar="NAME", help="Use this runtime instead of the best one; see `cloche runtimes`.")
@click.option("--name", help="A name for the sandbox.")
@click.option("-i", "--interactive", is_flag=True, help="Pass on what is typed. Piped input always is.")
@click.option("-t", "--tty", is_flag=True, help="Give the program this terminal.")
@click.option(
    "-e",
    "--env",
    multiple=True,
    callback=given.variables,
    metavar="NAME[=VALUE]",
    help="Environment variable; NAME alone takes its value here.",
)
@click.option("-w", "--cwd", metavar="DIR", help="Folder in the sandbox to start in.")
@click.option("--user", type=int, default=1000, show_default=True, help="User id the program sees itself as.")
@click.option("--network", type=click.Choice(get_args(NetworkMode)), help="Default: the level's, which is none.")
@click.option(
    "-v",
    "--mount",
    multiple=True,
    callback=given.mounts,
    metavar="SRC:DST[:ro|rw]",
    help="Show a file or folder of this machine in the sandbox; read-only unless :rw.",
)
@click.option(
    "--workspace",
    callback=given.workspace,
    metavar="DIR[:bind|:overlay]|tmpfs",
    help="Work folder: DIR written directly, DIR with writes thrown away at the end, or an empty one (the default).",
)
@click.option("--forbid", multiple=True, metavar="PATH", help="Path in the sandbox that must not be seen into.")
@click.option("--rootfs", metavar="DIR", help="Folder to use as the root instead of this machine's system folders.")
@click.option("--timeout", metavar="TIME", help="End it after so long, e.g. 250ms, 10s, 5m; exit code 124.")
@click.option("--wall", metavar="TIME", help="The level's bound on the same.")
@click.option("--memory", metavar="SIZE", help="Memory of all its processes together, e.g. 512M.")
@click.option("--cpu", type=float, help="Processors' worth of time, e.g. 0.5.")
@click.option("--pids", type=int, help="Processes and threads at once.")
@click.option("--open-files", type=int, help="Open files per process.")
@click.option("--file-size", metavar="SIZE", help="Size of a file it writes.")
@click.option("--disk", metavar="SIZE", help="Room in each folder it can write that is held in memory.")
@click.option("--output", metavar="SIZE", help="What it may print.")
@click.option(
    "--require",
    multiple=True,
    type=click.Choice([g.value for g in Guarantee]),
    metavar="GUARANTEE",
    help="Refuse to run unless this is kept too; `cloche runtimes` names them.",
)
@click.option("--lenient", is_flag=True, help="Run even if something can't be kept, and say what.")
@click.option("--report", is_flag=True, help="First print what is kept, and how, to standard error.")
@click.option(
    "-o", "--output-format", type=click.Choice(("stream", "json")), default="stream", show_default=True,
    help="Pass the output on as it comes, or print one JSON object at the end.",
)  # fmt: skip
def command(args: tuple[str, ...], **options: Any) -> int:  # noqa: ANN401 - click hands over what is declared above
    """Run PROGRAM in a sandbox of its own, which is gone when it ends.

    \b
    cloche run -- python3 -c 'print(6 * 7)'
    cloche run --isolation maximum -v ./data:/data -- sh -c 'wc -l /data/*'
    cloche run -it --workspace . -- bash

    Its exit code is passed on, 128 + n if signal n ended it. 124: time-out. 125: cloche failed. 126: not executable,
    or a policy that can't be kept here. 127: no such program in the sandbox.
    """  # noqa: D301 - \b keeps click from filling the lines
    with attached.Signals() as stop:
        try:
            code = _run(args, options, stop)
        except attached.Interrupted:
            code = 0
        return 128 + stop.caught if stop.caught else code


def _run(args: tuple[str, ...], options: dict[str, Any], stop: attached.Signals) -> int:
    terminal: bool = options["tty"]
    if terminal and not attached.stdin_is_terminal():
        raise SpecError("-t: standard input is not a terminal; leave out -t to pass it on as it is")
    typed = attached.stdin_is_terminal()
    feed = terminal or options["interactive"] or not typed
    as_json = options["output_format"] == "json"
    with new_host() as host:
        box = host.create(
            name=options["name"], isolation=options["isolation"], runtime=options["runtime"],
            require=options["require"], network=options["network"], limits=given.limits(options),
            workspace=options["workspace"], mounts=options["mount"], forbidden=options["forbid"],
            rootfs=options["rootfs"], env=given.environment(options["env"], terminal=terminal), user=options["user"],
            strict=not options["lenient"],
        )  # fmt: skip
        with box:
            _announce(box, report=options["report"])
            taken: list[Chunk] = []
            with attached.raw_terminal() if terminal else contextlib.nullcontext():
                job = box.spawn(
                    *args, stdin=OPEN if feed else None, cwd=options["cwd"], timeout=options["timeout"],
                    tty=attached.window() if terminal else False, lossless=True,
                )  # fmt: skip
                try:
                    take = taken.append if as_json else lambda chunk: attached.write(chunk, stop)
                    attached.follow(box, job, stop, take, feed=feed)
                except BrokenPipeError:
                    return BROKEN_PIPE
            result = job.wait()
    if as_json:
        out, err = (b"".join(c.data for c in taken if c.stream == stream) for stream in ("stdout", "stderr"))
        tables.show_json(_plain(replace(result, stdout=out, stderr=err), box))
    elif not stop.caught:
        _explain(result)
    return TIMED_OUT if result.reason in ("timeout", "limit:wall") else result.exit_code


def _announce(box: Sandbox, *, report: bool) -> None:
    """Say on standard error what is not kept, and all of it if ``report``."""
    if report:
        title = f"sandbox {box.id}: isolation {box.spec.level.name}, runtime {box.runtime}"
        tables.report(box.enforcement, title).show(stderr=True)
    for name, why in box.enforcement.refusals(box.spec.needed()).items():
        click.echo(f"cloche: {name} is not kept: {why}", err=True)


def _explain(result: Result) -> None:
    """Say on standard error how it ended, unless that was its own doing."""
    for violation in result.violations:
        text = f"{violation.rule} refused {violation.operation} {violation.target}: {violation.hint}"
        click.echo(f"cloche: {text}", err=True)
    if result.reason in ("exited", "signalled"):
        return
    cause = "" if result.reason == "refused" else f" ({result.reason})"
    more = f"; allow more with {_MORE[result.reason]}" if result.reason in _MORE else ""
    click.echo(f"cloche: {result.args[0]}: {result.detail or 'it was ended'}{cause}{more}", err=True)


def _plain(result: Result, box: Sandbox) -> dict[str, object]:
    return {
        "args": list(result.args),
        "exit_code": result.exit_code,
        "reason": result.reason,
        "signal": result.signal,
        "detail": result.detail,
        "stdout": _stream(result.stdout),
        "stderr": _stream(result.stderr),
        "duration": result.duration,
        "usage": asdict(result.usage),
        "violations": [asdict(violation) for violation in result.violations],
        "sandbox": box.id,
        "isolation": box.spec.level.name,
        "runtime": box.runtime,
        "enforcement": {name: box.enforcement.as_json()[name] for name in words.features(box.enforcement)},
    }


def _stream(data: bytes) -> dict[str, str]:
    """Give text as it is, anything else in base64."""
    try:
        return {"encoding": "utf-8", "data": data.decode()}
    except UnicodeDecodeError:
        return {"encoding": "base64", "data": base64.b64encode(data).decode()}
