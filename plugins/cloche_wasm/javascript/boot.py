"""The guest's half of the border: scripts that are run once, before a template is made of the memory they leave."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

from cloche_wasm.boot import Script

GATE = "__host"
"""The one function through which the guest asks the host; the scripts take it away from the globals."""
HANDLES = ("encode", "poll", "prepare", "command")
"""What the scripts leave for the host to take: ``runner.js`` says what each is for."""
_CONSTANTS = (("undefined", "undefined"), ("yes", "true"), ("no", "false"))
_PARTS = ("primordials", "values", "console", "files", "modules", "calls", "timers", "random", "runner")


def scripts(*, harden: bool, preload: Sequence[str], texts: Mapping[str, str]) -> tuple[Script, ...]:
    """Give the scripts. ``preload`` names modules to run beforehand; ``texts`` are theirs and of what they need."""
    given = [Script(f"{name}.js", _read(name)) for name in _PARTS]
    if preload:
        given.append(
            Script(
                "preload.js",
                f"__boot.preload({json.dumps(list(preload))}, {json.dumps(sorted(texts.items()))});\n",
            )
        )
    if harden:
        given.append(Script("harden.js", _read("harden")))
    given += [Script(f"{name}.js", f"globalThis.__{name};\n", name) for name in HANDLES]
    given += [Script(f"{name}.js", text, name) for name, text in _CONSTANTS]
    given.append(Script("end.js", _read("end")))
    return tuple(given)


@cache
def _read(name: str) -> str:
    return files("cloche_wasm.javascript").joinpath("guest", f"{name}.js").read_text("utf-8")
