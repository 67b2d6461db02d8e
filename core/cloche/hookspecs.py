"""Every hook of cloche. A plugin is a module or object with functions of these names marked ``@cloche.hookimpl``.

Names tell the kind: ``cloche_<plural noun>`` provides things and is called once, when the host loads its plugins
(``cloche_profiles``, ``cloche_rules``, ``cloche_responses``, ``cloche_anomaly_detectors``, ``cloche_commands``: when
they are first wanted);
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

    from cloche.anomaly.detector import AnomalyDetector
    from cloche.events.source import EventTap
    from cloche.files.backend import VfsBackend
    from cloche.incidents.incident import Incident
    from cloche.incidents.response import Response
    from cloche.level import IsolationLevel
    from cloche.notices import Notice
    from cloche.profile import Profile
    from cloche.rules.rule import Rule
    from cloche.runtime import Runtime
    from cloche.spec import Spec

PROJECT: Final = "cloche"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

# Declared so that names are settled; nothing calls these yet. docs/hooks.md says which capability brings the caller.
LATER: Final = {
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
def cloche_profiles() -> Sequence[Profile]:  # type: ignore[empty-body]
    """Provide profiles: named, complete policies (``cloche.Profile``), mostly read from TOML the plugin brings along.

    Called when somebody first wants a profile. Each ``name`` must be new.
    """


@hookspec
def cloche_vfs_backends() -> Sequence[VfsBackend]:  # type: ignore[empty-body]
    """Provide ways to make file systems (``cloche.VfsBackend``), which ``host.vfs`` opens by their names.

    Give objects of subclasses. Each ``name`` must be new: a name once taken can't be shadowed.
    """


@hookspec
def cloche_event_sources() -> Sequence[EventTap]:  # type: ignore[empty-body]
    """Provide ways to see what guests do (``cloche.EventTap``): each gives a source of events per sandbox.

    Give objects of subclasses. Each ``name`` must be new: a name once taken can't be shadowed. A sandbox whose monitor
    names one in its ``sources`` is not started without it; without that, one that fails is recorded and done without.
    """


@hookspec
def cloche_commands() -> Sequence[click.Command]:  # type: ignore[empty-body]
    """Provide sub-commands of the ``cloche`` command line as ``click`` commands. Keep heavy imports inside them.

    One named ``rules.NAME`` is a sub-command of ``cloche rules``.
    """


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
def cloche_sandbox_created(notice: Notice) -> None:
    """Observe a new sandbox, after it was started; ``notice.sandbox`` is its id."""


@hookspec
def cloche_sandbox_deleted(notice: Notice) -> None:
    """Observe the end of a sandbox, after everything it held was given back."""


@hookspec
def cloche_rules() -> Sequence[Rule]:  # type: ignore[empty-body]
    """Provide behaviour rules (``cloche.Rule``). Each ``id`` must be new.

    Called when rules are first wanted: by a policy that uses some, or by ``cloche rules``.
    """


@hookspec
def cloche_responses() -> Sequence[Response]:  # type: ignore[empty-body]
    """Provide answers to incidents (``cloche.Response``). Each ``name`` must be new, and none of cloche's own.

    Called when rules are first wanted.
    """


@hookspec
def cloche_anomaly_detectors() -> Sequence[AnomalyDetector]:  # type: ignore[empty-body]
    """Provide what says how strange a program is (``cloche.AnomalyDetector``). Each ``name`` must be new.

    Called when anomalies are first wanted: by a policy whose rules ask for them.
    """


@hookspec
def cloche_incident_raised(incident: Incident) -> None:
    """Observe an incident (``cloche.Incident``), after what is done about it was done; later hits are only counted."""


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
