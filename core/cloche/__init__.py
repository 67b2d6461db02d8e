"""cloche: a glass bell for untrusted code - sealed, and see-through.

Everything public is named here. Runtimes, isolation levels and the rest come from plugins; this package only knows
their contracts.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from cloche.homes import MODULES

if TYPE_CHECKING:
    from cloche.agent import AgentInstance
    from cloche.agent_door import Agent
    from cloche.agent_limits import bounds
    from cloche.agent_process import AgentProcess
    from cloche.agent_runtime import AgentRuntime
    from cloche.agent_trees import AgentTrees
    from cloche.anomaly.detector import AnomalyDetector, AnomalyFeatures, AnomalyScore
    from cloche.blocking import Host
    from cloche.blocking_events import Events
    from cloche.blocking_sandbox import Job, Sandbox
    from cloche.blocking_secure import SecureFileSystem, create_secure_file_system
    from cloche.config import Config
    from cloche.enforcement import Enforced, Enforcement, Guarantee, Kept, Partial, Unenforced
    from cloche.errors import (
        AccessDenied,
        ArchiveError,
        AuditError,
        ClocheError,
        FileError,
        GuestFailed,
        HostError,
        JsonError,
        LimitExceeded,
        NotFound,
        PatchError,
        PluginError,
        PointerError,
        RegistryError,
        RuntimeUnavailable,
        SandboxError,
        SnapshotError,
        SpecError,
        StartError,
        StateError,
        Unenforceable,
        Unsupported,
    )
    from cloche.events.acts import Act, EventFlag, Source
    from cloche.events.event import Event, EventBatch, Origin
    from cloche.events.native import NativeSource
    from cloche.events.recorder import EventRecorder
    from cloche.events.replay import Replay, replay
    from cloche.events.source import EventSource, EventTap, Matched
    from cloche.exposure import Capacity, Exposure, Score, score
    from cloche.files.access import Access, Operation, PathPermissions, Verdict
    from cloche.files.api import Files
    from cloche.files.archive_place import ArchiveSummary
    from cloche.files.archive_stream import ArchiveLimits
    from cloche.files.asynchronous import AsyncFiles
    from cloche.files.backend import VfsBackend, VfsOptions
    from cloche.files.folder import FolderVfs
    from cloche.files.look import PathAct, PathStep, ShownPath
    from cloche.files.memory import MemoryVfs
    from cloche.files.survey import PathSurvey
    from cloche.files.transfer import Transfer
    from cloche.files.tree import Changed, Moved, Seen, Snapshot, TreeDiff, TreeLimits
    from cloche.files.vfs import Entry, FileKind, FileStat, Vfs, check_path, check_permissions
    from cloche.files.watch import AsyncWatching, Change, ChangeKind, Watch, Watching
    from cloche.grouped_runtime import GroupedRuntime
    from cloche.guest_etc import etc_folder
    from cloche.hookspecs import hookimpl
    from cloche.host import AsyncHost
    from cloche.incidents.audit import AuditLog
    from cloche.incidents.incident import Incident, Taken
    from cloche.incidents.match import Context, ProcessFacts
    from cloche.incidents.response import Response
    from cloche.incidents.store import Incidents
    from cloche.interpreters.asynchronous import AsyncInterpreter, AsyncSessionPool
    from cloche.interpreters.blocking import Interpreter, Session, SessionPool, Yields
    from cloche.interpreters.contract import Completion, HostCalls, Item, Language, LiveInterpreter, Running, Stream
    from cloche.interpreters.figures import RunMetrics, RunRecord
    from cloche.interpreters.foreign import UNDEFINED, BigInt, Opaque, Undefined
    from cloche.interpreters.live import SessionInfo
    from cloche.interpreters.once import run_js, run_python, run_ts
    from cloche.interpreters.sessions import AsyncSession, AsyncYields
    from cloche.interpreters.stock import SessionPoolSettings, SessionPoolStats
    from cloche.interpreters.values import (
        Bounds,
        ConsoleLine,
        GuestError,
        InterpreterSpec,
        Modules,
        Ran,
        Reason,
        RunUsage,
    )
    from cloche.job import AsyncJob
    from cloche.launch import Launch
    from cloche.level import IsolationLevel
    from cloche.machine import reachable, state_folder
    from cloche.monitor import Monitor
    from cloche.monitoring.judging import JudgingSource
    from cloche.monitoring.made import MadeSource
    from cloche.monitoring.stream import AsyncEvents
    from cloche.notices import Notice, NoticeType
    from cloche.output import Chunk
    from cloche.pipes import OPEN
    from cloche.plugin_entry import PluginRecord
    from cloche.plugins import Plugins
    from cloche.policy import Limits, Mount, Network, Policy, Workspace
    from cloche.pool.settings import PoolSettings, PoolTemplate
    from cloche.profile import Profile
    from cloche.profiles import Profiles
    from cloche.rules.condition import Condition, F
    from cloche.rules.dump import rules_text
    from cloche.rules.files import parse_rules, read_rules
    from cloche.rules.parse import parse_condition
    from cloche.rules.rule import After, Count, Earlier, Example, Rule
    from cloche.rules.ruleset import Rules
    from cloche.rules.severity import Severity
    from cloche.rules.surroundings import Surroundings
    from cloche.rules.syntax import Joined, Term, condition_tree
    from cloche.rules.written import written_condition
    from cloche.runtime import GuestProcess, Instance, Runtime
    from cloche.runtime_parts import Check, Exit, Stdio, Tree
    from cloche.sandbox import AsyncSandbox
    from cloche.snapshots.snapshot import BoxSnapshot
    from cloche.snapshots.store import SnapshotStore
    from cloche.spec import ProcessSpec, Result, Spec, State, Stats, Usage, Violation, Window
    from cloche.staging import Staging
    from cloche.uids import Seat
    from cloche.yamls import load_yaml

__version__ = "0.1.0"

__all__ = [
    "OPEN", "UNDEFINED", "Access", "AccessDenied", "Act", "After", "Agent", "AgentInstance", "AgentProcess",
    "AgentRuntime", "AgentTrees", "AnomalyDetector", "AnomalyFeatures", "AnomalyScore", "ArchiveError", "ArchiveLimits",
    "ArchiveSummary", "AsyncEvents", "AsyncFiles", "AsyncHost", "AsyncInterpreter", "AsyncJob", "AsyncSandbox",
    "AsyncSession", "AsyncSessionPool", "AsyncWatching", "AsyncYields", "AuditError", "AuditLog", "BigInt", "Bounds",
    "BoxSnapshot", "Capacity", "Change", "ChangeKind", "Changed", "Check", "Chunk", "ClocheError", "Completion",
    "Condition", "Config", "ConsoleLine", "Context", "Count", "Earlier", "Enforced", "Enforcement", "Entry", "Event",
    "EventBatch", "EventFlag", "EventRecorder", "EventSource", "EventTap", "Events", "Example", "Exit", "Exposure", "F",
    "FileError", "FileKind", "FileStat", "Files", "FolderVfs", "GroupedRuntime", "Guarantee", "GuestError",
    "GuestFailed", "GuestProcess", "Host", "HostCalls", "HostError", "Incident", "Incidents", "Instance", "Interpreter",
    "InterpreterSpec", "IsolationLevel", "Item", "Job", "Joined", "JsonError", "JudgingSource", "Kept", "Language",
    "Launch",
    "LimitExceeded", "Limits", "LiveInterpreter", "MadeSource", "Matched", "MemoryVfs", "Modules", "Monitor", "Mount",
    "Moved", "NativeSource", "Network", "NotFound", "Notice", "NoticeType", "Opaque", "Operation", "Origin", "Partial",
    "PatchError", "PathAct", "PathPermissions", "PathStep", "PathSurvey", "PluginError", "PluginRecord", "Plugins",
    "PointerError", "Policy", "PoolSettings", "PoolTemplate", "ProcessFacts", "ProcessSpec", "Profile", "Profiles",
    "Ran", "Reason", "RegistryError", "Replay", "Response", "Result", "Rule", "Rules", "RunMetrics", "RunRecord",
    "RunUsage", "Running", "Runtime", "RuntimeUnavailable", "Sandbox", "SandboxError", "Score", "Seat",
    "SecureFileSystem", "Seen", "Session", "SessionInfo", "SessionPool", "SessionPoolSettings", "SessionPoolStats",
    "Severity", "ShownPath", "Snapshot", "SnapshotError", "SnapshotStore", "Source", "Spec", "SpecError", "Staging",
    "StartError", "State", "StateError", "Stats", "Stdio", "Stream", "Surroundings", "Taken", "Term", "Transfer",
    "Tree", "TreeDiff", "TreeLimits", "Undefined", "Unenforceable", "Unenforced", "Unsupported", "Usage", "Verdict",
    "Vfs", "VfsBackend", "VfsOptions", "Violation", "Watch", "Watching", "Window", "Workspace", "Yields", "bounds",
    "check_path", "check_permissions", "condition_tree", "create_secure_file_system", "etc_folder", "hookimpl",
    "load_yaml", "parse_condition", "parse_rules", "reachable", "read_rules", "replay", "rules_text", "run", "run_js",
    "run_python", "run_ts", "score", "state_folder", "written_condition",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Import what is asked for when it is first asked for: all of it takes 50 ms, `cloche --help` needs none."""
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"cloche.{MODULES[name]}"), name)
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
