from __future__ import annotations

import mmap
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import wasmtime

from cloche import SpecError, state_folder
from cloche_wasm import believed
from cloche_wasm import cache as cache_module
from cloche_wasm.cache import Cache, Entry, Stale, user_cache
from cloche_wasm.engine import STACK_MOST, engine

NOTHING = bytes(wasmtime.wat2wasm('(module (func (export "f") (result i32) (i32.const 7)))'))


class Made:
    """Makes an entry, and counts how often."""

    def __init__(self, **files: bytes) -> None:
        self.files = files or {"a": b"first", "b": b"second"}
        self.times = 0

    def __call__(self) -> dict[str, bytes]:
        self.times += 1
        return self.files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "wasm"


@pytest.fixture
def cache(folder: Path) -> Cache:
    return Cache(folder)


def read(entry: Entry) -> dict[str, bytes]:
    return {name: entry.read(name) for name in ("a", "b")}


def only(folder: Path) -> Path:
    (found,) = [path for path in folder.iterdir() if path.is_dir()]
    return found


def test_an_entry_is_made_once_and_found_by_whoever_asks_next(folder: Path) -> None:
    made = Made()
    for _ in range(3):
        assert Cache(folder).use({"kind": "x"}, made, read) == made.files
    assert made.times == 1
    assert Cache(folder).use({"kind": "y"}, made, read) == made.files
    assert made.times == 2


def test_an_entry_is_the_user_s_alone(folder: Path, cache: Cache) -> None:
    old = os.umask(0)
    try:
        cache.use({"kind": "x"}, Made(), read)
    finally:
        os.umask(old)
    for path in (folder, *folder.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


def damaged_shorter(entry: Path) -> None:
    (entry / "a").write_bytes(b"fir")


def damaged_empty(entry: Path) -> None:
    (entry / "a").write_bytes(b"")


def damaged_other_bytes(entry: Path) -> None:
    (entry / "a").write_bytes(b"fIrst")


def damaged_gone(entry: Path) -> None:
    (entry / "b").unlink()


def damaged_linked(entry: Path) -> None:
    (entry / "a").rename(entry.parent.parent / "elsewhere")
    (entry / "a").symlink_to(entry.parent.parent / "elsewhere")


def damaged_pipe(entry: Path) -> None:
    (entry / "a").unlink()
    os.mkfifo(entry / "a", 0o600)


def damaged_open_to_others(entry: Path) -> None:
    (entry / "a").chmod(0o622)


def damaged_folder_open_to_others(entry: Path) -> None:
    entry.chmod(0o777)


def damaged_meta_short(entry: Path) -> None:
    (entry / "meta.json").write_text('{"files": {"a"')


def damaged_meta_odd(entry: Path) -> None:
    (entry / "meta.json").write_text('{"files": {"../a": [5, 3]}}')


def damaged_meta_long(entry: Path) -> None:
    (entry / "meta.json").write_text("[" * 100_000)


def damaged_meta_deep(entry: Path) -> None:
    (entry / "meta.json").write_text("[" * 60_000)


def damaged_to_a_file(entry: Path) -> None:
    entry.rename(entry.with_suffix(".old"))
    entry.write_text("no folder")


def damaged_to_a_link(entry: Path) -> None:
    entry.rename(entry.parent.parent / "moved")
    entry.symlink_to(entry.parent.parent / "moved")


@pytest.mark.parametrize("damage", [thing for name, thing in sorted(globals().items()) if name.startswith("damaged_")])
def test_what_is_not_as_it_was_written_is_made_anew(cache: Cache, folder: Path, damage: object) -> None:
    assert callable(damage)
    made = Made()
    cache.use({"kind": "x"}, made, read)
    damage(only(folder))
    assert cache.use({"kind": "x"}, made, read) == made.files
    assert cache.use({"kind": "x"}, made, read) == made.files
    assert made.times == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
@pytest.mark.parametrize("what", ["a", "meta.json", "."])
def test_what_belongs_to_another_user_is_made_anew(cache: Cache, folder: Path, what: str) -> None:
    made = Made()
    cache.use({"kind": "x"}, made, read)
    os.chown(only(folder) / what, 12345, 12345)
    assert cache.use({"kind": "x"}, made, read) == made.files
    assert cache.use({"kind": "x"}, made, read) == made.files
    assert made.times == 2


def test_a_folder_that_others_may_write_is_not_used(cache: Cache, folder: Path) -> None:
    made = Made()
    cache.use({"kind": "x"}, made, read)
    folder.chmod(0o777)
    assert cache.use({"kind": "x"}, made, read) == made.files
    assert made.times == 2
    folder.chmod(0o700)
    assert cache.use({"kind": "x"}, made, read) == made.files
    assert made.times == 2


def digested(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Give the sizes of the files whose digest is taken from now on."""
    seen: list[int] = []
    real = cache_module._digest

    def digest(data: bytes | bytearray | mmap.mmap) -> str:
        if isinstance(data, mmap.mmap):
            seen.append(len(data))
        return real(data)

    monkeypatch.setattr(cache_module, "_digest", digest)
    return seen


def test_files_that_nobody_touched_are_held_against_their_digest_once(
    cache: Cache, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, seen = Made(), digested(monkeypatch)
    cache.use({"kind": "x"}, made, read)
    cache.use({"kind": "x"}, made, read)
    assert seen == [5, 6, 5, 6]  # too young for its times to say anything
    monkeypatch.setattr(believed, "_SETTLED", 0)
    cache.use({"kind": "x"}, made, read)
    del seen[:]
    assert cache.use({"kind": "x"}, made, read) == made.files
    assert seen == []
    time.sleep(0.02)  # another tick of the clock that files are stamped by
    (only(folder) / "b").write_bytes(b"sEcond")
    assert cache.use({"kind": "x"}, made, read) == made.files
    assert made.times == 2


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 5}', '{"a": ["x"]}', "[" * 60_000, " " * 100_000])
def test_a_note_that_is_none_is_not_believed(
    cache: Cache, folder: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    made, seen = Made(), digested(monkeypatch)
    cache.use({"kind": "x"}, made, read)
    (only(folder) / believed.NOTE).write_text(text)
    del seen[:]
    assert cache.use({"kind": "x"}, made, read) == made.files
    assert (seen, made.times) == ([5, 6], 1)


@pytest.mark.parametrize("mode", [0o602, 0o620])
def test_a_note_that_others_may_write_is_not_believed(
    cache: Cache, folder: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    made, seen = Made(), digested(monkeypatch)
    monkeypatch.setattr(believed, "_SETTLED", 0)
    cache.use({"kind": "x"}, made, read)
    (only(folder) / believed.NOTE).chmod(mode)
    del seen[:]
    cache.use({"kind": "x"}, made, read)
    assert seen == [5, 6]


def test_where_no_folder_can_be_used_the_entry_is_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for cache in (Cache(None), Cache(tmp_path / "file" / "wasm"), Cache(Path("/proc/no/such"))):
        made = Made()
        assert cache.use({"kind": "x"}, made, read) == made.files
        assert made.times == 1


def test_an_entry_that_does_not_fit_is_made_anew_once(cache: Cache) -> None:
    made, tries = Made(), []

    def picky(entry: Entry) -> dict[str, bytes]:
        tries.append(entry)
        if len(tries) <= 2:
            raise Stale("of another machine")
        return read(entry)

    cache.use({"kind": "x"}, made, read)
    assert cache.use({"kind": "x"}, made, picky) == made.files
    assert made.times == 2


def test_what_fails_to_be_made_leaves_nothing_and_may_be_tried_again(cache: Cache, folder: Path) -> None:
    def fail() -> dict[str, bytes]:
        raise SpecError("no such thing")

    for _ in range(2):
        with pytest.raises(SpecError, match="no such thing"):
            cache.use({"kind": "x"}, fail, read)
    assert [path for path in folder.iterdir() if path.suffix != ".lock"] == []
    assert cache.use({"kind": "x"}, Made(), read)


def test_no_descriptor_stays_open(cache: Cache, folder: Path) -> None:
    cache.use({"kind": "x"}, Made(), read)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        cache.use({"kind": "x"}, Made(), read)
        damaged_other_bytes(only(folder))
    Cache(None).use({"kind": "x"}, Made(), read)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_map_outlives_its_entry(cache: Cache) -> None:
    mapped = cache.use({"kind": "x"}, Made(), lambda entry: entry.map("a"))
    assert mapped[:] == b"first"
    with pytest.raises(TypeError):
        mapped[0] = 1


def test_threads_that_ask_at_once_make_it_once(cache: Cache) -> None:
    made, started, seen = Made(), threading.Barrier(4), []

    def ask() -> None:
        started.wait()
        seen.append(cache.use({"kind": "x"}, slow, read))

    def slow() -> dict[str, bytes]:
        time.sleep(0.05)
        return made()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [made.files] * 4
    assert made.times == 1


ASKING = """
import sys, time
from pathlib import Path
from cloche_wasm.cache import Cache

folder, told = map(Path, sys.argv[1:])

def make():
    with told.open("a") as file:
        file.write("made\\n")
    time.sleep(0.1)
    return {"a": b"first", "b": b"second"}

assert Cache(folder).use({"kind": "x"}, make, lambda entry: entry.read("a")) == b"first"
"""


def test_processes_that_ask_at_once_make_it_once(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", ASKING, str(folder), str(tmp_path / "told")]
    asking = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(30) for process in asking] == [0, 0, 0]
    assert (tmp_path / "told").read_text() == "made\n"


def test_what_was_used_longest_ago_goes_when_there_is_too_much(folder: Path) -> None:
    cache = Cache(folder, most=5000)
    for number in range(3):
        cache.use({"number": number}, Made(a=bytes(range(1, 2)) * 1200, b=b"x"), read)
        for path in folder.iterdir():
            os.utime(path, (number, number))
    first = Made()
    cache.use({"number": 0}, first, read)  # used anew
    cache.use({"number": 3}, Made(a=b"x" * 1200, b=b"x"), read)
    assert first.times == 0
    again = Made(a=b"y" * 1200, b=b"x")
    cache.use({"number": 0}, again, read)
    cache.use({"number": 3}, again, read)
    assert again.times == 0
    cache.use({"number": 1}, again, read)
    assert again.times == 1


def test_what_a_killed_process_left_half_written_goes(cache: Cache, folder: Path) -> None:
    cache.use({"kind": "x"}, Made(), read)
    for name, age in ((".new-old", 7200), (".new-young", 10)):
        (folder / name).mkdir()
        (folder / name / "part").write_text("half")
        os.utime(folder / name, (time.time(), time.time() - age))
    cache.use({"kind": "y"}, Made(), read)
    assert [path.name for path in folder.iterdir() if path.name.startswith(".new")] == [".new-young"]


def test_the_user_s_cache_is_below_the_state_folder() -> None:
    user_cache().use({"kind": "test"}, Made(), read)
    assert (state_folder() / "wasm").stat().st_mode & 0o777 == 0o700


def test_a_module_is_compiled_once_and_runs_in_any_engine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Cache(folder).module(engine(), NOTHING, "nothing.wasm")
    monkeypatch.setattr(wasmtime, "Module", type("Module", (wasmtime.Module,), {"__init__": None}))
    module = Cache(folder).module(engine(1 << 20), NOTHING, "nothing.wasm")
    assert [found.name for found in module.exports] == ["f"]


def test_machine_code_that_the_library_does_not_take_is_compiled_anew(cache: Cache) -> None:
    key = {"kind": "module", "wasm": "x"}
    cache.use(key, lambda: {"a": b"not machine code", "b": b"x"}, read)

    def use(entry: Entry) -> wasmtime.Module:
        try:
            return wasmtime.Module.deserialize_file(engine().wasm, entry.path("a"))
        except wasmtime.WasmtimeError as error:
            raise Stale(str(error)) from error

    good = Made(a=bytes(engine().compile(NOTHING, "nothing").serialize()), b=b"x")
    assert cache.use(key, good, use).exports
    assert cache.use(key, good, use).exports
    assert good.times == 1


@pytest.mark.parametrize("wasm", [b"", b"(module)", b"\0asm\1\0\0\0\xff", b"\0asm\x0d\0\1\0", b"\x7fELF", NOTHING[:-3]])
def test_what_is_no_module_is_not_compiled(cache: Cache, wasm: bytes) -> None:
    with pytest.raises(SpecError, match=r"app\.wasm: not a module"):
        cache.module(engine(), wasm, "app.wasm")


@pytest.mark.parametrize("stack", [0, -1, 1000, STACK_MOST + 1, 1 << 60])
def test_a_stack_that_no_thread_has_is_refused(stack: int) -> None:
    with pytest.raises(SpecError, match="a stack is"):
        engine(stack)
