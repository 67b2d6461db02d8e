"""Where profiles come from: plugins, ``/etc/cloche/profiles``, the user's own folder; or a file named outright.

A file ``NAME.toml`` in one of the two folders holds the profile ``NAME``. The user's folder is
``$XDG_CONFIG_HOME/cloche/profiles`` (``~/.config`` when unset). Nothing is read from the present folder by itself, and
a file that was found must belong to root or this user and be writable by no one else, as with ``cloche.toml``. A name
is taken once: a second profile of that name anywhere is an error, never a replacement, since whoever asks for
``untrusted-python`` must know what that means.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cloche import settings, units
from cloche.errors import SpecError
from cloche.profile import KIND, Profile, read

if TYPE_CHECKING:
    from cloche.plugins import Plugins

FOLDER: Final = "profiles"
SUFFIX: Final = ".toml"
FILES_MAX: Final = 1000


class Profiles(Mapping[str, Profile]):
    """The profiles one host knows, by name; files are read when they are asked for, and again each time.

    ``profiles[name]`` raises ``KeyError`` for an unknown name and ``SpecError`` for one that is taken twice or whose
    file is bad. Iterating gives every name, sorted, also of bad files.
    """

    def __init__(self, plugins: Plugins, *, environ: Mapping[str, str] = os.environ) -> None:
        self._plugins = plugins
        self._environ = environ

    def __getitem__(self, name: str) -> Profile:
        units.identifier(name, KIND)
        provided = self._plugins.profiles.get(name)
        places = [folder / f"{name}{SUFFIX}" for folder in self._folders()]
        files = [path for path in places if settings.exists(path, KIND)]
        taken = [*([provided.source or "a plugin"] if provided else []), *map(str, files)]
        if len(taken) > 1:
            raise SpecError(f"profile: the name {name!r} is taken twice, by {' and '.join(taken)}; rename one")
        if provided is not None:
            return provided
        if not files:
            raise KeyError(name)
        profile = read(files[0], found=True)
        if profile.name != name:
            raise SpecError(f"{files[0]}: it holds the profile {profile.name!r}; name the file {profile.name}{SUFFIX}")
        return profile

    def __iter__(self) -> Iterator[str]:
        names = set(self._plugins.profiles)
        for folder in self._folders():
            names.update(path.name.removesuffix(SUFFIX) for path in _files(folder))
        return iter(sorted(names))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def choose(self, wanted: str | Path | Profile) -> Profile:
        """Give the profile of a name, in a file (a ``Path``, or text with a slash), or the one given.

        Raises ``SpecError`` for an unknown name, saying which are known, and for a bad file.
        """
        if isinstance(wanted, Profile):
            return wanted
        if isinstance(wanted, Path) or (isinstance(wanted, str) and "/" in wanted):
            return Profile.read(wanted)
        try:
            return self[wanted]
        except KeyError:
            known = ", ".join(self) or "none"
            file = f"./{wanted.removesuffix(SUFFIX)}{SUFFIX}"
            raise SpecError(
                f"profile: {wanted!r} is unknown; known are {known}. A file is given with a slash: {file}"
            ) from None

    def _folders(self) -> list[Path]:
        """Give the system's folder, then the user's."""
        return [folder / FOLDER for folder in reversed(settings.folders(self._environ))]


def _files(folder: Path) -> list[Path]:
    """Give the files of a folder that may not be there. Raises ``SpecError`` where it can't be looked into."""
    try:
        with os.scandir(folder) as entries:
            found = [Path(entry.path) for entry in entries if entry.name.endswith(SUFFIX)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError) as error:
        raise SpecError(f"{folder}: can't look for profiles here: {error}") from None
    if len(found) > FILES_MAX:
        raise SpecError(f"{folder}: more than {FILES_MAX} profiles")
    return found
