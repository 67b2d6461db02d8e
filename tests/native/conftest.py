from __future__ import annotations

import ctypes
import errno
import os
import pickle
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from tests.native.watched import Watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

PROGRAMS = Path(__file__).with_name("programs")
PR_SET_SECCOMP, SECCOMP_MODE_FILTER, PR_SET_NO_NEW_PRIVS = 22, 2, 38


@pytest.fixture
def root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: changes ids, mounts or makes control groups")


@pytest.fixture
def null() -> Iterator[int]:
    fd = os.open(os.devnull, os.O_RDWR)
    yield fd
    os.close(fd)


def install(program: bytes) -> None:
    """Put this process under a filter, for good."""
    libc = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))  # struct sock_fprog
    for arguments in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, described, 0, 0)):
        if libc.prctl(*arguments):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@pytest.fixture
def under() -> Callable[..., object]:
    """Call a function in a child under a filter: its result, or the exception it raised."""

    def run(program: bytes, action: Callable[[], T], *, uid: int | None = None) -> T:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            status = 1
            try:
                if uid is not None:
                    os.setgroups([])
                    os.setresgid(uid, uid, uid)
                    os.setresuid(uid, uid, uid)
                try:
                    install(program)
                    answer: tuple[bool, object] = (True, action())
                except Exception as error:  # noqa: BLE001 - carried to the parent, which raises it
                    answer = (False, error)
                os.write(writing, pickle.dumps(answer))
                status = 0
            finally:
                os._exit(status)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            data = pipe.read()
        _, status = os.waitpid(child, 0)
        if not data:
            raise ChildProcessError(status, f"ended with {os.waitstatus_to_exitcode(status)}")
        good, value = pickle.loads(data)  # noqa: S301 - from our own child
        if not good:
            raise value
        return value  # type: ignore[no-any-return]

    return run


@pytest.fixture
def raw() -> Callable[..., int]:
    """Make a system call by number: 0 or more, or a negative errno."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(number: int, *args: int) -> int:
        result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(arg) for arg in args))
        return -ctypes.get_errno() if result == -1 else int(result)

    return call


@pytest.fixture
def refused() -> int:
    return -errno.EPERM


@pytest.fixture(scope="session")
def programs() -> Iterator[Path]:
    """A folder with the programs of tests/native/programs, compiled, that every user may run."""
    if compiled := os.environ.get("CLOCHE_TEST_PROGRAMS"):  # where a compiler takes half a minute: tests/modern
        yield Path(compiled)
        return
    folder = Path(tempfile.mkdtemp(prefix="watched-"))
    folder.chmod(0o755)
    subprocess.run([PROGRAMS / "build", folder], check=True, timeout=360)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def watch(programs: Path) -> Iterator[Callable[..., Watched]]:
    """Make a supervisor and what is needed to be watched by it; all are ended after the test."""
    made: list[Watched] = []

    def make(**how: Any) -> Watched:  # noqa: ANN401 - a supervisor's own
        made.append(Watched(programs, **how))
        return made[-1]

    yield make
    for one in made:
        one.close()
