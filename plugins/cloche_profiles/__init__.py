"""The profiles that come with cloche: one TOML file each, beside this module."""

from __future__ import annotations

from importlib.resources import files

from cloche import Profile, hookimpl


@hookimpl
def cloche_profiles() -> list[Profile]:
    """Provide the profiles in the files beside this module; called when somebody first wants one."""
    found = sorted(entry.name for entry in files(__name__).iterdir() if entry.name.endswith(".toml"))
    return [Profile.parse(files(__name__).joinpath(name).read_text(encoding="utf-8"), where=name) for name in found]
