from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
import wasmtime

from cloche import (
    AccessDenied,
    Enforced,
    FileError,
    Host,
    Limits,
    Mount,
    NotFound,
    Partial,
    Unenforceable,
    Unenforced,
    Unsupported,
)
from cloche.testing import RuntimeConformance
from cloche_wasm.runtime import WasmRuntime
from tests.plugins.wasi_guest import WasiPrograms, module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cloche import Sandbox

pytestmark = pytest.mark.usefixtures("no_leaks")


class TestWasm(RuntimeConformance):
    runtime = WasmRuntime
    programs = WasiPrograms


@pytest.fixture
def create() -> Iterator[Callable[..., Sandbox]]:
    with Host(config={"host": {"runtime": "wasm"}}) as host:
        if (reason := host.unavailable("wasm")) is not None:
            pytest.skip(reason)
        yield host.create


@pytest.fixture
def box(create: Callable[..., Sandbox]) -> Iterator[Sandbox]:
    with create(limits=Limits(memory="16M", disk="1M", pids=2, open_files=16, file_size="256K")) as box:
        box.files.write("guest", module())
        yield box


def test_it_says_plainly_what_it_is_not(create: Callable[..., Sandbox]) -> None:
    with create() as box:
        assert box.enforcement.refusals(box.spec.needed()) == {}
        assert isinstance(box.enforcement["identity"], Partial)
        assert isinstance(box.enforcement["syscalls"], Enforced)
        assert isinstance(box.enforcement["kernel"], Unenforced)
    for asked in ({"require": ["kernel"]}, {"network": "loopback"}, {"rootfs": "/usr"}, {"limits": {"cpu": 0.5}}):
        with pytest.raises(Unenforceable):
            create(**asked)


def test_it_takes_part_only_where_it_is_named() -> None:
    with Host(config={"host": {"blocked_plugins": ["bwrap", "gvisor", "process", "namespaces"]}}) as host:
        others = [name for name in host.runtimes if name != "wasm" and host.unavailable(name) is None]
        if others:
            with host.create() as box:
                assert box.runtime in others
        else:
            with pytest.raises(Unenforceable):
                host.create()


def test_modules_come_by_the_files_api_and_lie_where_programs_start(box: Sandbox) -> None:
    assert box.exec("guest", "a", "x").text == "x|"
    assert box.exec("./guest", "a", "x").text == box.exec("/workspace/guest", "a", "x").text == "x|"
    box.files.mkdir("bin")
    box.files.move("guest", "bin/tool")
    assert box.exec("tool", "a", "y", env={"PATH": "/nowhere:/workspace/bin"}).text == "y|"


def test_files_go_both_ways(box: Sandbox) -> None:
    assert box.exec("guest", "k", "made", "by the guest").ok
    assert box.files.read("made") == b"by the guest\n"
    box.files.write("given", b"by the host")
    assert box.exec("guest", "g", "given").text == "by the host"
    assert sorted(entry.path for entry in box.files.walk("/")) == [
        "/tmp", "/workspace", "/workspace/given", "/workspace/guest", "/workspace/made",
    ]  # fmt: skip
    with pytest.raises(NotFound):
        box.files.read("nothing")
    with pytest.raises(Unsupported, match="watch"):
        box.files.watch()


def test_a_folder_is_copied_in_and_out(box: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "file").write_bytes(b"x" * 70_000)
    box.files.upload(tmp_path / "in", "tree")
    assert box.exec("guest", "g", "tree/deep/file").stdout == b"x" * 70_000
    box.files.download("tree", tmp_path / "out")
    assert (tmp_path / "out" / "deep" / "file").read_bytes() == b"x" * 70_000


def test_mounted_folders_are_reached_as_far_as_they_say(create: Callable[..., Sandbox], tmp_path: Path) -> None:
    for name in ("read", "write"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(f"{name}\n")
    (tmp_path / "secret").write_text("of the host")
    (tmp_path / "read" / "out").symlink_to("../secret")
    (tmp_path / "read" / "far").symlink_to(tmp_path / "secret")
    (tmp_path / "one").write_bytes(module())
    mounts = [
        Mount(str(tmp_path / "read"), "/read"), Mount(str(tmp_path / "write"), "/write", read_only=False),
        Mount(str(tmp_path / "one"), "/bin/one"),
    ]  # fmt: skip
    with create(mounts=mounts, isolation="standard", strict=False) as box:
        for place in ("read", "write"):
            assert box.exec("one", "g", "file", cwd=f"/{place}").text == f"{place}\n"
        assert box.exec("one", "k", "new", "text", cwd="/write").ok
        assert (tmp_path / "write" / "new").read_text() == "text\n"
        for name in ("new", "file"):
            assert box.exec("one", "k", name, "text", cwd="/read").exit_code == 97
        for name in ("out", "far", "../secret", "../../etc/passwd", "/etc/passwd"):
            assert box.exec("one", "g", name, cwd="/read").exit_code == 97
        with pytest.raises(AccessDenied):
            box.files.write("/read/file", b"")
        assert box.files.read("/write/new") == b"text\n"
    assert sorted(p.name for p in (tmp_path / "read").iterdir()) == ["far", "file", "out"]


def test_the_work_folder_can_be_one_of_the_host(create: Callable[..., Sandbox], tmp_path: Path) -> None:
    (tmp_path / "app.wasm").write_bytes(module())
    with create(workspace=tmp_path) as box:
        assert isinstance(box.enforcement["disk"], Unenforced)
        assert box.exec("app.wasm", "k", "made", "here").ok
    assert (tmp_path / "made").read_text() == "here\n"


def test_bounds_of_files_are_kept(box: Sandbox) -> None:
    with pytest.raises(FileError, match="space"):
        box.files.write("big", bytes(2 << 20))
    assert box.exec("guest", "k", "file", "x" * 100_000).ok
    assert box.exec("guest", "k", "file", "x" * 130_000).ok
    assert box.exec("guest", "k", "larger", "x" * 120_000).ok
    used = box.stats()
    assert (used["disk_size"], 250_000 < used["disk_used"] < 400_000, used["files_used"]) == (1 << 20, True, 5)


def test_memory_grows_to_its_bound_and_no_further(box: Sandbox) -> None:
    done = box.exec("guest", "m")
    pages = int(done.text)
    assert (16 << 20) - (1 << 20) < pages * 65536 <= 16 << 20
    assert done.usage.peak_memory <= 16 << 20


def test_programs_have_memory_together_and_no_more(create: Callable[..., Sandbox]) -> None:
    with create(limits={"memory": "16M", "disk": "1M"}) as box:
        box.files.write("guest", module())  # 2 MiB of memory each
        jobs = [box.spawn("guest", "z", "60000") for _ in range(4)]
        wait(lambda: box.stats()["memory"] == 8 << 20)
        done = box.exec("guest", "m")
        assert (8 << 20) - (1 << 20) <= int(done.text) * 65536 <= 8 << 20
        jobs += [box.spawn("guest", "z", "60000") for _ in range(4)]
        wait(lambda: box.stats()["memory"] == 16 << 20)
        refused = box.exec("guest", "a")
        assert refused.reason == "refused"
        assert "all the memory that they may" in refused.detail
        assert [one.rule for one in refused.violations] == ["limit:memory"]
        for job in jobs:
            job.kill()
        assert box.exec("guest", "a", "x").text == "x|"
        figures = box.stats()
        assert (figures["memory"], figures["memory_peak"], figures["memory_refused"] > 0) == (0, 16 << 20, True)


def wait(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_limits_that_a_program_met_are_told(box: Sandbox) -> None:
    for _ in range(2):
        assert box.exec("guest", "k", "x", "y" * 40_000).ok
    box.update(limits={"file_size": 4096})
    failed = box.exec("guest", "k", "x", "y" * 40_000)
    assert [(one.rule, one.mechanism) for one in failed.violations] == [("limit:file_size", "limit")]
    assert "4K" in failed.violations[0].hint


@pytest.mark.parametrize(
    ("letter", "signal", "says"), [("b", 11, "out of bounds"), ("d", 11, "stack"), ("u", 6, "unreachable")]
)
def test_what_goes_wrong_in_a_program_is_a_signal(box: Sandbox, letter: str, signal: int, says: str) -> None:
    done = box.exec("guest", letter)
    assert says in done.detail
    assert done.detail.isprintable()
    assert (done.reason, done.signal, done.exit_code) == ("signalled", signal, 128 + signal)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "module"), (b"\0asm", "module"), (b"#!/bin/sh\n", "module"), (b"\0asm\1\0\0\0", "_start"),
        (b"\0asm\x0d\0\1\0", "component"), (b"\x7fELF" + bytes(60), "module"), (b"(module)", "module"),
        (module()[:-40], "module"),
        (bytes.fromhex("0061736d01000000010401600000020901036e6f7001660000"), "nop.f, which nothing here gives"),
    ],
)  # fmt: skip
def test_what_is_no_program_is_refused(box: Sandbox, data: bytes, says: str) -> None:
    box.files.write("bad", data)
    done = box.exec("bad")
    assert (done.exit_code, done.reason) == (126, "refused")
    assert says in done.detail


def test_no_more_programs_at_once_than_may_be(box: Sandbox) -> None:
    jobs = [box.spawn("guest", "z", "60000") for _ in range(2)]
    done = box.exec("guest", "a")
    assert (done.reason, "limits.pids" in done.detail, box.stats()["pids"]) == ("refused", True, 2)
    jobs[0].kill()
    assert box.exec("guest", "a").ok


def test_one_that_is_killed_ends_at_once_and_takes_no_other_along(box: Sandbox) -> None:
    spins, waits = box.spawn("guest", "p"), box.spawn("guest", "z", "500")
    began = time.monotonic()
    spins.kill()
    assert time.monotonic() - began < 0.4
    assert waits.wait(10).ok


def test_limits_of_programs_can_be_changed_and_those_of_files_not(box: Sandbox) -> None:
    box.update(limits={"memory": "8M"})
    assert int(box.exec("guest", "m").text) * 65536 <= 8 << 20
    with pytest.raises(Unsupported, match="disk"):
        box.update(limits={"disk": "2M"})


def test_terminals_are_refused_plainly(box: Sandbox) -> None:
    with pytest.raises(Unsupported, match="terminal"):
        box.exec("guest", "a", tty=True)


def test_many_programs_leave_no_thread_and_no_descriptor(box: Sandbox) -> None:
    box.exec("guest", "a")
    threads = threading.active_count()
    for _ in range(100):
        assert box.exec("guest", "a", "x").text == "x|"
    assert threading.active_count() <= threads


@pytest.mark.parametrize(
    ("text", "reason", "code"),
    [
        ('(func $l (loop (br 0))) (start $l) (func (export "_start"))', "timeout", 137),
        ('(memory (export "memory") 20000) (func (export "_start"))', "refused", 126),
        ('(func (export "_start") (call $exit (i32.const 5)) (loop (br 0)))', "exited", 5),
        ('(func (export "_start") (call $exit (call $random (i32.const 5) (i32.const 5))))', "exited", 21),
    ],
    ids=["a loop before its start", "more memory than there is", "a loop after its end", "calls without a memory"],
)
def test_a_module_made_by_hand_gets_no_further(box: Sandbox, text: str, reason: str, code: int) -> None:
    calls = """
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    """
    box.files.write("made", bytes(wasmtime.wat2wasm(f"(module {calls} {text})")))
    done = box.exec("made", timeout=0.5)
    assert (done.reason, done.exit_code) == (reason, code)
