"""Cloche with a Python that has imported much: in a new box, and in one restored from a template."""

import shutil
import tempfile

import cloche
from benchmarks.ours import Cloche
from benchmarks.ours_gvisor import PYTHON, OnGvisor
from benchmarks.peers import WrongAnswerError

IMPORTS = ("asyncio", "http.server", "unittest", "sqlite3", "decimal", "xml.dom.minidom", "email.mime.text", "logging")
"""What the standard library has of weight, so that it is the same on each machine; it takes half of a cold start."""
ANSWER = f"import sys; print(len({set(IMPORTS)} & set(sys.modules)))"


class GvisorImported(OnGvisor, Cloche):
    name = "cloche gvisor imported"
    what = "gvisor at enhanced, a new box: create + a Python that imports eight large modules and answers"
    runtime = "gvisor"

    def __init__(self) -> None:
        super().__init__()
        self.given: cloche.Sandbox | None = None

    def first(self) -> None:
        """Ask for a sandbox and have its Python answer. A timed call; the sandbox goes with the next ``prepare``."""
        self.given = self.host.create(isolation="enhanced", runtime=self.runtime)
        self._answered(self.given.exec(PYTHON, "-c", f"import {', '.join(IMPORTS)}\n{ANSWER}"))

    def prepare(self) -> None:
        """Delete the last sandbox."""
        if self.given is not None:
            self.given.delete()

    def _answered(self, result: cloche.Result) -> None:
        if result.text != f"{len(IMPORTS)}\n":
            raise WrongAnswerError(f"{self.name}: {result.explain()} {result.text[:200]}")


class GvisorRestored(GvisorImported):
    name = "cloche gvisor restored"
    what = "the same restored from a template whose worker has imported them: restore + the answer"

    def __init__(self) -> None:
        super().__init__()
        folder = tempfile.mkdtemp(prefix="cloche-restored-", dir="/var/tmp")
        self.held.callback(shutil.rmtree, folder)
        config = {"snapshots": {"folder": f"{folder}/snapshots"}}
        self.host = self.held.enter_context(cloche.Host(config=config))
        self.saved: cloche.BoxSnapshot | None = None

    def first(self) -> None:
        if self.saved is None:
            raise WrongAnswerError(f"{self.name}: not prepared")
        self.given = self.host.restore(self.saved)
        self._answered(self.given.exec("python3", "-c", ANSWER, worker=True))

    def prepare(self) -> None:
        """Delete the last sandbox; make the template, once."""
        super().prepare()
        if self.saved is None:
            self.saved = self.host.template("imported", imports=IMPORTS, isolation="enhanced", runtime=self.runtime)


OURS_RESTORED: dict[str, type[Cloche]] = {ours.name: ours for ours in (GvisorImported, GvisorRestored)}
