"""What modules of WASI try, in runtimes whose guests are modules."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import wasmtime

from cloche import Mount
from cloche_wasm.wasi.errors import Errno
from tests.escape.attack import Attack, attack, attacks
from tests.escape.conftest import MODULE

if TYPE_CHECKING:
    from cloche import Result, Sandbox
    from tests.escape.conftest import Create

Stopped = Callable[[str], None]
SECRET = "of the host"  # noqa: S105 - what modules look for
WORDS = {
    Errno.NOTCAPABLE: "ENOTCAPABLE: leads out", Errno.ROFS: "EROFS: read-only", Errno.PERM: "EPERM: refused",
    Errno.NOSYS: "ENOSYS: there is no such call", Errno.BADF: "EBADF: it was not given",
    Errno.NOSPC: "ENOSPC: no room", Errno.MFILE: "EMFILE: limit", Errno.FBIG: "EFBIG: limit",
}  # fmt: skip


class Outside:
    """Folders of the host: ``shown`` is shown to the box, read-only, ``open`` to be written, ``hidden`` not at all."""

    def __init__(self, top: Path) -> None:
        self.top, self.hidden, self.shown, self.open = top, top / "hidden", top / "shown", top / "open"
        for folder in (self.hidden, self.shown, self.open):
            folder.mkdir()
            (folder / "secret").write_text(SECRET if folder == self.hidden else "given")
        (self.shown / "folder").mkdir()
        (self.shown / "out").symlink_to("../hidden/secret")
        (self.shown / "far").symlink_to(self.hidden / "secret")

    def look(self) -> list[tuple[object, ...]]:
        """Give all of what is hidden or read-only that a guest could change."""
        found = [path for folder in (self.hidden, self.shown) for path in sorted(folder.rglob("*"))]
        return [(path, path.lstat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in found]


@pytest.fixture
def outside() -> Iterator[Outside]:
    top = Path(tempfile.mkdtemp(prefix="outside-"))
    try:
        made = Outside(top)
        before = made.look()
        yield made
        assert made.look() == before
    finally:
        shutil.rmtree(top)


@pytest.fixture
def box(create: Create, outside: Outside) -> Sandbox:
    mounts = [Mount(str(outside.shown), "/given"), Mount(str(outside.open), "/open", read_only=False)]
    limits = {"memory": "64M", "disk": "1M", "files": 64, "open_files": 32, "file_size": "2M", "pids": 4}
    box = create(mounts=mounts, limits=limits, strict=False)  # what the host lets be written has no bound
    box.files.write("mine", b"its own")
    box.files.write("other", b"its own")
    return box


@pytest.fixture
def tries(programs: Path) -> Callable[..., Errno]:
    """Do one call in a box and give the error number that it was given; what it printed must hold no secret."""

    def run(box: Sandbox, *args: str, cwd: str = "/workspace") -> Errno:
        done = box.exec(str(programs / MODULE), *args, cwd=cwd, timeout=60)
        assert SECRET not in done.text
        return Errno(int(done.check().text.split()[-1]))

    return run


def made(box: Sandbox, text: str, name: str = "made.wasm") -> str:
    """Put a module into the work folder and give its name."""
    box.files.write(name, bytes(wasmtime.wat2wasm(text)))
    return name


# -- single calls ------------------------------------------------------------------------------------------------------

HARMLESS = ("r", "mine")
CALLS = [
    ("wasi-dots", "more '..' than there are folders", "filesystem", "r ../../../../../etc/passwd", Errno.NOTCAPABLE),
    ("wasi-absolute", "an absolute path", "filesystem", "r /etc/passwd", Errno.NOTCAPABLE),
    ("wasi-link-out", "a link of the host's that climbs out", "filesystem", "given:r out", Errno.NOTCAPABLE),
    ("wasi-link-far", "an absolute link of the host's", "filesystem", "given:r far", Errno.NOTCAPABLE),
    ("wasi-stat-out", "look at what is outside", "filesystem", "given:s ../hidden/secret", Errno.NOTCAPABLE),
    ("wasi-create-out", "make a file outside", "filesystem", "open:c ../hidden/new", Errno.NOTCAPABLE),
    ("wasi-folder-out", "make a folder outside", "filesystem", "open:m ../new", Errno.NOTCAPABLE),
    ("wasi-unlink-out", "remove a file outside", "filesystem", "open:u ../hidden/secret", Errno.NOTCAPABLE),
    ("wasi-rename-out", "move a file of its own outside", "filesystem", "open:n secret ../moved", Errno.NOTCAPABLE),
    ("wasi-rename-in", "move a file in from outside", "filesystem", "open:n ../hidden/secret x", Errno.NOTCAPABLE),
    ("wasi-link-absolute", "make an absolute link", "filesystem", "open:l /etc/passwd link", Errno.NOTCAPABLE),
    ("wasi-hard-link", "another name for a file that it is shown", "filesystem", "given:h secret mine", Errno.NOSYS),
    ("wasi-mount-removed", "remove a folder that it was given", "filesystem", "open:d .", Errno.PERM),
    ("wasi-mount-moved", "move a folder that it was given", "filesystem", "open:n . x", Errno.PERM),
    ("wasi-descriptors", "use every descriptor that it was not given", "process", "x", Errno.BADF),
    ("wasi-signal", "send a signal", "process", "k", Errno.NOSYS),
    ("wasi-accept", "take a connection on a descriptor", "network", "a", Errno.NOSYS),
    ("wasi-send", "send on a descriptor", "network", "b", Errno.NOSYS),
    ("wasi-fill", "write until there is no room", "disk", "f big", Errno.NOSPC),
    ("wasi-files", "folders until there are no more", "disk", "v", Errno.NOSPC),
    ("wasi-truncate", "a file of a tebibyte", "file_size", "t mine", Errno.FBIG),
    ("wasi-open-files", "open files until there are no more", "open_files", "o mine", Errno.MFILE),
]  # fmt: skip


@attacks(
    [Attack(id=name, tries=what, breaks=breaks, program=(do, error.name)) for name, what, breaks, do, error in CALLS],
    modules=True,
)
def test_a_call_that_leads_out_or_takes_too_much_is_refused(
    attack: Attack, box: Sandbox, outside: Outside, tries: Callable[..., Errno], stopped: Stopped
) -> None:
    do, expected = attack.program
    place, _, call = do.rpartition(":")
    assert tries(box, *HARMLESS) is Errno.SUCCESS
    assert tries(box, "r", "secret", cwd="/given") is Errno.SUCCESS
    found = tries(box, *call.split(), cwd=f"/{place or 'workspace'}")
    assert found is Errno[expected]
    assert sorted(path.name for path in outside.top.iterdir()) == ["hidden", "open", "shown"]
    stopped(WORDS[found])


@attack(
    "wasi-shown-changed", "write, make, remove, move and link in a folder shown read-only", "filesystem", modules=True
)
def test_a_folder_that_is_shown_is_changed_by_no_call(
    box: Sandbox, tries: Callable[..., Errno], stopped: Stopped
) -> None:
    for call in ("w secret", "c new", "t secret", "m new", "d folder", "u secret", "n secret x", "l secret x"):
        assert tries(box, *call.split(), cwd="/given") is Errno.ROFS, call
    assert tries(box, "w", "secret", cwd="/open") is Errno.SUCCESS
    stopped(WORDS[Errno.ROFS])


@attack("wasi-turned", "turn a path between the look and the act, from another program", "filesystem", modules=True)
def test_a_path_that_another_program_turns_leads_nowhere_else(
    box: Sandbox, outside: Outside, programs: Path, stopped: Stopped
) -> None:
    (outside.open / "real").mkdir()
    (outside.open / "real" / "secret").write_text("given")
    (outside.open / "link").symlink_to("../hidden")
    stop = threading.Event()

    def turn() -> None:
        while not stop.is_set():
            for source, target in (("real", "way"), ("way", "real"), ("link", "way"), ("way", "link")):
                box.exec(str(programs / MODULE), "n", source, target, cwd="/open")

    turning = threading.Thread(target=turn)
    turning.start()
    try:
        seen = [box.exec(str(programs / MODULE), "r", "way/secret", cwd="/open").text for _ in range(150)]
    finally:
        stop.set()
        turning.join()
    assert not any(SECRET in text for text in seen)
    stopped("each step is opened beneath the one before")


@attack("wasi-neighbour", "read the work folder of a box that lives beside it", "filesystem", modules=True)
def test_another_box_is_in_no_view(box: Sandbox, create: Create, tries: Callable[..., Errno], stopped: Stopped) -> None:
    other = create()
    other.files.write("theirs", SECRET.encode())
    assert tries(other, "s", "theirs") is Errno.SUCCESS
    for path in ("theirs", "/workspace/theirs", "../workspace/theirs"):
        assert tries(box, "r", path) in (Errno.NOENT, Errno.NOTCAPABLE)
    stopped("it has folders of its own")


# -- modules of its own making -----------------------------------------------------------------------------------------

MODULES = [
    ("wasi-foreign-import", "ask for a function that is none of WASI", "syscalls",
     '(import "env" "system" (func (param i32) (result i32))) (func (export "_start"))', "which nothing here gives"),
    ("wasi-wrong-import", "ask for a function of WASI as another type", "syscalls",
     '(import "wasi_snapshot_preview1" "fd_write" (func (param i64))) (func (export "_start"))', "types incompatible"),
    ("wasi-large-memory", "begin with more memory than there is", "memory",
     '(memory (export "memory") 60000) (func (export "_start"))', "could not be made"),
    ("wasi-large-table", "begin with a table of a billion functions", "memory",
     '(table 1000000000 funcref) (func (export "_start"))', "could not be made"),
    ("wasi-shared-memory", "memory that threads share", "memory",
     '(memory (export "memory") 1 2 shared) (func (export "_start"))', "not a module that runs here"),
]  # fmt: skip


@attacks(
    [Attack(id=name, tries=what, breaks=breaks, program=(text, says)) for name, what, breaks, text, says in MODULES],
    modules=True,
)
def test_a_module_that_asks_for_more_does_not_begin(attack: Attack, box: Sandbox, stopped: Stopped) -> None:
    text, says = attack.program
    assert box.exec(made(box, '(module (func (export "_start")))', "harmless.wasm")).ok
    done = box.exec(made(box, f"(module {text})"), timeout=30)
    assert (done.reason, done.exit_code) == ("refused", 126)
    assert says in done.detail
    stopped("refused before it begins")


TRAPS = [
    ("wasi-beyond", "read and write beyond its memory", "process",
     '(memory (export "memory") 1) (func (export "_start") (i32.store (i32.const -8) (i32.load (i32.const -4))))', 11),
    ("wasi-deep", "recurse without end", "process",
     '(func $f (result i32) (i32.add (i32.const 1) (call $f))) (func (export "_start") (drop (call $f)))', 11),
    ("wasi-no-function", "call what is no function", "process",
     '(table 1 funcref) (type $t (func)) (func (export "_start") (call_indirect (type $t) (i32.const 0)))', 11),
]  # fmt: skip


@attacks(
    [Attack(id=name, tries=what, breaks=breaks, program=(text, str(n))) for name, what, breaks, text, n in TRAPS],
    modules=True,
)
def test_what_a_language_machine_forbids_ends_that_program_alone(
    attack: Attack, box: Sandbox, programs: Path, stopped: Stopped
) -> None:
    text, number = attack.program
    beside = box.spawn(str(programs / MODULE), "i")
    done = box.exec(made(box, f"(module {text})"), timeout=30)
    assert (done.reason, done.signal) == ("signalled", int(number))
    assert done.detail.isprintable()
    assert beside.wait(30).ok
    stopped("SIGSEGV")


ENDLESS = {
    "wasi-spin": ("compute without end and without a call", '(func (export "_start") (loop (br 0)))'),
    "wasi-spin-before": ("the same before it begins", '(func $f (loop (br 0))) (start $f) (func (export "_start"))'),
    "wasi-sleep": (
        "wait for ever",
        """(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start") (i32.store (i32.const 16) (i32.const 1)) (i64.store (i32.const 24) (i64.const -1))
          (drop (call $poll (i32.const 0) (i32.const 99) (i32.const 1) (i32.const 200))))""",
    ),
}


@attacks(
    [Attack(id=name, tries=what, breaks="process", program=(text,)) for name, (what, text) in ENDLESS.items()],
    modules=True,
)
def test_a_module_that_never_ends_is_ended(attack: Attack, box: Sandbox, stopped: Stopped) -> None:
    name = made(box, f"(module {attack.program[0]})")
    began = time.monotonic()
    done = box.exec(name, timeout=0.3)
    assert done.reason == "timeout"
    assert 0.3 <= time.monotonic() - began < 10
    assert box.stats()["pids"] == 0
    stopped("ended at its time-out")


GROW = """(module (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (loop (br_if 0 (i32.ne (memory.grow (i32.const 8)) (i32.const -1))))
    (memory.fill (i32.const 256) (i32.const 1) (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 256)))
    (i64.store (i32.const 24) (i64.const 60000000000)) (i32.store (i32.const 16) (i32.const 1))
    (drop (call $poll (i32.const 0) (i32.const 99) (i32.const 1) (i32.const 200)))))"""


@attack("wasi-memory", "memory until it is refused, from as many programs as there may be", "memory", modules=True)
def test_programs_together_hold_no_more_memory_than_the_box_may(box: Sandbox, programs: Path, stopped: Stopped) -> None:
    name = made(box, GROW)
    jobs = [box.spawn(name) for _ in range(3)]
    deadline = time.monotonic() + 20
    while (used := box.stats())["memory_refused"] < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert used["memory_refused"] >= len(jobs)
    assert (60 << 20) < used["memory_peak"] <= 64 << 20
    for job in jobs:
        job.kill()
    assert box.stats()["memory"] == 0
    assert box.exec(str(programs / MODULE), "i").ok
    stopped("refused; the sum is counted")


@attack("wasi-programs", "more programs at once than there may be", "pids", modules=True)
def test_no_more_programs_at_once_than_there_may_be(box: Sandbox, stopped: Stopped) -> None:
    name = made(box, '(module (func (export "_start") (loop (br 0))))')
    jobs = [box.spawn(name) for _ in range(4)]
    assert box.exec(name).reason == "refused"
    for job in jobs:
        job.kill()
    stopped("refused")


@attack("wasi-flood", "print without end", "output", modules=True)
def test_output_without_end_is_ended(create: Create, stopped: Stopped) -> None:
    box = create(limits={"output": "1M"})
    text = """(module (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1) (func (export "_start") (i32.store (i32.const 4) (i32.const 65000))
      (loop (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (br 0))))"""
    done: Result = box.exec(made(box, text), timeout=30)
    assert done.reason == "limit:output"
    stopped("ended at the limit")
