"""Finds plugins, loads them one after another, and goes on without those that break their contract.

A plugin is a module or object, found through the entry-point group ``cloche`` or given by the caller. Those of the
distribution ``cloche`` itself load first, then the others by name, then those given by the caller; a name once taken
(of a plugin, or of whatever plugins provide) can't be shadowed. Each is taken whole or not at all: whatever it raises,
at import or later, is recorded, and none of its hooks remain, and nothing that it provided.

A plugin is code that its user chose to install and runs inside the host: all this guards against mistakes, not malice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

import pluggy

from cloche import contract, hookspecs, units
from cloche.discovery import Found, given, installed
from cloche.errors import PluginError
from cloche.level import IsolationLevel
from cloche.plugin_entry import Entry

if TYPE_CHECKING:
    import click

    from cloche.anomaly.detector import AnomalyDetector
    from cloche.config import Config
    from cloche.events.source import EventSource, EventTap
    from cloche.files.backend import VfsBackend
    from cloche.incidents.incident import Incident
    from cloche.incidents.response import Response
    from cloche.notices import Notice
    from cloche.plugin_entry import PluginRecord
    from cloche.profile import Profile
    from cloche.rules.rule import Rule
    from cloche.runtime import Instance, Runtime
    from cloche.spec import Spec

_T = TypeVar("_T")
Environ = Mapping[str, str]


class Plugins:
    """The plugins of one host. Nothing is shared between hosts, and there is no global list."""

    def __init__(self, config: Config, environ: Environ = os.environ) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._entries: list[Entry] = []
        self._asked_for: set[str] = set()
        self._config, self._environ = config, environ
        self._rule_files: Mapping[str, tuple[Rule, str]] | None = None
        self.retired: list[Runtime] = []
        """Runtimes that went with a plugin which failed: the host may have used them and closes them in the end."""

    @classmethod
    def load(
        cls, config: Config, *, plugins: Iterable[object] = (), entry_points: bool = True, environ: Environ = os.environ
    ) -> Plugins:
        """Give the installed plugins (unless ``entry_points`` is false) and the objects in ``plugins``, loaded.

        A given object goes by its module's or class's name. Raises nothing for a bad plugin: see ``records``.
        """
        self = cls(config, environ)
        for found in chain(installed() if entry_points else (), map(given, plugins)):
            self._add(found, config)
        for name in sorted(config.blocked_plugins - {e.name for e in self._entries}):
            error = "the configuration blocks it, but no plugin has this name"
            self._entries.append(Entry(name, Found(name, object), "blocked", error))
        return self

    @property
    def records(self) -> tuple[PluginRecord, ...]:
        """What became of every plugin, in the order of loading."""
        return tuple(entry.record() for entry in self._entries)

    @property
    def runtimes(self) -> Mapping[str, Runtime]:
        """The runtimes of all loaded plugins by name."""
        return MappingProxyType({name: runtime for e in self._entries for name, runtime in e.runtimes.items()})

    @property
    def levels(self) -> Mapping[str, IsolationLevel]:
        """The isolation levels of all loaded plugins by name."""
        return MappingProxyType({name: level for e in self._entries for name, level in e.levels.items()})

    @property
    def profiles(self) -> Mapping[str, Profile]:
        """The profiles of all loaded plugins by name. Asked for once, when somebody wants a profile."""
        return self._wanted("profile", "cloche_profiles", lambda value, entry: contract.profile_of(value, entry.origin))

    @property
    def rules(self) -> Mapping[str, Rule]:
        """The behaviour rules of all loaded plugins and of files (``cloche.rules.found``), by id.

        Asked for and read once, when somebody wants rules. Raises ``SpecError`` for a bad file of rules.
        """
        return MappingProxyType({name: rule for name, (rule, _) in self.rules_from().items()})

    def rules_from(self) -> Mapping[str, tuple[Rule, str]]:
        """Give ``rules``, each with whose it is: a plugin, or a file."""
        from cloche.rules.found import from_files  # noqa: PLC0415 - a host that uses no rule need not pay

        self._ask_rules()
        known = {name: (rule, e.origin) for e in self._entries for name, rule in e.rules.items()}
        if self._rule_files is None:
            self._rule_files = from_files(known, self._config.rule_files, self._environ)
        return MappingProxyType({**known, **self._rule_files})

    def ask(self) -> None:
        """Ask all plugins for all they provide, but commands: then ``records`` are whole."""
        self._ask_rules()
        _ = self.profiles, self.responses, self.detectors

    def _ask_rules(self) -> None:
        self._wanted("rule", "cloche_rules", lambda value, _: contract.rule_of(value))

    @property
    def responses(self) -> Mapping[str, Response]:
        """The answers to incidents of all loaded plugins by name. Asked for once, when somebody wants rules."""
        return self._wanted("response", "cloche_responses", lambda value, _: contract.response_of(value))

    @property
    def detectors(self) -> Mapping[str, AnomalyDetector]:
        """The detectors of anomalies of all loaded plugins by name. Asked for once, when somebody wants them."""
        return self._wanted("detector", "cloche_anomaly_detectors", lambda value, _: contract.detector_of(value))

    def detector_failed(self, name: str, why: str) -> None:
        """Take out the plugin of a detector that failed at its work."""
        for entry in self._loaded():
            if name in entry.detectors:
                self._drop(entry, PluginError(f"the anomaly detector {name} {why}"))

    @property
    def backends(self) -> Mapping[str, VfsBackend]:
        """The file system backends of all loaded plugins by name."""
        return MappingProxyType({name: backend for e in self._entries for name, backend in e.backends.items()})

    @property
    def taps(self) -> Mapping[str, EventTap]:
        """What of all loaded plugins can tell of guests, by name."""
        return MappingProxyType({name: tap for e in self._entries for name, tap in e.taps.items()})

    @property
    def commands(self) -> Mapping[str, click.Command]:
        """The sub-commands of all loaded plugins by name. Asked for once; imports ``click``."""
        return self.load_commands()

    def load_commands(self, *, taken: Collection[str] = ()) -> Mapping[str, click.Command]:
        """Give ``commands``; the first call decides that those named in ``taken`` can't be shadowed."""
        return self._wanted("command", "cloche_commands", lambda value, _: contract.command_of(value, taken))

    def select_runtime(self, spec: Spec, candidates: Sequence[Runtime]) -> Runtime:
        """Give the candidate that a plugin chose, or the first if none did; the last loaded plugin is asked first.

        ``candidates`` are some of ``runtimes``. A plugin that raises or chooses anything else fails, and with it
        whatever of its own was a candidate; ``PluginError`` if that leaves none.
        """
        left = self._alive(candidates)
        for entry, impl in self._asked("cloche_select_runtime"):
            with self._guard(entry):
                answer = contract.called(impl, spec=spec, candidates=left)
                for candidate in left:
                    if candidate is answer:
                        return candidate
                if answer is not None:
                    raise PluginError(f"cloche_select_runtime chose {answer!r:.80}, which is none of the candidates")
            left = self._alive(left)
        return left[0]

    def created(self, notice: Notice) -> None:
        """Tell every plugin that observes it that a sandbox was created and started."""
        self._observe("cloche_sandbox_created", notice=notice)

    def deleted(self, notice: Notice) -> None:
        """Tell every plugin that observes it that a sandbox was deleted."""
        self._observe("cloche_sandbox_deleted", notice=notice)

    def incident(self, incident: Incident) -> None:
        """Tell every plugin that observes it of an incident, once it was answered."""
        self._observe("cloche_incident_raised", incident=incident)

    def attached(self, spec: Spec, instance: Instance) -> list[EventSource]:
        """Give a source of each tap that can tell of a box. Their plugins fail with them, whenever that is."""
        from cloche.monitoring.taps import Tapped  # noqa: PLC0415 - a host that watches nothing need not pay

        found: list[EventSource] = []
        for entry in self._loaded():
            for tap in list(entry.taps.values()):
                with self._guard(entry):
                    if (source := tap.attach(spec, instance)) is not None:
                        found.append(Tapped(source, tap.name, partial(self._guard, entry)))
        return found

    # -- inside -----------------------------------------------------------------------------------------------------

    def _add(self, found: Found, config: Config) -> None:
        first = next((e for e in self._entries if e.name == found.name), None)
        entry = Entry(found.name, found)
        self._entries.append(entry)
        if entry.name in config.blocked_plugins:
            entry.status, entry.error = "blocked", "the configuration blocks it"
            return
        with self._guard(entry):
            units.identifier(entry.name, "plugin name")
            if first is not None:
                raise PluginError(f"the plugin name {entry.name!r} is taken by {first.origin}")
            plugin = found.load()
            if plugin is None or plugin == object():
                raise PluginError(f"{plugin!r:.80} can't be a plugin; a module or an object with hooks can")
            entry.plugin = plugin
            self._manager.register(plugin, name=entry.name)
            self._manager.check_pending()
            self._collect_hooks(entry)
            for impl in entry.hooks.get("cloche_configure", ()):
                contract.called(impl, config=config.table(entry.name))
            for runtime in contract.provided(entry.hooks, "cloche_runtimes"):
                name = contract.runtime_name(runtime)
                self._check_free("runtime", name)
                runtime.configure(config)
                entry.runtimes[name] = runtime
            for level in contract.provided(entry.hooks, "cloche_isolation_levels"):
                if not isinstance(level, IsolationLevel):
                    raise PluginError(f"cloche_isolation_levels gave {level!r:.80}, which is no cloche.IsolationLevel")
                self._check_free("level", level.name)
                entry.levels[level.name] = level
            for backend in contract.provided(entry.hooks, "cloche_vfs_backends"):
                self._check_free("backend", name := contract.backend_name(backend))
                entry.backends[name] = backend
            for tap in contract.provided(entry.hooks, "cloche_event_sources"):
                self._check_free("tap", name := contract.tap_name(tap))
                entry.taps[name] = tap

    def _collect_hooks(self, entry: Entry) -> None:
        for caller in self._manager.get_hookcallers(entry.plugin) or ():
            entry.hooks[caller.name] = [i for i in caller.get_hookimpls() if i.plugin is entry.plugin]
        contract.check_hooks(entry.plugin, entry.hooks)

    def _wanted(self, kind: str, hook: str, made: Callable[[object, Entry], tuple[str, _T]]) -> Mapping[str, _T]:
        """Give what plugins provide of a kind, by name. They are asked for it once, now or before."""
        if kind not in self._asked_for:
            self._asked_for.add(kind)
            for entry in self._loaded():
                with self._guard(entry):
                    for thing in contract.provided(entry.hooks, hook):
                        name, value = made(thing, entry)
                        self._check_free(kind, name)
                        getattr(entry, f"{kind}s")[name] = value
        return MappingProxyType({name: value for e in self._entries for name, value in getattr(e, f"{kind}s").items()})

    def _check_free(self, kind: str, name: str) -> None:
        for other in self._entries:
            things: Mapping[str, object] = getattr(other, f"{kind}s")
            if name in things:
                raise PluginError(f"the {kind} name {name!r} is taken by {other.origin}")

    def _observe(self, hook: str, **told: object) -> None:
        for entry, impl in self._asked(hook):
            with self._guard(entry):
                contract.called(impl, **told)

    def _asked(self, hook: str) -> Iterator[tuple[Entry, pluggy.HookImpl]]:
        """Give who implements a hook, in pluggy's order: the last loaded first, unless marked otherwise."""
        caller: pluggy.HookCaller = getattr(self._manager.hook, hook)
        for impl in reversed(caller.get_hookimpls()):
            for entry in self._loaded():
                if entry.plugin is impl.plugin:
                    yield entry, impl

    def _alive(self, candidates: Sequence[Runtime]) -> tuple[Runtime, ...]:
        left = tuple(c for c in candidates if any(c is r for e in self._entries for r in e.runtimes.values()))
        if not left:
            raise PluginError("every runtime that could be chosen came from a plugin that failed; see `cloche plugins`")
        return left

    def _loaded(self) -> list[Entry]:
        return [e for e in self._entries if e.status == "loaded"]

    @contextmanager
    def _guard(self, entry: Entry) -> Iterator[None]:
        """Turn whatever is raised inside into the end of this plugin."""
        try:
            yield
        except KeyboardInterrupt:
            raise  # the person at the keyboard, not the plugin
        except BaseException as error:  # noqa: BLE001 - SystemExit at import and test frameworks' own are no Exception
            self._drop(entry, error)

    def _drop(self, entry: Entry, error: BaseException) -> None:
        self.retired += entry.runtimes.values()
        entry.fail(contract.describe(error))
        # A registration that failed may have left a part behind, under this very object only.
        if entry.plugin is not None and self._manager.get_plugin(entry.name) is entry.plugin:
            self._manager.unregister(name=entry.name)
