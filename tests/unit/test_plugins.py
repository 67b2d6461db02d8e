from __future__ import annotations

import itertools
import sys
import sysconfig
from dataclasses import dataclass, replace
from importlib import metadata
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import click
import pytest

from cloche import (
    Act,
    AsyncSandbox,
    Config,
    Guarantee,
    Incident,
    IsolationLevel,
    Notice,
    NoticeType,
    PluginError,
    Plugins,
    Response,
    Rule,
    Runtime,
    Severity,
    Spec,
    SpecError,
    Vfs,
    VfsBackend,
    VfsOptions,
    hookimpl,
)
from cloche.testing import FakeRuntime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from cloche import PluginRecord


class Strong(FakeRuntime):
    name = "strong"
    strength = 40


def module(name: str, **hooks: Callable[..., object]) -> ModuleType:
    """Give a plugin made of these functions, as its author would have written it."""
    made = ModuleType(name)
    for hook, function in hooks.items():
        function.__name__ = hook
        setattr(made, hook, hookimpl(function))
    return made


def load(*plugins: object, config: Mapping[str, Any] | None = None) -> Plugins:
    return Plugins.load(Config.load(config or {}), plugins=plugins, entry_points=False)


def record(plugins: Plugins, name: str) -> PluginRecord:
    (found,) = [r for r in plugins.records if r.name == name]
    return found


def failure(plugins: Plugins, name: str) -> str:
    """Give why a plugin failed, having checked that nothing of it is left."""
    found = record(plugins, name)
    assert found.status == "failed"
    assert found.hooks == found.runtimes == found.levels == found.commands == found.rules == found.responses == ()
    assert not plugins._manager.get_plugin(name)
    callers = [getattr(plugins._manager.hook, hook) for hook in vars(plugins._manager.hook) if hook[0] != "_"]
    assert not [impl for caller in callers for impl in caller.get_hookimpls() if impl.plugin_name == name]
    assert found.error
    return found.error


def raising(error: BaseException) -> Callable[[], object]:
    def hook() -> object:
        raise error

    return hook


def nothing() -> list[object]:
    return []


good = module("good", cloche_runtimes=lambda: [FakeRuntime()])


# -- what works --------------------------------------------------------------------------------------------------------


def test_without_plugins_there_is_nothing() -> None:
    plugins = load()
    assert plugins.records == ()
    assert [*plugins.runtimes, *plugins.levels, *plugins.commands] == []


def test_a_good_plugin_provides_what_it_gives(make_level: Callable[[str], IsolationLevel]) -> None:
    runtime, level, command = FakeRuntime(), make_level("mine"), click.Command("hello")
    plugins = load(
        module(
            "all",
            cloche_runtimes=lambda: (runtime,),
            cloche_isolation_levels=lambda: iter([level]),
            cloche_commands=lambda: [command],
        )
    )
    assert plugins.runtimes["fake"] is runtime
    assert plugins.levels["mine"] is level
    assert plugins.commands["hello"] is command
    found = record(plugins, "all")
    assert (found.status, found.error, found.distribution, found.version) == ("loaded", None, None, None)
    assert found.hooks == ("cloche_commands", "cloche_isolation_levels", "cloche_runtimes")
    assert (found.runtimes, found.levels, found.commands) == (("fake",), ("mine",), ("hello",))


class Attic(VfsBackend):
    name = "attic"
    summary = "for tests"

    def open(self, options: VfsOptions) -> Vfs:
        raise SpecError(f"nothing opens {options}")


def test_a_plugin_may_provide_file_systems() -> None:
    backend = Attic()
    plugins = load(
        module("mine", cloche_vfs_backends=lambda: [backend]), module("shadow", cloche_vfs_backends=lambda: [Attic()])
    )
    assert plugins.backends["attic"] is backend
    assert record(plugins, "mine").backends == ("attic",)
    assert "the backend name 'attic' is taken by plugin 'mine'" in failure(plugins, "shadow")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (Attic, "gave the class Attic"), (5, "which is no cloche.VfsBackend"),
        (type("Bad", (Attic,), {"summary": None})(), "must have a summary"),
        (type("Bad", (Attic,), {"name": "Attic"})(), "lower case"),
    ],
)  # fmt: skip
def test_what_is_no_file_system_backend_ends_its_plugin(value: object, told: str) -> None:
    assert told in failure(load(module("bad", cloche_vfs_backends=lambda: [value])), "bad")


def test_a_plugin_may_be_an_object_or_a_class() -> None:
    class Whole:
        @hookimpl
        def cloche_runtimes(self) -> list[Runtime]:
            return [Strong()]

    class Static:
        @staticmethod
        @hookimpl
        def cloche_runtimes() -> list[Runtime]:
            return [FakeRuntime()]

    plugins = load(Whole(), Static)
    assert [r.name for r in plugins.records] == ["Whole", "Static"]
    assert list(plugins.runtimes) == ["strong", "fake"]


def test_two_hosts_share_nothing() -> None:
    assert list(load(good).runtimes) == ["fake"]
    assert list(load().runtimes) == []


def test_what_plugins_provide_can_not_be_changed_from_outside() -> None:
    with pytest.raises(TypeError):
        load(good).runtimes["x"] = FakeRuntime()  # type: ignore[index]


def test_a_plugin_gets_its_own_table_once_before_its_other_hooks() -> None:
    calls: list[object] = []

    def runtimes() -> list[Runtime]:
        calls.append("runtimes")
        return []

    plugin = module("mine", cloche_configure=lambda config: calls.append(dict(config)), cloche_runtimes=runtimes)
    load(plugin, config={"plugins": {"mine": {"a": 1}, "other": {"b": 2}}})
    assert calls == [{"a": 1}, "runtimes"]


def test_a_hook_that_nothing_calls_yet_may_be_implemented() -> None:
    assert record(load(module("later", cloche_images=nothing)), "later").hooks == ("cloche_images",)


# -- plugins that break their contract ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hook", ["cloche_configure", "cloche_runtimes", "cloche_isolation_levels"]
)  # cloche_commands is called later, see below
@pytest.mark.parametrize(
    "error", [ValueError("no"), SystemExit(3), GeneratorExit(), BaseException("no"), MemoryError()]
)
def test_a_hook_that_raises_ends_its_plugin_only(hook: str, error: BaseException) -> None:
    plugins = load(module("bad", **{hook: raising(error)}), good)
    assert type(error).__name__ in failure(plugins, "bad")
    assert record(plugins, "good").status == "loaded"
    assert list(plugins.runtimes) == ["fake"]


@pytest.mark.parametrize("hook", ["cloche_configure", "cloche_runtimes", "cloche_isolation_levels"])
def test_the_interrupt_of_a_person_is_not_taken_for_a_bad_plugin(hook: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        load(module("bad", **{hook: raising(KeyboardInterrupt())}))


def test_an_error_says_where_in_the_plugin_it_came_from() -> None:
    error = failure(load(module("bad", cloche_runtimes=raising(ValueError("no\nway")))), "bad")
    assert error.startswith("ValueError: no way (")
    assert f"{__file__}:" in error


def test_an_error_whose_text_can_not_be_had_is_recorded_all_the_same() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert failure(load(module("bad", cloche_runtimes=raising(Mute()))), "bad").startswith("Mute (")


def test_an_unknown_hook_is_refused() -> None:
    assert "unknown hook 'cloche_runtime'" in failure(load(module("bad", cloche_runtime=nothing), good), "bad")


def test_an_unknown_argument_is_refused() -> None:
    def select(spec: object, candidate: object) -> None: ...

    assert "candidate" in failure(load(module("bad", cloche_select_runtime=select), good), "bad")


def test_an_argument_may_be_left_out() -> None:
    assert record(load(module("few", cloche_select_runtime=lambda spec: None)), "few").status == "loaded"  # noqa: ARG005


def test_a_hook_without_its_marker_is_refused() -> None:
    bad = SimpleNamespace(cloche_runtimes=list)
    assert "cloche_runtimes is not marked" in failure(load(bad), "SimpleNamespace")


def test_a_plugin_without_hooks_is_refused() -> None:
    assert "no hooks" in failure(load(ModuleType("empty")), "empty")


def test_an_async_hook_is_refused() -> None:
    async def runtimes() -> list[Runtime]:
        return []

    assert "async" in failure(load(module("bad", cloche_runtimes=runtimes)), "bad")


@pytest.mark.parametrize("old", [True, False])
def test_a_hook_wrapper_is_refused_for_it_could_change_what_others_answer(old: bool) -> None:  # noqa: FBT001
    def around() -> Iterator[None]:
        yield

    bad = ModuleType("bad")
    mark = hookimpl(hookwrapper=True) if old else hookimpl(wrapper=True)
    bad.cloche_runtimes = mark(around)  # type: ignore[attr-defined]
    assert "wrapper" in failure(load(bad, good), "bad")


class Abstract(Runtime):
    name = "abstract"


class Nameless(FakeRuntime):
    name: ClassVar[str] = None  # type: ignore[assignment]


class Loud(FakeRuntime):
    name = "LOUD"


class Slash(FakeRuntime):
    name = "a/b"


class Strange(FakeRuntime):
    guarantees = frozenset({"magic"})  # type: ignore[arg-type]


class Weak(FakeRuntime):
    strength: ClassVar[int] = "10"  # type: ignore[assignment]


class Trap(FakeRuntime):
    @property
    def name(self) -> str:  # type: ignore[override]
        raise OSError("trap")


@pytest.mark.parametrize(
    ("give", "message"),
    [
        (lambda: None, "cloche_runtimes gave None; a sequence is needed"),
        (lambda: 3, "cloche_runtimes gave 3; a sequence is needed"),
        (lambda: FakeRuntime(), "a sequence is needed"),  # noqa: PLW0108 - a hook is a function
        (lambda: "fake", "cloche_runtimes gave 'f', which is no cloche.Runtime"),
        (lambda: [object()], "which is no cloche.Runtime"),
        (lambda: {"fake": FakeRuntime()}, "gave 'fake', which is no cloche.Runtime"),
        (lambda: [FakeRuntime], "gave the class FakeRuntime; give an object of it"),
        (lambda: [FakeRuntime(), None], "gave None, which is no cloche.Runtime"),
        (lambda: [Abstract()], "TypeError: Can't instantiate abstract class Abstract"),  # type: ignore[abstract]
        (lambda: [Nameless()], "Nameless must have a name of type str"),
        (lambda: [Loud()], "lower case"),
        (lambda: [Slash()], "'a/b' is not a name"),
        (lambda: [Strange()], "no cloche.Guarantee"),
        (lambda: [Weak()], "Weak must have a strength of type int"),
        (lambda: [Trap()], "OSError: trap"),
        (lambda: [FakeRuntime(), FakeRuntime()], "the runtime name 'fake' is taken by plugin 'bad'"),
        (lambda: iter(FakeRuntime, None), "more than 1000"),
    ],
)
def test_what_is_no_good_runtime_is_refused_with_all_else_of_its_plugin(
    give: Callable[[], object], message: str, make_level: Callable[[str], IsolationLevel]
) -> None:
    bad = module("bad", cloche_runtimes=give, cloche_isolation_levels=lambda: [make_level("mine")])
    plugins = load(bad, module("also", cloche_runtimes=lambda: [Strong()]))
    assert message in failure(plugins, "bad")
    assert list(plugins.runtimes) == ["strong"]
    assert list(plugins.levels) == []


def test_a_generator_that_raises_half_way_leaves_nothing() -> None:
    def runtimes() -> Iterator[Runtime]:
        yield FakeRuntime()
        raise ValueError("half-way")

    plugins = load(module("bad", cloche_runtimes=runtimes))
    assert "half-way" in failure(plugins, "bad")
    assert list(plugins.runtimes) == []


def test_what_is_no_level_is_refused(make_level: Callable[[str], IsolationLevel]) -> None:
    plugins = load(
        module("one", cloche_isolation_levels=lambda: ["enhanced"]),
        module("two", cloche_isolation_levels=lambda: [replace(make_level("a"), name="a/b")]),
    )
    assert "gave 'enhanced', which is no cloche.IsolationLevel" in failure(plugins, "one")
    assert "'a/b' is not a name" in failure(plugins, "two")


@pytest.mark.parametrize("plugin", [None, 3, "cloche_bwrap", [], object()])
def test_what_can_not_be_a_plugin_is_refused(plugin: object) -> None:
    failure(load(plugin, good), type(plugin).__name__)


def test_an_object_that_equals_everything_does_not_stop_the_plugins_after_it() -> None:
    class Everything:
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            return True

        @hookimpl
        def cloche_runtimes(self) -> list[Runtime]:
            return []

    plugins = load(Everything(), good)
    failure(plugins, "Everything")
    assert record(plugins, "good").status == "loaded"


def test_a_registration_that_stops_half_way_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    import pluggy  # noqa: PLC0415 - only to reach into it

    register = pluggy.PluginManager.register

    def half(self: pluggy.PluginManager, plugin: object, name: str | None = None) -> str | None:
        register(self, plugin, name)
        if name == "bad":
            raise ValueError("half-way")
        return name

    monkeypatch.setattr(pluggy.PluginManager, "register", half)
    plugins = load(module("bad", cloche_sandbox_created=raising(ValueError("called"))), good)
    assert "half-way" in failure(plugins, "bad")
    plugins.created(Notice(NoticeType.CREATED, "abc"))
    assert list(plugins.runtimes) == ["fake"]


# -- names -------------------------------------------------------------------------------------------------------------


def test_a_name_once_taken_can_not_be_shadowed(make_level: Callable[[str], IsolationLevel]) -> None:
    first, level = FakeRuntime(), make_level("mine")
    plugins = load(
        module("first", cloche_runtimes=lambda: [first], cloche_isolation_levels=lambda: [level]),
        module("second", cloche_runtimes=lambda: [Strong(), FakeRuntime()]),
        module("third", cloche_isolation_levels=lambda: [make_level("mine")]),
    )
    assert "the runtime name 'fake' is taken by plugin 'first' of the program itself" in failure(plugins, "second")
    assert "the level name 'mine' is taken by plugin 'first'" in failure(plugins, "third")
    assert dict(plugins.runtimes) == {"fake": first}
    assert plugins.levels["mine"] is level


def test_the_name_of_a_plugin_can_be_taken_once_even_if_the_first_failed() -> None:
    plugins = load(ModuleType("same"), module("same", cloche_runtimes=lambda: [FakeRuntime()]))
    assert [r.status for r in plugins.records] == ["failed", "failed"]
    assert "the plugin name 'same' is taken" in (plugins.records[1].error or "")
    assert list(plugins.runtimes) == []


def test_the_same_object_twice_is_one_plugin() -> None:
    plugins = load(good, good)
    assert [r.status for r in plugins.records] == ["loaded", "failed"]
    assert list(plugins.runtimes) == ["fake"]


def test_a_plugin_with_a_bad_name_is_refused() -> None:
    assert "'a/b' is not a name" in (load(module("a/b", cloche_runtimes=nothing)).records[0].error or "")


def test_a_blocked_plugin_is_not_touched() -> None:
    touched = module("bad", cloche_configure=raising(ValueError("touched")))
    plugins = load(touched, good, config={"host": {"blocked_plugins": ["bad", "ghost"]}})
    found = {r.name: (r.status, r.error) for r in plugins.records}
    assert found["bad"] == ("blocked", "the configuration blocks it")
    assert found["ghost"] == ("blocked", "the configuration blocks it, but no plugin has this name")
    assert found["good"] == ("loaded", None)


# -- commands ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("give", "message"),
    [
        (lambda: [print], "no click.Command"),
        (lambda: [click.Command(None)], "'' is not a name"),
        (lambda: [click.Command("a b")], "'a b' is not a name"),
        (lambda: [click.Command("run")], "taken by cloche itself"),
        (lambda: [click.Command("hello")], "the command name 'hello' is taken by plugin 'first'"),
        (lambda: None, "a sequence is needed"),
        (raising(ValueError("no")), "ValueError: no"),
        (raising(SystemExit(1)), "SystemExit: 1"),
    ],
)
def test_a_bad_command_takes_its_whole_plugin_with_it(give: Callable[[], object], message: str) -> None:
    first = module("first", cloche_commands=lambda: [click.Command("hello")])
    plugins = load(first, module("bad", cloche_commands=give, cloche_runtimes=lambda: [FakeRuntime()]))
    assert list(plugins.runtimes) == ["fake"]
    assert list(plugins.load_commands(taken={"run"})) == ["hello"]
    assert message in failure(plugins, "bad")
    assert list(plugins.runtimes) == []


def test_commands_are_asked_for_once_and_only_when_wanted() -> None:
    calls: list[str] = []

    def commands() -> list[click.Command]:
        calls.append("commands")
        return [click.Command("hello")]

    plugins = load(module("mine", cloche_commands=commands))
    assert calls == []
    assert list(plugins.commands) == list(plugins.commands) == ["hello"]
    assert calls == ["commands"]


# -- rules and responses -----------------------------------------------------------------------------------------------


def rule(name: str) -> Rule:
    return Rule(id=name, summary="for tests", severity=Severity.LOW, events=frozenset({Act.EXEC}))


class Page(Response):
    name = "page"
    summary = "for tests"

    async def respond(self, incident: Incident, box: AsyncSandbox) -> str | None:
        return f"{incident} {box}"


class Blocking(Page):
    def respond(self, incident: Incident, box: AsyncSandbox) -> str | None:  # type: ignore[override]
        return f"{incident} {box}"


def test_rules_and_responses_are_asked_for_once_and_only_when_wanted() -> None:
    calls: list[str] = []
    page = Page()

    def rules() -> list[Rule]:
        calls.append("rules")
        return [rule("one"), rule("two")]

    def responses() -> list[Response]:
        calls.append("responses")
        return [page]

    plugins = load(module("mine", cloche_rules=rules, cloche_responses=responses))
    assert calls == []
    assert list(plugins.rules) == list(plugins.rules) == ["one", "two"]
    assert plugins.responses["page"] is plugins.responses["page"] is page
    assert calls == ["rules", "responses"]
    assert (record(plugins, "mine").rules, record(plugins, "mine").responses) == (("one", "two"), ("page",))


@pytest.mark.parametrize(
    ("give", "message"),
    [
        (lambda: [5], "cloche_rules gave 5, which is no cloche.Rule"),
        (lambda: [Rule], "which is no cloche.Rule"),
        (lambda: [rule("new"), {"id": "x"}], "which is no cloche.Rule"),
        (lambda: [rule("new"), rule("taken")], "the rule name 'taken' is taken by plugin 'first'"),
        (lambda: [rule("new"), rule("new")], "the rule name 'new' is taken by plugin 'bad'"),
        (lambda: [rule("../x")], "'../x' is not a name"),
        (lambda: (rule(f"r{number}") for number in itertools.count()), "more than 1000 things"),
        (lambda: None, "a sequence is needed"),
        (raising(ValueError("no")), "ValueError: no"),
        (raising(SystemExit(1)), "SystemExit: 1"),
    ],
)
def test_a_bad_rule_takes_its_whole_plugin_with_it(give: Callable[[], object], message: str) -> None:
    first = module("first", cloche_rules=lambda: [rule("taken")])
    plugins = load(first, module("bad", cloche_rules=give, cloche_runtimes=lambda: [FakeRuntime()]))
    assert list(plugins.runtimes) == ["fake"]
    assert list(plugins.rules) == ["taken"]
    assert message in failure(plugins, "bad")
    assert list(plugins.runtimes) == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Page, "gave the class Page"), ("page", "which is no cloche.Response"), (Page(), "taken by plugin 'first'"),
        (type("Bad", (Page,), {"name": "block"})(), "the response name 'block' is taken by cloche itself"),
        (type("Bad", (Page,), {"name": "Pager"})(), "lower case"),
        (type("Bad", (Page,), {"name": "new", "summary": None})(), "must have a summary of type str"),
        (type("Bad", (Page,), {"name": "new", "seconds": float("inf")})(), "more than 0 seconds"),
        (type("Bad", (Page,), {"name": "new", "seconds": None})(), "a duration is a number of seconds"),
        (type("Bad", (Blocking,), {"name": "new"})(), "respond must be async"),
    ],
)  # fmt: skip
def test_what_is_no_response_ends_its_plugin(value: object, message: str) -> None:
    first = Page()
    plugins = load(
        module("first", cloche_responses=lambda: [first]),
        module("bad", cloche_responses=lambda: [type("Kept", (Page,), {"name": "kept"})(), value]),
    )
    assert dict(plugins.responses) == {"page": first}
    assert message in failure(plugins, "bad")


# -- choosing ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def two() -> ModuleType:
    return module("two", cloche_runtimes=lambda: [FakeRuntime(), Strong()])


def choosing(choose: Callable[[Spec, Sequence[Runtime]], object], name: str = "chooser") -> ModuleType:
    return module(name, cloche_select_runtime=lambda spec, candidates: choose(spec, candidates))  # noqa: PLW0108 - names


def choose_from(plugins: Plugins, spec: Spec) -> str:
    return plugins.select_runtime(spec, [plugins.runtimes["fake"], plugins.runtimes["strong"]]).name


def test_the_first_candidate_is_taken_if_nobody_chooses(two: ModuleType, make_spec: Callable[..., Spec]) -> None:
    assert choose_from(load(two), make_spec()) == "fake"
    assert choose_from(load(two, choosing(lambda *_: None)), make_spec()) == "fake"


def test_a_plugin_chooses_among_the_candidates(two: ModuleType, make_spec: Callable[..., Spec]) -> None:
    spec = make_spec()
    seen: list[object] = []

    def choose(spec: Spec, candidates: Sequence[Runtime]) -> Runtime:
        seen.extend([spec, *(c.name for c in candidates)])
        return candidates[1]

    assert choose_from(load(two, choosing(choose)), spec) == "strong"
    assert seen == [spec, "fake", "strong"]


def test_the_last_loaded_plugin_is_asked_first_and_its_answer_counts(
    two: ModuleType, make_spec: Callable[..., Spec]
) -> None:
    early = choosing(lambda *_: 1 / 0, "early")
    plugins = load(two, early, choosing(lambda _, candidates: candidates[1], "late"))
    assert choose_from(plugins, make_spec()) == "strong"
    assert record(plugins, "early").status == "loaded"


@pytest.mark.parametrize("answer", [FakeRuntime(), "fake", 3, FakeRuntime])
def test_an_answer_that_is_no_candidate_is_refused_and_the_next_plugin_asked(
    two: ModuleType, make_spec: Callable[..., Spec], answer: object
) -> None:
    plugins = load(two, choosing(lambda _, candidates: candidates[1], "honest"), choosing(lambda *_: answer, "bad"))
    assert choose_from(plugins, make_spec()) == "strong"
    assert "which is none of the candidates" in failure(plugins, "bad")


def test_a_chooser_that_raises_is_dropped_and_the_next_asked(two: ModuleType, make_spec: Callable[..., Spec]) -> None:
    plugins = load(
        two, choosing(lambda _, candidates: candidates[1], "honest"), choosing(lambda *_: sys.exit(4), "bad")
    )
    assert choose_from(plugins, make_spec()) == "strong"
    assert "SystemExit: 4" in failure(plugins, "bad")


def test_candidates_can_not_be_changed_by_a_plugin(two: ModuleType, make_spec: Callable[..., Spec]) -> None:
    plugins = load(two, choosing(lambda _, candidates: candidates.clear()))  # type: ignore[attr-defined]
    assert choose_from(plugins, make_spec()) == "fake"
    assert "AttributeError" in failure(plugins, "chooser")


def test_a_failing_chooser_takes_its_own_runtimes_out_of_the_choice(make_spec: Callable[..., Spec]) -> None:
    bad = module(
        "bad", cloche_runtimes=lambda: [FakeRuntime()], cloche_select_runtime=lambda spec: 1 / 0  # noqa: ARG005
    )  # fmt: skip
    plugins = load(module("other", cloche_runtimes=lambda: [Strong()]), bad)
    assert choose_from(plugins, make_spec()) == "strong"
    alone = load(bad)
    runtime = alone.runtimes["fake"]
    with pytest.raises(PluginError, match="came from a plugin that failed"):
        alone.select_runtime(make_spec(), [runtime])
    assert alone.retired == [runtime]  # it may be in use: its host closes it in the end


# -- observing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hook", "tell"), [("cloche_sandbox_created", Plugins.created), ("cloche_sandbox_deleted", Plugins.deleted)]
)
def test_observers_are_told_and_one_that_raises_is_dropped(hook: str, tell: Callable[[Plugins, Notice], None]) -> None:
    seen: list[tuple[str, Notice]] = []

    def bad(notice: Notice) -> None:
        seen.append(("bad", notice))
        raise RuntimeError("no")

    plugins = load(
        module("one", **{hook: lambda notice: seen.append(("one", notice))}),
        module("bad", **{hook: bad}, cloche_runtimes=lambda: [FakeRuntime()]),
        module("two", **{hook: lambda notice: seen.append(("two", notice))}),
    )
    notice = Notice(NoticeType.CREATED, "abc")
    tell(plugins, notice)
    assert "RuntimeError: no" in failure(plugins, "bad")
    assert list(plugins.runtimes) == []
    tell(plugins, notice)
    assert seen == [("two", notice), ("bad", notice), ("one", notice), ("two", notice), ("one", notice)]


# -- installed plugins: entry points of distributions written into a folder --------------------------------------------


class Installer:
    """Puts distributions into a folder that is on the path, as an installer would."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, distribution: str, points: str, **modules: str) -> None:
        info = self._folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(points)
        for name, source in modules.items():
            (self._folder / f"{name}.py").write_text(source)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installer]:
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [str(tmp_path), sysconfig.get_paths()["stdlib"]])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield Installer(tmp_path)
    for name in set(sys.modules) - before:
        del sys.modules[name]


@dataclass
class Installed:
    plugins: Plugins

    @property
    def by_name(self) -> dict[str, PluginRecord]:
        return {r.name: r for r in self.plugins.records}


def installed(config: Mapping[str, Any] | None = None) -> Installed:
    return Installed(Plugins.load(Config.load(config or {})))


PLUGIN = """
import cloche
from cloche.testing import FakeRuntime

class Mine(FakeRuntime):
    name = "{0}"

@cloche.hookimpl
def cloche_runtimes():
    return [Mine()]
"""


def test_entry_points_are_loaded_with_their_distribution(install: Installer) -> None:
    install("some-plugin", "[cloche]\nmine = mine_plugin\n", mine_plugin=PLUGIN.format("mine"))
    found = installed()
    assert list(found.plugins.runtimes) == ["mine"]
    assert (found.by_name["mine"].distribution, found.by_name["mine"].version) == ("some-plugin", "1.0")


def test_bundled_plugins_load_first_and_the_others_by_name(install: Installer) -> None:
    install("a-first", "[cloche]\nbbb = b_plugin\naaa = a_plugin\n", a_plugin=PLUGIN.format("a"),
            b_plugin=PLUGIN.format("b"))  # fmt: skip
    install("cloche", "[cloche]\nzzz = z_plugin\n", z_plugin=PLUGIN.format("z"))
    assert [r.name for r in installed().plugins.records] == ["zzz", "aaa", "bbb"]


def test_a_stranger_can_not_take_the_name_of_a_bundled_plugin(install: Installer) -> None:
    install("cloche", "[cloche]\nzzz = z_plugin\n", z_plugin=PLUGIN.format("z"))
    install("evil", "[cloche]\nzzz = evil_plugin\n", evil_plugin=PLUGIN.format("evil"))
    found = installed().plugins
    assert [(r.distribution, r.status) for r in found.records] == [("cloche", "loaded"), ("evil", "failed")]
    assert "the plugin name 'zzz' is taken by plugin 'zzz' of cloche" in (found.records[1].error or "")


def test_an_entry_point_listed_twice_counts_once(install: Installer) -> None:
    install("twice", "[cloche]\nmine = mine_plugin\nmine = mine_plugin\n", mine_plugin=PLUGIN.format("mine"))
    assert [r.status for r in installed().plugins.records] == ["loaded"]


def test_one_name_for_two_things_in_one_distribution_is_refused_the_second_time(install: Installer) -> None:
    install("two", "[cloche]\nmine = a_plugin\nmine = b_plugin\n", a_plugin=PLUGIN.format("a"),
            b_plugin=PLUGIN.format("b"))  # fmt: skip
    assert [r.status for r in installed().plugins.records] == ["loaded", "failed"]


@pytest.mark.parametrize(
    ("point", "source", "message"),
    [
        ("bad_plugin", "import no_such_thing_at_all", "ModuleNotFoundError: No module named 'no_such_thing_at_all'"),
        ("bad_plugin", "import sys; sys.exit('leaving')", "SystemExit: leaving"),
        ("bad_plugin", "raise SystemExit", "SystemExit"),
        ("bad_plugin", "def (", "SyntaxError"),
        ("bad_plugin", "1 / 0", "ZeroDivisionError"),
        ("bad_plugin", "import cloche; cloche.no_such_name", "AttributeError"),
        ("bad_plugin:missing", "", "has no attribute 'missing'"),
        ("bad_plugin:thing", "thing = None", "None can't be a plugin"),
        ("no_such_module", "", "No module named 'no_such_module'"),
        ("no such thing!", "", "AttributeError"),
    ],
)
def test_a_plugin_that_fails_at_import_is_recorded_and_the_others_load(
    install: Installer, point: str, source: str, message: str
) -> None:
    install("bad", f"[cloche]\nbad = {point}\n", bad_plugin=source)
    install("fine", "[cloche]\nfine = fine_plugin\n", fine_plugin=PLUGIN.format("fine"))
    found = installed()
    assert message in failure(found.plugins, "bad")
    assert list(found.plugins.runtimes) == ["fine"]


def test_the_interrupt_of_a_person_at_import_passes(install: Installer) -> None:
    install("bad", "[cloche]\nbad = bad_plugin\n", bad_plugin="raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        installed()


def test_a_blocked_plugin_is_not_imported(install: Installer) -> None:
    install("bad", "[cloche]\nbad = blocked_plugin\n", blocked_plugin="1 / 0")
    assert installed({"host": {"blocked_plugins": ["bad"]}}).by_name["bad"].status == "blocked"
    assert "blocked_plugin" not in sys.modules


@pytest.mark.parametrize("broken", ["[cloche]\nno equals sign\n", "[other]\nnothing"])
def test_a_distribution_with_unreadable_entry_points_stops_no_other(install: Installer, broken: str) -> None:
    install("broken-one", broken)
    install("fine", "[cloche]\nfine = fine_plugin\n", fine_plugin=PLUGIN.format("fine"))
    found = installed()
    assert "can't be read" in failure(found.plugins, "broken-one")
    assert list(found.plugins.runtimes) == ["fine"]


def test_a_distribution_without_metadata_still_loads(install: Installer, tmp_path: Path) -> None:
    install("bare", "[cloche]\nfine = fine_plugin\n", fine_plugin=PLUGIN.format("fine"))
    (tmp_path / "bare-1.0.dist-info" / "METADATA").write_bytes(b"\xff\xfe")
    found = installed().by_name["fine"]
    assert (found.status, found.distribution, found.version) == ("loaded", None, None)


def test_entry_points_are_looked_up_once(install: Installer, monkeypatch: pytest.MonkeyPatch) -> None:
    install("fine", "[cloche]\nfine = fine_plugin\n", fine_plugin=PLUGIN.format("fine"))
    calls: list[dict[str, str]] = []
    look_up = metadata.entry_points

    def counting(**arguments: str) -> object:
        calls.append(arguments)
        return look_up(**arguments)

    monkeypatch.setattr(metadata, "entry_points", counting)
    assert list(installed().plugins.runtimes) == ["fine"]
    assert calls == [{"group": "cloche"}]


def test_a_fake_runtime_keeps_all_that_needs_no_kernel_of_its_own() -> None:
    assert FakeRuntime.guarantees == frozenset(Guarantee) - {Guarantee.KERNEL}
