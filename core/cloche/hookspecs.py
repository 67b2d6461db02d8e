"""Every hook of cloche. A plugin is a module or object with functions of these names marked ``@cloche.hookimpl``.

Names tell the kind: ``cloche_<plural noun>`` provides things and is called once, when the host loads its plugins
(``cloche_commands``: when a command line asks for them);
``cloche_<verb>_<noun>`` decides, and the first answer that is not ``None`` counts; ``cloche_<noun>_<participle>``
observes and its answer is ignored. No hook is called per event.

An implementation may leave out arguments it does not need. It is a plain function: not async, and no wrapper around
others'. One that raises or gives the wrong kind of thing is recorded, its plugin is unregistered and shown by
``cloche plugins``; the host goes on without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import pluggy

if TYPE_CHECKING:
    import click

    from cloche.events import Event
    from cloche.policy import IsolationLevel
    from cloche.runtime import Runtime
    from cloche.spec import Spec

PROJECT: Final = "cloche"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

# Declared so that names are settled; nothing calls these yet. docs/hooks.md says which capability brings the caller.
LATER: Final = {
    "cloche_profiles": "profiles in TOML",
    "cloche_event_sources": "the native event pipeline",
    "cloche_rules": "behaviour rules",
    "cloche_responses": "responses to incidents",
    "cloche_incident_raised": "responses to incidents",
    "cloche_vfs_backends": "the files API",
    "cloche_sync_strategies": "state sync",
    "cloche_sync_stores": "state sync",
    "cloche_images": "images",
    "cloche_routes": "the daemon",
}


@hookspec
def cloche_runtimes() -> Sequence[Runtime]:  # type: ignore[empty-body]
    """Provide ways to isolate.

    Give objects of subclasses of ``cloche.Runtime``. Each ``name`` must be new: a name once taken can't be shadowed.
    """


@hookspec
def cloche_isolation_levels() -> Sequence[IsolationLevel]:  # type: ignore[empty-body]
    """Provide isolation levels: named sets of guarantees plus policy defaults (``cloche.IsolationLevel``)."""


@hookspec
def cloche_commands() -> Sequence[click.Command]:  # type: ignore[empty-body]
    """Provide sub-commands of the ``cloche`` command line as ``click`` commands. Keep heavy imports inside them."""


@hookspec(firstresult=True)
def cloche_select_runtime(spec: Spec, candidates: Sequence[Runtime]) -> Runtime | None:
    """Decide which runtime makes a sandbox; stops at the first answer that is not ``None``.

    ``candidates`` holds only runtimes that work here and keep everything ``spec`` needs, best first by the level's
    preference; so a plugin can choose but never weaken. An answer that is not one of them is refused.
    """


@hookspec
def cloche_configure(config: Mapping[str, Any]) -> None:
    """Observe the plugin's own table of ``cloche.toml``, once, before any other of its hooks is called.

    ``config`` is the table named after the plugin (its entry-point name), empty if there is none.
    """


@hookspec
def cloche_sandbox_created(event: Event) -> None:
    """Observe a new sandbox, after it was started; ``event.sandbox`` is its id."""


@hookspec
def cloche_sandbox_deleted(event: Event) -> None:
    """Observe the end of a sandbox, after everything it held was given back."""


@hookspec
def cloche_profiles() -> Sequence[object]:  # type: ignore[empty-body]
    """Provide named, complete policies. Not called yet: comes with profiles in TOML."""


@hookspec
def cloche_event_sources() -> Sequence[object]:  # type: ignore[empty-body]
    """Provide sources of guest events. Not called yet: comes with the native event pipeline."""


@hookspec
def cloche_rules() -> Sequence[object]:  # type: ignore[empty-body]
    """Provide behaviour rules. Not called yet: comes with behaviour rules."""


@hookspec
def cloche_responses() -> Sequence[object]:  # type: ignore[empty-body]
    """Provide answers to incidents. Not called yet: comes with responses to incidents."""


@hookspec
def cloche_incident_raised(incident: object) -> None:
    """Observe an incident. Not called yet: comes with responses to incidents."""


@hookspec
def cloche_vfs_backends() -> Sequence[object]:  # type: ignore[empty-body]
    """Provide backends of the host-side files API. Not called yet: comes with the files API."""


@hookspec
def cloche_sync_strategies() -> Sequence[object]:  # type: ignore[empty-body]
    """Provide strategies for state conflicts. Not called yet: comes with state sync."""


@hookspec
def cloche_sync_stores() -> Sequence[object]:  # type: ignore[empty-body]
    """Provide places where state lasts. Not called yet: comes with state sync."""


@hookspec
def cloche_images() -> Sequence[object]:  # type: ignore[empty-body]
    """Provide images of languages and tools. Not called yet: comes with images."""


@hookspec
def cloche_routes() -> Sequence[object]:  # type: ignore[empty-body]
    """Provide routes of the daemon. Not called yet: comes with the daemon."""
