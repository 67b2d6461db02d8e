"""The audit log keeps what it was given, in order, and whatever is changed in it is found and named."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche import AuditError, AuditLog, SpecError
from cloche.incidents.audit_line import GENESIS, LINE_MAX, sealed, unsealed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloche.incidents.audit_check import Verified

pytestmark = pytest.mark.usefixtures("no_own_leaks")
HOSTILE = "a\0b\x1b[31mred\nnew \x7f\x9b line \udcff\u202e"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "audit"


@pytest.fixture
def log(folder: Path) -> Iterator[AuditLog]:
    with AuditLog(folder, size="64K", sync=False) as log:
        yield log


def fill(log: AuditLog, count: int, text: str = "") -> None:
    for number in range(count):
        log.append("incident", {"number": number, "text": text})


def found(folder: Path, holds: str | None = None) -> Verified:
    with AuditLog(folder) as log:
        return log.verify(holds=holds)


def told(result: Verified) -> list[str]:
    return [str(finding) for finding in result.broken]


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("audit-*.jsonl"))


# -- what is written -------------------------------------------------------------------------------------------------


def test_a_line_is_tied_to_the_one_before_by_a_hash_that_anyone_can_compute(log: AuditLog, folder: Path) -> None:
    fill(log, 3)
    before = GENESIS
    lines = files(folder)[0].read_bytes().splitlines()
    for number, line in enumerate(lines, 1):
        record = json.loads(line)
        digest = record.pop("hash")
        assert (record["seq"], record["prev"]) == (number, before)
        again = json.dumps(record, sort_keys=True, separators=(",", ":")).encode()
        assert hashlib.sha256(again).hexdigest() == digest
        before = digest
    assert [json.loads(line)["kind"] for line in lines] == ["file", "incident", "incident", "incident"]
    result = log.verify()
    assert (result.ok, result.lines, result.seq, result.hash, result.notes) == (True, 4, 4, before, ())


def test_bytes_of_a_guest_are_escaped_and_come_back(log: AuditLog, folder: Path) -> None:
    body = {"path": HOSTILE, "raw": b"\xff\0", HOSTILE: [HOSTILE, {"in": HOSTILE}], "nan": float("nan"), "set": {2, 1}}
    log.append("incident", body)
    raw = files(folder)[0].read_bytes()
    assert all(byte == 10 or 32 <= byte < 127 for byte in raw)
    assert raw.count(b"\n") == 2
    kept = list(log.entries())[-1].body
    assert kept == {
        "path": HOSTILE, "raw": {"base64": "/wA="}, HOSTILE: [HOSTILE, {"in": HOSTILE}], "nan": "nan", "set": [1, 2]
    }  # fmt: skip


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=10,
    )
)
def test_a_line_reads_as_it_was_written_whatever_is_in_it(value: object) -> None:
    line, digest = sealed(7, 1.5, "x", {"value": value}, GENESIS)
    entry = unsealed(line)
    assert (entry.seq, entry.kind, entry.prev, entry.hash) == (7, "x", GENESIS, digest)
    assert sealed(7, 1.5, "x", entry.body, GENESIS) == (line, digest)


def test_of_a_body_that_is_too_long_the_short_members_are_kept_and_the_others_named(log: AuditLog) -> None:
    log.append("incident", {"rule": "x", "before": ["y" * 1000] * 3000, "deep": _deep(500)})
    body = list(log.entries())[-1].body
    assert body["rule"] == "x"
    assert body["left_out"] == ["before"]
    assert "too deep" in json.dumps(body["deep"])
    assert log.verify().ok


def _deep(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def test_full_files_are_left_and_the_chain_goes_on_and_the_oldest_go(folder: Path) -> None:
    with AuditLog(folder, size="64K", keep=3, sync=False) as log:
        fill(log, 1500, "x" * 50)
        result = log.verify()
    assert [path.name for path in files(folder)] == [f"audit-{number:06}.jsonl" for number in (5, 6, 7)]
    assert (result.ok, result.files, result.notes) == (True, 3, ())
    first = json.loads(files(folder)[0].read_bytes().splitlines()[0])
    assert (first["kind"], first["body"]) == ("file", {"file": 5, "oldest": 3})
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
    assert folder.stat().st_mode & 0o777 == 0o700


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o755])
def test_a_folder_that_others_can_get_at_is_refused(folder: Path, mode: int) -> None:
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(AuditError, match="closed to all others"):
        AuditLog(folder)


def test_a_link_in_the_place_of_the_folder_or_of_a_file_is_not_followed(tmp_path: Path, log: AuditLog) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "audit")
    with pytest.raises(AuditError, match="can't be used"):
        AuditLog(tmp_path / "link")
    fill(log, 1)
    file = files(log.path)[0]
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AuditError, match="can't be written"):
        fill(log, 1)
    with pytest.raises(AuditError, match="can't be read"):
        log.verify()


def test_a_file_that_has_two_names_or_is_open_to_others_is_refused(log: AuditLog, tmp_path: Path) -> None:
    fill(log, 1)
    file = files(log.path)[0]
    (tmp_path / "other").hardlink_to(file)
    with pytest.raises(AuditError, match="one name"):
        fill(log, 1)
    (tmp_path / "other").unlink()
    file.chmod(0o644)
    with pytest.raises(AuditError, match="alone"):
        fill(log, 1)
    file.chmod(0o600)
    fill(log, 1)
    assert log.verify().ok
    assert [entry.kind for entry in log.entries()] == ["file", "incident", "failed", "incident"]


@pytest.mark.parametrize(
    ("given_", "what"),
    [
        ({"size": "1K"}, "size"), ({"size": "x"}, "size"), ({"keep": 1}, "keep"), ({"keep": True}, "keep"),
        ({"sync": 1}, "sync"),
    ],
)  # fmt: skip
def test_bad_settings_are_refused_by_name(folder: Path, given_: dict[str, Any], what: str) -> None:
    with pytest.raises(SpecError, match=what):
        AuditLog(folder, **given_)
    assert not folder.exists()


def test_bad_records_are_refused(log: AuditLog) -> None:
    for kind in ("", "a b", "torn", "file", "broken", "failed"):
        with pytest.raises(SpecError, match="kind"):
            log.append(kind, {})
    with pytest.raises(SpecError, match="mapping"):
        log.append("incident", "text")  # type: ignore[arg-type]
    log.close()
    log.close()
    with pytest.raises(AuditError, match="closed"):
        log.append("incident", {})


# -- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_full_disk_is_told_kept_and_gone_on_from(log: AuditLog, folder: Path) -> None:
    fill(log, 5)
    room = files(folder)[0].stat().st_size + 100
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        for _ in range(2):
            with pytest.raises(AuditError, match="File too large"):
                log.append("incident", {"lost": "x" * 200})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert log.failed == 2
    torn = log.verify()
    assert torn.ok
    assert "torn" in torn.notes[0].what
    log.append("incident", {"after": True})
    assert [entry.kind for entry in log.entries()][-5:] == ["incident", "damaged", "torn", "failed", "incident"]
    assert list(log.entries())[-2].body["lines"] == 2
    assert told(log.verify()) == []


@pytest.mark.parametrize("cut", [1, 40, 90])
def test_a_torn_last_line_is_kept_marked_and_gone_on_from(log: AuditLog, folder: Path, cut: int) -> None:
    fill(log, 3)
    line, _ = sealed(5, 1.0, "incident", {"n": 1}, log.verify().hash)
    with files(folder)[0].open("ab") as file:
        file.write(line[:cut])
    fill(log, 2)
    result = log.verify()
    assert told(result) == []
    assert [note.line for note in result.notes] == [5]
    assert line[:cut] + b"\n" in files(folder)[0].read_bytes()
    raw = files(folder)[0].read_bytes()
    files(folder)[0].write_bytes(raw.replace(line[:cut] + b"\n", b"X" * cut + b"\n"))
    assert not log.verify().ok


def test_a_line_whose_writer_was_killed_before_the_mark_is_taken(log: AuditLog, folder: Path) -> None:
    fill(log, 3)
    line, _ = sealed(5, 1.0, "incident", {"n": 1}, log.verify().hash)
    with files(folder)[0].open("ab") as file:
        file.write(line)
    assert "behind" in log.verify().notes[0].what
    fill(log, 1)
    result = log.verify()
    assert (result.ok, result.notes, result.lines) == (True, (), 6)


@pytest.mark.parametrize("content", [b"", b'{"half'])
def test_a_new_file_whose_writer_was_killed_is_gone_on_in(log: AuditLog, folder: Path, content: bytes) -> None:
    fill(log, 3)
    new = folder / "audit-000002.jsonl"
    new.touch(0o600)
    new.write_bytes(content)
    assert log.verify().ok
    fill(log, 2)
    assert told(log.verify()) == []
    assert [json.loads(line)["kind"] for line in new.read_bytes().splitlines()[-3:]] == ["file", "incident", "incident"]


# -- what was done to it ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a log of three files, whole."""
    folder = tmp_path_factory.mktemp("whole") / "audit"
    with AuditLog(folder, size="64K", sync=False) as log:
        fill(log, 30, "x" * 5000)
    assert len(files(folder)) == 3
    return folder


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


@given(data=st.data())
def test_any_edit_of_any_file_is_found(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    copy = Path(shutil.copytree(whole, tmp_path_factory.mktemp("edited") / "audit"))
    file = data.draw(st.sampled_from([*files(copy), copy / "audit.mark"]))
    raw = file.read_bytes()
    begin = data.draw(st.integers(0, len(raw) - 1))
    length = data.draw(st.integers(0, min(3, len(raw) - begin)))
    new = data.draw(st.binary(max_size=3))
    edited = raw[:begin] + new + raw[begin + length :]
    file.write_bytes(edited)
    result = found(copy)
    assert result.ok == (edited == raw), told(result)
    shutil.rmtree(copy.parent)


def lines_of(file: Path) -> list[bytes]:
    return file.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("change", "line", "what"),
    [
        (lambda lines: [*lines[:5], lines[5].replace(b'"number":', b'"numbre":'), *lines[6:]], 6, "not as it was"),
        (lambda lines: [*lines[:5], *lines[6:]], 6, "1 lines before it are missing"),
        (lambda lines: [*lines[:5], *lines[8:]], 6, "3 lines before it are missing"),
        (lambda lines: [*lines[:5], lines[4], *lines[5:]], 6, "not in its place"),
        (lambda lines: [*lines[:5], lines[6], lines[5], *lines[7:]], 6, "1 lines before it are missing"),
        (lambda lines: [*lines[:5], b"\n", *lines[5:]], 6, "no record"),
        (lambda lines: [*lines[:5], sealed(6, 1.0, "incident", {}, "0" * 64)[0], *lines[6:]], 6, "replaced"),
        (lambda lines: lines[1:], 1, "1 lines before it are missing"),
    ],
)
def test_what_was_done_to_lines_is_named_with_its_place(
    copied: Path, change: Callable[[list[bytes]], list[bytes]], line: int, what: str
) -> None:
    file = files(copied)[0]
    file.write_bytes(b"".join(change(lines_of(file))))
    first = found(copied).broken[0]
    assert (first.file, first.line) == (file.name, line)
    assert what in str(first)


def test_lines_cut_from_the_end_are_missed(copied: Path) -> None:
    last = files(copied)[-1]
    last.write_bytes(b"".join(lines_of(last)[:-2]))
    assert "the end was cut off" in told(found(copied))[0]
    with AuditLog(copied) as log:
        fill(log, 1)
    assert "2 lines before it are missing" in told(found(copied))[0]


def test_a_last_line_written_anew_with_its_hash_is_found(copied: Path) -> None:
    last = files(copied)[-1]
    lines = lines_of(last)
    old = json.loads(lines[-1])
    lines[-1] = sealed(old["seq"], old["time"], old["kind"], {"number": -1}, old["prev"])[0]
    last.write_bytes(b"".join(lines))
    assert "vouches for" in told(found(copied))[0]


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_file_that_was_removed_is_named(copied: Path, index: int) -> None:
    gone = files(copied)[index]
    gone.unlink()
    assert any(gone.name in line for line in told(found(copied)))
    with AuditLog(copied) as log:
        fill(log, 1)
    assert any(gone.name in line and "missing" in line for line in told(found(copied)))


def test_files_that_were_exchanged_or_put_in_are_named(copied: Path) -> None:
    one, two, three = files(copied)
    one.rename(copied / "x")
    two.rename(one)
    (copied / "x").rename(two)
    assert told(found(copied))[0].startswith("audit-000001.jsonl, line 1: ")
    two.rename(copied / "x")
    one.rename(two)
    (copied / "x").rename(one)
    assert found(copied).ok
    shutil.copy(three, copied / "audit-000005.jsonl")
    assert any("audit-000005.jsonl: the file was put in" in line for line in told(found(copied)))


def test_a_mark_that_is_gone_is_told_now_and_for_ever(copied: Path) -> None:
    (copied / "audit.mark").unlink()
    assert "lines cut from the end would not be missed" in told(found(copied))[0]
    with AuditLog(copied) as log:
        fill(log, 1)
        assert [entry.kind for entry in log.entries()][-2:] == ["broken", "incident"]
    assert "found the log changed" in told(found(copied))[0]


def test_a_new_log_in_the_place_of_another_is_found_by_a_hash_that_was_noted(copied: Path) -> None:
    noted = found(copied).hash
    assert found(copied, holds=noted).ok
    shutil.rmtree(copied)
    with AuditLog(copied) as log:
        fill(log, 40)
    assert found(copied).ok
    assert "this is another log" in told(found(copied, holds=noted))[0]


def test_an_empty_log_is_whole(log: AuditLog, folder: Path) -> None:
    assert log.verify().ok
    (folder / "audit.mark").touch(0o600)
    os.truncate(folder / "audit.mark", 0)
    assert log.verify().ok
    fill(log, 1)
    assert log.verify().ok
    assert LINE_MAX > 64 << 10
