from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

import cloche_native as native

if TYPE_CHECKING:
    from collections.abc import Iterator
    from functools import _lru_cache_wrapper

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside/file").write_text("text")
    (tmp_path / "outside").write_text("secret")
    (tmp_path / "inside/up").symlink_to("../outside")
    (tmp_path / "inside/rooted").symlink_to("/file")
    (tmp_path / "inside/near").symlink_to("file")
    fd = os.open(tmp_path / "inside", os.O_PATH)
    yield fd
    os.close(fd)


def read(dirfd: int, path: str | bytes, resolve: int) -> str:
    with os.fdopen(native.openat2(dirfd, path, flags=os.O_RDONLY, resolve=resolve)) as file:
        return file.read()


def test_a_path_beneath_is_opened_and_one_that_leaves_is_not(tree: int) -> None:
    assert read(tree, "file", native.RESOLVE_BENEATH) == "text"
    assert read(tree, b"near", native.RESOLVE_BENEATH) == "text"
    assert read(tree, "../outside", 0) == "secret"
    for path in ("../outside", "up", "rooted", "/etc/passwd"):
        with pytest.raises(OSError, match="cross-device") as caught:
            read(tree, path, native.RESOLVE_BENEATH)
        assert caught.value.errno == errno.EXDEV
        assert caught.value.filename == path


def test_a_root_of_its_own_keeps_every_path_inside(tree: int) -> None:
    assert read(tree, "/file", native.RESOLVE_IN_ROOT) == "text"
    assert read(tree, "rooted", native.RESOLVE_IN_ROOT) == "text"
    assert read(tree, "../../../file", native.RESOLVE_IN_ROOT) == "text"
    with pytest.raises(FileNotFoundError):
        read(tree, "up", native.RESOLVE_IN_ROOT)


def test_links_mounts_and_magic_links_can_be_refused(tree: int) -> None:
    with pytest.raises(OSError, match="symbolic links"):
        read(tree, "near", native.RESOLVE_NO_SYMLINKS)
    with pytest.raises(OSError, match="cross-device"):
        read(tree, "/proc/self/status", native.RESOLVE_NO_XDEV)
    with pytest.raises(OSError, match="symbolic links"):
        read(tree, "/proc/self/exe", native.RESOLVE_NO_MAGICLINKS)
    assert native.RESOLVE_CACHED == 32


def test_a_new_file_gets_its_mode_and_is_closed_on_exec(tree: int) -> None:
    old = os.umask(0)
    try:
        fd = native.openat2(
            tree, "new", flags=os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode=0o640, resolve=native.RESOLVE_BENEATH
        )
    finally:
        os.umask(old)
    try:
        assert os.fstat(fd).st_mode & 0o777 == 0o640
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)


def test_bad_values_are_told(tree: int) -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        native.openat2(tree, "file", flags=os.O_RDONLY, resolve=1 << 40)
    with pytest.raises(ValueError, match="NUL"):
        native.openat2(tree, "fi\0le", flags=os.O_RDONLY, resolve=0)
    with pytest.raises(OSError, match="Bad file descriptor"):
        native.openat2(-7, "file", flags=os.O_RDONLY, resolve=0)


def test_landlock_is_told_by_its_call() -> None:
    abi, reason = native.landlock_abi(), native.landlock_reason()
    assert abi >= 0
    assert bool(reason) == (abi == 0)


def test_there_are_three_profiles_from_wide_to_strict() -> None:
    assert native.seccomp_profiles() == ("standard", "enhanced", "maximum")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (-errno.ENOSYS, "built without Landlock"),
        (-errno.EOPNOTSUPP, "off since boot"),
        (-errno.EPERM, "asking for Landlock failed: Operation not permitted"),
        (3, ""),
    ],
)
def test_why_there_is_no_landlock_is_said(monkeypatch: pytest.MonkeyPatch, status: int, said: str) -> None:
    monkeypatch.setattr(native, "_c", SimpleNamespace(clo_landlock_abi=lambda: status))
    assert native.landlock_abi() == max(0, status)
    assert said in native.landlock_reason()
    assert bool(said) == bool(native.landlock_reason())


def test_a_rename_that_never_ends_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_c", SimpleNamespace(clo_openat2=lambda *_: -errno.EAGAIN))
    with pytest.raises(BlockingIOError):
        native.openat2(0, "a", flags=os.O_RDONLY, resolve=native.RESOLVE_BENEATH)


@pytest.mark.parametrize(
    ("name", "path_of"),
    [
        ("cloche-init", native.init_path),
        ("cloche-inner", native.inner_path),
        ("cloche-statx.so", native.statx_path),
    ],
)
def test_a_package_without_its_agent_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, path_of: _lru_cache_wrapper[str]
) -> None:
    monkeypatch.setattr(native, "_FOLDER", str(tmp_path))
    path_of.cache_clear()
    with pytest.raises(FileNotFoundError, match=f"without {name}"):
        path_of()
    (tmp_path / name).touch(mode=0o644)
    with pytest.raises(PermissionError, match="noexec"):
        path_of()


def test_another_machine_has_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine="riscv64"))
    with pytest.raises(ValueError, match="no filter for the machine 'riscv64'"):
        native.seccomp_program("standard")
