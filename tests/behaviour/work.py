"""The honest work: what people and their agents do in sandboxes. The scripts are in ``work_scripts``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SCRIPTS = Path(__file__).parent / "work_scripts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One piece of work: a script that ``bash -e`` runs in the work folder of a box with ``profile``."""

    name: str
    what: str
    profile: str = "agent-shell"
    script: str = ""
    """The script's name, where that is not ``name``."""
    arguments: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    """Programs without which it can't be done."""
    fetch: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What to have in the cache: ``wheels``, ``sources``, ``npm``, ``npm-packs``, ``deb`` by name."""
    quick: bool = False
    """Done in every run of the tests; it takes a few seconds, and fetches nothing."""
    toolchain: bool = False
    """Whether it is shown the user's Rust at ``/toolchain``."""

    def argv(self) -> tuple[str, ...]:
        """Give the program that is run."""
        text = (SCRIPTS / f"{self.script or self.name}.sh").read_text(encoding="utf-8")
        return ("bash", "-e", "-c", text, self.name, *self.arguments)


def _suite(name: str, *wheels: str, tests: tuple[str, ...] = ("tests",)) -> Work:
    return Work(
        name=f"suite-{name}", what=f"{name} built from its source archive, its test suite run", profile="build",
        script="suite", arguments=(name, " ".join(wheels), *tests), needs=("python3",),
        fetch={"sources": (name,), "wheels": ("pytest", *wheels)},
    )  # fmt: skip


def _wheels(*names: str) -> Mapping[str, tuple[str, ...]]:
    return {"wheels": names}


_PYTHON = (
    Work(name="venv", what="a virtual environment, with pip in it", needs=("python3",), quick=True),
    Work(
        name="pip-wheels", what="pip install requests, flask and rich from wheels", needs=("python3",),
        fetch=_wheels("requests", "flask", "rich"),
    ),
    Work(
        name="pip-source", what="an extension in C built by pip from its source archive", profile="build",
        needs=("python3", "gcc"), fetch={"sources": ("markupsafe",), "wheels": ("setuptools>=77", "wheel")},
    ),
    _suite(
        "attrs", "hypothesis", "hatchling", "hatch-vcs", "hatch-fancy-pypi-readme",
        tests=("tests", "-k", "not wrapped_annotation"),  # with some versions of Python that one fails everywhere
    ),
    _suite("flask", "flask", "flit_core", "pytest<9", "asgiref", tests=("tests", "-k", "not bad_environ")),
    _suite("click", "flit_core"),
    _suite("jinja2", "markupsafe", "flit_core", "trio"),
    _suite("packaging", "pretend", "flit_core", "hypothesis", "tomli_w", tests=("tests", "--ignore", "tests/property")),
    Work(
        name="numpy", what="numpy: matrices, a file mapped into memory, a random walk", profile="untrusted-python",
        fetch=_wheels("numpy"),
    ),
    Work(
        name="notebook", what="a notebook run through nbclient and a kernel of its own", profile="notebook",
        fetch=_wheels("nbclient", "nbformat", "ipykernel", "numpy"),
    ),
    Work(
        name="sqlite", what="a database with an index, a write-ahead log and a copy, from Python",
        profile="untrusted-python", needs=("python3",), quick=True,
    ),
    Work(
        name="servers", what="a web server of Python's own, asked by threads", needs=("python3",), quick=True,
    ),
    Work(
        name="processes", what="a pool of processes, shared memory, temporary files", needs=("python3",), quick=True,
    ),
    Work(
        name="linters", what="ruff over the standard library; a suite with coverage in four processes", profile="build",
        fetch=_wheels("ruff", "pytest", "pytest-xdist", "pytest-cov"),
    ),
)  # fmt: skip
_NODE = (
    Work(
        name="npm", what="npm install express, offline; a server and its test", needs=("node", "npm"),
        fetch={"npm": ("express",)},
    ),
    Work(
        name="node", what="node: files, streams, a worker, a child, a hash", profile="untrusted-node", needs=("node",),
        quick=True,
    ),
    Work(
        name="deno", what="deno: a script, its formatter and its tests", profile="build",
        fetch=_wheels("deno"),
    ),
)  # fmt: skip
_BUILDS = (
    Work(
        name="make", what="a small library and program in C, by make: static, shared, stripped, installed",
        profile="build", needs=("gcc", "make"), quick=True,
    ),
    Work(
        name="sqlite-source", what="SQLite's amalgamation compiled, and used", profile="build", needs=("gcc", "npm"),
        fetch={"npm-packs": ("better-sqlite3",)},
    ),
    Work(
        name="configure", what="configure and make of libev (from gevent's source archive)", profile="build",
        needs=("gcc", "make"), fetch={"sources": ("gevent",)},
    ),
    Work(
        name="cargo", what="a crate built and tested by cargo", profile="build", needs=("cargo", "rustc", "gcc"),
        toolchain=True,
    ),
)  # fmt: skip
_TOOLS = (
    Work(
        name="git", what="git: init, commits, branches, a merge, clone of file://, log, gc", needs=("git",), quick=True,
    ),
    Work(
        name="archives", what="tar, gzip, zip and checksums of a part of /usr, unpacked again", needs=("python3",),
        quick=True,
    ),
    Work(name="search", what="find and grep over /usr", needs=("find", "grep")),
    Work(
        name="openssl", what="openssl: keys, a certificate of one's own, encryption, hashes", needs=("openssl",),
        quick=True,
    ),
    Work(name="perl", what="perl: text, files, modules, a child", needs=("perl",), quick=True),
    Work(name="pipelines", what="sed, awk, sort, xargs, tee, split and cut over a made-up log", quick=True),
    Work(
        name="shell-tests", what="a test script in bash: functions, traps, subshells, here-documents, mktemp",
        quick=True,
    ),
    Work(name="looking-round", what="what an agent asks first: who am I, what is here, what is installed", quick=True),
    Work(
        name="editing", what="what an agent does all day: files written, patched, moved, made executable, run",
        needs=("python3",), quick=True,
    ),
    Work(
        name="deb", what="a Debian package unpacked and looked at", needs=("dpkg-deb", "apt-get"),
        fetch={"deb": ("hello",)},
    ),
)  # fmt: skip
WORK = (*_PYTHON, *_NODE, *_BUILDS, *_TOOLS)
