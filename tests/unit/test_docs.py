"""The documentation of the hooks tells the truth: signatures, callers, tests and examples."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import click
import pytest

from cloche import Config, Event, EventType, Plugins, hookimpl, hookspecs
from cloche.testing import FakeRuntime

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche import Runtime, Spec

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
    plugins.created(Event(EventType.CREATED, "abc"))
    assert module.plugin.living == {"abc"}
    plugins.deleted(Event(EventType.DELETED, "abc"))
    plugins.deleted(Event(EventType.DELETED, "never started"))
    assert module.plugin.living == set()
    assert plugins.records[-1].error is None


def test_the_examples_in_docstrings_run() -> None:
    for path in (ROOT / "core").rglob("*.py"):
        if ">>> " in path.read_text(encoding="utf-8"):
            name = ".".join(path.relative_to(ROOT / "core").with_suffix("").parts).removesuffix(".__init__")
            assert doctest.testmod(importlib.import_module(name)).failed == 0
