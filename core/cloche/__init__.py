"""cloche: a glass bell for untrusted code - sealed, and see-through.

Everything public is named here. Runtimes, isolation levels and the rest come from plugins; this package only knows
their contracts.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cloche.agent import AgentInstance
    from cloche.agent_runtime import AgentRuntime
    from cloche.blocking import Host
    from cloche.blocking_sandbox import Job, Sandbox
    from cloche.config import Config
    from cloche.enforcement import Enforced, Enforcement, Guarantee, Kept, Partial, Unenforced
    from cloche.errors import (
        ClocheError,
        GuestFailed,
        LimitExceeded,
        NotFound,
        PluginError,
        RuntimeUnavailable,
        SandboxError,
        SpecError,
        StartError,
        StateError,
        Unenforceable,
        Unsupported,
    )
    from cloche.events import Event, EventType
    from cloche.hookspecs import hookimpl
    from cloche.host import AsyncHost
    from cloche.job import AsyncJob
    from cloche.launch import Launch
    from cloche.machine import reachable, state_folder
    from cloche.output import Chunk
    from cloche.pipes import OPEN
    from cloche.plugins import PluginRecord, Plugins
    from cloche.policy import IsolationLevel, Limits, Mount, Network, Policy, Workspace
    from cloche.runtime import Check, Exit, GuestProcess, Instance, Runtime, Stdio
    from cloche.sandbox import AsyncSandbox
    from cloche.spec import ProcessSpec, Result, Spec, State, Usage, Violation, Window
    from cloche.staging import Staging
    from cloche.uids import Seat

__version__ = "0.1.0"

__all__ = [
    "OPEN",
    "AgentInstance",
    "AgentRuntime",
    "AsyncHost",
    "AsyncJob",
    "AsyncSandbox",
    "Check",
    "Chunk",
    "ClocheError",
    "Config",
    "Enforced",
    "Enforcement",
    "Event",
    "EventType",
    "Exit",
    "Guarantee",
    "GuestFailed",
    "GuestProcess",
    "Host",
    "Instance",
    "IsolationLevel",
    "Job",
    "Kept",
    "Launch",
    "LimitExceeded",
    "Limits",
    "Mount",
    "Network",
    "NotFound",
    "Partial",
    "PluginError",
    "PluginRecord",
    "Plugins",
    "Policy",
    "ProcessSpec",
    "Result",
    "Runtime",
    "RuntimeUnavailable",
    "Sandbox",
    "SandboxError",
    "Seat",
    "Spec",
    "SpecError",
    "Staging",
    "StartError",
    "State",
    "StateError",
    "Stdio",
    "Unenforceable",
    "Unenforced",
    "Unsupported",
    "Usage",
    "Violation",
    "Window",
    "Workspace",
    "hookimpl",
    "reachable",
    "run",
    "state_folder",
]

_HOME: Final = {
    "agent": ("AgentInstance",),
    "agent_runtime": ("AgentRuntime",),
    "blocking": ("Host",),
    "blocking_sandbox": ("Job", "Sandbox"),
    "config": ("Config",),
    "enforcement": ("Enforced", "Enforcement", "Guarantee", "Kept", "Partial", "Unenforced"),
    "errors": (
        "ClocheError", "GuestFailed", "LimitExceeded", "NotFound", "PluginError", "RuntimeUnavailable", "SandboxError",
        "SpecError", "StartError", "StateError", "Unenforceable", "Unsupported",
    ),
    "events": ("Event", "EventType"),
    "hookspecs": ("hookimpl",),
    "host": ("AsyncHost",),
    "job": ("AsyncJob",),
    "launch": ("Launch",),
    "machine": ("reachable", "state_folder"),
    "output": ("Chunk",),
    "pipes": ("OPEN",),
    "plugins": ("PluginRecord", "Plugins"),
    "policy": ("IsolationLevel", "Limits", "Mount", "Network", "Policy", "Workspace"),
    "runtime": ("Check", "Exit", "GuestProcess", "Instance", "Runtime", "Stdio"),
    "sandbox": ("AsyncSandbox",),
    "staging": ("Staging",),
    "spec": ("ProcessSpec", "Result", "Spec", "State", "Usage", "Violation", "Window"),
    "uids": ("Seat",),
}  # fmt: skip
_MODULE: Final = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> object:
    """Import what is asked for when it is first asked for: all of it takes 50 ms, `cloche --help` needs none."""
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"cloche.{_MODULE[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def run(*args: str, **options: Any) -> Result:  # noqa: ANN401 - the options are those of Host.run, checked there
    """Run one program in a sandbox of its own and give how it ended; options are those of ``Host.run``.

    It opens a host for this one call. A program that runs many keeps a ``Host``.
    """
    from cloche.blocking import Host  # noqa: PLC0415 - see __getattr__

    with Host() as host:
        return host.run(*args, **options)
