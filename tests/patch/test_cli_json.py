"""``cloche json``, as a person types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from cloche.__main__ import cli, main
from cloche.commands import json_shown
from cloche.patch import Document

if TYPE_CHECKING:
    from click.testing import Result

LONG = '"a text long enough that nobody would write it twice, when so little beside it changed from one to the other"'
OLD = (
    f'{{"name": "a", "long": {LONG}, "tabs": [1, 2, {{"x": 12345678901234567890.10}}, {LONG}], "gone": null}}'.encode()
)
NEW = (
    f'{{"name": "b", "long": {LONG}, "tabs": [1, {{"x": 12345678901234567890.10}}, {LONG}], "text": "\u202e"}}'.encode()
)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLOCHE_NO_PLUGINS", "1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.json").write_bytes(OLD)
    (tmp_path / "new.json").write_bytes(NEW)
    return tmp_path


def run(*args: str, code: int = 0, given: bytes | None = None) -> str:
    done: Result = CliRunner().invoke(cli, ["json", *args], input=given, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    assert (done.return_value or 0) == code, done.output
    return done.stdout


def failing(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    assert main(["json", *args]) == 2
    taken = capsys.readouterr()
    assert taken.out == ""
    return taken.err


@pytest.mark.usefixtures("files")
def test_a_difference_is_shown_a_line_for_each_step() -> None:
    shown = run("diff", "old.json", "new.json", code=1).splitlines()
    assert sorted(line.split()[0] for line in shown) == ["+", "-", "-", "~"]
    assert '~ /name  "a" -> "b"' in shown
    assert "- /gone  null" in shown
    assert "- /tabs/1  2" in shown
    assert '+ /text  "\\u202e"' in shown


@pytest.mark.usefixtures("files")
def test_no_difference_is_no_line_and_exit_code_0() -> None:
    same = OLD.replace(b": ", b" :\n").replace(b"a text", b"\\u0061 text")
    assert run("diff", "old.json", "-", given=same) == ""
    assert run("diff", "old.json", "old.json") == ""
    assert run("diff", "old.json", "old.json", "-o", "json") == "[]\n"


@pytest.mark.usefixtures("files")
def test_what_diff_writes_apply_reads(files: Path) -> None:
    made = run("diff", "old.json", "new.json", "-o", "json", code=1)
    (files / "patch.json").write_text(made, encoding="utf-8")
    applied = run("apply", "old.json", "patch.json", "-o", "json")
    assert json.loads(applied) == json.loads(NEW)
    assert "12345678901234567890.10" in applied
    assert run("apply", "-", "patch.json", "-o", "json", given=OLD) == applied


@pytest.mark.usefixtures("files")
def test_a_merge_patch_is_made_and_applied() -> None:
    made = run("diff", "--merge", "old.json", "new.json", "-o", "json", code=1)
    assert json.loads(run("merge", "old.json", "-", "-o", "json", given=made.encode())) == json.loads(NEW)
    assert run("diff", "--merge", "old.json", "new.json", code=1).startswith("{\n")


@pytest.mark.usefixtures("files")
def test_a_place_is_looked_up_and_shown_indented() -> None:
    assert run("get", "new.json", "/tabs/1/x") == "12345678901234567890.10\n"
    assert run("get", "-", "/tabs", given=OLD).startswith(
        '[\n  1,\n  2,\n  {\n    "x": 12345678901234567890.10\n  },\n'
    )
    assert run("get", "new.json", "/text") == '"\\u202e"\n'
    assert run("get", "new.json", "/text", "-o", "json") == '"\u202e"\n'
    assert run("get", "-", given=b'{"a":{},"b":[[]]}') == '{\n  "a": {},\n  "b": [\n    []\n  ]\n}\n'


@pytest.mark.usefixtures("files")
def test_failures_end_with_2_and_say_where(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "broken.json").write_bytes(b'{\n  "a": 1,\n  "b" 2\n}')
    assert failing(capsys, "diff", "old.json", "broken.json").startswith("cloche: broken.json, line 3, byte 7: ")
    assert "nope.json" in failing(capsys, "diff", "nope.json", "old.json")
    assert "there is nothing at /x" in failing(capsys, "get", "old.json", "/x")
    assert "begins with a slash" in failing(capsys, "get", "old.json", "x")
    (files / "patch.json").write_bytes(b'[{"op":"remove","path":"/gone"},{"op":"remove","path":"/\\u001b[31m"}]')
    said = failing(capsys, "apply", "old.json", "patch.json")
    assert said.startswith("cloche: operation 1 at /\\x1b[31m: ")
    assert "only one of the two" in failing(capsys, "apply", "-", "-")
    assert "can't set anything to null" in failing(capsys, "diff", "--merge", "new.json", "old.json")


def test_every_operation_has_a_line() -> None:
    operations = [
        {"op": "add", "path": "/a/-", "value": 3},
        {"op": "copy", "from": "/a", "path": "/b"},
        {"op": "move", "from": "/b", "path": "/c"},
        {"op": "splice", "path": "/t", "at": 1, "remove": 2, "insert": "x\u202e"},
        {"op": "replace", "path": "", "value": "y" * 500},
    ]
    with Document({"a": [1], "t": "text"}) as document:
        lines = [click.unstyle(line) for line in json_shown.steps(document, json.dumps(operations).encode())]
        assert document.value() == "y" * 500
    assert lines[:4] == [
        "+ /a/-  3",
        "& /b  from /a",
        "> /c  from /b",
        '~ /t  from character 1 on 2 are "x\\u202e"',
    ]
    assert lines[4].startswith('~ (all)  {"a":[1,3],"t":"tx\\u202et","c":[1,3]} -> "yyyy')
    assert lines[4].endswith("... (502 characters)")


def test_values_are_coloured_and_cleared_of_what_steers_a_terminal() -> None:
    lines = list(json_shown.indented('{"k\u202e":["\x7f𝄞",-1e5,true]}'))
    assert [click.unstyle(line) for line in lines] == [
        "{",
        '  "k\\u202e": [',
        '    "\\u007f𝄞",',
        "    -1e5,",
        "    true",
        "  ]",
        "}",
    ]
    assert "\x1b[34m" in lines[1]
    assert json_shown.escaped("\U000e0001") == "\\udb40\\udc01"
