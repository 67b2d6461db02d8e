"""Who may import and name what (docs/architecture.md): read from the sources, nothing is run."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

import cloche
import cloche_native
from cloche_native import agent

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
CORE: Final = sorted((ROOT / "core").rglob("*.py"))
PLUGINS: Final = sorted((ROOT / "plugins").rglob("*.py"))
NATIVE: Final = sorted((ROOT / "native" / "cloche_native").rglob("*.py"))
TESTS: Final = sorted(p for p in (ROOT / "tests").rglob("*.py") if "thirdparty" not in p.parts)
BUNDLED: Final = {p.name for p in (ROOT / "plugins").iterdir() if (p / "__init__.py").exists()}

WORDS: Final = re.compile(
    r"bwrap|bubblewrap|runsc|gvisor|wasmtime|nsjail|firejail|firecracker|sandlock|docker|podman|kubernetes|qemu|"
    r"seccomp|landlock|openat2|ptrace|io_uring|pivot_root|unshare|setns|clone3|ebpf",
    re.IGNORECASE,
)
"""Runtimes, tools and mechanisms of the kernel. The core knows none: it would work the same with others."""
LINES_MAX: Final = {".py": 300, ".c": 500, ".h": 500}


@dataclass(frozen=True)
class Import:
    module: str
    name: str | None
    line: int


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[Import]:
    """Give every import of a file, also those inside functions and TYPE_CHECKING."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, None, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: absolute imports only"
            assert node.module is not None
            yield from (Import(node.module, alias.name, node.lineno) for alias in node.names)


def whole(paths: list[Path]) -> list[object]:
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in paths]


def top(module: str) -> str:
    return module.partition(".")[0]


@pytest.mark.parametrize("path", whole(CORE))
def test_the_core_imports_no_plugin_and_no_compiler(path: Path) -> None:
    for found in imports(path):
        assert top(found.module) not in BUNDLED | {"cffi", "ctypes"}, f"{path}:{found.line}"


@pytest.mark.parametrize("path", whole(CORE))
def test_the_core_imports_its_testing_tools_nowhere_else(path: Path) -> None:
    if "testing" not in path.parts:
        assert not [f for f in imports(path) if f.module.startswith("cloche.testing") or f.name == "testing"]


@pytest.mark.parametrize("path", whole([p for p in CORE if "testing" not in p.parts]))  # tests must name what they try
def test_the_core_names_no_runtime_no_tool_and_no_mechanism(path: Path) -> None:
    native_names = {*cloche_native.__all__, *(field.name for field in fields(agent.Setup))}
    source = path.read_text(encoding="utf-8")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME and token.string in native_names:
            continue  # the name of a function is the native module's choice
        if found := WORDS.search(token.string):
            pytest.fail(f"{path}:{token.start[0]}: {found[0]}")
    assert not [name for name in BUNDLED if name in source]


@pytest.mark.parametrize("path", whole(PLUGINS))
def test_a_plugin_imports_only_what_is_public(path: Path) -> None:
    own = path.relative_to(ROOT / "plugins").parts[0]
    for found in imports(path):
        where = f"{path}:{found.line}: {found.module} {found.name or ''}"
        match top(found.module):
            case "cloche":
                assert found.module == "cloche", where
                assert found.name is None or found.name in cloche.__all__, where
            case "cloche_native":
                assert not any(part.startswith("_") for part in found.module.split(".")), where
                if found.module == "cloche_native" and found.name is not None:
                    assert found.name in {*cloche_native.__all__, "agent", "cgroup"}, where
                elif found.module != "cloche_native":
                    assert found.module in {"cloche_native.agent", "cloche_native.cgroup"}, where
                    assert found.name is None or not found.name.startswith("_"), where
            case "cffi" | "ctypes":
                pytest.fail(where)
            case other:
                assert other == own or other not in BUNDLED, where


@pytest.mark.parametrize("path", whole(PLUGINS))
def test_a_plugin_uses_only_public_names_of_the_core(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "cloche":
            assert node.attr in {*cloche.__all__, "__version__", "__file__"}, (
                f"{path}:{node.lineno}: cloche.{node.attr}"
            )


@pytest.mark.parametrize("path", whole([*CORE, *PLUGINS, *NATIVE, *TESTS]))
def test_only_the_wrapper_imports_the_compiled_module(path: Path) -> None:
    if path == ROOT / "native" / "cloche_native" / "__init__.py":
        return
    for found in imports(path):
        assert "_lib" not in found.module.split("."), f"{path}:{found.line}"
        assert not (found.module == "cloche_native" and found.name == "_lib"), f"{path}:{found.line}"


@pytest.mark.parametrize("path", whole(NATIVE))
def test_the_native_module_knows_nothing_of_the_core(path: Path) -> None:
    assert not [f for f in imports(path) if top(f.module) in {"cloche", *BUNDLED}]


@pytest.mark.parametrize("path", whole([*CORE, *PLUGINS, *NATIVE, *TESTS]))
def test_nothing_is_imported_by_the_name_of_a_source_folder(path: Path) -> None:
    for found in imports(path):
        assert top(found.module) not in {"core", "plugins", "native", "src"}, f"{path}:{found.line}"


@pytest.mark.parametrize("path", whole(TESTS))
def test_tests_share_fixtures_and_oracles_not_imports(path: Path) -> None:
    for found in imports(path):
        if top(found.module) == "tests":
            assert f"{found.module}.{found.name}".startswith("tests.native.reference"), f"{path}:{found.line}"


@pytest.mark.parametrize("path", whole([*CORE, *PLUGINS, *NATIVE]))
def test_no_error_is_swallowed_unnamed(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ExceptHandler):
            where = f"{path}:{node.lineno}"
            assert node.type is not None, f"{where}: a bare except catches what nobody meant"
            if all(isinstance(s, ast.Pass) or _is_ellipsis(s) for s in node.body):
                assert ast.unparse(node.type) not in {"Exception", "BaseException"}, f"{where}: too wide to be expected"
                reason = path.read_text(encoding="utf-8").splitlines()[node.body[0].lineno - 1]
                assert "  # " in reason, f"{where}: nothing is done about it; say why"
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
            names = {ast.unparse(argument) for argument in node.args}
            assert names, f"{path}:{node.lineno}"
            assert not names & {"Exception", "BaseException"}, f"{path}:{node.lineno}: too wide to be expected"


def _is_ellipsis(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) and statement.value.value is ...
    )


def test_files_are_short_enough_to_read() -> None:
    code = [*CORE, *PLUGINS, *NATIVE, *(ROOT / "native").rglob("*.c"), *(ROOT / "native").rglob("*.h")]
    ours = [path for path in code if path.name != "_lib.c"]
    long = {
        str(path.relative_to(ROOT)): count
        for path in ours
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > LINES_MAX[path.suffix]
    }
    assert not long


def test_every_public_name_can_be_had() -> None:
    assert sorted(cloche.__all__) == sorted(set(cloche.__all__))
    for name in cloche.__all__:
        assert getattr(cloche, name) is not None
        assert name in dir(cloche)
