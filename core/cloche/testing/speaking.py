"""What the tests of a runtime have its guests do, in words that a shell knows; a runtime without one has its own."""

from __future__ import annotations

from typing import Any

import cloche


class GuestPrograms:
    """The programs as command lines, for a box that has ``/bin/sh`` and coreutils.

    Where a guest is something else, subclass it, override every method that it can do, and set ``scripts`` to False.
    """

    scripts: bool = True
    """Whether ``/bin/sh`` runs what it is given; tests that are scripts are skipped without."""

    def options(self) -> dict[str, Any]:
        """Give what ``create`` needs beside, such as a mount with the programs."""
        return {}

    def close(self) -> None:
        """Give back what it holds, when the tests are over."""

    def says(self, out: str, err: str, code: int) -> tuple[str, ...]:
        """Print a line to each stream, and end with ``code``."""
        return "/bin/sh", "-c", f"echo {out}; echo {err} >&2; exit {code}"

    def arguments(self, *args: str) -> tuple[str, ...]:
        """Print each argument with a ``|`` behind it."""
        return "printf", "%s|", *args

    def environment(self) -> tuple[str, ...]:
        """Print each variable as a line."""
        return ("env",)

    def where(self) -> tuple[str, ...]:
        """Print the folder it was started in, as a line."""
        return ("pwd",)

    def elsewhere(self) -> str:
        """Give a folder that is in the box and is not the work folder."""
        return "/usr"

    def keeps(self, name: str, text: str) -> tuple[str, ...]:
        """Write ``text`` as a line into a file of the folder it was started in."""
        return "/bin/sh", "-c", f"echo {text} > {name}"

    def shows(self, name: str) -> tuple[str, ...]:
        """Print a file."""
        return "cat", name

    def counts(self) -> tuple[str, ...]:
        """Read standard input to its end, and print how many bytes it had, as a line."""
        return "wc", "-c"

    def not_executable(self, box: cloche.Sandbox) -> str:
        """Make a file that can't be executed, and give its name."""
        box.exec("/bin/sh", "-c", "echo hello > plain")
        return "./plain"

    def sleeps(self, seconds: str) -> tuple[str, ...]:
        """Sleep."""
        return "sleep", seconds

    def breaks(self) -> tuple[str, ...]:
        """Be ended by SIGSEGV."""
        return "/bin/sh", "-c", "kill -SEGV $$"

    def talks(self) -> tuple[str, ...]:
        """Print ``one``, read a line, print ``two`` and that line; a line each."""
        return "/bin/sh", "-c", "echo one; read x; echo two $x"

    def floods(self) -> tuple[str, ...]:
        """Print without end."""
        return "/bin/sh", "-c", "yes"

    def spins(self) -> tuple[str, ...]:
        """Compute without end, and print nothing."""
        return "/bin/sh", "-c", "while :; do :; done"
