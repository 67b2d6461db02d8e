"""Which rules a host knows: those of its plugins, and those in files.

Files are ``*.yaml`` in ``/etc/cloche/rules`` and ``$XDG_CONFIG_HOME/cloche/rules``, and those that ``[rules] files`` of
``cloche.toml`` names. One that was found must belong to root or this user and be writable by no one else, as with
``cloche.toml``. An id is taken once: a second rule of that id anywhere is an error, never a replacement.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from cloche import settings
from cloche.errors import SpecError
from cloche.rules.files import read_rules
from cloche.rules.rule import Rule

FOLDER: Final = "rules"
SUFFIXES: Final = (".yaml", ".yml")
FILES_MAX: Final = 1000


def from_files(
    taken: Mapping[str, tuple[Rule, str]], named: Iterable[str], environ: Mapping[str, str] = os.environ
) -> dict[str, tuple[Rule, str]]:
    """Give the rules of files by id, each with its file; ``taken`` are those of plugins, with whose they are.

    Raises ``SpecError`` for a bad file, one that can't be read, and an id that is taken. Going on without the rules of
    a bad file would watch less than its owner decided.
    """
    made: dict[str, tuple[Rule, str]] = {}
    for path, found in [*((path, True) for path in _found(environ)), *((Path(name), False) for name in named)]:
        for rule in read_rules(path, found=found):
            first = taken.get(rule.id) or made.get(rule.id)
            if first is not None:
                raise SpecError(f"{path}: the rule id {rule.id!r} is taken by {first[1]}; rename one")
            made[rule.id] = rule, str(path)
    return made


def _found(environ: Mapping[str, str]) -> Iterator[Path]:
    """Give the files of the system's folder, then those of the user's, by name."""
    for base in reversed(settings.folders(environ)):
        folder = base / FOLDER
        try:
            names = sorted(name for name in os.listdir(folder) if name.endswith(SUFFIXES))
        except (FileNotFoundError, NotADirectoryError):
            continue  # nobody put rules here
        except (OSError, ValueError) as error:
            raise SpecError(f"{folder}: can't look for rules here: {error}") from None
        if len(names) > FILES_MAX:
            raise SpecError(f"{folder}: more than {FILES_MAX} files of rules")
        yield from (folder / name for name in names)
