"""Finds plugins, loads them one after another, and goes on without those that break their contract.

A plugin is a module or object, found through the entry-point group ``cloche`` or given by the caller. Those of the
distribution ``cloche`` itself load first, then the others by name, then those given by the caller; a name once taken
(of a plugin, runtime, level or command) can't be shadowed. Each is taken whole or not at all: whatever it raises, at
import or later, is recorded, and none of its hooks, runtimes, levels and commands remain.

A plugin is code that its user chose to install and runs inside the host: all this guards against mistakes, not malice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

import pluggy

from cloche import hookspecs, units
from cloche.contract import check_hooks, describe, runtime_name
from cloche.discovery import Found, given, installed
from cloche.errors import PluginError
from cloche.policy import IsolationLevel

if TYPE_CHECKING:
    import click

    from cloche.config import Config
    from cloche.events import Event
    from cloche.runtime import Runtime
    from cloche.spec import Spec

Status = Literal["loaded", "failed", "blocked"]
THINGS_MAX: Final = 1000  # of one kind from one plugin: an endless generator is a mistake, not a plugin


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginRecord:
    """What became of one plugin: ``error`` says why it is not ``loaded``; the tuples name what it provides."""

    name: str
    distribution: str | None
    version: str | None
    status: Status
    error: str | None
    hooks: tuple[str, ...]
    runtimes: tuple[str, ...]
    levels: tuple[str, ...]
    commands: tuple[str, ...]


@dataclass(slots=True, eq=False)
class _Entry:
    """One plugin while the host lives."""

    name: str
    found: Found
    status: Status = "loaded"
    error: str | None = None
    plugin: object = None
    hooks: dict[str, list[pluggy.HookImpl]] = field(default_factory=dict)
    runtimes: dict[str, Runtime] = field(default_factory=dict)
    levels: dict[str, IsolationLevel] = field(default_factory=dict)
    commands: dict[str, click.Command] = field(default_factory=dict)

    def record(self) -> PluginRecord:
        return PluginRecord(
            name=self.name, distribution=self.found.distribution, version=self.found.version, status=self.status,
            error=self.error, hooks=tuple(sorted(self.hooks)), runtimes=tuple(self.runtimes),
            levels=tuple(self.levels), commands=tuple(self.commands),
        )  # fmt: skip


class Plugins:
    """The plugins of one host. Nothing is shared between hosts, and there is no global list."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._entries: list[_Entry] = []
        self._commands_asked = False
        self.retired: list[Runtime] = []
        """Runtimes that went with a plugin which failed: the host may have used them and closes them in the end."""

    @classmethod
    def load(cls, config: Config, *, plugins: Iterable[object] = (), entry_points: bool = True) -> Plugins:
        """Give the installed plugins (unless ``entry_points`` is false) and the objects in ``plugins``, loaded.

        A given object goes by its module's or class's name. Raises nothing for a bad plugin: see ``records``.
        """
        self = cls()
        for found in chain(installed() if entry_points else (), map(given, plugins)):
            self._add(found, config)
        for name in sorted(config.blocked_plugins - {e.name for e in self._entries}):
            error = "the configuration blocks it, but no plugin has this name"
            self._entries.append(_Entry(name, Found(name, object), "blocked", error))
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
    def commands(self) -> Mapping[str, click.Command]:
        """The sub-commands of all loaded plugins by name. Asked for once; imports ``click``."""
        return self.load_commands()

    def load_commands(self, *, taken: Collection[str] = ()) -> Mapping[str, click.Command]:
        """Give ``commands``; the first call decides that those named in ``taken`` can't be shadowed."""
        import click  # noqa: PLC0415 - costs more than the rest of the core, and only a command line needs it

        if not self._commands_asked:
            self._commands_asked = True
            for entry in self._loaded():
                with self._guard(entry):
                    for command in self._things(entry, "cloche_commands"):
                        if not isinstance(command, click.Command):
                            raise PluginError(f"cloche_commands gave {command!r:.80}, which is no click.Command")
                        name = units.identifier(command.name or "", "command")
                        if name in taken:
                            raise PluginError(f"the command name {name!r} is taken by cloche itself")
                        self._check_free("command", name)
                        entry.commands[name] = command
        return MappingProxyType({name: command for e in self._entries for name, command in e.commands.items()})

    def select_runtime(self, spec: Spec, candidates: Sequence[Runtime]) -> Runtime:
        """Give the candidate that a plugin chose, or the first if none did; the last loaded plugin is asked first.

        ``candidates`` are some of ``runtimes``. A plugin that raises or chooses anything else fails, and with it
        whatever of its own was a candidate; ``PluginError`` if that leaves none.
        """
        left = self._alive(candidates)
        for entry, impl in self._asked("cloche_select_runtime"):
            with self._guard(entry):
                answer = _call(impl, spec=spec, candidates=left)
                for candidate in left:
                    if candidate is answer:
                        return candidate
                if answer is not None:
                    raise PluginError(f"cloche_select_runtime chose {answer!r:.80}, which is none of the candidates")
            left = self._alive(left)
        return left[0]

    def created(self, event: Event) -> None:
        """Tell every plugin that observes it that a sandbox was created and started."""
        self._observe("cloche_sandbox_created", event)

    def deleted(self, event: Event) -> None:
        """Tell every plugin that observes it that a sandbox was deleted."""
        self._observe("cloche_sandbox_deleted", event)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _add(self, found: Found, config: Config) -> None:
        first = next((e for e in self._entries if e.name == found.name), None)
        entry = _Entry(found.name, found)
        self._entries.append(entry)
        if entry.name in config.blocked_plugins:
            entry.status, entry.error = "blocked", "the configuration blocks it"
            return
        with self._guard(entry):
            units.identifier(entry.name, "plugin name")
            if first is not None:
                raise PluginError(f"the plugin name {entry.name!r} is taken by {_origin(first)}")
            plugin = found.load()
            if plugin is None or plugin == object():
                raise PluginError(f"{plugin!r:.80} can't be a plugin; a module or an object with hooks can")
            entry.plugin = plugin
            self._manager.register(plugin, name=entry.name)
            self._manager.check_pending()
            self._collect_hooks(entry)
            for impl in entry.hooks.get("cloche_configure", ()):
                _call(impl, config=config.table(entry.name))
            for runtime in self._things(entry, "cloche_runtimes"):
                name = runtime_name(runtime)
                self._check_free("runtime", name)
                runtime.configure(config)
                entry.runtimes[name] = runtime
            for level in self._things(entry, "cloche_isolation_levels"):
                if not isinstance(level, IsolationLevel):
                    raise PluginError(f"cloche_isolation_levels gave {level!r:.80}, which is no cloche.IsolationLevel")
                self._check_free("level", level.name)
                entry.levels[level.name] = level

    def _collect_hooks(self, entry: _Entry) -> None:
        for caller in self._manager.get_hookcallers(entry.plugin) or ():
            entry.hooks[caller.name] = [i for i in caller.get_hookimpls() if i.plugin is entry.plugin]
        check_hooks(entry.plugin, entry.hooks)

    def _check_free(self, kind: str, name: str) -> None:
        for other in self._entries:
            things: Mapping[str, object] = getattr(other, f"{kind}s")
            if name in things:
                raise PluginError(f"the {kind} name {name!r} is taken by {_origin(other)}")

    def _things(self, entry: _Entry, hook: str) -> list[Any]:
        things: list[Any] = []
        for impl in entry.hooks.get(hook, ()):
            answer = _call(impl)
            if not isinstance(answer, Iterable):
                raise PluginError(f"{hook} gave {answer!r:.80}; a sequence is needed, empty if there is nothing")
            things += islice(iter(answer), THINGS_MAX + 1)
        if len(things) > THINGS_MAX:
            raise PluginError(f"{hook} gave more than {THINGS_MAX} things")
        return things

    def _observe(self, hook: str, event: Event) -> None:
        for entry, impl in self._asked(hook):
            with self._guard(entry):
                _call(impl, event=event)

    def _asked(self, hook: str) -> Iterator[tuple[_Entry, pluggy.HookImpl]]:
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

    def _loaded(self) -> list[_Entry]:
        return [e for e in self._entries if e.status == "loaded"]

    @contextmanager
    def _guard(self, entry: _Entry) -> Iterator[None]:
        """Turn whatever is raised inside into the end of this plugin."""
        try:
            yield
        except KeyboardInterrupt:
            raise  # the person at the keyboard, not the plugin
        except BaseException as error:  # noqa: BLE001 - SystemExit at import and test frameworks' own are no Exception
            self._drop(entry, error)

    def _drop(self, entry: _Entry, error: BaseException) -> None:
        entry.status, entry.error = "failed", describe(error)
        self.retired += entry.runtimes.values()
        entry.hooks, entry.runtimes, entry.levels, entry.commands = {}, {}, {}, {}
        # A registration that failed may have left a part behind, under this very object only.
        if entry.plugin is not None and self._manager.get_plugin(entry.name) is entry.plugin:
            self._manager.unregister(name=entry.name)


def _origin(entry: _Entry) -> str:
    return f"plugin {entry.name!r} of {entry.found.distribution or 'the program itself'}"


def _call(impl: pluggy.HookImpl, **arguments: object) -> object:
    return impl.function(*[arguments[name] for name in impl.argnames])
