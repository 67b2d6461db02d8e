"""The documentation of the hooks tells the truth: signatures, callers, tests and examples."""

from __future__ import annotations

import ast
import doctest
import errno
import importlib
import re
import tomllib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import anyio
import click
import pytest

import cloche
import cloche_native
import cloche_native.events
from cloche import Config, Notice, NoticeType, Plugins, VfsOptions, hookimpl, hookspecs
from cloche.testing import FakeRuntime

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche import Host, Runtime, Spec

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
HOOKS: Final = {
    node.name: node
    for node in ast.parse(Path(hookspecs.__file__).read_text(encoding="utf-8")).body
    if isinstance(node, ast.FunctionDef)
}
CALLED: Final = sorted(set(HOOKS) - set(hookspecs.LATER))


def signature(hook: str) -> str:
    node = HOOKS[hook]
    assert node.returns is not None
    return f"{hook}({ast.unparse(node.args)}) -> {ast.unparse(node.returns)}"


def section(hook: str) -> str:
    match = re.search(rf"^## {hook}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert match is not None, f"docs/hooks.md has no section on {hook}"
    return match[1]


def examples(hook: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", section(hook), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("hook", CALLED)
def test_each_hook_is_documented_with_its_exact_signature(hook: str) -> None:
    assert f"\n    {signature(hook)}\n" in section(hook)
    assert f"[`{hook}`](#{hook})" in PAGE


@pytest.mark.parametrize("hook", sorted(hookspecs.LATER))
def test_each_hook_that_nothing_calls_yet_says_what_brings_its_caller(hook: str) -> None:
    capability = hookspecs.LATER[hook]
    assert f"| `{signature(hook)}` | {capability} |" in PAGE
    assert f"Not called yet: comes with {capability}." in (ast.get_docstring(HOOKS[hook]) or "")


def test_the_page_names_no_hook_that_does_not_exist() -> None:
    named = set(re.findall(r"\bcloche_[a-z_]+[a-z]\b", PAGE))
    assert named == set(HOOKS)


def test_each_hook_is_called_by_the_core_or_listed_as_later() -> None:
    sources = [p for p in (ROOT / "core").rglob("*.py") if p.name != "hookspecs.py" and "testing" not in p.parts]
    text = "".join(p.read_text(encoding="utf-8") for p in sources)
    assert [hook for hook in HOOKS if f'"{hook}"' in text] == [hook for hook in HOOKS if hook in CALLED]


@pytest.mark.parametrize("hook", CALLED)
def test_each_hook_has_a_test_that_names_it(hook: str) -> None:
    sources = [p for p in (ROOT / "tests").rglob("test_*.py") if p != Path(__file__)]
    assert any(hook in p.read_text(encoding="utf-8") for p in sources)


def test_each_hook_says_first_what_kind_it_is() -> None:
    for hook, node in HOOKS.items():
        first = (ast.get_docstring(node) or "").split()[0]
        observes = hook.endswith(("_created", "_deleted", "_raised", "_configure"))
        assert first == ("Observe" if observes else "Decide" if "_select_" in hook else "Provide"), hook


def loaded(source: str, *others: object, config: dict[str, Any] | None = None) -> tuple[Plugins, Any]:
    """Load one example as the only plugin besides ``others``; also give its module."""
    module = ModuleType("example")
    exec(compile(source, "docs/hooks.md", "exec"), vars(module))  # noqa: S102 - our own documentation
    plugin = vars(module).get("plugin", module)
    name = type(plugin).__name__ if plugin is not module else "example"
    settings = Config.load({"plugins": {name: config}} if config else {})
    return Plugins.load(settings, plugins=[*others, plugin], entry_points=False), module


@pytest.mark.parametrize("hook", [h for h in CALLED if examples(h)])
def test_each_example_loads_and_implements_its_hook(hook: str) -> None:
    for source in examples(hook):
        plugins, _ = loaded(source)
        assert plugins.records[-1].error is None
        assert hook in plugins.records[-1].hooks


def test_every_hook_is_in_an_example() -> None:
    assert [hook for hook in CALLED if f"def {hook}(" not in PAGE] == []


def test_the_example_of_configure_reads_its_table_and_refuses_another() -> None:
    (source,) = examples("cloche_configure")
    assert loaded(source, config={"greeting": "hi"})[1].plugin.greeting == "hi"
    plugins, _ = loaded(source, config={"greting": "hi"})
    assert "unknown keys: greting; known: greeting" in (plugins.records[-1].error or "")


def test_the_examples_of_what_is_provided_provide_it() -> None:
    assert list(loaded(*examples("cloche_runtimes"))[0].runtimes) == ["rehearsal"]
    assert loaded(*examples("cloche_isolation_levels"))[0].levels["build"].limits.wall == 1800
    assert loaded(*examples("cloche_profiles"))[0].profiles["reports"].policy.limits.wall == 120
    backend = loaded(*examples("cloche_vfs_backends"))[0].backends["scratch"]
    with backend.open(VfsOptions()) as vfs:
        vfs.write("/note", b"here")
        assert vfs.read("/note") == b"here"
        place = Path(vars(vfs)["place"])
        assert place.exists()
    assert not place.exists()
    tap = loaded(*examples("cloche_event_sources"))[0].taps["marks"]
    assert tap.summary == "marks that the caller sets among the events of a guest"
    rules = loaded(*examples("cloche_rules"))[0].rules
    assert (list(rules), str(rules["git-hook"].severity)) == (["git-hook"], "medium")
    response = loaded(*examples("cloche_responses"))[0].responses["ticket"]
    assert response.summary == "opens a ticket"
    detector = loaded(*examples("cloche_anomaly_detectors"))[0].detectors["sprawl"]
    few, many = (cloche.AnomalyFeatures("any", {"places": places}) for places in (0.1, 0.9))
    assert detector.score(many).value == 0
    detector.learn(few)
    assert (detector.score(few).value, detector.score(many).top) == (0, ("places",))
    command = loaded(*examples("cloche_commands"))[0].commands["hello"]
    assert isinstance(command, click.Command)
    assert command.callback is not None


def test_the_example_of_a_choice_chooses(make_spec: Callable[..., Spec]) -> None:
    class Strong(FakeRuntime):
        name = "strong"
        strength = 40

    class Both:
        @hookimpl
        def cloche_runtimes(self) -> list[Runtime]:
            return [Strong(), FakeRuntime()]

    plugins, _ = loaded(*examples("cloche_select_runtime"), Both())
    candidates = list(plugins.runtimes.values())
    assert plugins.select_runtime(make_spec(), candidates).name == "strong"
    assert plugins.select_runtime(make_spec(metadata={"kind": "batch"}), candidates).name == "fake"
    assert plugins.records[-1].error is None


def test_the_example_of_an_observer_counts() -> None:
    plugins, module = loaded(*examples("cloche_sandbox_created"))
    plugins.created(Notice(NoticeType.CREATED, "abc"))
    assert module.plugin.living == {"abc"}
    plugins.deleted(Notice(NoticeType.DELETED, "abc"))
    plugins.deleted(Notice(NoticeType.DELETED, "never started"))
    assert module.plugin.living == set()
    assert plugins.records[-1].error is None


def test_the_example_of_a_response_responds(host: Host) -> None:
    plugins, module = loaded(*examples("cloche_responses"))
    found = cloche.Incident(
        id="1", sandbox="abc", sandbox_name=None, rule="r", rule_version=1, severity=cloche.Severity.HIGH, time=0.0,
        message="seen",
    )  # fmt: skip
    with host.create() as box:
        assert anyio.run(plugins.responses["ticket"].respond, found, box._inner) == "ticket 1"
    assert module.ticket.opened == [("abc", "high r: seen")]


def test_the_examples_on_events_run(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {
        "cloche": cloche,
        "cloche_native": cloche_native,
        "Act": cloche.Act,
        "host": host,
        "errno": errno,
    }
    sources = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(sources) == 7
    for source in sorted(sources, key=lambda text: "EventBatch" not in text):  # it makes the batch that others show
        exec(compile(source, "docs/events.md", "exec"), names)  # noqa: S102 - our own documentation
    assert "unlink None True" in capsys.readouterr().out
    names["TestBell"]().test_each_act_that_is_done_is_told([cloche.Act.SYSTEM] * 3)


def test_the_examples_on_incidents_run(host: Host) -> None:
    page = (ROOT / "docs" / "incidents.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {"host": host, "program": ["true"]}
    sources = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(sources) == 2
    for source in sources:
        exec(compile(source, "docs/incidents.md", "exec"), names)  # noqa: S102 - our own documentation
    assert names["result"].ok
    assert names["box"].deleted


def test_the_examples_on_the_audit_log_run(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {"cloche": cloche, "folder": tmp_path / "audit"}
    sources = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(sources) == 2
    for source in sources:
        exec(compile(source, "docs/audit.md", "exec"), names)  # noqa: S102 - our own documentation
    (table,) = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    settings = Config.load(tomllib.loads(table)).audit
    assert settings == type(settings)("/var/lib/me/audit")  # type: ignore[misc]  # what is shown is the default
    assert "one line of 107 bytes" in page
    assert (tmp_path / "audit" / "audit.mark").stat().st_size == 107


def test_the_examples_in_docstrings_run() -> None:
    for path in (ROOT / "core").rglob("*.py"):
        if ">>> " in path.read_text(encoding="utf-8"):
            name = ".".join(path.relative_to(ROOT / "core").with_suffix("").parts).removesuffix(".__init__")
            assert doctest.testmod(importlib.import_module(name)).failed == 0
