"""One lean Python process per contender, and the hard time-out on it.

Why: a library that forks the Python process it is called from (sandlock does) is slower the more memory that process
holds: 4.3 ms in a bare interpreter were 7.2 ms in one of 60 MB. Inside pytest such a peer would look worse than it is.
So each contender, cloche too, is called in an interpreter that has imported nothing else, and times the call there.

The parent asks with a line of JSON and reads a line of JSON. It waits by select(2), and kills the worker's process
group if the answer is late. `Clock` has pytest-benchmark record the worker's own time without the hop between the two.

    python -m benchmarks.worker NAME     serve requests (what `Worker` starts)
    python -m benchmarks.worker          print which contenders run here, and why the others don't
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.json_contenders import NEWER, PEERS_JSON
from benchmarks.peers import PEERS, Contender

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 60.0  # seconds for any one call; the slowest good one takes about two


class WorkerError(Exception):
    """A contender failed, died or was late."""


class Clock:
    """``time.perf_counter`` minus the time spent on the hop to and from workers."""

    def __init__(self) -> None:
        self.hops = 0.0

    def __call__(self) -> float:
        return time.perf_counter() - self.hops


CLOCK = Clock()


class Worker:
    """A contender in its own process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [_python(name), "-m", "benchmarks.worker", name],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._answers = self._process.stdout

    def call(self, method: str, **arguments: object) -> Any:  # noqa: ANN401  # as JSON gives it
        """Call a method of the contender; give what it returned.

        Raises ``WorkerError`` if it raised, or did not answer within ``TIMEOUT``.
        """
        begin = time.perf_counter()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([method, arguments]).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._line(begin + TIMEOUT)
        if "error" in answer:
            raise WorkerError(f"{self.name}: {method}: {answer['error']}")
        CLOCK.hops += time.perf_counter() - begin - answer["seconds"]
        return answer["value"]

    def _line(self, deadline: float) -> dict[str, Any]:
        data = b""
        while not data.endswith(b"\n"):
            ready, _, _ = select.select([self._answers], [], [], max(0.0, deadline - time.perf_counter()))
            piece = os.read(self._answers.fileno(), 1 << 20) if ready else b""
            if not piece:
                self.kill()
                how = "died" if ready else f"did not answer within {TIMEOUT:.0f} s and was killed"
                raise WorkerError(f"{self.name}: the worker {how}")
            data += piece
        answer: dict[str, Any] = json.loads(data)
        return answer

    def close(self) -> None:
        """End the worker, by force if it does not end by itself within ten seconds."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()
        self._answers.close()

    def kill(self) -> None:
        """End the worker and everything in its process group now."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _python(name: str) -> str:
    """Give the interpreter of a contender: ours, unless it wants a newer one that is there."""
    return str(NEWER) if name == "fastjsonpatch" and NEWER.exists() else sys.executable


def serve(name: str) -> None:
    """Answer requests on standard input until it ends."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a contender prints by itself must not look like an answer
    contender = _contender(name)
    try:
        for line in requests:
            method, arguments = json.loads(line)
            begin = time.perf_counter()
            try:
                value = getattr(contender, method)(**arguments)
                answer = {"seconds": time.perf_counter() - begin, "value": value}
            except Exception as error:  # noqa: BLE001  # told to the parent, which raises it
                answer = {"error": f"{type(error).__name__}: {error}"}
            answers.write(json.dumps(answer).encode() + b"\n")
    finally:
        contender.close()


def _contender(name: str) -> Contender:
    if name in PEERS:
        return PEERS[name]()
    if name in PEERS_JSON:
        return PEERS_JSON[name]()
    from benchmarks.peers_docker import DOCKERS  # noqa: PLC0415  # only for those who are one
    from benchmarks.peers_gvisor import GVISOR  # noqa: PLC0415
    from benchmarks.peers_interpreters import PEERS_INTERPRETERS  # noqa: PLC0415
    from benchmarks.peers_wasi import PEERS_WASI  # noqa: PLC0415
    from benchmarks.watchers import WATCHERS  # noqa: PLC0415

    others = {**WATCHERS, **GVISOR, **DOCKERS, **PEERS_INTERPRETERS, **PEERS_WASI}
    if name in others:
        return others[name]()
    from benchmarks.ours import OURS  # noqa: PLC0415  # a peer's process does not carry cloche
    from benchmarks.ours_gvisor import OURS_GVISOR  # noqa: PLC0415
    from benchmarks.ours_interpreters import OURS_INTERPRETERS  # noqa: PLC0415
    from benchmarks.ours_json import OURS_JSON  # noqa: PLC0415
    from benchmarks.ours_pool import OURS_POOL  # noqa: PLC0415
    from benchmarks.ours_restored import OURS_RESTORED  # noqa: PLC0415
    from benchmarks.ours_wasi import OURS_WASI  # noqa: PLC0415
    from benchmarks.ours_watched import OURS_WATCHED  # noqa: PLC0415

    ours = (
        OURS, OURS_WATCHED, OURS_GVISOR, OURS_POOL, OURS_RESTORED, OURS_INTERPRETERS, OURS_WASI, OURS_JSON,
    )  # fmt: skip
    named = {key: kind for kinds in ours for key, kind in kinds.items()}
    if len(named) != sum(map(len, ours)):
        raise WorkerError("two contenders go by one name")
    return named[name]()


def survey() -> None:
    """Print which contenders run here, and why the others don't."""
    for name in (
        "cloche",
        "cloche run",
        "cloche bwrap",
        "cloche process",
        "cloche bounded",
        "cloche boundless",
        *PEERS,
        "cloche gvisor",
        "runsc",
        "runsc do",
        "docker runc",
        "docker runsc",
        "cloche js",
        "cloche python",
        "isolated-vm",
        "pyeryx",
        "quickjs",
        "quickjs-rs",
        "cloche wasm",
        "wasmtime",
    ):
        worker = Worker(name)
        try:
            print(f"{name:16} {worker.call('unavailable') or 'runs'}")
        except WorkerError as error:
            print(f"{name:16} FAILS: {error}")
        finally:
            worker.close()


if __name__ == "__main__":
    serve(sys.argv[1]) if len(sys.argv) > 1 else survey()
