"""How the guest's CPython runs code: programs with a value, programs that yield. Nothing of cloche is there."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Coroutine, Generator, Iterable
from types import CodeType
from typing import Any, Final, cast

FILE: Final = "<code>"
_AWAITING: Final = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


def run(code: str, names: dict[str, Any]) -> object:
    """Run code, and give the value of its last expression."""
    if (alone := _expression(code)) is not None:
        return _evaluated(alone, names)
    tree = ast.parse(code, FILE)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    if tree.body:
        _evaluated(compile(tree, FILE, "exec", _AWAITING), names)
    if not isinstance(last, ast.Expr):
        return None
    return _evaluated(compile(ast.Expression(last.value), FILE, "eval", _AWAITING), names)


def _expression(code: str) -> CodeType | None:
    """Give code compiled that is one expression: it takes half the time."""
    try:
        return cast("CodeType", compile(code, FILE, "eval", _AWAITING))
    except SyntaxError:
        return None


def _evaluated(code: Any, names: dict[str, Any]) -> object:  # noqa: ANN401 - a code object
    value = eval(code, names)  # noqa: S307 - it is what it is for
    return _awaited(value) if code.co_flags & inspect.CO_COROUTINE else value


def _awaited(coroutine: Coroutine[Any, Any, object]) -> object:
    """Run a coroutine to its end. What it awaits is there at once: the host is waited for in the call itself."""
    while True:
        try:
            waits = coroutine.send(None)
        except StopIteration as done:
            return done.value
        if waits is not None:
            coroutine.close()
            raise RuntimeError("there is no event loop: what is awaited must end in functions of the host")


def program(code: str, names: dict[str, Any]) -> Generator[Any, Any, Any]:
    """Give code that yields at its top level as a generator; what it assigns is global all the same."""
    tree = ast.parse(code, FILE)
    bound = sorted(_bound(tree.body))
    body: list[ast.stmt] = [ast.Global(bound), *tree.body] if bound else tree.body
    if not any(isinstance(node, ast.Yield | ast.YieldFrom) for node in ast.walk(tree)):
        body = [*body, *ast.parse("if False: yield").body]
    whole = ast.parse("def program(): pass")
    function = whole.body[0]
    assert isinstance(function, ast.FunctionDef)  # noqa: S101 - just written
    function.body = body
    made: dict[str, Any] = {}
    exec(compile(ast.fix_missing_locations(whole), FILE, "exec"), names, made)  # noqa: S102 - it is what it is for
    return cast("Generator[Any, Any, Any]", made["program"]())


def _bound(body: Iterable[ast.AST]) -> set[str]:
    """Give the names that statements bind, those of inner functions and classes left out."""
    found: set[str] = set()
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
                continue
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                found.add(name)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                found.add(name)
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                found |= {(alias.asname or alias.name).partition(".")[0] for alias in names if alias.name != "*"}
            case ast.Lambda() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                continue
        found |= _bound(ast.iter_child_nodes(node))
    return found
