"""The programs that every ``FakeRuntime`` has."""

from __future__ import annotations

import signal as signals
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloche.testing.guest import Guest, Program


async def _true(_: Guest) -> int:
    return 0


async def _false(_: Guest) -> int:
    return 1


async def _exit(guest: Guest) -> int:
    return int(guest.args[1])


async def _echo(guest: Guest) -> None:
    await guest.write(" ".join(guest.args[1:]) + "\n")


async def _warn(guest: Guest) -> None:
    await guest.write(" ".join(guest.args[1:]) + "\n", stream=2)


async def _cat(guest: Guest) -> None:
    while data := await guest.read():
        await guest.write(data)


async def _yes(guest: Guest) -> None:
    while True:
        await guest.write("y\n" * 1024)


async def _env(guest: Guest) -> None:
    await guest.write("".join(f"{name}={value}\n" for name, value in guest.env.items()))


async def _pwd(guest: Guest) -> None:
    await guest.write(guest.cwd + "\n")


async def _sleep(guest: Guest) -> None:
    await guest.sleep(float(guest.args[1]))


async def _stubborn(guest: Guest) -> None:
    for number in (signals.SIGTERM, signals.SIGINT, signals.SIGHUP):
        guest.on_signal(number, lambda _: None)
    await guest.write("ready\n")
    await _sleep(guest)


async def _daemon(guest: Guest) -> None:
    guest.spawn(_sleep)


async def _hog(_: Guest) -> None:
    raise MemoryError


PROGRAMS: Final[Mapping[str, Program | None]] = {
    "true": _true,
    "false": _false,
    "exit": _exit,  # exit CODE
    "echo": _echo,
    "warn": _warn,  # echo to standard error
    "cat": _cat,
    "yes": _yes,  # prints for ever
    "env": _env,
    "pwd": _pwd,
    "sleep": _sleep,  # sleep SECONDS
    "stubborn": _stubborn,  # sleep SECONDS, minding no signal that can be ignored
    "daemon": _daemon,  # leave a descendant behind that sleeps SECONDS with its output open
    "hog": _hog,  # run out of memory
    "data": None,  # a file that can't be executed
}
"""The programs of a ``FakeRuntime`` by name; ``None`` stands for a file that can't be executed."""
