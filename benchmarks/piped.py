"""Programs with pipes for all three descriptors: run as root, runsc changes the owner of whatever else it is given."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

SHOWN = 500
"""How many bytes of its last words an error repeats."""


class Ended(NamedTuple):
    """How a program ended, and what it printed."""

    exit_code: int
    stdout: bytes
    stderr: bytes

    def last_words(self) -> str:
        """Give the end of what it said on standard error, or else on standard output."""
        return (self.stderr.strip() or self.stdout.strip())[-SHOWN:].decode("utf-8", "replace")


class Pipes(NamedTuple):
    """Our ends of the pipes of a program that runs."""

    stdin: int
    stdout: int
    stderr: int


@contextmanager
def spawned(argv: list[str], env: dict[str, str]) -> Iterator[tuple[int, Pipes]]:
    """Start a program and give its pid and our ends; they are closed at the end, waiting for it is the caller's."""
    made = [os.pipe(), os.pipe(), os.pipe()]
    theirs = [made[0][0], made[1][1], made[2][1]]
    ours = Pipes(made[0][1], made[1][0], made[2][0])
    try:
        actions = [(os.POSIX_SPAWN_DUP2, end, number) for number, end in enumerate(theirs)]
        pid = os.posix_spawn(argv[0], argv, env, file_actions=actions)
    except OSError:
        for end in ours:
            os.close(end)
        raise
    finally:
        for end in theirs:
            os.close(end)
    try:
        yield pid, ours
    finally:
        for end in ours:
            os.close(end)


def read_all(end: int) -> bytes:
    """Read a pipe to its end."""
    pieces = []
    while piece := os.read(end, 1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


def run(argv: list[str], env: dict[str, str]) -> Ended:
    """Run a program to its end; its input stays open and empty. What it says on standard error must be short."""
    with spawned(argv, env) as (pid, ours):
        stdout, stderr = read_all(ours.stdout), read_all(ours.stderr)
        _, status = os.waitpid(pid, 0)
    return Ended(os.waitstatus_to_exitcode(status), stdout, stderr)
