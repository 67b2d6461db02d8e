"""Pairs of JSON documents, old and new: made from fixed seeds, and real ones from versions of npm packages.

Each stands for a way in which state changes. None was tuned to what any contender is good at; the seeds were fixed
before anything was timed.
"""

import copy
import json
import random
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.peers import CACHE

Value = Any
Pair = tuple[Value, Value]
SYLLABLES = "ba be bi co da de do fa go ha in ka ke la le li lo ma me mi mo no pa po ra re ro sa se so ta te to un va"
DOWNLOAD = 120.0  # seconds for one package


class Words:
    """Seeded choices, and words that look like some."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)  # noqa: S311 - no secret
        pieces = SYLLABLES.split()
        self.known = sorted({"".join(self.random.choices(pieces, k=self.random.randrange(2, 6))) for _ in range(4000)})

    def word(self) -> str:
        """Give one word."""
        return self.random.choice(self.known)

    def words(self, count: int) -> str:
        """Give a line of them."""
        return " ".join(self.random.choices(self.known, k=count))

    def digits(self, count: int) -> str:
        """Give hexadecimal digits, as of a hash."""
        return f"{self.random.getrandbits(4 * count):0{count}x}"


def editor(w: Words) -> Pair:
    """Give an editor's state; the cursor moves."""
    views = [{"line": 9 * i, "column": i, "folds": [[i, 80]]} for i in range(8)]
    tabs = [{"path": f"/src/{w.word()}/{w.word()}.py", "pinned": False, "view": view} for view in views]
    cursor = {"line": 10, "column": 5}
    found = [{"line": 12, "severity": "warning", "code": "E501", "message": "line too long (104 > 88 characters)"}]
    old = {
        "file": "/src/components/state.py", "cursor": cursor, "selection": {"start": cursor, "end": cursor},
        "scroll": {"top": 1240, "left": 0}, "mode": "insert", "theme": "dark", "fontSize": 14, "dirty": True,
        "tabs": tabs, "search": {"query": "", "regex": False, "results": None}, "diagnostics": found,
    }  # fmt: skip
    return old, {**old, "cursor": {"line": 11, "column": 0}}


def _file(w: Words, name: str) -> Value:
    return {
        "name": name + w.random.choice([".py", ".ts", ".md"]), "type": "file", "size": w.random.randrange(20, 90_000),
        "mtime": 1_790_000_000 + w.random.random() * 1e7, "mode": 33188, "sha": w.digits(40), "dirty": False,
    }  # fmt: skip


def _folder(w: Words, depth: int, name: str) -> Value:
    if depth == 0 or w.random.random() < 0.15:
        return _file(w, name)
    names = [f"{w.word()}_{w.word()}" for _ in range(w.random.randrange(4, 11))]
    children = {child: _folder(w, depth - 1, child) for child in names}
    return {"name": name, "type": "dir", "mode": 16877, "expanded": w.random.random() < 0.3, "children": children}


def _all(node: Value) -> Iterator[Value]:
    yield node
    for child in node.get("children", {}).values():
        yield from _all(child)


def tree(w: Words) -> Pair:
    """Give a project's files, a megabyte of them: five touched, one new, one gone, a folder opened."""
    root = _folder(w, 5, "root")
    while not 900_000 < len(json.dumps(root)) < 1_400_000:
        root = _folder(w, 5, "root")
    old = {"project": "demo", "version": 7, "root": root, "git": {"branch": "main", "ahead": 2, "staged": []}}
    new = copy.deepcopy(old)
    nodes = list(_all(new["root"]))
    folders = [node for node in nodes if "children" in node]
    for file in w.random.sample([node for node in nodes if "children" not in node], 5):
        file.update(size=file["size"] + 17, mtime=file["mtime"] + 86400.5, sha=w.digits(40))
    w.random.choice(folders)["children"][f"{w.word()}_new"] = _file(w, "new")
    full = w.random.choice([folder for folder in folders if folder["children"]])
    del full["children"][next(iter(full["children"]))]
    folders[-1]["expanded"] = not folders[-1]["expanded"]
    new["version"] = 8
    return old, new


def same(w: Words) -> Pair:
    """Give no change: two equal values that were made apart."""
    old, _ = tree(w)
    return old, copy.deepcopy(old)


def _entry(w: Words, number: int) -> dict[str, Value]:
    return {
        "ts": 1_790_000_000_000 + number * 137, "level": w.random.choice(["info", "info", "info", "warn", "error"]),
        "src": f"{w.word()}.{w.word()}", "pid": w.random.randrange(300, 9999), "msg": w.words(12),
        "tags": [w.word(), w.word()], "ok": w.random.random() < 0.9, "took": round(w.random.random() * 100, 3),
    }  # fmt: skip


def log(w: Words) -> Pair:
    """Give a log of 5,000 entries: two gone at the front, one new there, and three changes in the middle."""
    old = [_entry(w, number) for number in range(5000)]
    new = copy.deepcopy(old)
    del new[0:2]
    new.insert(0, _entry(w, 9999))
    new.insert(2600, _entry(w, 9998))
    del new[4000]
    new[3000]["level"] = "fatal"
    return {"entries": old, "total": 5000}, {"entries": new, "total": 5000}


def ring(w: Words) -> Pair:
    """Give what a terminal has shown, 5,000 lines: 50 gone at the front, 50 new at the end."""
    lines = [w.words(w.random.randrange(3, 14)) for _ in range(5050)]
    return {"columns": 120, "lines": lines[:5000]}, {"columns": 120, "lines": lines[50:]}


def block_move(w: Words) -> Pair:
    """Give twenty of 5,000 entries moved from the front to three quarters."""
    items = [{"id": w.digits(16), **_entry(w, number)} for number in range(5000)]
    return {"items": items}, {"items": items[20:3750] + items[:20] + items[3750:]}


def shuffle(w: Words) -> Pair:
    """Give two thousand small elements in another order: the worst for whoever looks for moves."""
    items = [{"id": number, "name": w.word()} for number in range(2000)]
    return {"items": items}, {"items": w.random.sample(items, len(items))}


def replaced(w: Words) -> Pair:
    """Give two thousand small elements, all of them others."""
    items, others = ([{"id": first + n, "name": w.word()} for n in range(2000)] for first in (0, 100_000))
    return {"items": items}, {"items": others}


def _deep(w: Words, depth: int) -> Value:
    r = w.random
    if depth == 0:
        return r.choice([r.randrange(10**6), w.word(), r.random(), True, None, w.words(3)])
    if depth % 3 == 1 and r.random() < 0.5:
        return [_deep(w, depth - 1) for _ in range(r.randrange(2, 7))]
    return {f"{w.word()}{i}": _deep(w, depth - 1) for i in range(r.randrange(2, 6))}


def deep(w: Words) -> Pair:
    """Give ten megabytes of random trees; one leaf of a thousand changed."""
    shards: dict[str, Value] = {}
    size = 0
    while size < 10_000_000:
        part = shards[f"s{len(shards)}"] = _deep(w, 9)
        size += len(json.dumps(part, separators=(",", ":")))
    new = copy.deepcopy(shards)
    leaves = list(_leaves(new))
    for holder, key in w.random.sample(leaves, len(leaves) // 1000):
        holder[key] = w.random.choice([w.random.randrange(10**6), w.word(), w.random.random()])
    return {"shards": shards}, {"shards": new}


def _leaves(value: Value) -> Iterator[tuple[Value, Value]]:
    for key, child in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(child, dict | list):
            yield from _leaves(child)
        else:
            yield value, key


def _paper(w: Words) -> str:
    begin = "\\documentclass{article}\n\\begin{document}\n"
    paragraphs = [
        f"\\section{{{w.words(3)}}}\n" + "\n".join(w.words(14) + "." for _ in range(w.random.randrange(6, 20)))
        for _ in range(90)
    ]
    return begin + "\n\n".join(paragraphs)


def _edited(text: str) -> str:
    return text[:5000] + "an inserted sentence. " + text[5000:40000] + text[40050:70000] + "other" + text[70010:]


def text(w: Words) -> Pair:
    """Give a paper of 100 KB as one string, edited in three places."""
    paper = _paper(w)
    old = {"path": "paper.tex", "content": paper, "revision": 1}
    return old, {**old, "content": _edited(paper), "revision": 2}


def lines(w: Words) -> Pair:
    """Give the same as an array of lines."""
    paper = _paper(w)
    old = {"path": "paper.tex", "lines": paper.split("\n"), "revision": 1}
    return old, {**old, "lines": _edited(paper).split("\n"), "revision": 2}


def counters(w: Words) -> Pair:
    """Give a table of 100,000 small numbers in rows, two hundred of them counted up."""
    old = {"rows": [[w.random.randrange(1000) for _ in range(100)] for _ in range(1000)]}
    new = copy.deepcopy(old)
    for row in w.random.sample(range(1000), 200):
        new["rows"][row][row % 100] += 1
    return old, new


def package(name: str, version: str, inside: str) -> Value:
    """Give a JSON file of a version of an npm package, from the cache or the registry. Raises ``OSError``."""
    kept = CACHE / "json" / f"{name.replace('/', '+')}-{version}-{Path(inside).name}"
    if not kept.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise FileNotFoundError("npm is not installed")
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="cloche-json-") as folder:
            command = [npm, "pack", "--silent", f"{name}@{version}"]
            try:
                subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=DOWNLOAD)
            except subprocess.SubprocessError as error:
                raise OSError(f"npm could not download {name}@{version}") from error
            with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
                member = archive.extractfile(inside)
                assert member is not None, inside
                part = kept.with_suffix(".part")
                part.write_bytes(member.read())
                part.replace(kept)
    return json.loads(kept.read_bytes())


def versions(name: str, old: str, new: str, inside: str, inside_new: str = "") -> Pair:
    """Give a JSON file of two versions of an npm package. Raises ``OSError``."""
    return package(name, old, f"package/{inside}"), package(name, new, f"package/{inside_new or inside}")


MADE: dict[str, Callable[[Words], Pair]] = {
    function.__name__: function
    for function in (editor, tree, same, log, ring, block_move, shuffle, replaced, deep, text, lines, counters)
}
"""Documents made from a seed, by name."""
REAL: dict[str, Callable[[], Pair]] = {
    "mime_db": partial(versions, "mime-db", "1.53.0", "1.54.0", "db.json"),
    "caniuse": partial(versions, "caniuse-db", "1.0.30001812", "1.0.30001813", "fulldata-json/data-2.0.json"),
    "openapi": partial(
        versions, "@octokit/openapi", "23.0.2", "23.0.2", "generated/ghes-3.18.json", "generated/ghes-3.19.json"
    ),
    "browser_data": partial(versions, "@mdn/browser-compat-data", "8.1.7", "8.1.9", "data.json"),
}
"""Versions of documents that people really published, by name."""


def pair(name: str) -> Pair:
    """Give the document ``name``, old and new. Raises ``OSError`` for a real one that can't be had here."""
    return MADE[name](Words(f"cloche {name}")) if name in MADE else REAL[name]()


TITLES = {
    "editor": "an editor's state, its cursor moved (1 KB)",
    "tree": "a project's files, ten changes all over them (0.9 MB)",
    "same": "no change (1 MB)",
    "log": "a log of 5,000 entries, changed in front and in the middle (1.1 MB)",
    "ring": "5,000 lines of a terminal, 50 more and 50 less (0.3 MB)",
    "block_move": "20 of 5,000 entries moved (1.3 MB)",
    "shuffle": "2,000 small elements shuffled (57 KB)",
    "replaced": "2,000 small elements, all replaced (57 KB)",
    "deep": "random trees, one leaf of a thousand changed (10.7 MB)",
    "text": "a paper as one string, three edits (140 KB)",
    "lines": "the same as lines (132 KB)",
    "counters": "100,000 numbers in rows, 200 changed (0.4 MB)",
    "mime_db": "mime-db 1.53.0 to 1.54.0 (0.2 MB)",
    "caniuse": "caniuse-db 1.0.30001812 to 813 (4.8 MB)",
    "openapi": "GitHub's interface 3.18 to 3.19 (5.9 MB)",
    "browser_data": "browser-compat-data 8.1.7 to 8.1.9 (20.6 MB)",
}
"""What each is, for people."""
