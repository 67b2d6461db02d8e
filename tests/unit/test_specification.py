"""What the documents promise is tied to tests that exist, and their figures and links are right."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Final

import pytest

import cloche_levels
from cloche.commands import words

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
README: Final = PAGES[0].read_text(encoding="utf-8")
SPECIFICATION: Final = (ROOT / "docs" / "specification.md").read_text(encoding="utf-8")
PARTS: Final = ("conformance", "ends", "guarantees", "vfs", "vfs_names", "languages", "language_ends")
CONFORMANCE: Final = [ROOT / "core" / "cloche" / "testing" / f"{name}.py" for name in PARTS]
SUITES: Final = {"RuntimeConformance", "VfsConformance", "LanguageConformance"}
GENERATED: Final = {"docs/benchmarks.md", "docs/scale.md"}
"""Made from a run of the benchmarks; a checkout may be without."""


@cache
def functions(path: Path) -> frozenset[str]:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return frozenset(n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def rows(page: str) -> list[list[str]]:
    """Give the cells of every row of every table, without the head and the line below it."""
    tables = re.findall(r"^\|.*\|\n\|[-|]+\|\n((?:\|.*\|\n?)+)", page, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for table in tables for line in table.splitlines()]


def anchors(page: str) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("name", ["specification", "threat-model"])
def test_every_test_that_is_named_exists(name: str) -> None:
    page = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/.]+)::(test_\w+)`", page)
    for file, function in named:
        files = CONFORMANCE if file in SUITES else [ROOT / "tests" / file]
        assert any(function in functions(path) for path in files), f"{file}::{function}"
    assert named


def test_every_promise_names_what_shows_it() -> None:
    shown = re.compile(r"`[\w/.]+::test_|`budget:|test_\w+\.py`")
    assert [row[0] for row in rows(SPECIFICATION) if not shown.search(row[-1])] == []


def test_every_gate_of_the_budget_is_a_promise_and_the_reverse() -> None:
    budget = tomllib.loads((ROOT / "benchmarks" / "budget.toml").read_text(encoding="utf-8"))
    assert set(re.findall(r"`budget:(\w+)`", SPECIFICATION)) == set(budget)


def test_the_readme_repeats_the_levels() -> None:
    table = {row[0]: row[1:] for row in rows(README)}
    levels = [cloche_levels.STANDARD, cloche_levels.ENHANCED, cloche_levels.MAXIMUM]
    limits = [level.limits for level in levels]
    assert table["memory / processors"] == [f"{words.size(i.memory)} / {words.number(i.cpu)}" for i in limits]
    assert table["processes / open files"] == [f"{i.pids} / {i.open_files}" for i in limits]
    assert table["largest file / output"] == [f"{words.size(i.file_size)} / {words.size(i.output)}" for i in limits]
    assert table["time per call"] == [words.seconds(i.wall).replace("m", " min").replace("60s", "60 s") for i in limits]
    assert table["where rules are on, refused from"] == [
        f"{level.auto_block}" + (f"; killed from {level.auto_terminate}" if level.auto_terminate != "never" else "")
        for level in levels
    ]
    assert {level.auto_suspend for level in levels} == {"never"}
    source = (ROOT / "native" / "src" / "syscalls.c").read_text(encoding="utf-8")
    reach = [found[2] for found in re.findall(r'\{"(\w+)", \{(\d+), -?\d+\}, (\w+)\}', source)]
    wider = ("STD", "ENH", "MAX")
    allowed = [sum(reach.count(level) for level in wider[first:]) for first in range(3)]
    assert table[f"calls allowed, of {len(reach)} known on x86-64"] == [str(count) for count in allowed]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_of_ours_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        if path.is_relative_to(ROOT) and str(path.relative_to(ROOT)) in GENERATED:
            continue
        assert path.exists(), target
        assert not anchor or anchor in anchors(path.read_text(encoding="utf-8")), target
