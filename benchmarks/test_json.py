"""Patches of JSON documents: made of two values or texts, and applied; every patch is applied by jsonpatch first."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import json_documents
from benchmarks.conftest import Workers, described, skipped
from benchmarks.timed import timed
from benchmarks.worker import CLOCK, Worker

BLOCKS = 2
ENOUGH = 0.05
"""Seconds that a round takes at least, by as many calls as that needs."""
MOST = 2000
PATCHING = ["cloche value", "cloche text", "cloche diff", "jsonpatch", "fastjsonpatch", "patchdiff"]
NOT = ["orjson.dumps", "memcmp", "cloche parse"]
"""Those that make no patch: what a patch costs is said beside what they do."""
EDITS = 10


class Documents:
    """The pairs, written to files for the workers once, and which contender holds which."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.held: dict[str, str] = {}
        self.counts: dict[tuple[str, str], int] = {}
        self.sizes: dict[tuple[str, str], list[int]] = {}

    def files(self, name: str) -> list[str]:
        """Give the files of a pair. Skips with the reason where it can't be had here."""
        files = [self.folder / f"{name}-{which}.json" for which in ("old", "new")]
        if not files[0].exists():
            try:
                pair = json_documents.pair(name)
            except OSError as error:
                skipped[f"document {name}"] = str(error)
                pytest.skip(str(error))
            for file, value in zip(files, pair, strict=True):
                file.write_text(json.dumps(value, separators=(",", ":"), ensure_ascii=False), encoding="utf-8")
        return [str(file) for file in files]

    def load(self, worker: Worker, name: str) -> None:
        """Have a contender hold a pair, and its patches seen to be right."""
        if self.held.get(worker.name) == name:
            return
        files = self.files(name)
        worker.call("load", old=files[0], new=files[1])
        self.held[worker.name] = name
        if (worker.name, name) in self.counts:
            return
        if worker.name in PATCHING:
            made = [str(self.folder / f"{way}.patch") for way in ("forth", "back")]
            self.sizes[worker.name, name] = worker.call("patches", forth=made[0], back=made[1])
            right(files[0], files[1], made[0])
            right(files[1], files[0], made[1])
        before = CLOCK()
        worker.call("both", count=1)
        self.counts[worker.name, name] = max(1, min(MOST, int(ENOUGH / max(CLOCK() - before, 1e-7))))


def right(old: str, new: str, patch: str) -> None:
    """Have the oracle apply a patch, and compare."""
    import jsonpatch  # noqa: PLC0415 - without it nothing here is run

    values = [json.loads(Path(file).read_bytes()) for file in (old, new, patch)]
    assert jsonpatch.apply_patch(values[0], values[2], in_place=True) == values[1]


@pytest.fixture(scope="session")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Documents:
    if importlib.util.find_spec("jsonpatch") is None:
        pytest.fail("jsonpatch, the oracle, is not installed: pip install '.[test]'", pytrace=False)
    return Documents(tmp_path_factory.mktemp("documents"))


def cases() -> list[Any]:
    names = [*json_documents.MADE, *json_documents.REAL]
    return [
        pytest.param(name, contender, marks=pytest.mark.benchmark(group=f"json_{name}", timer=CLOCK))
        for name in names
        for contender in [*PATCHING, *NOT]
        if contender != "memcmp" or name == "same"
    ]


@pytest.mark.parametrize(("name", "contender"), cases())
def test_json(  # noqa: PLR0917 - a test takes its fixtures and parameters as pytest hands them over
    worker: Worker, benchmark: BenchmarkFixture, documents: Documents, name: str, contender: str, block: int
) -> None:
    del block
    documents.load(worker, name)
    count = documents.counts[contender, name]
    timed(benchmark, worker, "both", rounds=3, count=count)
    benchmark.extra_info["items"] = 2 * count
    if contender in PATCHING:
        forth, back = documents.sizes[contender, name]
        benchmark.extra_info["note"] = f"patches of {forth:,} and {back:,} bytes"


def edits() -> list[dict[str, Any]]:
    """Give ten changes of the tree: small ones, all over it."""
    return [
        {"op": "replace", "path": "/version", "value": 9},
        {"op": "add", "path": "/git/staged/0", "value": "a.py"},
        *({"op": "add", "path": f"/root/children/new{n}", "value": {"name": f"new{n}", "size": n}} for n in range(6)),
        {"op": "copy", "from": "/git", "path": "/before"},
        {"op": "move", "from": "/project", "path": "/title"},
    ]


UNDOING = [
    {"op": "move", "from": "/title", "path": "/project"},
    {"op": "remove", "path": "/before"},
    *({"op": "remove", "path": f"/root/children/new{n}"} for n in range(6)),
    {"op": "remove", "path": "/git/staged/0"},
    {"op": "replace", "path": "/version", "value": 7},
]


@pytest.mark.parametrize("contender", ["cloche text", "cloche retained", "jsonpatch", "fastjsonpatch"])
@pytest.mark.benchmark(group="patch_apply", timer=CLOCK)
def test_patch_apply(
    workers: Workers, benchmark: BenchmarkFixture, documents: Documents, contender: str, block: int
) -> None:
    del block
    retained = contender == "cloche retained"
    worker = workers("cloche text" if retained else contender)
    documents.load(worker, "tree")
    assert len(edits()) == len(UNDOING) == EDITS
    if retained:
        described[contender] = "operations applied to a retained document, in place, and undone by as many"
        timed(
            benchmark,
            worker,
            "in_place",
            rounds=3,
            warmup=1,
            count=50,
            operations=json.dumps(edits()),
            undoing=json.dumps(UNDOING),
        )
        benchmark.extra_info["items"] = 100
    else:
        count = 20 if contender.startswith("cloche") else 2
        timed(benchmark, worker, "applied", rounds=3, warmup=1, count=count, operations=json.dumps(edits()))
        benchmark.extra_info["items"] = count
