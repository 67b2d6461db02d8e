"""``cloche run --language``: a file of code run in an interpreter of its own, its console as if it ran right here."""

from __future__ import annotations

import base64
import datetime as dt
import math
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from cloche.commands import attached, new_host, tables, words
from cloche.commands.program import KILLED, TIMED_OUT
from cloche.errors import SpecError
from cloche.interpreters.foreign import Opaque, Undefined
from cloche.interpreters.values import Bounds, ConsoleLine, GuestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloche.blocking import Host
    from cloche.interpreters.blocking import Interpreter, Session
    from cloche.interpreters.values import Ran

FAILED: Final = 1
_LIMITS: Final = ("memory", "disk", "files", "output", "wall")
_TAKEN: Final = frozenset({
    "args", "language", "isolation", "runtime", "require", "lenient", "timeout", "quiet", "output_format", "report",
    "interactive", *_LIMITS,
})  # fmt: skip
_MORE: Final = {"timeout": "--timeout", "limit:memory": "--memory", "limit:output": "--output"}
_DEEPEST: Final = 200


def run(args: tuple[str, ...], chosen: Mapping[str, Any], stop: attached.Signals) -> int:
    """Run the file that ``args`` begin with, and give the exit code. The others are its global ``args``."""
    _check(click.get_current_context())
    code = _source(args[0])
    as_json = chosen["output_format"] == "json"
    with new_host() as host, _prepared(host, chosen) as interpreter:
        if chosen["report"]:
            title = f"{interpreter.language}: isolation {interpreter.spec.level.name}, runtime {interpreter.runtime}"
            tables.report(interpreter.enforcement, title).show(stderr=True)
        for name, why in interpreter.enforcement.refusals(interpreter.spec.needed()).items():
            click.echo(f"cloche: {name} is not kept: {why}", err=True)
        with interpreter.session() as session:
            ran = _run(session, code, list(args[1:]), chosen, stop, live=not as_json)
        if as_json:
            tables.show_json(_plain(ran, interpreter))
        elif not stop.caught:
            _tell(ran, args[0], quiet=chosen["quiet"])
    if ran.ok:
        return 0
    return {"error": FAILED, "timeout": TIMED_OUT}.get(ran.reason, KILLED)


def _check(context: click.Context) -> None:
    for parameter in context.command.params:
        name = parameter.name or ""
        if name not in _TAKEN and context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"{parameter.opts[0]} is for programs; with --language there is no process")


def _source(name: str) -> str:
    most = Bounds().source
    try:
        if name == "-":
            data = sys.stdin.buffer.read(most + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(most + 1)
    except OSError as error:
        raise SpecError(f"{name}: it can't be read: {error.strerror}") from None
    if len(data) > most:
        raise SpecError(f"{name}: more than {words.size(most)} of source; give the data by other ways")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise SpecError(f"{name}: it is not UTF-8 text: byte {error.start} is {data[error.start]:#04x}") from None


def _prepared(host: Host, chosen: Mapping[str, Any]) -> Interpreter:
    return host.interpreter(
        chosen["language"], isolation=chosen["isolation"], runtime=chosen["runtime"], require=chosen["require"],
        limits={name: chosen[name] for name in _LIMITS if chosen[name] is not None}, strict=not chosen["lenient"],
    )  # fmt: skip


def _run(
    session: Session, code: str, args: list[str], chosen: Mapping[str, Any], stop: attached.Signals, *, live: bool
) -> Ran:
    """Run it in a thread of its own: signals are handled in this one, which would be busy."""
    done: list[Ran] = []
    trouble: list[BaseException] = []

    def work() -> None:
        try:
            done.append(
                session.run(code, {"args": args}, timeout=chosen["timeout"], on_console=_print if live else None)
            )
        except BaseException as error:  # noqa: BLE001 - raised in the main thread
            trouble.append(error)

    thread = threading.Thread(target=work, name="code", daemon=True)
    with stop.acting(session.close, lambda: None):
        thread.start()
        thread.join()
    if trouble:
        raise attached.Interrupted if stop.caught else trouble[0]
    return done[0]


def _print(line: ConsoleLine) -> None:
    click.echo(tables.plain_text(line.text), err=line.level in ("warn", "error"))


def _tell(ran: Ran, name: str, *, quiet: bool) -> None:
    """Print the value, or on standard error why there is none."""
    for violation in () if quiet else ran.violations:
        click.echo(tables.plain_text(f"cloche: {violation}"), err=True)
    if ran.ok:
        if ran.value is not None:
            text = ran.value if isinstance(ran.value, str) else tables.json_text(plain(ran.value))
            click.echo(tables.plain_text(text))
    elif ran.error is not None:
        stack = f"\n{ran.error.stack.rstrip()}" if ran.error.stack else ""
        click.echo(tables.plain_text(f"{ran.error.name}: {ran.error.message}{stack}"), err=True)
    else:
        more = f"; allow more with {_MORE[ran.reason]}" if ran.reason in _MORE else ""
        click.echo(tables.plain_text(f"cloche: {name}: {ran.explain()}{more}"), err=True)


def _plain(ran: Ran, interpreter: Interpreter) -> dict[str, object]:
    return {
        "language": interpreter.language,
        "reason": ran.reason,
        "value": plain(ran.value),
        "error": None if ran.error is None else asdict(ran.error),
        "console": [asdict(line) for line in ran.console],
        "usage": asdict(ran.usage),
        "detail": ran.detail,
        "violations": [asdict(violation) for violation in ran.violations],
        "isolation": interpreter.spec.level.name,
        "runtime": interpreter.runtime,
        "enforcement": {
            name: interpreter.enforcement.as_json()[name] for name in words.features(interpreter.enforcement)
        },
    }


def plain(value: object, deep: int = 0) -> object:
    """Give a value as JSON can hold it; what that lacks becomes an object with one key that names its kind."""
    if deep > _DEEPEST:
        return "..."
    match value:
        case list() | tuple():
            return [plain(one, deep + 1) for one in value]
        case dict() if all(isinstance(key, str) for key in value):
            return {key: plain(one, deep + 1) for key, one in value.items()}
        case dict():
            return {"map": [[plain(key, deep + 1), plain(one, deep + 1)] for key, one in value.items()]}
        case set() | frozenset():
            return {"set": [plain(one, deep + 1) for one in value]}
        case _:
            return _scalar(value)


def _scalar(value: object) -> object:  # noqa: PLR0911 - one line for each kind
    match value:
        case None | bool() | int() | str():
            return value
        case Undefined():
            return None
        case float():
            return value if math.isfinite(value) else {"number": str(value)}
        case bytes() | bytearray() | memoryview():
            return {"base64": base64.b64encode(value).decode()}
        case dt.datetime():
            return {"date": value.isoformat()}
        case GuestError():
            return {"error": asdict(value)}
        case Opaque():
            return {"opaque": value.text}
        case _:
            return {"other": str(value)[:1000]}
