"""The backends that come with cloche, and what is special to each."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

import cloche
from cloche import FileError, SpecError, Vfs, VfsOptions
from cloche.testing import VfsConformance
from cloche_vfs.backends import DirectoryBackend, MemoryBackend, TmpfsBackend

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("no_own_leaks")


class TestDirectory(VfsConformance):
    backend = DirectoryBackend()

    @pytest.fixture
    def vfs(self, tmp_path: Path) -> Iterator[Vfs]:
        (tmp_path / "top").mkdir()
        with self.backend.open(VfsOptions(path=str(tmp_path / "top"))) as vfs:
            yield vfs


class TestTmpfs(VfsConformance):
    backend = TmpfsBackend()
    options = VfsOptions(entries=3000)


class TestMemory(VfsConformance):
    backend = MemoryBackend()
    options = VfsOptions(entries=3000)


@pytest.fixture
def host() -> Iterator[cloche.Host]:
    with cloche.Host() as host:
        yield host


def test_the_host_opens_a_file_system_by_its_name(host: cloche.Host, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"there")
    with host.vfs("directory", VfsOptions(path=str(tmp_path))) as directory, host.vfs("memory") as memory:
        assert (directory.name, memory.name) == ("directory", "memory")
        memory.write("/copy", directory.read("/file"))
        assert memory.read("/copy") == b"there"


def test_what_a_backend_can_not_do_is_refused(host: cloche.Host, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SpecError, match="'bucket' is unknown; there are directory, memory, tmpfs"):
        host.vfs("bucket")
    with pytest.raises(SpecError, match="VfsOptions are needed"):
        host.vfs("memory", {"size": 5})  # type: ignore[arg-type]
    bad: list[dict[str, object]] = [
        {"path": "relative"}, {}, {"path": str(tmp_path / "file")}, {"path": "/no/such"}, {"path": "/a\0"},
        {"path": str(tmp_path), "size": 5}, {"path": str(tmp_path), "extra": {"key": 1}},
    ]  # fmt: skip
    for arguments in bad:
        with pytest.raises(SpecError):
            host.vfs("directory", VfsOptions(**arguments))  # type: ignore[arg-type]
    bad = [{"path": "/tmp"}, {"size": 0}, {"size": "much"}, {"entries": 0}, {"extra": 5}]
    for arguments in bad:
        for name in ("memory", "tmpfs"):
            with pytest.raises(SpecError):
                host.vfs(name, VfsOptions(**arguments))  # type: ignore[arg-type]


def test_a_backend_that_does_not_work_here_says_why(monkeypatch: pytest.MonkeyPatch, host: cloche.Host) -> None:
    def refuse(*, size: int, inodes: int) -> int:
        raise PermissionError(1, f"not {size} {inodes}")

    monkeypatch.setattr("cloche_native.files.tmpfs", refuse)
    with pytest.raises(cloche.Unsupported, match="CAP_SYS_ADMIN"):
        host.vfs("tmpfs")


@pytest.mark.parametrize("name", ["memory", "tmpfs"])
def test_a_full_file_system_says_so_and_keeps_what_it_has(host: cloche.Host, name: str) -> None:
    try:
        vfs = host.vfs(name, VfsOptions(size=1 << 20, entries=5))
    except cloche.Unsupported as error:
        pytest.skip(str(error))
    with vfs:
        vfs.write("/file", b"old" * 1000)
        for act in (vfs.write, vfs.append):
            with pytest.raises(FileError, match="no space"):
                act("/file", bytes(2 << 20))
        assert [entry.path for entry in vfs.list()] == ["/file"]
        assert vfs.read("/file").startswith(b"old" * 1000)
        vfs.remove("/file")  # appending stops where there is no more space
        vfs.write("/file", b"new")
        assert vfs.read("/file") == b"new"
        with vfs.open("/file", "a") as file, pytest.raises(OSError, match="No space"):
            list(iter(lambda: file.write(bytes(1 << 14)), 0))
        vfs.remove("/file")
        for i in range(5):
            vfs.mkdir(f"/{i}")
        with pytest.raises(FileError, match=r"no space|no room"):
            vfs.write("/one-more", b"")
        vfs.remove("/0")
        vfs.write("/big", bytes(900_000))


def test_room_of_a_file_in_memory_comes_back_when_nobody_needs_it(host: cloche.Host) -> None:
    with host.vfs("memory", VfsOptions(size=1000)) as vfs:
        vfs.write("/file", bytes(900))
        with vfs.open("/file") as file:
            vfs.remove("/file")
            with pytest.raises(FileError, match="no space"):
                vfs.write("/other", bytes(900))
            assert len(file.read()) == 900
        vfs.write("/other", bytes(900))
        with vfs.open("/other", "a") as file:
            assert (file.truncate(10), file.seekable(), file.readable(), file.writable()) == (10, True, False, True)
            with pytest.raises(OSError, match="not open for reading"):
                file.read(1)
        vfs.write("/third", bytes(900))
        with vfs.open("/third") as file, pytest.raises(OSError, match="not open for writing"):
            file.write(b"x")
        with pytest.raises(ValueError, match="closed"):
            file.read(1)


def test_nothing_of_a_detached_file_system_can_be_found_by_a_path(host: cloche.Host) -> None:
    try:
        vfs = host.vfs("tmpfs")
    except cloche.Unsupported as error:
        pytest.skip(str(error))
    before = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    with vfs:
        vfs.write("/file", b"1")
        assert Path("/proc/self/mountinfo").read_text(encoding="utf-8") == before


# -- a stranger: the example of docs/hooks.md, tested as docs/writing-a-plugin.md says

_PAGE = (Path(__file__).parents[2] / "docs" / "hooks.md").read_text(encoding="utf-8")
_EXAMPLE = re.search(r"^## cloche_vfs_backends\n.*?^```python\n(.*?)^```", _PAGE, re.MULTILINE | re.DOTALL)
assert _EXAMPLE is not None
_MODULE = ModuleType("scratch")
exec(compile(_EXAMPLE[1], "docs/hooks.md", "exec"), vars(_MODULE))  # noqa: S102 - our own documentation


class TestScratch(VfsConformance):
    backend = _MODULE.ScratchBackend()
