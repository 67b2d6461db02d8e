"""Files and folders brought into boxes and out of them."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import cloche
from cloche import FileError, LimitExceeded, NotFound, SpecError

pytestmark = pytest.mark.usefixtures("no_leaks")
RUNTIMES = ("namespaces", "bwrap", "process", "gvisor")


@pytest.fixture(params=RUNTIMES)
def box(request: pytest.FixtureRequest) -> Iterator[cloche.Sandbox]:
    with cloche.Host() as host:
        if (reason := host.unavailable(request.param)) is not None:
            pytest.skip(f"runtime {request.param} is not available here: {reason}")
        with host.create(runtime=request.param, strict=False) as box:
            yield box


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    (top / "sub" / "empty").mkdir(parents=True)
    (top / "file").write_bytes(os.urandom(3_000_000))
    (top / "sub" / "tool").write_bytes(b"#!/bin/sh\necho ran\n")
    (top / "sub" / "tool").chmod(0o755)
    (top / "sub" / "link").symlink_to("../file")
    (top / "dangling").symlink_to("/no/such")
    os.mkfifo(top / "pipe")
    return top


def shape(top: Path) -> dict[str, object]:
    """Give what is in a local folder, files by content, links by text, special files left out."""
    return {
        str(path.relative_to(top)): os.readlink(path)
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in top.rglob("*")
        if not path.is_fifo()
    }


def test_a_folder_goes_in_and_comes_out_as_it_was(box: cloche.Sandbox, tree: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    sent = box.files.upload(tree, "in", progress=seen.append)
    assert (sent.files, sent.folders, sent.links, sent.size) == (2, 2, 2, 3_000_019)
    assert sent.skipped == ("/pipe",)
    assert seen == sorted(seen)
    assert seen[-1] == sent.size
    assert box.exec("in/sub/tool").text == "ran\n"
    assert box.exec("sha256sum", "in/file").text == box.exec("sha256sum", "in/sub/link").text.replace(
        "sub/link", "file"
    )
    got = box.files.download("in", tmp_path / "out")
    assert (got.files, got.folders, got.links, got.size, got.skipped) == (2, 2, 2, 3_000_019, ())
    assert shape(tmp_path / "out") == shape(tree)
    assert (tmp_path / "out" / "sub" / "tool").stat().st_mode & 0o777 == 0o755
    again = box.files.upload(tree, "in")  # merged with what is there
    assert again.files == 2
    assert box.files.download("in", tmp_path / "out").links == 2


def test_one_file_and_streams(box: cloche.Sandbox, tree: Path, tmp_path: Path) -> None:
    box.files.upload(str(tree / "sub" / "tool"), "tool")
    assert box.exec("./tool").text == "ran\n"
    box.files.upload(io.BytesIO(b"x" * 2_500_000), "stream")
    assert box.files.stat("stream").size == 2_500_000
    target = io.BytesIO()
    assert box.files.download("stream", target).size == 2_500_000
    assert target.getvalue() == b"x" * 2_500_000
    with (tmp_path / "local").open("wb") as file:
        box.files.download("stream", file)
    assert (tmp_path / "local").stat().st_size == 2_500_000
    (tmp_path / "here").symlink_to("/no/such/place")
    box.files.download("tool", tmp_path / "here")  # the link is replaced, not followed
    assert (tmp_path / "here").read_bytes() == (tree / "sub" / "tool").read_bytes()
    assert [e.name for e in box.files.list()] == ["stream", "tool"]


def test_what_a_guest_made_does_not_hurt_the_host(box: cloche.Sandbox, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_bytes(b"untouched")
    script = f"mkdir out; ln -s {victim} out/folder; ln -s {victim}/file out/file; mkfifo out/pipe; "
    script += "echo ok > out/plain; chmod 6755 out/plain || chmod 755 out/plain"  # set-id bits may be refused
    assert box.exec("/bin/sh", "-c", script).ok
    got = box.files.download("out", tmp_path / "got")
    assert (got.files, got.links) == (1, 2)
    # Pipes of a kernel of its own are not in the folder that the host sees.
    assert [Path(name).name for name in got.skipped] == ([] if box.runtime == "gvisor" else ["pipe"])
    assert (tmp_path / "got" / "plain").stat().st_mode & 0o7777 == 0o755
    box.exec(
        "/bin/sh", "-c", "rm out/folder out/file; mkdir out/folder; echo evil > out/folder/file; echo evil > out/file"
    )
    with pytest.raises(FileError):  # what was a link here would be followed by a careless copy
        box.files.download("out", tmp_path / "got")
    assert (victim / "file").read_bytes() == b"untouched"
    for path in ("out/pipe", "out/gone", "/proc/self/environ"):
        with pytest.raises((FileError, NotFound, cloche.AccessDenied)):
            box.files.download(path, tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_bounds_and_bad_arguments(box: cloche.Sandbox, tree: Path, tmp_path: Path) -> None:
    box.exec("truncate", "-s", "40M", "sparse")
    with pytest.raises(LimitExceeded, match="raise most="):
        box.files.download("sparse", tmp_path / "sparse", most="39M")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tree"]
    assert box.files.download("sparse", tmp_path / "sparse", most="40M").size == 40 << 20
    for source in ("/no/such", tree / "pipe", "a\0b", 5, object()):
        with pytest.raises(SpecError):
            box.files.upload(source, "x")  # type: ignore[arg-type]
    for target in ("/no/such/folder/file", 5):
        with pytest.raises(SpecError):
            box.files.download("sparse", target)  # type: ignore[arg-type]
    box.files.mkdir("folder")
    with pytest.raises(FileError, match="it is a folder"):
        box.files.upload(tree / "file", "folder")
    with pytest.raises(NotFound):
        box.files.upload(tree / "file", "no/such")
    assert not box.files.exists("x")


def test_an_upload_that_does_not_fit_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(3 << 20))
    with cloche.Host() as host:
        if (reason := host.unavailable("namespaces")) is not None:
            pytest.skip(reason)
        with host.create(runtime="namespaces", strict=False, limits={"disk": "2M"}) as box:
            box.files.write("big", b"old")
            with pytest.raises(FileError, match="no space"):
                box.files.upload(tmp_path / "big", "big")
            assert [(e.name, e.stat.size) for e in box.files.list()] == [("big", 3)]


def test_deleting_the_box_ends_an_upload(box: cloche.Sandbox) -> None:
    class Endless(io.RawIOBase):
        def read(self, size: int = -1, /) -> bytes:  # noqa: ARG002 - a stream's own signature
            if self.tell_me >= 3:
                box.delete()
            self.tell_me += 1
            return b"x" * 1000

        tell_me = 0

    with pytest.raises(cloche.StateError):
        box.files.upload(Endless(), "file")  # type: ignore[arg-type]  # typeshed: a raw stream is no BinaryIO
    assert box.deleted
