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

import cloche
import cloche_native
from cloche import hookspecs
from cloche_native import agent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT: Final = Path(__file__).parents[2]
CORE: Final = sorted((ROOT / "core").rglob("*.py"))
PLUGINS: Final = sorted((ROOT / "plugins").rglob("*.py"))
MODULES: Final = (
    "acts", "agent", "cgroup", "files", "judged", "lines", "network", "rules", "seccheck", "wasm", "words",
)  # fmt: skip
"""Modules of cloche_native that plugins may use."""
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
    """``import module`` (``name`` is None) or ``from module import name``."""

    path: Path
    line: int
    module: str
    name: str | None

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: {self.module} {self.name or ''}"


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports_of(path: Path) -> list[Import]:
    """Give every import of a file, also those inside functions and TYPE_CHECKING."""
    found: list[Import] = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found += [Import(path, node.lineno, alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            found += [Import(path, node.lineno, module, alias.name) for alias in node.names]
    return found


def imports(paths: Iterable[Path]) -> Iterator[Import]:
    for path in paths:
        yield from imports_of(path)


def where(path: Path, line: int, what: str) -> str:
    return f"{path.relative_to(ROOT)}:{line}: {what}"


def test_imports_are_absolute_and_not_by_the_name_of_a_source_folder() -> None:
    found = imports([*CORE, *PLUGINS, *NATIVE, *TESTS])
    assert [str(f) for f in found if f.top in {"", "core", "plugins", "native", "src"}] == []


def test_the_core_imports_no_plugin_and_no_foreign_functions() -> None:
    assert [str(f) for f in imports(CORE) if f.top in BUNDLED | {"cffi", "ctypes"}] == []


def test_the_core_imports_its_testing_tools_nowhere_else() -> None:
    others = [path for path in CORE if "testing" not in path.parts]
    assert [str(f) for f in imports(others) if "testing" in f"{f.module}.{f.name}".split(".")] == []


def test_the_core_names_no_runtime_no_tool_and_no_mechanism() -> None:
    hooks = {name for name in dir(hookspecs) if name.startswith("cloche_")}  # a plugin may be named as what it provides
    acts = {act.value for act in cloche.Act}
    native_names = {*cloche_native.__all__, *(field.name for field in fields(agent.Setup))}
    found: list[str] = []
    for path in [p for p in CORE if "testing" not in p.parts]:  # tests must name what they try
        source = path.read_text(encoding="utf-8")
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.NAME and token.string in native_names:
                continue  # the name of a function is the native module's choice
            if token.string.strip('"').lower() in acts:
                continue  # what a guest may do is named as guests' authors know it
            if match := WORDS.search(token.string):
                found.append(where(path, token.start[0], match[0]))
        found += [where(path, 0, name) for name in BUNDLED - hooks if re.search(rf"\b{name}\b", source)]
    assert found == []


def test_a_plugin_imports_only_what_is_public() -> None:
    assert [str(f) for f in imports(PLUGINS) if not _public(f)] == []


def _public(found: Import) -> bool:
    own = found.path.relative_to(ROOT / "plugins").parts[0]
    match found.top:
        case "cloche":
            return found.module == "cloche" and (found.name is None or found.name in cloche.__all__)
        case "cloche_native" if found.module == "cloche_native":
            return found.name is None or found.name in {*cloche_native.__all__, *MODULES}
        case "cloche_native":
            named = found.name is None or not found.name.startswith("_")
            return named and found.module in {f"cloche_native.{part}" for part in MODULES}
        case "cffi" | "ctypes":
            return False
        case other:
            return other == own or other not in BUNDLED


def test_a_plugin_uses_only_public_names_of_the_core() -> None:
    public = {*cloche.__all__, "__version__", "__file__"}
    found = [
        where(path, node.lineno, node.attr)
        for path in PLUGINS
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "cloche"
        if node.attr not in public
    ]
    assert found == []


def test_only_the_wrappers_import_the_compiled_module() -> None:
    names = (
        "__init__.py",
        "acts.py",
        "calls.py",
        "events.py",
        "files.py",
        "guest.py",
        "filters.py",
        "json.py",
        "json_diff.py",
        "json_apply.py",
        "lines.py",
        "network.py",
        "paths.py",
        "rules.py",
        "rings.py",
        "seccheck.py",
        "sentry.py",
        "supervisor.py",
        "wasm.py",
        "wasm_budget.py",
        "wasm_frame.py",
        "wasm_instance.py",
        "wasm_values.py",
        "watch.py",
        "words.py",
    )
    wrappers = [ROOT / "native" / "cloche_native" / name for name in names]
    others = [path for path in [*CORE, *PLUGINS, *NATIVE, *TESTS] if path not in wrappers]
    assert [str(f) for f in imports(others) if "_lib" in f"{f.module}.{f.name}".split(".")] == []


def test_the_native_module_knows_nothing_of_the_core() -> None:
    assert [str(f) for f in imports(NATIVE) if f.top in {"cloche", *BUNDLED}] == []


def test_tests_share_fixtures_oracles_and_drivers_not_each_other() -> None:
    """A test may import a module beside it that is no test: an oracle, or what drives the thing under test."""
    shared = [f for f in imports(TESTS) if f.top == "tests"]
    parts = [f"{f.module}.{f.name}".split(".") for f in shared]
    assert [str(f) for f, names in zip(shared, parts, strict=True) if any(n.startswith("test_") for n in names)] == []


def test_no_error_is_swallowed_without_a_name_and_a_reason() -> None:
    found: list[str] = []
    for path in [*CORE, *PLUGINS, *NATIVE]:
        lines = path.read_text(encoding="utf-8").splitlines()
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ExceptHandler):
                kinds = {"BaseException"} if node.type is None else {ast.unparse(node.type)}
                nothing = all(isinstance(s, ast.Pass) or _is_ellipsis(s) for s in node.body)
                reason = "  # " in lines[node.body[0].lineno - 1]
                wide = bool(kinds & {"Exception", "BaseException"})
                if node.type is None or (nothing and (wide or not reason)):
                    found.append(where(path, node.lineno, "except"))
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
                wide = bool({ast.unparse(argument) for argument in node.args} & {"Exception", "BaseException"})
                found += [where(path, node.lineno, "suppress")] if wide else []
    assert found == []


def _is_ellipsis(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) and statement.value.value is ...
    )


def test_files_are_short_enough_to_read() -> None:
    code = [*CORE, *PLUGINS, *NATIVE, *(ROOT / "native").rglob("*.c"), *(ROOT / "native").rglob("*.h")]
    ours = [path for path in code if path.name != "_lib.c"]  # generated
    counts = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in ours}
    assert {str(p.relative_to(ROOT)): n for p, n in counts.items() if n > LINES_MAX[p.suffix]} == {}


def test_every_public_name_can_be_had() -> None:
    assert sorted(cloche.__all__) == sorted(set(cloche.__all__))
    for name in cloche.__all__:
        assert getattr(cloche, name) is not None
        assert name in dir(cloche)
