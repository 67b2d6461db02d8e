"""What a guest can try against a host that works in its files, and what comes of it.

The victim lies outside the box and is open to the box's user as far as the host's own permissions go, so that nothing
but the way names are resolved keeps a guest from it. ``CLOCHE_RACES=100000`` tries each race that often, on each
runtime.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import pytest

import cloche
from cloche import AccessDenied, ClocheError, FileError, NotFound, SpecError

pytestmark = pytest.mark.usefixtures("no_leaks")
RUNTIMES = ("namespaces", "bwrap", "process", "gvisor")
SECRET = b"the host's own"
ONLY_HERE = "only-here"
REFUSED = (AccessDenied, FileError, NotFound)

SWAP = """
import ctypes, os, sys
victim = sys.argv[1]
os.mkdir("real")
real = os.open("real", os.O_RDONLY)

def fill():
    for name in ("file", "sub/file"):
        os.makedirs("sub", exist_ok=True)
        with open(name, "w") as file:
            file.write("guest")
    for name in ("bait", "new", "made", "l"):
        if os.path.lexists(name):
            os.unlink(name)

os.fchdir(real)
fill()
os.chdir("..")
work = os.open(".", os.O_RDONLY)
os.symlink(victim, "link")
os.rename("real", "spot")
print("swapping", flush=True)
exchange = ctypes.CDLL(None, use_errno=True).renameat2
turns = 0
while True:
    if exchange(work, b"spot", work, b"link", 2) != 0:  # RENAME_EXCHANGE; gVisor's kernel has none
        turn = ("spot", "aside"), ("link", "spot"), ("spot", "link"), ("aside", "spot")
        for old, new in turn[2 * (turns % 2) :][:2]:
            os.rename(old, new, src_dir_fd=work, dst_dir_fd=work)
    turns += 1
    if turns % 256 == 0:
        os.fchdir(real)
        try:
            fill()
        except OSError:
            pass  # the host took something away meanwhile
"""
"""Exchanges a folder and a link to the victim, at once where that can be done, so that there is always one of both."""


@pytest.fixture
def victim(open_folder: Path) -> Path:
    """Give a folder of the host that everybody may change, with a file and a folder in it."""
    top = open_folder / "victim"
    (top / "sub").mkdir(parents=True)
    (top / "file").write_bytes(SECRET)
    (top / "sub" / "file").write_bytes(SECRET)
    (top / ONLY_HERE).write_bytes(SECRET)
    for path in (top, top / "sub", top / "file", top / "sub" / "file", top / ONLY_HERE):
        path.chmod(0o777)
    return top


def untouched(victim: Path) -> bool:
    names = sorted(str(path.relative_to(victim)) for path in victim.rglob("*"))
    modes = {path.stat().st_mode & 0o777 for path in victim.rglob("*")}
    contents = {(victim / "file").read_bytes(), (victim / "sub" / "file").read_bytes()}
    return names == ["file", ONLY_HERE, "sub", "sub/file"] and modes == {0o777} and contents == {SECRET}


@pytest.fixture(params=RUNTIMES)
def box(request: pytest.FixtureRequest) -> Iterator[cloche.Sandbox]:
    with cloche.Host() as host:
        if (reason := host.unavailable(request.param)) is not None:
            pytest.skip(f"runtime {request.param} is not available here: {reason}")
        with host.create(runtime=request.param, strict=False, limits={"wall": "10m"}) as box:
            if request.param == "gvisor" and os.geteuid() != 0:
                pytest.skip("an ordinary user's sandbox in gVisor has no folders that its host can reach")
            yield box


@pytest.fixture
def tries() -> int:
    return int(os.environ.get("CLOCHE_RACES", "700"))


def test_the_victim_can_be_reached_by_whoever_follows_links(tmp_path: Path, victim: Path) -> None:
    """Positive control of all below: a careless host would read and change it."""
    (tmp_path / "spot").symlink_to(victim)
    assert (tmp_path / "spot" / "file").read_bytes() == SECRET
    (tmp_path / "spot" / "file").write_bytes(b"taken")
    assert not untouched(victim)


# -- what stands still -------------------------------------------------------------------------------------------------


def test_a_link_anywhere_in_a_path_is_refused(box: cloche.Sandbox, victim: Path, tmp_path: Path) -> None:
    box.exec("/bin/sh", "-c", f"ln -s {victim} folder; ln -s {victim}/file file; ln -s folder twice; ln -s / root")
    root = f"root{victim}"
    for path in ("folder/file", "file", "twice/file", f"{root}/file"):
        acts: list[Callable[[str], object]] = [
            box.files.read, box.files.open, lambda p: box.files.append(p, b"x"), lambda p: box.files.chmod(p, 0),
        ]  # fmt: skip
        for act in acts:
            with pytest.raises(FileError, match="symbolic link"):
                act(path)
        with pytest.raises(FileError):
            box.files.download(path, tmp_path / "stolen")
    for path in ("folder", "twice", root, "root"):
        with pytest.raises(FileError):
            box.files.list(path)
        with pytest.raises(FileError):
            list(box.files.walk(path))
        for act in (box.files.mkdir, lambda p: box.files.write(p, b""), lambda p: box.files.symlink(p, "x")):
            with pytest.raises(FileError):
                act(f"{path}/new")
        with pytest.raises(FileError):
            box.files.remove(f"{path}/file")
        with pytest.raises(FileError):
            box.files.move(f"{path}/file", "mine")
        with pytest.raises(FileError):
            box.files.move("file", f"{path}/new")
    assert len(list(box.files.walk())) == 4
    box.files.remove("folder", recursive=True)
    assert untouched(victim)
    assert not (tmp_path / "stolen").exists()


@pytest.mark.parametrize(
    "path", ["..", "../x", "/..", "/workspace/../etc", "a/../../x", "//etc", "/etc//passwd", "a\0b", "\ud800", "/x/."]
)
def test_a_path_that_could_mean_another_is_refused(box: cloche.Sandbox, path: str) -> None:
    for act in (box.files.read, box.files.stat, box.files.list, box.files.remove, lambda p: box.files.write(p, b"")):
        with pytest.raises(SpecError):
            act(path)


@pytest.mark.parametrize(
    "path",
    ["/proc/self/root/etc/shadow", "/proc/1/root", "/proc/1/fd/0", "/proc/self/fd/3", "/proc/self/environ",
     "/proc/self/cwd/x", "/proc/thread-self/root", "/dev/fd/0", "/dev/stdin", "/proc/1/mem",
     "/proc/sys/kernel/hostname"],
)  # fmt: skip
def test_the_kernels_own_links_lead_nowhere(box: cloche.Sandbox, path: str) -> None:
    for act in (box.files.read, box.files.list, lambda p: box.files.write(p, b"x"), lambda p: box.files.open(p, "a")):
        with pytest.raises(REFUSED):
            act(path)


def test_nobody_waits_for_a_pipe_a_socket_or_a_device(box: cloche.Sandbox, tmp_path: Path) -> None:
    script = (
        "import os, socket\nos.mkfifo('pipe')\ntry:\n    socket.socket(socket.AF_UNIX).bind('socket')\n"
        "except OSError:\n    os.mkfifo('socket')"  # where there are no sockets
    )
    made = box.exec("python3", "-c", script)
    assert made.ok, made
    began = time.monotonic()
    # Those of a kernel of its own are in its memory alone, and not in the folder that the host sees.
    special = () if box.runtime == "gvisor" else ("pipe", "socket")
    assert [e.name for e in box.files.list()] == [*special]
    for path in (*special, "/dev/zero", "/dev/tty"):
        for act in (
            box.files.read, box.files.open, lambda p: box.files.open(p, "w"), lambda p: box.files.append(p, b"x"),
            lambda p: box.files.write(p, b"x"), lambda p: box.files.download(p, tmp_path / "x"), box.files.list,
        ):  # fmt: skip
            with pytest.raises(REFUSED):
                act(path)
    assert time.monotonic() - began < 10
    assert {e.stat.kind for e in box.files.walk()} <= {"pipe", "socket"}
    for path in special:
        box.files.remove(path)


def test_a_lease_that_a_guest_holds_does_not_hold_the_host(box: cloche.Sandbox) -> None:
    script = (
        "import fcntl, signal, time\nsignal.signal(signal.SIGIO, signal.SIG_IGN)\nfile = open('leased', 'w')\n"
        "fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)\nprint('held', flush=True)\ntime.sleep(60)"
    )
    job = box.spawn("python3", "-c", script)
    if next(job.lines(), None) != "held":
        pytest.skip("a guest can take no lease here")
    began = time.monotonic()
    for act in (box.files.read, lambda p: box.files.append(p, b"x"), lambda p: box.files.open(p, "w")):
        with pytest.raises(FileError, match="lease"):
            act("leased")
    box.files.write("leased", b"another file by now")
    assert time.monotonic() - began < 5
    job.kill()


def test_replacing_a_hard_link_leaves_the_other_name_alone(box: cloche.Sandbox) -> None:
    if not box.exec("/bin/sh", "-c", "echo one > a && ln a b").ok:
        pytest.skip("this box makes no hard links")
    box.files.write("a", b"two")
    assert (box.files.read("a"), box.files.read("b")) == (b"two", b"one\n")


def test_a_file_of_the_host_can_not_be_linked_into_the_box(box: cloche.Sandbox, victim: Path) -> None:
    done = box.exec("ln", str(victim / "file"), "mine")
    assert not done.ok
    assert not box.files.exists("mine")


def test_names_that_would_speak_to_a_terminal_are_told_escaped(box: cloche.Sandbox) -> None:
    box.exec("python3", "-c", "open(b'\\x1b]0;owned\\x07\\n\\xff', 'w')")
    (entry,) = box.files.list()
    assert entry.name == "\x1b]0;owned\x07\n\udcff"
    with pytest.raises(FileError) as told:
        box.files.list(entry.path)
    assert "\x1b" not in str(told.value)
    assert "\n" not in str(told.value)
    box.files.remove(entry.path)


def test_a_tree_deeper_than_any_path_is_walked_as_far_as_paths_go_and_removed(box: cloche.Sandbox) -> None:
    script = "import os\nfor i in range(700):\n    os.mkdir('d' * 120)\n    os.chdir('d' * 120)\nopen('bottom', 'w')"
    assert box.exec("python3", "-c", script, timeout=60).ok
    with pytest.raises(FileError, match="deeper"):
        list(box.files.walk())
    box.files.remove("d" * 120, recursive=True)
    assert box.files.list() == []


def test_closed_folders_of_the_guest_are_removed_and_told_about(box: cloche.Sandbox) -> None:
    box.exec("/bin/sh", "-c", "mkdir -p a/b/c; touch a/b/c/f; chmod 0 a/b/c a/b")
    if os.geteuid() == 0:
        with pytest.raises(AccessDenied):
            list(box.files.walk("a"))
    box.files.remove("a", recursive=True)
    assert not box.files.exists("a")


def test_a_folder_that_is_filled_as_fast_as_it_is_emptied_does_not_hold_the_host(box: cloche.Sandbox) -> None:
    script = "import os\nprint('go', flush=True)\nwhile True:\n    for i in range(50):\n"
    script += "        try: os.makedirs(f'full/{i}/x', exist_ok=True)\n        except OSError: pass"
    box.exec("mkdir", "full")
    job = box.spawn("python3", "-c", script)
    assert next(job.lines()) == "go"
    began = time.monotonic()
    with suppress(FileError, NotFound):
        box.files.remove("full", recursive=True)
    assert time.monotonic() - began < 60
    job.kill()


# -- races -------------------------------------------------------------------------------------------------------------

ACTS: dict[str, Callable[[cloche.Files, Path], object]] = {
    "read": lambda f, _: f.read("spot/file"),
    "read deep": lambda f, _: f.read("spot/sub/file"),
    "open": lambda f, _: _all_of(f.open("spot/file")),
    "stat": lambda f, _: f.stat("spot/file").inode,
    "list": lambda f, _: [e.name for e in f.list("spot")],
    "walk": lambda f, _: [e.name for e in f.walk("spot")],
    "walk above": lambda f, _: [e.name for e in f.walk()],
    "download": lambda f, tmp: f.download("spot/file", tmp / "got"),
    "download all": lambda f, tmp: f.download("spot", tmp / "all"),
    "write": lambda f, _: f.write("spot/file", b"from the host"),
    "write new": lambda f, _: f.write("spot/new", b"from the host"),
    "append": lambda f, _: f.append("spot/file", b"+"),
    "empty": lambda f, _: f.open("spot/file", "w").close(),
    "create": lambda f, _: f.open("spot/made", "x").close(),
    "upload": lambda f, _: f.upload(io.BytesIO(b"from the host"), "spot/new"),
    "mkdir": lambda f, _: f.mkdir("spot/x/y", parents=True),
    "symlink": lambda f, _: f.symlink("spot/l", "x"),
    "chmod": lambda f, _: f.chmod("spot/file", 0o600),
    "chmod folder": lambda f, _: f.chmod("spot", 0o700),
    "move out": lambda f, _: f.move("spot/file", "stolen"),
    "move in": lambda f, _: _bait(f),
    "remove": lambda f, _: f.remove("spot/file"),
    "remove all": lambda f, _: f.remove("spot/sub", recursive=True),
}
BOTH_SIDES = {"read", "stat", "list", "write", "append", "upload"}
"""Acts that the guest always makes possible again, so that both outcomes must come up."""


def _bait(files: cloche.Files) -> None:
    files.write("bait", b"")
    files.move("bait", "spot/bait")


def _all_of(file: BinaryIO) -> bytes:
    with file:
        return file.read()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("act", ACTS, ids=lambda name: name.replace(" ", "-"))
def test_a_race_of_folder_against_link_is_never_won(
    box: cloche.Sandbox, victim: Path, tmp_path: Path, tries: int, act: str
) -> None:
    job = box.spawn("python3", "-c", SWAP, str(victim))
    assert next(job.lines()) == "swapping"
    secrets = {path.stat().st_ino for path in victim.rglob("*")}
    done = refused = absent = 0
    # On a busy machine a guest may stand still for many tries: both outcomes must come up, or there was no race.
    while (made := done + refused + absent) < tries or (
        act in BOTH_SIDES and min(done, refused) == 0 and made < 500 * tries
    ):
        try:
            got = ACTS[act](box.files, tmp_path)
        except NotFound:
            absent += 1
        except ClocheError:
            refused += 1
        else:
            done += 1
            assert got != SECRET
            assert not isinstance(got, int) or got not in secrets
            assert not isinstance(got, list) or ONLY_HERE not in got
    job.kill()
    assert untouched(victim)
    assert not any(SECRET in p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and not p.is_symlink())
    assert act not in BOTH_SIDES or min(done, refused) > 0, (done, refused, absent)
