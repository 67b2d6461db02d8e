"""What a plugin promises by its hooks and runtimes, checked; and what to say when it broke that."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

import pluggy

from cloche import hookspecs, units
from cloche.enforcement import Guarantee
from cloche.errors import ClocheError, PluginError
from cloche.runtime import Runtime

_OURS: Final = {__file__, str(Path(__file__).with_name("plugins.py"))}


def check_hooks(plugin: object, hooks: Mapping[str, Sequence[pluggy.HookImpl]]) -> None:
    """Raise ``PluginError`` unless ``hooks``, by name, are some, all plain functions, and all that ``plugin`` meant."""
    for impl in chain.from_iterable(hooks.values()):
        if impl.hookwrapper or impl.wrapper:
            raise PluginError("a hook wrapper could change the answers of others; plain hooks only")
        if inspect.iscoroutinefunction(impl.function):
            raise PluginError(f"{impl.function.__name__} is async; hooks are plain functions")
    for name in dir(hookspecs):
        if name.startswith("cloche_") and name not in hooks and hasattr(plugin, name):
            raise PluginError(f"{name} is not marked; put @cloche.hookimpl over it")
    if not hooks:
        raise PluginError("it has no hooks; mark its functions with @cloche.hookimpl")


def runtime_name(value: object) -> str:
    """Give the name of a runtime that keeps the contract of its class variables, else raise ``PluginError``."""
    if isinstance(value, type):
        raise PluginError(f"cloche_runtimes gave the class {value.__name__}; give an object of it")
    if not isinstance(value, Runtime):
        raise PluginError(f"cloche_runtimes gave {value!r:.80}, which is no cloche.Runtime")
    for what, kind in (("name", str), ("summary", str), ("strength", int), ("guarantees", frozenset)):
        if not isinstance(getattr(value, what, None), kind):
            raise PluginError(f"the runtime {type(value).__name__} must have a {what} of type {kind.__name__}")
    if not all(isinstance(g, Guarantee) for g in value.guarantees):
        raise PluginError(f"the runtime {type(value).__name__} lists a guarantee that is no cloche.Guarantee")
    if units.identifier(value.name, "runtime name") != value.name.lower():
        raise PluginError(f"the runtime name {value.name!r} must be in lower case")
    return value.name


def describe(error: BaseException) -> str:
    """Give one line: what was raised and, where that is the plugin's own code, in which line of which file."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - an error whose text can't be had is still an error
        text = ""
    if isinstance(error, ClocheError | pluggy.PluginValidationError):
        return text
    text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename not in _OURS]
    return f"{text:.500} ({frames[-1].filename}:{frames[-1].lineno})" if frames else f"{text:.500}"
