"""What a plugin promises by its hooks and runtimes, checked; and what to say when it broke that."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pluggy

from cloche import hookspecs, units
from cloche.enforcement import Guarantee
from cloche.errors import ClocheError, PluginError, SpecError
from cloche.files.backend import VfsBackend
from cloche.runtime import Runtime

if TYPE_CHECKING:
    import click

    from cloche.anomaly.detector import AnomalyDetector
    from cloche.incidents.response import Response
    from cloche.profile import Profile
    from cloche.rules.rule import Rule

THINGS_MAX: Final = 1000  # of one kind from one plugin: an endless generator is a mistake, not a plugin
_TAKEN: Final = ("guest", "files", "life", "replay")
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
    runtime: Runtime = _object_of(value, Runtime, "cloche_runtimes")
    for what, kind in (("name", str), ("summary", str), ("strength", int), ("guarantees", frozenset)):
        if not isinstance(getattr(runtime, what, None), kind):
            raise PluginError(f"the runtime {type(runtime).__name__} must have a {what} of type {kind.__name__}")
    if not all(isinstance(g, Guarantee) for g in runtime.guarantees):
        raise PluginError(f"the runtime {type(runtime).__name__} lists a guarantee that is no cloche.Guarantee")
    if units.identifier(runtime.name, "runtime name") != runtime.name.lower():
        raise PluginError(f"the runtime name {runtime.name!r} must be in lower case")
    return runtime.name


def backend_name(value: object) -> str:
    """Give the name of a file system backend that keeps its contract, else raise ``PluginError``."""
    backend: VfsBackend = _object_of(value, VfsBackend, "cloche_vfs_backends")
    _check_texts(backend, "backend")
    return backend.name


def tap_name(value: object) -> str:
    """Give the name of an event tap that keeps its contract, else raise ``PluginError``."""
    from cloche.events.source import EventTap  # noqa: PLC0415 - few plugins bring one

    tap: EventTap = _object_of(value, EventTap, "cloche_event_sources")
    _check_texts(tap, "tap")
    if tap.name in _TAKEN:
        raise PluginError(f"the tap name {tap.name!r} is taken by cloche itself")
    return tap.name


def profile_of(value: object, origin: str) -> tuple[str, Profile]:
    """Give a profile with its name, noting whose it is, else raise ``PluginError``."""
    from cloche.profile import Profile  # noqa: PLC0415 - a host that uses no profile need not pay

    if not isinstance(value, Profile):
        raise PluginError(f"cloche_profiles gave {value!r:.80}, which is no cloche.Profile")
    return value.name, replace(value, source=origin)


def rule_of(value: object) -> tuple[str, Rule]:
    """Give a behaviour rule with its id, else raise ``PluginError``. A rule checked itself when it was made."""
    from cloche.rules.rule import Rule  # noqa: PLC0415 - a host that uses no rule need not pay

    if not isinstance(value, Rule):
        raise PluginError(f"cloche_rules gave {value!r:.80}, which is no cloche.Rule")
    return value.id, value


def response_of(value: object) -> tuple[str, Response]:
    """Give an answer to incidents that keeps its contract, with its name, else raise ``PluginError``."""
    from cloche.incidents.response import OWN, Response  # noqa: PLC0415 - the same

    response: Response = _object_of(value, Response, "cloche_responses")
    _check_texts(response, "response")
    if response.name in OWN:
        raise PluginError(f"the response name {response.name!r} is taken by cloche itself")
    try:
        units.duration(response.seconds, f"the response {response.name}: seconds", infinite=False)
    except SpecError as error:
        raise PluginError(str(error)) from None
    if not inspect.iscoroutinefunction(response.respond):
        raise PluginError(f"the response {response.name}: respond must be async")
    return response.name, response


def detector_of(value: object) -> tuple[str, AnomalyDetector]:
    """Give a detector of anomalies that keeps its contract, with its name, else raise ``PluginError``."""
    from cloche.anomaly.detector import AnomalyDetector  # noqa: PLC0415 - few hosts look for anomalies

    detector: AnomalyDetector = _object_of(value, AnomalyDetector, "cloche_anomaly_detectors")
    _check_texts(detector, "detector")
    for method in (detector.prepare, detector.learn, detector.score):
        if inspect.iscoroutinefunction(method):
            raise PluginError(f"the detector {detector.name}: {method.__name__} is async; it is called in a thread")
    return detector.name, detector


def command_of(value: object, taken: Collection[str]) -> tuple[str, click.Command]:
    """Give a sub-command with its name, which is none of those ``taken``, else raise ``PluginError``."""
    import click  # noqa: PLC0415 - costs more than the rest of the core, and only a command line needs it

    if not isinstance(value, click.Command):
        raise PluginError(f"cloche_commands gave {value!r:.80}, which is no click.Command")
    name = units.identifier(value.name or "", "command")
    if name in taken:
        raise PluginError(f"the command name {name!r} is taken by cloche itself")
    return name, value


def _object_of(value: object, kind: type, hook: str) -> Any:  # noqa: ANN401 - of that kind, which may be abstract
    if isinstance(value, type):
        raise PluginError(f"{hook} gave the class {value.__name__}; give an object of it")
    if not isinstance(value, kind):
        raise PluginError(f"{hook} gave {value!r:.80}, which is no cloche.{kind.__name__}")
    return value


def _check_texts(value: Any, kind: str) -> None:  # noqa: ANN401 - whatever a plugin gave
    """Raise ``PluginError`` unless a thing has a summary, and a name in lower case."""
    for what in ("name", "summary"):
        if not isinstance(getattr(value, what, None), str):
            raise PluginError(f"the {kind} {type(value).__name__} must have a {what} of type str")
    if units.identifier(value.name, f"{kind} name") != value.name.lower():
        raise PluginError(f"the {kind} name {value.name!r} must be in lower case")


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


def provided(hooks: Mapping[str, Sequence[pluggy.HookImpl]], hook: str) -> list[Any]:
    """Give what a plugin's implementations of a hook provide; raise ``PluginError`` for no sequence, or too many."""
    things: list[Any] = []
    for impl in hooks.get(hook, ()):
        answer = called(impl)
        if not isinstance(answer, Iterable):
            raise PluginError(f"{hook} gave {answer!r:.80}; a sequence is needed, empty if there is nothing")
        things += islice(iter(answer), THINGS_MAX + 1)
    if len(things) > THINGS_MAX:
        raise PluginError(f"{hook} gave more than {THINGS_MAX} things")
    return things


def called(impl: pluggy.HookImpl, **arguments: object) -> object:
    """Call an implementation of a hook with those arguments that it takes."""
    return impl.function(*[arguments[name] for name in impl.argnames])
